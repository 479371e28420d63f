"""What the passes after a rollout cost: teacher, reference, and the update of GRPO and of SDAR.

The workload is an iteration of the tiny preset in shape (16 x 8 transcripts of about 120 tokens, a third of them
sampled) on a model of its size with random weights and tokens, so that it needs no environment. Rollouts are measured
elsewhere; shares here are shares of what follows them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from agents.base import View
from sdar_envs.randomness import counted_generator
from trainers.batch.row import ScoredRow, WeighedRow, advanced
from trainers.batch.token_batch import collate, loss_tokens, micro_batches
from trainers.config import SDARConfig
from trainers.forward.passes import score_rows, score_views
from trainers.forward.root import PolicyModel
from trainers.methods import METHODS, weigh
from trainers.methods.objective import objective
from trainers.warm_start.tiny_model import TinyModelConfig

from .measure import Timing, emit, measure, parser, table

BLOCK_TOKENS = 20  # what the teacher reads beyond the student


def random_model(size: TinyModelConfig) -> Any:
    """A Qwen3 model of that size with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = dataclasses.asdict(size)
    init_std = sizes.pop("init_std")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Qwen3Config(**sizes, initializer_range=init_std, tie_word_embeddings=True)
        model: Any = Qwen3ForCausalLM(config)
    return model.eval()


