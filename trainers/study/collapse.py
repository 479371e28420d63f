"""Collapse, flagged by rules that were fixed beforehand; a flag is a fact, never a reason to leave a run out."""

from __future__ import annotations

from collections.abc import Sequence

from .result_records import Collapse, CurvePoint, TrainingPoint

SUCCESS_SHARE = 0.5  # of the success before training
TEACHER_SHARE = 0.5  # of the privileged-prompt policy's success before training
ENTROPY_FLOOR = 0.02  # nats per sampled token


def collapses_of(curve: Sequence[CurvePoint], training: Sequence[TrainingPoint]) -> tuple[Collapse, ...]:
    """Which rules a run broke, each with the first iteration at which it did.

    ``success``: success on the watched evaluation set under half of what it was before training. ``teacher``: that of
    the privileged-prompt policy likewise. ``entropy``: mean entropy of the sampling distribution under `ENTROPY_FLOOR`.
    """
    found: list[Collapse | None] = []
    if curve:
        start = curve[0].overall.rate
        rates = [(point.iteration, point.overall.rate) for point in curve[1:]]
        found.append(_first("success", rates, None if start is None else SUCCESS_SHARE * start))
        teacher = curve[0].teacher.rate if curve[0].teacher else None
        rates = [(point.iteration, point.teacher.rate if point.teacher else None) for point in curve[1:]]
        found.append(_first("teacher", rates, None if teacher is None else TEACHER_SHARE * teacher))
    entropies = [(point.iteration, point.figures.get("sampling/entropy")) for point in training]
    found.append(_first("entropy", entropies, ENTROPY_FLOOR))
    return tuple(collapse for collapse in found if collapse is not None)


def _first(rule: str, values: Sequence[tuple[int, float | None]], threshold: float | None) -> Collapse | None:
    if threshold is None:
        return None
    for iteration, value in values:
        if value is not None and value < threshold:
            return Collapse(rule, iteration, value, threshold)
    return None
