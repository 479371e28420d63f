"""Groups of one: the raw reward as advantage."""

from __future__ import annotations

import numpy as np

from ...maths.advantages import STD_EPSILON, group_advantages
from .item import AuditItem, Figure, KeyPart, Thread

REWARD, GROUP = 10.0, 8


def raw_when_alone(scores: list[float]) -> list[float]:
    """Advantages of one group where a mean of 0 and a deviation of 1 stand in for those of a single member."""
    if len(scores) == 1:
        return [scores[0] / (1 + STD_EPSILON)]
    return [float(value) for value in group_advantages(scores, ["one"] * len(scores))]


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """The advantage of a lone win, beside the largest that a whole group gives."""
    alone = raw_when_alone([REWARD])[0]
    largest = max(raw_when_alone([REWARD] + [0.0] * (GROUP - 1)))
    ours = float(np.abs(group_advantages([REWARD], ["one"])).max())
    return (
        Figure("advantage of a win that is alone in its group", alone, ours, "deviations"),
        Figure("as much as the rarest win in a group of 8 gets", alone / largest, ours / largest, "times"),
    )


ITEM = AuditItem(
    name="single-member-groups",
    title="a group of one keeps its raw reward",
    where="SDAR's and verl's GRPO advantage; other code does so for leave-one-out baselines",
    explanation=(
        "A group that is left with one row (because the others failed, were filtered, or were never made) has no mean "
        "to compare with. The code then takes a mean of 0 and a deviation of 1, so a win of 10 becomes an advantage of "
        "10, four times the largest that a win can get in a group of eight, and a push up without any evidence that "
        "the episode was better than another. By hand; nothing is drawn."
    ),
    fixed="A group of one gives 0, is counted, and is reported by the run's health checks.",
    threads=(
        Thread(
            "labs-molt #8: in a group of one GRPO gives 0, and RLOO the raw reward",
            "https://github.com/NVIDIA-NeMo/labs-molt/pull/8",
        ),
        Thread(
            "Trinity-RFT #560: groups of one give 0 (GiGPO)", "https://github.com/agentscope-ai/Trinity-RFT/pull/560"
        ),
    ),
    measure=measure,
)
