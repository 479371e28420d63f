"""Serve the store as a web site on this machine, for people: the pages, the search and the rules that agents meet.

It listens on 127.0.0.1 only. Finished visits are appended to a JSON-lines file, one episode per line, as `sdar play`
records them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .flags import read_pairs

if TYPE_CHECKING:
    from sdar_envs.webshop.visits import ShopEnv, Visit

    from ..rollout.environments import EnvironmentSource

ENV_ID = "sdar/WebShop-v0"
# The original's port.
PORT = 3000

EPILOGUE = """examples:
  sdar serve-store --open
  sdar serve-store --panel --split valid --index 12
  sdar serve-store --show-privileged --port 0 --no-record"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar serve-store``."""
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0 for a free one [{PORT}]")
    parser.add_argument("--open", action="store_true", help="open the store in a browser")
    parser.add_argument("--panel", action="store_true", help="show the text that a model sees beside every page")
    parser.add_argument(
        "--show-privileged",
        action="store_true",
        help="show what only a teacher may see there, too, and say so; visits are then recorded without their text",
    )
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help=f"options of {ENV_ID}"
    )
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--task", metavar="ID", help="the task of every visit, e.g. of an episode in episodes.jsonl")
    which.add_argument(
        "--index", type=int, default=0, metavar="N", help="the first visit's task in the split; then one by one [0]"
    )
    parser.add_argument("--max-visits", type=int, default=256, metavar="N", help="visits at one time [256]")
    parser.add_argument("--rest", type=float, default=30.0, metavar="MIN", help="minutes after which a visit ends [30]")
    parser.add_argument(
        "--record", metavar="FILE", default="episodes.jsonl", help="append finished visits here [episodes.jsonl]"
    )
    parser.add_argument("--no-record", action="store_true", help="record nothing")


def run(options: argparse.Namespace) -> int:
    """Serve the store until Ctrl-C."""
    from sdar_envs.loopback import ADDRESS, listen, serve  # first: it says what is to be installed
    from sdar_envs.webshop.server import StoreOptions, make_app, make_busy
    from sdar_envs.webshop.visits import Visits

    from ..rollout.environments import EnvironmentSource
    from .envs import check_env_kwargs
    from .terminal import make_console

    if options.max_visits < 1 or not options.rest > 0:
        raise ValueError(
            f"expected --max-visits of at least 1 and --rest above 0, got {options.max_visits} and {options.rest}"
        )
    given = read_pairs(options.env_kwargs, "--env-kwargs")
    check_env_kwargs(ENV_ID, given)
    # Without --show-privileged the teacher's side is not even computed.
    source = EnvironmentSource(ENV_ID, {**given, "expose_privileged": options.show_privileged})
    tasks = _tasks(source, options)
    record = None if options.no_record else _recorder(Path(options.record), source, options)
    listener = listen(options.port)
    console = make_console()
    env = _shop(source, options.split)
    visits = Visits(
        lambda: _shop(source, options.split),
        lambda: next(tasks),
        most=options.max_visits,
        rest=60 * options.rest,
        ended=record,
    )
    shown = StoreOptions(
        env_id=ENV_ID,
        horizon=env.horizon,
        panel=options.panel,
        privileged=options.show_privileged,
        recorded=record is not None,
    )
    address = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
    console.print(f"the store is open at {address} - Ctrl-C closes it")
    if options.show_privileged:
        console.print("its pages show PRIVILEGED text, which no student sees", style="bold yellow")
    if record is not None:
        console.print(f"finished visits are appended to {options.record}")
    sys.stdout.flush()
    if options.open:
        webbrowser.open(address)
    try:
        # Whether Ctrl-C comes back as an exception or as a return depends on where the server was when it came.
        with suppress(KeyboardInterrupt):
            serve(make_app(visits, shown), listener, busy=make_busy(), connections=2 * options.max_visits + 64)
        console.print("closed")
    finally:
        visits.close()
        env.close()
        source.close()
        listener.close()
    return 0


def _shop(source: EnvironmentSource, split: str) -> ShopEnv:
    return cast("ShopEnv", source.make(split).unwrapped)


def _tasks(source: EnvironmentSource, options: argparse.Namespace) -> Iterator[str]:
    """The tasks of visits, without end.

    Raises:
        ValueError: There is no such task.
    """
    if options.task is not None:
        source.require_task(options.task)
        return itertools.repeat(str(options.task))
    ids: Sequence[str] = source.task_ids(options.split)
    if not 0 <= options.index < len(ids):
        raise ValueError(f"--index expects 0 to {len(ids) - 1} for split {options.split!r}, got {options.index}")
    source.require_task(ids[options.index])
    return (ids[number % len(ids)] for number in itertools.count(options.index))


def _recorder(path: Path, source: EnvironmentSource, options: argparse.Namespace) -> Callable[[Visit], None]:
    """What writes finished visits.

    Raises:
        OSError: The file cannot be written.
    """
    from ..run import episode_log  # noqa: F401  # now, so that nobody waits for it at the first purchase
    from .players import append_json_line

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):  # better now than after somebody's first purchase
        pass

    def write(visit: Visit) -> None:
        record = visit_record(visit, source.name, split=options.split, privileged=options.show_privileged)
        try:
            append_json_line(path, record)
        except OSError as error:
            print(f"sdar serve-store: visit {visit.number} is not recorded: {error}", file=sys.stderr, flush=True)

    return write


def visit_record(visit: Visit, env_id: str, *, split: str, privileged: bool) -> dict[str, Any]:
    """A finished visit as a line of `episodes.jsonl`.

    Args:
        visit: The visit.
        env_id: The environment's id.
        split: Logged as the phase, as `sdar play` does.
        privileged: Whether its visitor saw the teacher's side; then the record holds none of the text.
    """
    from agents.base import Action, Episode, Parse, StopReason, Turn

    from ..rollout.collect import Rollout, TaskDraw
    from ..rollout.running import note_wrong_actions
    from ..run.episode_log import episode_record

    turns = [
        Turn(
            exchange.view,
            Action(exchange.action, exchange.action, Parse.OK if exchange.action else Parse.EMPTY),
            exchange.reward,
            exchange.is_action_valid,
        )
        for exchange in visit.exchanges
    ]
    ended = StopReason.SUCCESS if visit.success else StopReason.TERMINATED
    task = TaskDraw(visit.task_id, ("serve-store", visit.number), group=visit.number)
    episode = Episode(
        env_id,
        visit.task_id,
        visit.view.task_type,
        task.draw,
        turns,
        success=visit.success,
        score=visit.score,
        stop_reason=ended if visit.terminated else StopReason.HORIZON,
    )
    note_wrong_actions(episode, visit.env.wrong_actions())
    rollout = Rollout(episode, task, [exchange.known for exchange in visit.exchanges])
    view = "privileged" if privileged else "plain"
    return episode_record(rollout, run="serve-store", iteration=0, phase=split, seed=0, view=view)