def random_rows(count: int, tokens: int, vocabulary: int) -> list[ScoredRow]:
    """Transcripts of `tokens` on average: turns of seven read and four sampled tokens after a prompt of twenty."""
    draw = counted_generator("benchmarks.scoring", count, tokens)
    rows = []
    for index in range(count):
        length = int(draw.integers(tokens * 2 // 3, tokens * 4 // 3 + 1))
        ids = [int(i) for i in draw.integers(0, vocabulary, length)]
        positions = [p for p in range(20, length) if (p - 20) % 11 >= 7]
        block = [int(i) for i in draw.integers(0, vocabulary, BLOCK_TOKENS)]
        rows.append(
            ScoredRow(
                index=index,
                student=View(ids, positions),
                teachers={"teacher": View(block + ids, [p + BLOCK_TOKENS for p in positions])},
                behaviour_logprobs_T=[],
                turn_ids_T=[(p - 20) // 11 for p in positions],
                episode_id=index,
                group_id=index // 8,
                invalid_T=[False] * len(positions),
            )
        )
    return rows


class Workload:
    """One iteration's scoring and learning, piece by piece.

    Args:
        model: A causal language model.
        rows: Transcripts, from `random_rows`.
        budget: Padded tokens of a micro-batch.
    """

    def __init__(self, model: Any, rows: list[ScoredRow], budget: int) -> None:
        self.root = PolicyModel(model)
        self.rows = rows
        self.config = SDARConfig(distill_coef=0.3, beta=0.1, micro_batch_tokens=budget)
        self.rows = [
            advanced(
                row,
                ScoredRow,
                behaviour_logprobs_T=logprobs,
                reference_logprobs_T=logprobs,
                teacher_logprobs_T={"teacher": reading},
            )
            for row, logprobs, reading in zip(self.rows, self.reference(), self.teacher(), strict=True)
        ]

    def _score(self, views: list[View]) -> list[list[float]]:
        return score_rows(self.root, views, temperature=1.0, pad_id=0, token_budget=self.config.micro_batch_tokens)

    def reference(self) -> list[list[float]]:
        """The reference policy reads what the student read."""
        return self._score([row.student for row in self.rows])

    def teacher(self) -> list[list[float]]:
        """The teacher reads the same tokens given its longer prompt."""
        return self._score([row.teachers["teacher"] for row in self.rows])

    def update(self, name: str) -> Callable[[], None]:
        """Forward and backward over all rows for the method of that name."""
        plan = METHODS[name].at(0, self.config)
        views = plan.method.teacher_views if plan.reads_teacher else ()
        advantages = {row.index: [1.0 if row.index % 2 else -1.0] * len(row) for row in self.rows}
        weighed: list[WeighedRow] = weigh(plan, self.rows, advantages, mask_truncated=False)

        def work() -> None:
            self.root.zero_grad(set_to_none=True)
            denominator = loss_tokens(weighed)
            lengths = [len(row.student.ids) for row in weighed]
            for indices in micro_batches(lengths, self.config.micro_batch_tokens):
                picked = [weighed[index] for index in indices]
                batch = collate(picked, teacher_views=views)
                scored = score_views(self.root, [row.student for row in picked], temperature=1.0, pad_id=0, grad=True)
                batch.student_BT = scored.logprobs_BT
                loss = objective(plan, batch, self.config, denominator=denominator).loss
                torch.autograd.backward([loss])

        return work

    def tokens(self) -> int:
        """Tokens of the student's rows."""
        return sum(len(row.student.ids) for row in self.rows)


def figures_of(timings: dict[str, Timing], workload: Workload) -> dict[str, Any]:
    """Medians, rates, shares of a step without its rollout, and the cost of SDAR over GRPO."""
    seconds = {name: timing.median for name, timing in timings.items()}
    grpo = seconds["reference"] + seconds["update grpo"]
    sdar = seconds["teacher"] + seconds["reference"] + seconds["update sdar"]
    return {
        "rows": len(workload.rows),
        "tokens": workload.tokens(),
        "loss_tokens": loss_tokens(workload.rows),
        "micro_batch_tokens": workload.config.micro_batch_tokens,
        "cpu_seconds": seconds,
        "tokens_per_cpu_second": {name: workload.tokens() / value for name, value in seconds.items()},
        "share_of_sdar": {
            "teacher": seconds["teacher"] / sdar,
            "reference": seconds["reference"] / sdar,
            "update": seconds["update sdar"] / sdar,
        },
        "sdar_over_grpo_without_rollout": sdar / grpo,
    }


def main() -> None:
    """Measure and print."""
    options = parser("scoring", str(__doc__).partition("\n")[0])
    options.add_argument("--rows", type=int, default=128, help="transcripts")
    options.add_argument("--tokens", type=int, default=120, help="tokens per transcript, on average")
    options.add_argument(
        "--micro-batch-tokens", type=int, nargs="+", default=[2048, 4096, 8192, 16384], help="budgets to compare"
    )
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    results = []
    size = TinyModelConfig()
    for budget in chosen.micro_batch_tokens:
        workload = Workload(random_model(size), random_rows(chosen.rows, chosen.tokens, size.vocab_size), budget)
        works: dict[str, Callable[[], object]] = {
            "teacher": workload.teacher,
            "reference": workload.reference,
            "update grpo": workload.update("grpo"),
            "update sdar": workload.update("sdar"),
        }
        results.append(figures_of(measure(works, repeats=chosen.repeats), workload))
    first = results[0]
    by_budget = table(
        ["micro-batch tokens", *(f"{name}, CPU-s" for name in first["cpu_seconds"]), "SDAR / GRPO, no rollout"],
        [[r["micro_batch_tokens"], *r["cpu_seconds"].values(), r["sdar_over_grpo_without_rollout"]] for r in results],
    )
    best = min(results, key=lambda r: sum(r["cpu_seconds"].values()))
    shares = table(
        ["pass", "share of SDAR without rollout", "student tokens per CPU-s"],
        [
            [name, share, best["tokens_per_cpu_second"]["update sdar" if name == "update" else name]]
            for name, share in best["share_of_sdar"].items()
        ],
    )
    title = f"{first['rows']} rows, {first['tokens']:,} tokens, {first['loss_tokens']:,} of them sampled"
    footer = f"Best budget: {best['micro_batch_tokens']} tokens"
    emit("scoring", {"budgets": results}, [title, by_budget, footer, shares], as_json=chosen.json)


if __name__ == "__main__":
    main()
