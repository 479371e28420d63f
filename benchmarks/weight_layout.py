"""What sampling saves on a CPU whose weights lie by input, over the order that a model is loaded in.

    python -m benchmarks.weight_layout [--shape smollm2-135m] [--rows 8 32] [--json]

One model with random weights, in float32, as it is made and as a run on the CPU holds it
(`trainers.engine.weight_layout`), samples random episodes in lockstep, by the number that act together, and reads and
learns from rows of random tokens, where the order should make no difference.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch

from trainers.engine.weight_layout import lay_out_for_few_rows

from .decode import play, sampler_of
from .measure import emit, measure, parser, table
from .scoring import Workload, random_rows

ENV_ID = "sdar/Household-v0"  # whose words the tokenizer of a random model is made of; no episode is played
TURNS = 4  # of the episodes that are sampled
ORDERS = ("as loaded", "by input")


def works_of(
    model: Any, *, rows: Sequence[int], tokens: int, budget: int, sizes: tuple[int, int, int]
) -> dict[str, Callable[[], object]]:
    """The pieces of work with one model.

    Args:
        model: In whichever order.
        rows: Numbers of episodes that act together.
        tokens: Of a transcript that is read and learned from, on average; there are eight.
        budget: Padded tokens of a micro-batch.
        sizes: Tokens of a first prompt, of a reply, of a completion.
    """
    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    workload = Workload(model, random_rows(8, tokens, vocabulary), budget)

    def sampling(episodes: int) -> Callable[[], object]:
        sampler = sampler_of(model, turns=TURNS, sizes=sizes)
        return lambda: play(sampler, episodes=episodes, turns=TURNS, sizes=sizes, vocabulary=vocabulary)

    works = {f"sample, {episodes} together": sampling(episodes) for episodes in rows}
    return works | {"score": workload.reference, "forward and backward": workload.update("grpo")}


def main() -> None:
    """Measure and print."""
    options = parser("weight_layout", str(__doc__).partition("\n")[0], repeats=3)
    options.add_argument("--shape", default="smollm2-135m", help="a built-in shape")
    options.add_argument("--model", help="folder of a model, in the place of random weights")
    options.add_argument("--rows", type=int, nargs="+", default=(8, 32), help="episodes that act together")
    options.add_argument("--tokens", type=int, default=278, help="tokens per transcript, on average")
    options.add_argument("--micro-batch-tokens", type=int, default=1024, help="padded tokens of a forward pass")
    options.add_argument("--sizes", type=int, nargs=3, default=(120, 30, 12), help="of prompt, reply and completion")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.model is None:
        from trainers.warm_start.random_model import random_model

        model, _ = random_model(chosen.shape, ENV_ID)
    else:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.float32)
    model.eval()
    laid_out = copy.deepcopy(model)
    weights = lay_out_for_few_rows(laid_out)
    size: dict[str, Any] = {"tokens": chosen.tokens, "budget": chosen.micro_batch_tokens, "sizes": tuple(chosen.sizes)}
    own = {
        order: works_of(held, rows=chosen.rows, **size) for order, held in zip(ORDERS, (model, laid_out), strict=True)
    }
    timings = measure(
        {f"{work}, {order}": own[order][work] for work in own[ORDERS[0]] for order in ORDERS}, repeats=chosen.repeats
    )
    works: dict[str, dict[str, float]] = {}
    for work in own[ORDERS[0]]:
        seconds = {order: timings[f"{work}, {order}"].median for order in ORDERS}
        works[work] = {**seconds, "ratio": seconds[ORDERS[1]] / seconds[ORDERS[0]]}
    text = table(
        ["work", "as loaded, CPU s", "by input", "ratio"], [[work, *row.values()] for work, row in works.items()]
    )
    emit("weight_layout", {"weights": weights, "works": works}, [text], as_json=chosen.json)


if __name__ == "__main__":
    main()
