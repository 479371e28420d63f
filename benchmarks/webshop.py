"""Speed and memory of the store, one process: steps, resets, searches, and what building a store costs.

    python -m benchmarks.webshop [--json] [--steps 6000] [--products 1000,10000,100000]

Steps are those of two players, played in turns: the environment's own plan, and random clicks with searches by words of
the request. Every store is generated; the original is not installed beside it, so its figures are not measured here.
CPU seconds of this process, single thread.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import gymnasium as gym

import sdar_envs
from benchmarks.measure import emit, parser, table
from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.analysis import _short_term, terms
from sdar_envs.webshop.generator import generate
from sdar_envs.webshop.search import SearchIndex
from sdar_envs.webshop.shoppers import read_request

gym.register_envs(sdar_envs)


def resident_megabytes() -> float:
    """Memory of this process that is in use; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096 / 1e6
    except OSError:
        return 0.0


def measure_steps(size: str, steps: int, **kwargs: Any) -> dict[str, float]:
    """Steps per CPU second (searches included, resets not), and CPU microseconds per reset."""
    env = gym.make("sdar/WebShop-v0", size=size, disable_env_checker=True, **kwargs).unwrapped
    teller = gym.make("sdar/WebShop-v0", size=size, disable_env_checker=True).unwrapped
    tasks = env.task_ids()
    env.reset(options={"task_id": tasks[0]})  # the store is built once per process
    rng = counted_generator("benchmark", "webshop", size)
    stepping = resetting = 0.0
    taken = resets = searches = 0
    while taken < steps:
        task_id = tasks[resets % len(tasks)]
        plan = teller.reset(options={"task_id": task_id})[1]["privileged"]["plan"]
        begun = time.process_time()
        _, info = env.reset(options={"task_id": task_id})
        resetting += time.process_time() - begun
        wanted, follows, over = read_request(info["instruction"]), resets % 2 == 0, False
        resets += 1
        while not over:
            actions = info["admissible_actions"]
            action = plan.pop(0) if follows else actions[int(rng.integers(len(actions)))]
            if "<" in action.replace("< prev", "") or (not follows and rng.random() < 0.1):
                cue = ("use", "material", "style")[int(rng.integers(3))]
                action = f"search[{wanted.cue(cue)} {wanted.kind}]"
            searches += action.startswith("search")
            begun = time.process_time()
            _, _, terminated, truncated, info = env.step(action)
            stepping += time.process_time() - begun
            over = terminated or truncated
            taken += 1
    return {
        "steps_per_second": taken / stepping,
        "reset_us": 1e6 * resetting / resets,
        "share_of_searches": searches / taken,
    }


def measure_search(products: int, queries: int) -> dict[str, float]:
    """What a generated store of a size costs to make, to hold and to search; queries are those of its requests."""
    gc.collect()
    before = resident_megabytes()
    begun = time.process_time()
    made = generate("full", "train", num_products=products)
    built = time.process_time() - begun
    held = resident_megabytes() - before
    begun = time.process_time()
    index = SearchIndex.build((product.asin, product.document()) for product in made.catalog)
    indexed = time.process_time() - begun
    requests = [request for some in made.requests.values() for request in some]
    short = [request.query for request in requests][:queries]
    long = [request.goal(number % 16).instruction for number, request in enumerate(requests)][:queries]
    figures = {"build_s": built, "index_s": indexed, "index_mb": index.nbytes / 1e6, "memory_mb": held}
    for name, asked in (("query_ms", short), ("sentence_ms", long)):
        begun = time.process_time()
        for query in asked:
            index.search(query, 50)
        figures[name] = 1e3 * (time.process_time() - begun) / len(asked)
    return figures


def main() -> None:
    """Print tables, or one JSON object."""
    options = parser("webshop", "Steps, resets, searches, build and memory of the store.", repeats=3)
    options.add_argument("--steps", type=int, default=6_000, help="steps per figure and repeat")
    options.add_argument("--products", default="1000,10000,100000", help="sizes of the stores that are searched")
    arguments = options.parse_args()
    terms("the stemmer is imported once per process")
    figures: dict[str, Any] = {}
    rows = []
    for size in ("full", "small"):
        for privileged in (False, True):
            name = f"{size}, {'with' if privileged else 'without'} privileged"
            runs = [
                measure_steps(size, arguments.steps, expose_privileged=privileged) for _ in range(arguments.repeats)
            ]
            runs.sort(key=lambda run: run["steps_per_second"])
            figures[name] = runs[len(runs) // 2]
            rows.append((name, *figures[name].values()))
    searched = []
    for count in (int(word) for word in arguments.products.split(",")):
        _short_term.cache_clear()
        figures[f"{count} products"] = found = measure_search(count, 200)
        searched.append((f"{count:,} products", *found.values()))
    headers = ["store", "build, s", "of it index, s", "index, MB", "memory, MB", "short query, ms", "sentence, ms"]
    tables = [
        table(["1,000 products", "steps/s", "reset, us", "share of searches"], rows),
        table(headers, searched),
    ]
    emit("webshop", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
