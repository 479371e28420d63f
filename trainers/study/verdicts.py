"""From contrasts to verdicts, by a rule that is fixed before the runs.

With ``d`` a claim's number per seed, ``e = d - bound`` (or ``bound - d`` for a claim of ``less``), and the 95 % t
interval of the mean of ``e`` over seeds:

- *supported*: the interval lies above 0, and, from 8 seeds on, the hypothesis' Holm-corrected p is at most 0.05;
- *refuted*: the interval lies below `smallest`, so that even the smallest gain worth a claim is excluded;
- *undecided*: anything else; so are fewer than two seeds, and seeds whose numbers are all equal.

A hypothesis of several claims is supported when all of them are (its p is the largest of theirs), refuted when one is.
Where others are corrected, a hypothesis that a clock has part in counts with p = 1: a verdict that no clock had part in
must come out the same on every machine. That makes a corrected p larger or leaves it, so the correction stays valid.
With fewer than 8 seeds no p is computed, and the verdict is provisional: it rests on the interval alone, which is not
corrected for the number of hypotheses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .plan_records import Hypothesis
from .statistics import MIN_SEEDS_FOR_P, ROUNDING, holm
from .table_records import Contrast, Verdict

ALPHA = 0.05
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


def excess_interval(contrast: Contrast) -> tuple[float, float] | None:
    """The interval of the mean of ``e``, how far beyond its bound a claim goes; None where it estimates nothing."""
    low, high = contrast.estimate.low, contrast.estimate.high
    if low is None or high is None or high - low < ROUNDING:  # an interval of no width estimates nothing
        return None
    if contrast.direction == "less":
        return contrast.bound - high, contrast.bound - low
    return low - contrast.bound, high - contrast.bound


def judge_claim(contrast: Contrast, p: float | None) -> str:
    """The verdict on one claim; `p` is the corrected one, None where there is none."""
    found = excess_interval(contrast)
    if found is None:
        return UNDECIDED
    low, high = found
    if low > 0 and (p is None or p <= ALPHA):
        return SUPPORTED
    return REFUTED if high < contrast.smallest else UNDECIDED


def verdicts(found: Sequence[tuple[Hypothesis, Sequence[Contrast], Sequence[Contrast]]]) -> tuple[Verdict, ...]:
    """The verdict on each hypothesis, corrected over all of them.

    Args:
        found: Each hypothesis with the contrasts of its claims and of its secondary claims.
    """
    raw: dict[str, float | None] = {}
    for hypothesis, claims, _ in found:
        ps = [contrast.p for contrast in claims]
        known = [p for p in ps if p is not None]
        raw[hypothesis.id] = max(known) if known and len(known) == len(ps) else None
    # One without a p yet is still asked, so it counts as one of the many.
    asked = {name: 1.0 if p is None else p for name, p in raw.items()}
    timed = {hypothesis.id for hypothesis, claims, _ in found if any(contrast.timed for contrast in claims)}
    with_the_clock = holm(asked)
    without_it = holm({name: 1.0 if name in timed else p for name, p in asked.items()})
    judged = []
    for hypothesis, claims, secondary in found:
        corrected = with_the_clock if hypothesis.id in timed else without_it
        p = None if raw[hypothesis.id] is None else corrected[hypothesis.id]
        decided = tuple(dataclasses.replace(contrast, verdict=judge_claim(contrast, p)) for contrast in claims)
        words = [contrast.verdict for contrast in decided]
        verdict = REFUTED if REFUTED in words else SUPPORTED if set(words) == {SUPPORTED} else UNDECIDED
        judged.append(
            Verdict(
                id=hypothesis.id,
                statement=hypothesis.statement,
                verdict=verdict,
                reason=_reason(decided, p),
                provisional=any(contrast.estimate.n < MIN_SEEDS_FOR_P for contrast in decided),
                p=raw[hypothesis.id],
                p_holm=p,
                claims=decided,
                secondary=tuple(dataclasses.replace(c, verdict=judge_claim(c, c.p)) for c in secondary),
            )
        )
    return tuple(judged)


def _reason(claims: Sequence[Contrast], p: float | None) -> str:
    """The numbers of a verdict, in one sentence per claim."""
    parts = []
    for contrast in claims:
        estimate = contrast.estimate
        if estimate.low is None or estimate.high is None or estimate.mean is None:
            parts.append(f"{contrast.name}: {estimate.n} paired seeds, no interval")
            continue
        side = "above" if contrast.direction == "greater" else "below"
        parts.append(
            f"{contrast.name}: {estimate.mean:+.3f}, 95 % interval {estimate.low:+.3f} to {estimate.high:+.3f} over "
            f"{estimate.n} seeds, claimed {side} {contrast.bound:g} ({contrast.verdict})"
        )
    tail = f"Holm-corrected p {p:.3f}" if p is not None else f"no p-value under {MIN_SEEDS_FOR_P} seeds"
    return "; ".join([*parts, tail])
