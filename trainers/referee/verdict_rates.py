"""How often a study's decision rule is wrong, and how often it finds what is there: counted on synthetic studies.

A synthetic study has arms and a reference, a number per arm and seed, and one hypothesis per arm: that its number is
higher than the reference's. The numbers are drawn, and everything after them is the study's own code: t intervals, sign
flips, Holm's correction, verdicts. All hypotheses share the reference, as in a real study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdar_envs.choices import require_choice
from sdar_envs.randomness import counted_generator

from ..study.plan_records import Claimed, Hypothesis, Term
from ..study.statistics import sign_flip_p, t_interval
from ..study.table_records import Contrast, Verdict
from ..study.verdicts import REFUTED, SUPPORTED, verdicts

Floats = NDArray[np.float64]

# How numbers of one arm differ between seeds: normal; or with a run of ten that collapses, far below the others.
NOISES = ("normal", "collapses")
_COLLAPSE_SHARE, _COLLAPSE_DEPTH = 0.1, 6.0


@dataclass(frozen=True, slots=True)
class SyntheticStudy:
    """What is drawn.

    Attributes:
        seeds: Runs per arm, paired.
        effects: By how much each arm's number is really higher than the reference's, one per hypothesis.
        deviation: Standard deviation of a paired difference between two arms that are equally good.
        noise: Of `NOISES`.
    """

    seeds: int
    effects: tuple[float, ...]
    deviation: float
    noise: str = "normal"

    def __post_init__(self) -> None:
        require_choice("noise", self.noise, NOISES, "a synthetic study")
        if self.seeds < 2 or not self.effects or not self.deviation > 0:
            raise ValueError(
                f"a synthetic study expects at least 2 seeds, an effect and a deviation above 0, got {self.seeds}, "
                f"{len(self.effects)} effects and {self.deviation}"
            )


@dataclass(frozen=True, slots=True)
class VerdictRates:
    """Counts over synthetic studies.

    Attributes:
        studies: How many.
        with_false_support: Those in which a hypothesis without an effect came out as supported.
        supported: Per hypothesis, how often it came out as supported.
        refuted: Per hypothesis, how often as refuted.
    """

    studies: int
    with_false_support: int
    supported: tuple[int, ...]
    refuted: tuple[int, ...]


def draw(study: SyntheticStudy, generator: np.random.Generator) -> Floats:
    """Numbers of the reference (row 0) and the arms, ``[1 + arms, seeds]``; the mean of noise is 0 in every row."""
    shape = (1 + len(study.effects), study.seeds)
    noise_AS = generator.standard_normal(shape)
    if study.noise == "collapses":
        fallen_AS = generator.random(shape) < _COLLAPSE_SHARE
        noise_AS += _COLLAPSE_DEPTH * (_COLLAPSE_SHARE - fallen_AS)
        noise_AS /= math.sqrt(1 + _COLLAPSE_DEPTH**2 * _COLLAPSE_SHARE * (1 - _COLLAPSE_SHARE))
    effects_A = np.array([0.0, *study.effects])
    return effects_A[:, None] + study.deviation / math.sqrt(2) * noise_AS


def judge(numbers_AS: Floats) -> tuple[Verdict, ...]:
    """The study's verdicts on the hypotheses that each row after the first is above the first."""
    return verdicts([_found(arm, row - numbers_AS[0]) for arm, row in enumerate(numbers_AS[1:], start=1)])


def _found(arm: int, differences_S: Floats) -> tuple[Hypothesis, Sequence[Contrast], Sequence[Contrast]]:
    claim = Claimed(f"arm {arm} - reference", (Term(f"arm {arm}", "area"), Term("reference", "area", -1.0)))
    values = [float(value) for value in differences_S]
    contrast = Contrast(
        name=claim.name,
        terms=claim.terms,
        bound=claim.bound,
        direction=claim.direction,
        smallest=claim.smallest,
        seeds=tuple(range(len(values))),
        differences=tuple(values),
        estimate=t_interval(values),
        p=sign_flip_p(values, bound=claim.bound),
        bootstrap=None,
        timed=False,
    )
    return Hypothesis(f"H{arm}", f"arm {arm} is better than the reference", (claim,)), [contrast], []


def verdict_rates(study: SyntheticStudy, *, studies: int = 1000, key: tuple[int | str, ...] = ()) -> VerdictRates:
    """Draw studies, judge each, and count."""
    if studies < 1:
        raise ValueError(f"verdict rates: expected at least 1 study, got {studies}")
    generator = counted_generator("verdicts", *key)
    wrong = 0
    supported, refuted = [0] * len(study.effects), [0] * len(study.effects)
    for _ in range(studies):
        words = [verdict.verdict for verdict in judge(draw(study, generator))]
        for index, word in enumerate(words):
            supported[index] += word == SUPPORTED
            refuted[index] += word == REFUTED
        wrong += any(w == SUPPORTED and effect <= 0 for w, effect in zip(words, study.effects, strict=True))
    return VerdictRates(studies, wrong, tuple(supported), tuple(refuted))
