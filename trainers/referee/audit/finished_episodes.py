"""Episodes that are over and go on: turns that are sampled and thrown away."""

from __future__ import annotations

import numpy as np

from sdar_envs.randomness import counted_generator

from .item import AuditItem, Figure, KeyPart, Thread

EPISODES, HORIZON, BATCHES = 128, 50, 500
# Turns of a won episode: between the shortest plans of such games and three times as many.
SHORTEST, LONGEST = 6, 24


def sampled_turns(lengths_BE: np.ndarray) -> float:
    """Turns that are sampled per turn that is used, where all episodes of a batch go on until the last one ends."""
    return float((lengths_BE.max(axis=1) * lengths_BE.shape[1]).sum() / lengths_BE.sum())


def lengths(rate: float, generator: np.random.Generator) -> np.ndarray:
    """Turns of each episode, ``[BATCHES, EPISODES]``: a lost one lasts to the horizon."""
    won = generator.random((BATCHES, EPISODES)) < rate
    return np.where(won, generator.integers(SHORTEST, LONGEST + 1, size=won.shape), HORIZON)


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Sampled turns per used turn, for a good and a middling policy."""
    generator = counted_generator("audit", "finished episodes", key)
    return tuple(
        Figure(
            f"sampled turns per turn that is used, {100 * rate:.0f} % won",
            sampled_turns(lengths(rate, generator)),
            1.0,
            "times",
        )
        for rate in (0.8, 0.5, 0.95)
    )


ITEM = AuditItem(
    name="finished-episodes",
    title="episodes that are over are played on",
    where="SDAR's rollout loop (verl-agent's)",
    explanation=(
        "All environments step together until the last is done or the horizon of 50 turns is reached; a finished "
        "episode is still sampled for, stepped, and dropped afterwards. In its store the environment has meanwhile "
        "reset itself, so that the last observation is the first of an unrelated task. This costs time, not points: "
        "the better the policy, the more. Assumed: a won episode takes 6 to 24 turns, a lost one all 50."
    ),
    fixed="Only live episodes are sampled for and stepped, and the last observation is the episode's own.",
    threads=(
        Thread(
            "lerobot #4247: stop simulating environments whose episode has ended",
            "https://github.com/huggingface/lerobot/pull/4247",
        ),
    ),
    measure=measure,
)
