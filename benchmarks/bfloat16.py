"""What bfloat16 saves on this processor: CPU seconds of the passes, of sampling and of a warm start, over float32's.

    python -m benchmarks.bfloat16 [--shape smollm2-135m] [--rows 8] [--tokens 278] [--json]

One model with random weights, held once in float32 and once in bfloat16 as a run with ``bf16`` holds it, reads, learns
from and samples random tokens; a cloning step has float32 weights and makes its products in one or the other, as a warm
start does. Processors that multiply bfloat16 numbers have ``avx512_bf16`` or ``amx_bf16`` among the flags of
``/proc/cpuinfo``; on others bfloat16 is slower. A cloning step ends with the optimiser's; the other pieces have none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from trainers.warm_start.behaviour_cloning import Cloner, FineTuningConfig

from .decode import play, sampler_of
from .measure import Timing, emit, measure, parser, table
from .scoring import Workload, random_rows

ENV_ID = "sdar/Household-v0"  # whose words the tokenizer of a random model is made of; no episode is played
TURNS = 2  # of the episodes that are sampled
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def works_of(
    model: Any, precision: str, *, rows: int, tokens: int, budget: int, sizes: tuple[int, int, int]
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """The pieces of work in one precision, and the tokens that each has to do with.

    Args:
        model: In float32; it is not changed.
        precision: ``float32`` or ``bfloat16``.
        rows: Transcripts that are read and learned from, and episodes that are sampled.
        tokens: Of a transcript, on average.
        budget: Padded tokens of a micro-batch.
        sizes: Tokens of a first prompt, of a reply, of a completion.
    """
    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    held = copy.deepcopy(model).to(PRECISIONS[precision])
    made = random_rows(rows, tokens, vocabulary)
    workload = Workload(held, made, budget)
    sampler = sampler_of(held, turns=TURNS, sizes=sizes)
    sampling: dict[str, Any] = {"episodes": rows, "turns": TURNS, "sizes": sizes, "vocabulary": vocabulary}
    tuning = FineTuningConfig(autocast="on" if precision == "bfloat16" else "off")
    views = [row.student for row in made[: tuning.batch_size]]
    cloner = Cloner(copy.deepcopy(model), views, tuning, key=("benchmarks.bfloat16",), pad_id=0)
    works: dict[str, Callable[[], object]] = {
        "score": workload.reference,
        "forward and backward": workload.update("grpo"),
        "sample": lambda: play(sampler, **sampling),
        "warm-start step": cloner.step,
    }
    read, cloned = workload.tokens(), sum(len(view.ids) for view in views)
    counts = {"score": read, "forward and backward": read, "sample": rows * TURNS * sizes[2], "warm-start step": cloned}
    return works, counts


def figures_of(timings: dict[str, Timing], counts: dict[str, int]) -> dict[str, dict[str, float]]:
    """For each piece of work: tokens, CPU milliseconds a token in both precisions, and bfloat16's over float32's."""
    figures = {}
    for work, tokens in counts.items():
        own = {name: 1000 * timings[f"{work}, {name}"].median / tokens for name in PRECISIONS}
        figures[work] = {"tokens": tokens, **own, "ratio": own["bfloat16"] / own["float32"]}
    return figures


def main() -> None:
    """Measure and print."""
    options = parser("bfloat16", str(__doc__).partition("\n")[0], repeats=3)
    options.add_argument("--shape", default="smollm2-135m", help="a built-in shape")
    options.add_argument("--model", help="folder of a model, in the place of random weights")
    options.add_argument("--rows", type=int, default=8, help="transcripts, and episodes that act together")
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
    works: dict[str, Callable[[], object]] = {}
    counts: dict[str, int] = {}
    for precision in PRECISIONS:
        own, counts = works_of(
            model,
            precision,
            rows=chosen.rows,
            tokens=chosen.tokens,
            budget=chosen.micro_batch_tokens,
            sizes=tuple(chosen.sizes),
        )
        works |= {f"{work}, {precision}": done for work, done in own.items()}
    figures = figures_of(measure(works, repeats=chosen.repeats), counts)
    text = table(
        ["work", "tokens", "float32, CPU ms a token", "bfloat16", "ratio"],
        [[work, *own.values()] for work, own in figures.items()],
    )
    emit("bfloat16", figures, [text], as_json=chosen.json)


if __name__ == "__main__":
    main()
