"""What scripted players reach in the generated world of sources, by task type: what knowing its laws is worth.

    python -m benchmarks.searchqa_searchers [--json] [--size small|full] [--tasks 400] [--split valid]

`expert` follows the plan. The searchers read what a student reads; one knows the laws of the world as the skill lines
tell them (they hold as often as the world obeys), the other guesses them. `question` searches for the question itself
and answers with the best hit's title; `commonest` answers without searching, from the commonest answers of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.randomness import counted_generator
from sdar_envs.searchqa import tables
from sdar_envs.searchqa.answers import normalise
from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.library import open_library
from sdar_envs.searchqa.protocol import answer_action, search_action
from sdar_envs.searchqa.searchers import Searcher, read_passages, read_question
from sdar_envs.searchqa.tasks import draw_question

Play = Callable[[SearchQAEnv, str, dict[str, Any], int], dict[str, Any]]


def follow(env: SearchQAEnv, observation: str, info: dict[str, Any], number: int) -> dict[str, Any]:
    """The plan to its end."""
    while info["privileged"]["plan"]:
        info = env.step(info["privileged"]["next_action"])[4]
    return info


def search_with(claims: Callable[[dict[str, Any]], Sequence[str]]) -> Play:
    """A scripted searcher with these claims."""

    def play(env: SearchQAEnv, observation: str, info: dict[str, Any], number: int) -> dict[str, Any]:
        rng = counted_generator("benchmark", "searcher", number)
        script = Searcher(env.size, claims(info), rng, env.horizon).play(info["instruction"])
        action = next(script)
        while True:
            observation, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                return info
            action = script.send(observation)

    return play


def search_the_question(env: SearchQAEnv, observation: str, info: dict[str, Any], number: int) -> dict[str, Any]:
    """The question as the only query, and the best hit's title as the answer."""
    observation = env.step(search_action(info["instruction"]))[0]
    titles = [title for title, _ in read_passages(observation, env.size)]
    kinds = [f" {kind}" for kind in tables.KINDS] + [f" ({kind})" for kind in tables.KINDS]
    best = titles[0] if titles else ""
    for kind in kinds:
        best = best.removesuffix(kind)
    return env.step(answer_action(best))[4]


def commonest(size: str, topk: int) -> Play:
    """The commonest answer of training to questions of this form, without a search."""
    world = open_library(size, "train", 0, 0.85).world
    seen: dict[tuple[Any, ...], Counter[str]] = {}
    for index in range(4_000):
        question = draw_question(world, index, topk=topk, searches=5)
        key = (question.form.path, question.form.superlative)
        seen.setdefault(key, Counter())[normalise(question.answers[0])] += 1

    def play(env: SearchQAEnv, observation: str, info: dict[str, Any], number: int) -> dict[str, Any]:
        asked = read_question(info["instruction"], env.size)
        guess = seen.get((asked.path, asked.superlative), Counter({"": 1})).most_common(1)[0][0]
        return env.step(answer_action(guess))[4]

    return play


def main() -> None:
    """Print a table, or one JSON object."""
    options = parser("searchqa_searchers", "Scripted players in the generated world of sources.")
    options.add_argument("--size", choices=tables.SIZES, default="small")
    options.add_argument("--tasks", type=int, default=400)
    options.add_argument("--split", default="valid")
    arguments = options.parse_args()
    size = arguments.size
    kwargs: dict[str, Any] = {"topk": 1, "passage_style": "plain"} if size == "small" else {}
    env = SearchQAEnv(split=arguments.split, size=size, **kwargs)
    players: dict[str, Play] = {
        "expert": follow,
        "searcher, the skill lines": search_with(lambda info: info["privileged"]["skills"]["compact_lines"]),
        "searcher, no law": search_with(lambda info: []),
        "the question as the query": search_the_question,
        "commonest answer of training": commonest(size, env.topk),
    }
    rows: list[list[Any]] = []
    figures: dict[str, Any] = {"size": size, "split": arguments.split, "tasks": arguments.tasks, "turns": env.horizon}
    for name, play in players.items():
        wins: dict[str, list[bool]] = {kind: [] for kind in tables.TASK_TYPES}
        for number, task_id in enumerate(env.task_ids()[: arguments.tasks]):
            observation, info = env.reset(options={"task_id": task_id})
            wins[info["task_type"]].append(play(env, observation, info, number)["success"])
        rates = {kind: sum(won) / len(won) for kind, won in wins.items() if won}
        overall = sum(map(sum, wins.values())) / arguments.tasks
        figures[name] = {"overall": overall, **rates}
        rows.append([name, 100 * overall, *(100 * rates.get(kind, 0.0) for kind in tables.TASK_TYPES)])
    heading = [f"{size}, {env.horizon} turns, top {env.topk}; success in %", "all", *tables.TASK_TYPES]
    emit("searchqa_searchers", figures, [table(heading, rows)], as_json=arguments.json)


if __name__ == "__main__":
    main()
