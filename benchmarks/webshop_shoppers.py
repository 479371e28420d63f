"""What scripted players reach in the generated store: the baselines, and what knowing its laws is worth.

    python -m benchmarks.webshop_shoppers [--json] [--sizes full small] [--tasks 400] [--split test]

`plan` follows the environment's own plan; `random` clicks and searches at random; `first hit` searches for the whole
request and buys what comes first, with the options that the request names. The shoppers read what a student reads: told
the skill lines, told lines that are wrong about a part of the departments, or guessing. Those that `read` open the
wanted thing's page and buy only what has the wanted property; the others buy the first that looks right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.shoppers import FirstHit, RandomShopper, Shopper, shop
from sdar_envs.webshop.taxonomy import SIZES

STALE = 0.3

Play = Callable[[WebShopEnv, str], float]


def follow_the_plan(env: WebShopEnv, task_id: str) -> float:
    """The plan to its end; the score."""
    _, info = env.reset(options={"task_id": task_id})
    for action in info["privileged"]["plan"]:
        info = env.step(action)[4]
    return float(info["score"])


def shop_with(env: WebShopEnv, task_id: str, *, inspects: bool, told: WebShopEnv | None) -> float:
    """A scripted shopper, told what the skill bank of an environment says of the task, or nothing; the score."""
    claims: Sequence[str] = ()
    if told is not None:
        _, info = told.reset(options={"task_id": task_id})
        claims = info["privileged"]["skills"]["compact_lines"]
    return shop(env, task_id, Shopper(claims, (task_id,), inspects=inspects))


def players(size: str, split: str, env: WebShopEnv) -> dict[str, Play]:
    """All of them by name."""
    stale = WebShopEnv(size=size, split=split, stale=STALE)
    return {
        "random clicks and searches": lambda env, task_id: shop(env, task_id, RandomShopper((task_id,))),
        "first hit of the whole request": lambda env, task_id: shop(env, task_id, FirstHit()),
        "shopper, no law": partial(shop_with, inspects=False, told=None),
        "shopper that reads, no law": partial(shop_with, inspects=True, told=None),
        f"shopper that reads, {STALE:.0%} stale": partial(shop_with, inspects=True, told=stale),
        "shopper, the skill lines": partial(shop_with, inspects=False, told=env),
        "shopper that reads, the skill lines": partial(shop_with, inspects=True, told=env),
        "plan": follow_the_plan,
    }


def main() -> None:
    """Print a table per size, or one JSON object."""
    options = parser("webshop_shoppers", "Scripted players in the generated store.")
    options.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options.add_argument("--tasks", type=int, default=400)
    options.add_argument("--split", default="test")
    arguments = options.parse_args()
    figures: dict[str, Any] = {"split": arguments.split, "tasks": arguments.tasks}
    tables = []
    for size in arguments.sizes:
        env = WebShopEnv(size=size, split=arguments.split)
        tasks = env.task_ids()[: arguments.tasks]
        figures[size] = {"families": len({env.cluster_of(task_id) for task_id in tasks}), "horizon": env.horizon}
        rows: list[list[Any]] = []
        for name, play in players(size, arguments.split, env).items():
            scores = [play(env, task_id) for task_id in tasks]
            success = sum(score == 1.0 for score in scores) / len(scores)
            figures[size][name] = {"success": success, "score": sum(scores) / len(scores)}
            rows.append([name, 100 * success, round(sum(scores) / len(scores), 2)])
        tables.append(table([f"{size}, {env.horizon} steps", "success, %", "mean score"], rows))
    emit("webshop_shoppers", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
