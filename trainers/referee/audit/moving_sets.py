"""Another evaluation set at every validation: a curve that moves while the policy stands still."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from sdar_envs.randomness import counted_generator

from ..outcomes import latent_share
from .item import AuditItem, Figure, KeyPart, Thread
from .threads import SDAR_13, SDAR_58

RATE, EPISODES, VALIDATIONS, CURVES = 0.8, 128, 30, 4_000
# Half of the variance p(1 - p) between tasks, as in this suite's household study.
BETWEEN_TASKS = RATE * (1 - RATE) / 2


def curves(moving: bool, count: int, generator: np.random.Generator, validations: int = VALIDATIONS) -> np.ndarray:
    """Success rates of one unchanging policy, ``[count, validations]``, over sets that move or hold still."""
    share = latent_share(RATE, BETWEEN_TASKS)
    tasks = generator.standard_normal((count, validations if moving else 1, EPISODES))
    chances = special.ndtr((special.ndtri(RATE) - math.sqrt(share) * tasks) / math.sqrt(1 - share))
    wins = generator.random((count, validations, EPISODES)) < chances
    return np.asarray(wins.mean(axis=-1))


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """How far two validations of one policy lie apart, and what taking the best of thirty adds."""
    made = {
        moving: np.concatenate(
            [
                curves(moving, 250, counted_generator("audit", "moving sets", key, int(moving), part))
                for part in range(CURVES // 250)
            ]
        )
        for moving in (True, False)
    }
    apart = {
        moving: 100 * float(np.quantile(np.abs(rates[:, 0] - rates[:, 1]), 0.95)) for moving, rates in made.items()
    }
    best = 100 * float((made[True].max(axis=1) - RATE).mean())
    # The fixed form: whichever was chosen on one set, another states it, which was not looked at before.
    stated = curves(False, CURVES, counted_generator("audit", "moving sets", key, "test"), validations=1)
    fixed = 100 * float((stated - RATE).mean())
    return (
        Figure("of bias from the best of 30 validations of an unchanging policy", best, fixed, "points"),
        Figure("by which two validations of one policy differ (95 % of pairs)", apart[True], apart[False], "points"),
    )


ITEM = AuditItem(
    name="moving-sets",
    title="every validation has other tasks",
    where="SDAR's ALFWorld and WebShop workers, and the copies made of them",
    explanation=(
        "Workers draw new tasks whenever they are reset, so validations 5 iterations apart are on other tasks, and a "
        "step of the curve is luck with tasks as much as learning. Simulated: a policy of 80 % that does not change, "
        "128 single samples a validation, half of an outcome's variance between tasks, 30 validations as in 150 "
        "iterations. Where the best validation is what is stated, the luckiest of thirty sets is."
    ),
    fixed=(
        "An evaluation set is a file with its hash, the same at every validation and for every method; the checkpoint "
        "is chosen on valid and stated on test, which is looked at once."
    ),
    threads=(
        SDAR_13,
        SDAR_58,
        Thread(
            "SkillRL #62: is the table of checkpoint 150, or of the best in 150?",
            "https://github.com/aiming-lab/SkillRL/issues/62",
        ),
    ),
    measure=measure,
)
