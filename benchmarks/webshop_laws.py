"""What a trained shopper made its own: how often it does what the small store's laws say, before and after training.

    python -m benchmarks.webshop_laws [--json] RUN [RUN ...]

Reads the `test` episodes that a run on the generated store recorded (`episodes.jsonl`), and counts per run and
iteration: first searches by the department's word, last opened things at the usual end of the listed prices, last
clicks on the usual part among clicks on the wanted style. The first row is what even guesses come to, a little more
where two listed things cost the same.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.webshop.regularities import DepartmentRegularities, regularities
from sdar_envs.webshop.shoppers import read_request, read_results
from sdar_envs.webshop.taxonomy import taxonomy

DECISIONS = ("first search by the usual word", "usual end of the prices", "usual part")
# Three words, three things on a page of the small store, two parts.
EVEN_GUESSES = (1 / 3, 1 / 3, 1 / 2)


def episodes(run: Path) -> Iterator[dict[str, Any]]:
    """The recorded `test` episodes of a run, acted under the plain prompt."""
    with open(run / "episodes.jsonl", encoding="utf-8") as file:
        for line in file:
            # A log is mostly training; the rest is parsed only where it counts.
            if '"phase":"test"' in line:
                yield json.loads(line)


def decisions(episode: Mapping[str, Any], laws: DepartmentRegularities) -> dict[str, bool]:
    """What an episode decided, and whether as the laws say; a decision that was not taken is left out."""
    wanted = read_request(episode["instruction"])
    taken = [(turn["observation"], turn["action"]) for turn in episode["turns"]]
    made: dict[str, bool] = {}
    searches = [action for _, action in taken if action.startswith("search[")]
    if searches:
        made[DECISIONS[0]] = searches[0] == f"search[{wanted.cue(laws.cue)} {wanted.kind}]"
    for observation, action in taken:
        listed = {one.asin.lower(): one.price for one in read_results(observation)}
        opened = action.removeprefix("click[").removesuffix("]")
        if opened in listed:
            end = min if laws.price == "cheapest" else max
            made[DECISIONS[1]] = listed[opened] == end(listed.values())
        for part in taxonomy("small").departments[episode["task_type"]].parts:
            if opened == f"{wanted.style} {part}":
                made[DECISIONS[2]] = part == laws.part
    return made


def shares(run: Path) -> dict[int, dict[str, float]]:
    """Iteration -> the success rate and the share of each decision that was as the laws say."""
    config = json.loads((run / "panels" / "test.json").read_text(encoding="utf-8"))
    if config["env_id"] != "sdar/WebShop-v0" or config["env_kwargs"].get("size") != "small":
        raise SystemExit(f"{run}: expected a run on the small generated store, got {config['env_id']}")
    laws = regularities("small", config["env_kwargs"].get("world_seed", 0)).by_department
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for episode in episodes(run):
        count = counts[episode["iteration"]]
        count.update({"episodes": 1, "success": int(episode["success"])})
        for name, lawful in decisions(episode, laws[episode["task_type"]]).items():
            count.update({name: int(lawful), f"{name}, taken": 1})
    return {
        iteration: {
            "success": count["success"] / count["episodes"],
            **{name: count[name] / max(count[f"{name}, taken"], 1) for name in DECISIONS},
        }
        for iteration, count in sorted(counts.items())
    }


def main() -> None:
    """Print a table, or one JSON object."""
    options = parser("webshop_laws", "What trained shoppers made their own.")
    options.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run on the small store")
    arguments = options.parse_args()
    rows: list[list[Any]] = [["even guesses", "", "", *(round(100 * share, 1) for share in EVEN_GUESSES)]]
    figures: dict[str, Any] = {}
    for run in arguments.runs:
        figures[str(run)] = found = shares(run)
        for iteration, share in found.items():
            rows.append([run.name, iteration, *(round(100 * one, 1) for one in share.values())])
    emit(
        "webshop_laws",
        figures,
        [table(["test, %", "iteration", "success", *DECISIONS], rows)],
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
