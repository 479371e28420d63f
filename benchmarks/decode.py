"""Sampled tokens per second of the local sampler: over a padded block, over rows kept in place, and as a stream.

    python -m benchmarks.decode [--episodes 32] [--turns 6] [--device cpu] [--json]

A random model of the peer comparison's shape plays transcripts of fixed sizes (no token ends a completion), so that all
ways to decode do the same work; before anything is timed, their token ids are compared. `run` takes any model, and on
an accelerator gives wall seconds and the bound that memory sets: every step reads the parameters and what is held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .measure import emit, measure, parser, table

PROMPT, REPLY, COMPLETION = 180, 45, 24  # tokens of the first prompt, of what an environment adds, of a completion
VOCABULARY = 512
WAYS: dict[str, dict[str, Any]] = {
    "block": {"layout": "block"},
    "rows": {"layout": "rows"},
    "block, the model's own pass": {"layout": "block", "fast": False},
    "rows, the model's own pass": {"layout": "rows", "fast": False},
}


def peer_shape() -> Any:
    """A random Qwen3 of the peer comparison's shape: 0.85 million parameters."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from .peer_trl import MODEL

    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**MODEL, bos_token_id=None, eos_token_id=None)).eval()


def sampler_of(model: Any, *, turns: int, sizes: tuple[int, int, int], **options: Any) -> Any:
    """A sampler with room for an episode of so many turns; no token ends a completion."""
    from agents.sampling.local import BatchSampler

    prompt, reply, completion = sizes
    room = prompt + turns * (reply + completion)
    return BatchSampler(model, end_ids=[], pad_id=0, max_completion_length=completion, max_context=room, **options)


def play(
    sampler: Any, *, episodes: int, turns: int, sizes: tuple[int, int, int], vocabulary: int, window: bool = False
) -> list[tuple[int, ...]]:
    """Episodes of fixed sizes in lockstep; returns the sampled ids, turn by turn.

    Args:
        sampler: From `sampler_of`.
        episodes: In groups of eight with one first prompt each.
        turns: Per episode.
        sizes: Tokens of the first prompt, of a reply, of a completion.
        vocabulary: Ids to draw prompts from.
        window: A whole prompt each turn, whose first half is always the same, instead of what is new.
    """
    import numpy as np

    from agents.sampling.base import SampleRequest

    prompt, reply, _ = sizes
    sampled: list[tuple[int, ...]] = []
    for turn in range(turns):
        requests = []
        for slot in range(episodes):
            head = np.random.default_rng([slot // 8, 0]).integers(0, vocabulary, prompt).tolist()
            tail = np.random.default_rng([slot, turn, 1]).integers(0, vocabulary, reply).tolist()
            if window:
                ids = head[: prompt // 2] + (head[prompt // 2 :] if turn == 0 else tail)
            else:
                ids = head if turn == 0 else tail
            requests.append(SampleRequest(slot, ids, turn > 0 and not window, ("decode", slot, turn)))
        sampled += [sample.ids for sample in sampler.sample(requests)]
    sampler.release(range(episodes))
    return sampled


def run(
    model: Any,
    *,
    episodes: int,
    turns: int,
    sizes: tuple[int, int, int] = (PROMPT, REPLY, COMPLETION),
    window: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    bytes_per_second: float | None = None,
    **options: Any,
) -> dict[str, float]:
    """Play once to warm up and once for the clock.

    Args:
        model: Any causal language model, on its device.
        episodes: That act together.
        turns: Per episode.
        sizes: Tokens of the first prompt, of a reply, of a completion.
        window: As in `play`.
        clock: Seconds.
        bytes_per_second: Of the device's memory, for the bound; None gives none.
        **options: Of `BatchSampler`.

    Returns:
        ``tokens``, ``seconds``, ``tokens_per_second``; with `bytes_per_second` also ``bound_tokens_per_second``, of
        decoding alone, and ``share_of_bound``.
    """
    import torch

    from agents.sampling.row_forward import bytes_per_token

    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    sampler = sampler_of(model, turns=turns, sizes=sizes, **options)
    settings: dict[str, Any] = {"episodes": episodes, "turns": turns, "sizes": sizes, "vocabulary": vocabulary}
    play(sampler, **settings, window=window)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    tokens = sum(map(len, play(sampler, **settings, window=window)))
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - start
    figures = {"tokens": float(tokens), "seconds": seconds, "tokens_per_second": tokens / seconds}
    if bytes_per_second is not None:
        # A step reads all parameters once, and each row's keys and values up to its length.
        prompt, reply, completion = sizes
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        lengths = [prompt + (0 if window else turn * (reply + completion)) for turn in range(turns)]
        held = sum(lengths) / turns + completion / 2
        step = (weights + episodes * held * bytes_per_token(model)) / bytes_per_second
        figures["bound_tokens_per_second"] = episodes / step
        figures["share_of_bound"] = figures["tokens_per_second"] * step / episodes
    return figures


def compare(
    model: Any, ways: Sequence[str], *, episodes: int, turns: int, repeats: int, window: bool
) -> dict[str, dict[str, float]]:
    """CPU seconds of each way to decode, in turns, after their ids were found equal.

    Raises:
        ValueError: The ids of two ways differ.
    """
    sizes = (PROMPT, REPLY, COMPLETION)
    settings: dict[str, Any] = {"episodes": episodes, "turns": turns, "sizes": sizes, "window": window}
    settings["vocabulary"] = int(model.get_output_embeddings().weight.shape[0])
    samplers = {way: sampler_of(model, turns=turns, sizes=sizes, **WAYS[way]) for way in ways}
    ids = {way: play(sampler, **settings) for way, sampler in samplers.items()}
    for way, own in ids.items():
        if own != ids[ways[0]]:
            at = next(i for i, pair in enumerate(zip(own, ids[ways[0]], strict=True)) if pair[0] != pair[1])
            raise ValueError(f"{way}: expected the token ids of {ways[0]!r}, and completion {at} differs")
    tokens = sum(map(len, ids[ways[0]]))
    timings = measure(
        {way: (lambda sampler=sampler: play(sampler, **settings)) for way, sampler in samplers.items()},
        repeats=repeats,
        warmups=0,
    )
    return {way: {"cpu_s": each.median, "tokens_per_cpu_s": each.rate(tokens)} for way, each in timings.items()}


def main() -> None:
    """Compare and print."""
    options = parser("decode", __doc__ or "")
    options.add_argument("--episodes", type=int, default=32, help="that act together")
    options.add_argument("--turns", type=int, default=6, help="per episode")
    options.add_argument("--model", help="folder of a model; none is a random one of the peer comparison's shape")
    chosen = options.parse_args()
    import torch

    torch.set_num_threads(chosen.threads)
    if chosen.model is None:
        model = peer_shape()
    else:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.float32)
    figures = {
        context: compare(
            model,
            list(WAYS),
            episodes=chosen.episodes,
            turns=chosen.turns,
            repeats=chosen.repeats,
            window=context == "window",
        )
        for context in ("transcript", "window")
    }
    rows = [
        [way, context, own["cpu_s"], own["tokens_per_cpu_s"]]
        for context, ways in figures.items()
        for way, own in ways.items()
    ]
    emit(
        "decode", figures, [table(["decoding over", "context", "CPU-s", "tokens per CPU-s"], rows)], as_json=chosen.json
    )


if __name__ == "__main__":
    main()
