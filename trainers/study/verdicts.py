"""From contrasts to verdicts, by a rule that is fixed before the runs.

With ``d`` a claim's number per seed, ``e = d - bound`` (or ``bound - d`` for a claim of ``less``), and the 95 % t
interval of the mean of ``e`` over seeds:

- *supported*: the interval lies above 0, and the hypothesis' p, Holm-corrected over all of the study, is at most 0.05;
- *refuted*: the interval lies below `smallest`, so that even the smallest gain worth a claim is excluded;
- *undecided*: anything else; so are fewer than two seeds, and seeds whose numbers are all equal.

A hypothesis of several claims is supported when all of them are (its p is the largest of theirs), refuted when one is.
Where others are corrected, a hypothesis that a clock has part in counts with p = 1: a verdict that no clock had part in
must come out the same on every machine. That makes a corrected p larger or leaves it, so the correction stays valid.
p is by sign flips. With fewer than 8 seeds these cannot become small, so p is that of a t test, which is used for the
correction and not shown, and the verdict is provisional: it rests on differences being normal. A hypothesis with 8
seeds is corrected as if those with fewer had p = 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from .plan_records import Hypothesis
from .statistics import MIN_SEEDS_FOR_P, ROUNDING, holm, t_test_p
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
    timed = {hypothesis.id for hypothesis, claims, _ in found if any(contrast.timed for contrast in claims)}
    flipped = _corrected(raw, timed)
    provisional = _corrected(
        {h.id: raw[h.id] if raw[h.id] is not None else _t_test_p(claims) for h, claims, _ in found}, timed
    )
    judged = []
    for hypothesis, claims, secondary in found:
        shown = None if raw[hypothesis.id] is None else flipped[hypothesis.id]
        p = provisional[hypothesis.id] if shown is None else shown
        decided = tuple(dataclasses.replace(contrast, verdict=judge_claim(contrast, p)) for contrast in claims)
        words = [contrast.verdict for contrast in decided]
        verdict = REFUTED if REFUTED in words else SUPPORTED if set(words) == {SUPPORTED} else UNDECIDED
        judged.append(
            Verdict(
                id=hypothesis.id,
                statement=hypothesis.statement,
                verdict=verdict,
                reason=_reason(decided, p, by_t_test=shown is None),
                provisional=any(contrast.estimate.n < MIN_SEEDS_FOR_P for contrast in decided),
                p=raw[hypothesis.id],
                p_holm=shown,
                claims=decided,
                secondary=tuple(dataclasses.replace(c, verdict=judge_claim(c, c.p)) for c in secondary),
            )
        )
    return tuple(judged)


def _corrected(asked: Mapping[str, float | None], timed: Collection[str]) -> dict[str, float]:
    """Holm's correction over all hypotheses; one without a p yet is still asked, so it counts as one of the many."""
    filled = {name: 1.0 if p is None else p for name, p in asked.items()}
    with_the_clock = holm(filled)
    without_it = holm({name: 1.0 if name in timed else p for name, p in filled.items()})
    return {name: (with_the_clock if name in timed else without_it)[name] for name in filled}


def _t_test_p(claims: Sequence[Contrast]) -> float | None:
    """The largest p of a hypothesis' claims by t tests; None where one of them has none."""
    ps = [t_test_p(contrast.estimate, bound=contrast.bound) for contrast in claims]
    known = [p for p in ps if p is not None]
    return max(known) if known and len(known) == len(ps) else None


def _reason(claims: Sequence[Contrast], p: float, *, by_t_test: bool) -> str:
    """The numbers of a verdict, in one sentence per claim."""
    parts = []
    for contrast in claims:
        estimate = contrast.estimate
        if estimate.low is None or estimate.high is None or estimate.mean is None:
            seeds = "1 paired seed" if estimate.n == 1 else f"{estimate.n} paired seeds"
            value = "" if estimate.mean is None else f"{estimate.mean:+.3f} in "
            parts.append(f"{contrast.name}: {value}{seeds}, no interval")
            continue
        side = "above" if contrast.direction == "greater" else "below"
        parts.append(
            f"{contrast.name}: {estimate.mean:+.3f}, 95 % interval {estimate.low:+.3f} to {estimate.high:+.3f} over "
            f"{estimate.n} seeds, claimed {side} {contrast.bound:g} ({contrast.verdict})"
        )
    kind = f" of t tests (a claim has under {MIN_SEEDS_FOR_P} seeds)" if by_t_test else ""
    tail = f"Holm-corrected p{kind} {p:.3f}"
    return "; ".join([*parts, tail])
