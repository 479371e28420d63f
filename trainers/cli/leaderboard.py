"""The leaderboard from its files: check entries, make the page, enter a finished study.

check       read a folder of the leaderboard, and name everything that does not match
page        make the boards in a page anew; with --check only say whether they are what the files give
from-study  write protocol and entries of a study's archive into a folder
rate        print the success rate of an entry's outcomes as the entry has to state it
"""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = "check|page|from-study|rate [options]"
EPILOGUE = """examples:
  sdar leaderboard check docs/leaderboard
  sdar leaderboard page docs/leaderboard --check
  sdar leaderboard rate docs/leaderboard/haggle-tiny/sdar.outcomes.jsonl.gz"""

ACTIONS = ("check", "page", "from-study", "rate")
PAGE = "boards.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar leaderboard``."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="check, page, from-study or rate")
    parser.add_argument(
        "path", metavar="PATH", help="the leaderboard's folder (check, page), a study's archive, or a file of outcomes"
    )
    parser.add_argument("--check", action="store_true", help="write nothing: status 1 where the page differs (page)")
    study = parser.add_argument_group("from-study")
    study.add_argument("--output-dir", metavar="DIR", help="the board's folder, whose name is the protocol's")
    study.add_argument("--title", default="", help="the board's heading")
    study.add_argument("--description", default="", metavar="TEXT", help="what is measured, in a sentence")
    study.add_argument("--model", default="", metavar="TEXT", help="what is trained, in words")
    study.add_argument("--closed", action="store_true", help="take no entries: the world has changed since")
    study.add_argument("--world-version", metavar="VERSION", help="of the study's world, where it is not today's")
    study.add_argument("--sampler-batch", type=int, metavar="N", help="of the study's evaluation, likewise")


def run(options: argparse.Namespace) -> int:
    """Do one of the four; status 1 where a page differs, 2 where a file is refused."""
    path = Path(options.path)
    return {"check": check, "page": page, "from-study": from_study, "rate": rate}[options.action](path, options)


def check(path: Path, options: argparse.Namespace) -> int:
    """Read everything, and say what is there."""
    from ..referee.leaderboard.reading import read_boards

    del options
    for board in read_boards(path):
        episodes = sum(row.episodes for row in board.rows)
        counts = f"{len(board.rows)} entries and {episodes:,} outcomes"
        print(f"{board.protocol.name}: {counts}; hashes, tasks and figures match")
    return 0


def page(path: Path, options: argparse.Namespace) -> int:
    """Make the page's boards anew, or compare them."""
    from sdar_envs.files import write_file

    from ..referee.leaderboard.page import page_with
    from ..referee.leaderboard.reading import read_boards

    file = path / PAGE
    if not file.is_file():
        raise ValueError(f"sdar leaderboard page expects {file}, with a mark for each board")
    old = file.read_text(encoding="utf-8")
    new = page_with(old, read_boards(path))
    if options.check:
        print(f"{file} is {'what' if old == new else 'not what'} the files give")
        return int(old != new)
    if old != new:
        write_file(file, new)
    print(f"{file} {'was right' if old == new else 'is made anew'}")
    return 0


def from_study(path: Path, options: argparse.Namespace) -> int:
    """Write protocol and entries of a study."""
    from ..referee.leaderboard.from_study import Wording, write_board
    from ..referee.leaderboard.reading import read_board

    if options.output_dir is None or not (options.title and options.description and options.model):
        raise ValueError("sdar leaderboard from-study expects --output-dir, --title, --description and --model")
    folder = Path(options.output_dir)
    wording = Wording(options.title, options.description, options.model, open=not options.closed)
    written = write_board(
        folder, path, wording, world_version=options.world_version, sampler_batch=options.sampler_batch
    )
    board = read_board(folder)
    print(f"{folder}: {len(written)} files, {len(board.rows)} entries; hashes, tasks and figures match")
    return 0


def rate(path: Path, options: argparse.Namespace) -> int:
    """Print what a file of outcomes gives, and its hash."""
    import hashlib
    import json

    from ..referee.leaderboard.reading import read_outcomes, stated_rate
    from ..study.plain_json import encode

    del options
    by_seed: dict[int, list[bool]] = {}
    for seed, _, success in read_outcomes(path):
        by_seed.setdefault(seed, []).append(success)
    if not by_seed:
        raise ValueError(f"{path}: expected outcomes, got an empty file")
    found = stated_rate({seed: sum(outcomes) / len(outcomes) for seed, outcomes in by_seed.items()})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(json.dumps({"success": encode(found), "outcomes_sha256": digest}, indent=1))
    return 0
