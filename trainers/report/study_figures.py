"""Figures of a study: curves, differences, types of task, the teacher's health, cost, and what is along its axes.

Every arm keeps its colour throughout; the reference is drawn in ink. Rates are shown in per cent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..study.plan_records import Arm
from ..study.records import Study
from ..study.result_records import Count, CurvePoint, Result
from ..study.statistics import t_interval
from ..study.table_records import Contrast, Estimate, Table
from .figure import Axis, Bar, BarPanel, Figure, IntervalPanel, Line, LinePanel, Mark, make_figure
from .plain_text import kind_name
from .scales import number_text
from .series import mean_line, path_of
from .training_figures import EPISODES, Trace

SUCCESS = Axis("success, %", low=0.0)
POINTS = Axis("points of success")
CPU = Axis("CPU-seconds of training", low=0.0)
# Short names of endpoints, as headings have them.
ENDPOINT_NAMES = {
    "area": "area to B",
    "valid_B": "valid at B",
    "valid_2B": "valid at 2B",
    "test": "test",
    "test_fresh": "test, true statements",
    "test_stale": "test, wrong statements",
    "area_cpu": "area at the reference's CPU-seconds",
    "valid_tokens": "valid at equal sampled tokens",
    "fixed_success": "success against fixed opponents",
    "fixed_return": "return against fixed opponents",
    "self_success": "success against itself",
    "self_deals": "deals with itself",
}
MAIN_ENDPOINTS = ("area", "test")
TOGETHER = 9  # arms that one panel can show apart: the reference and eight colours


@dataclass(frozen=True, slots=True)
class Shown:
    """A study as its figures want it. `colours` is by arm; `leading` are the arms that stand in joint panels."""

    study: Study
    table: Table
    colours: Mapping[str, int]
    leading: tuple[Arm, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, in the plan's order."""
        return self.study.plan.arms

    def label(self, key: str) -> str:
        """An arm's name for readers."""
        return self.study.plan.arm(key).label


def shown(study: Study, table: Table) -> Shown:
    """Give colours, and choose who stands in joint panels: the reference, and whom the hypotheses speak of."""
    plan = study.plan
    spoken = [term.arm for hypothesis in plan.hypotheses for claim in hypothesis.claims for term in claim.terms]
    order = dict.fromkeys([plan.reference, *spoken, *(arm.key for arm in plan.arms)])
    ranked = [plan.arm(key) for key in order if any(arm.key == key for arm in plan.arms)]
    colours = {arm.key: 0 if arm.key == plan.reference else number for number, arm in enumerate(ranked)}
    if plan.reference not in colours:
        colours = {key: number + 1 for key, number in colours.items()}
    finished = [arm for arm in ranked if study.of(arm.key)]
    leading = finished[:TOGETHER]
    places = {arm.key: number for number, arm in enumerate(plan.arms)}
    return Shown(study, table, colours, tuple(sorted(leading, key=lambda arm: places[arm.key])))


def percent_bar(label: str, colour: int, estimate: Estimate, values: Sequence[float | None]) -> Bar:
    """An estimate of a rate, or of a difference of rates, as a bar in per cent with its seeds as dots."""

    def scaled(value: float | None) -> float | None:
        return None if value is None else 100.0 * value

    dots = tuple(100.0 * value for value in values if value is not None)
    return Bar(label, colour, scaled(estimate.mean), scaled(estimate.low), scaled(estimate.high), dots)


# --- curves ---


def curve_line(
    view: Shown, arm: Arm, x: Callable[[CurvePoint], float], part: Callable[[CurvePoint], Count | None]
) -> Line | None:
    """The mean success curve of an arm, in %."""

    def rate(point: CurvePoint) -> float | None:
        count = part(point)
        return None if count is None or count.rate is None else 100.0 * count.rate

    paths = [path_of(result.curve, x, rate) for result in view.study.of(arm.key)]
    return mean_line(arm.label, view.colours[arm.key], paths, low=0.0, high=100.0)


def _episodes(point: CurvePoint) -> float:
    return float(point.episodes)


def _seconds(point: CurvePoint) -> float:
    return point.cpu_seconds


def _overall(point: CurvePoint) -> Count:
    return point.overall


def curves_figure(view: Shown) -> Figure | None:
    """The curves of the leading arms: against episodes, against CPU-seconds, and by whether statements are true."""
    plan = view.study.plan
    marks = (Mark(float(plan.budget * plan.episodes_per_iteration), "B"),)

    def panel(title: str, x: Axis, at: Callable[[CurvePoint], float], part: Callable[..., Count | None]) -> LinePanel:
        lines = [curve_line(view, arm, at, part) for arm in view.leading]
        # Single seeds of many arms would hide each other; `each_arm_figure` has them.
        kept = tuple(dataclasses.replace(line, thin=()) for line in lines if line)
        return LinePanel(title, x, SUCCESS, kept, marks if x is EPISODES else ())

    caption = (
        "Success on valid, the mean over seeds; bands are 95 % t intervals over seeds (from three seeds on). B is the "
        "budget of the primary endpoint. Point at a line to see it alone."
    )
    panels = (
        panel("Against training episodes", EPISODES, _episodes, _overall),
        panel("Against CPU-seconds, all threads, evaluation apart", CPU, _seconds, _overall),
        panel("Tasks whose skill statements are true", EPISODES, _episodes, lambda point: point.fresh),
        panel("Tasks with a wrong skill statement", EPISODES, _episodes, lambda point: point.stale),
    )
    return make_figure("curves", "Success while training", caption, *same_height(panels))


def same_height(panels: Sequence[LinePanel]) -> list[LinePanel]:
    """The panels over one range of success, so that heights compare across them."""
    heights = [
        point[1] for panel in panels for line in panel.lines for path in (line.points, *line.thin) for point in path
    ]
    heights += [high for panel in panels for line in panel.lines for _, _, high in line.band]
    top = min(100.0, 10.0 * math.ceil(max([10.0, *heights]) / 10.0))
    return [dataclasses.replace(panel, y=dataclasses.replace(panel.y, high=top)) for panel in panels]


def each_arm_figure(view: Shown) -> Figure | None:
    """A panel per arm beside the reference, with its single seeds."""
    plan = view.study.plan
    reference = next((arm for arm in view.arms if arm.key == plan.reference), None)
    against = None if reference is None else curve_line(view, reference, _episodes, _overall)
    panels = []
    for arm in view.arms:
        own = curve_line(view, arm, _episodes, _overall)
        if own is not None and arm.key != plan.reference:
            lines = (own,) if against is None else (Line(against.label, 0, against.points), own)
            panels.append(LinePanel(arm.label, EPISODES, SUCCESS, lines))
    caption = (
        "Success on valid of each arm: mean, 95 % t interval, single seeds as thin lines; beside it the mean of the "
        "reference."
    )
    return make_figure("each-arm", "Every arm beside the reference", caption, *same_height(panels))


# --- differences ---


def differences_figure(view: Shown, *, main: bool = True) -> Figure | None:
    """Every arm against the reference, paired by seed, a panel per endpoint: the main ones, or all others."""
    panels = []
    for name in dict.fromkeys(each.terms[0].endpoint for each in view.table.contrasts):
        if (name in MAIN_ENDPOINTS) is not main:
            continue
        bars = [_difference(view, each) for each in view.table.contrasts if each.terms[0].endpoint == name]
        panels.append(IntervalPanel(sentence(ENDPOINT_NAMES.get(name, name)), POINTS, tuple(bars)))
    reference = view.table.reference
    caption = f"Arm minus {reference}, paired by seed: the mean, its 95 % t interval over seeds, and the seeds as dots."
    if main:
        caption += " The area up to B is the primary endpoint."
        return make_figure("differences", f"Differences to {reference}", caption, *panels)
    return make_figure("other-differences", f"Differences to {reference} in other endpoints", caption, *panels)


def _difference(view: Shown, contrast: Contrast) -> Bar:
    key = contrast.terms[0].arm
    return percent_bar(view.label(key), view.colours[key], contrast.estimate, contrast.differences)


def claims_figure(view: Shown) -> Figure | None:
    """The numbers of the hypotheses, each against its bound."""
    grouped: dict[tuple[str, str, float], list[Bar]] = {}
    for verdict in view.table.verdicts:
        for contrast in (*verdict.claims, *verdict.secondary):
            colour = 1 if contrast in verdict.claims else 0
            bar = percent_bar(contrast.name, colour, contrast.estimate, contrast.differences)
            grouped.setdefault((verdict.id, contrast.direction, contrast.bound), []).append(bar)
    panels = []
    for (name, direction, bound), bars in grouped.items():
        side = "above" if direction == "greater" else "below"
        panels.append(
            IntervalPanel(f"{name}: claimed {side} {number_text(100 * bound)}", POINTS, tuple(bars), zero=100.0 * bound)
        )
    caption = (
        "Each claim's number in points: mean, 95 % t interval over seeds, seeds as dots. Grey ones decide nothing."
    )
    return make_figure("claims", "What the verdicts rest on", caption, *panels)


# --- types of task, teacher, cost ---


def task_types_figure(view: Shown) -> Figure | None:
    """Success on test by type of task: a panel per type, a bar per arm."""
    kinds = sorted({kind for result in view.study.results if result.after for kind in result.after.by_task_type})
    panels = []
    for kind in kinds:
        bars = []
        for arm in view.leading:
            after = [_of_kind(result, kind, after=True) for result in view.study.of(arm.key)]
            before = [rate for r in view.study.of(arm.key) if (rate := _of_kind(r, kind, after=False)) is not None]
            values = [rate for rate in after if rate is not None]
            faint = 100.0 * sum(before) / len(before) if before else None
            bar = percent_bar(arm.label, view.colours[arm.key], t_interval(values), values)
            bars.append(Bar(bar.label, bar.colour, bar.value, _within(bar.low), _within(bar.high), bar.dots, faint))
        panels.append(BarPanel(kind_name(kind), Axis("success on test, %", low=0.0, high=100.0), tuple(bars)))
    caption = "Success on test at the end: mean, 95 % t interval and dots of seeds; upright marks are before training."
    return make_figure("task-types", "By type of task", caption, *panels)


def _of_kind(result: Result, kind: str, *, after: bool) -> float | None:
    panel = result.after if after else result.before
    count = None if panel is None else panel.by_task_type.get(kind)
    return None if count is None else count.rate


def _within(value: float | None) -> float | None:
    return None if value is None else min(max(value, 0.0), 100.0)


def teacher_figure(view: Shown) -> Figure | None:
    """The privileged-prompt policy's success while it teaches."""
    lines = [curve_line(view, arm, _episodes, lambda point: point.teacher) for arm in view.leading]
    caption = (
        "Success on valid of the same model under the privileged prompt. Student and teacher share their "
        "weights, and the cheapest way to agree is to ignore what the teacher is shown: a falling line says that."
    )
    panel = LinePanel("", EPISODES, SUCCESS, tuple(line for line in lines if line))
    return make_figure("teacher", "Health of the privileged-prompt policy", caption, panel)


def cost_figure(view: Shown) -> Figure | None:
    """What an iteration of each arm cost."""
    bars = []
    for row in view.table.arms:
        results = view.study.of(row.key)
        values = [result.cost.cpu_seconds / max(len(result.training), 1) for result in results if result.training]
        estimate = t_interval(values)
        label, colour = view.label(row.key), view.colours[row.key]
        bars.append(Bar(label, colour, estimate.mean, estimate.low, estimate.high, tuple(values)))
    caption = (
        "CPU-seconds of one training iteration (rollouts, readings, update; evaluation apart), mean over seeds with "
        "95 % t intervals, seeds as dots. Machines that share their cores stretch these figures."
    )
    panel = BarPanel("", Axis("CPU-seconds per iteration", low=0.0), tuple(bars))
    return make_figure("cost", "Cost", caption, panel)


def traces(view: Shown) -> list[Trace]:
    """The training of the leading arms."""
    return [
        Trace(arm.label, view.colours[arm.key], tuple(result.training for result in view.study.of(arm.key)))
        for arm in view.leading
    ]


# --- axes ---


def axes_figure(view: Shown) -> Figure | None:
    """What the primary endpoint is along each axis of the study: a panel per method and axis."""
    panels = []
    rows = {row.key: row for row in view.table.arms}
    for axis, values in axes_of(view.arms).items():
        methods = dict.fromkeys(arm.method for arm in view.arms if axis in arm.coordinates)
        for method in methods:
            bars = []
            for value in values:
                for arm in view.arms:
                    if arm.method == method and arm.coordinates.get(axis) == value and rows[arm.key].seeds:
                        row = rows[arm.key]
                        name = f"{value}" if _is_alone(view.arms, arm, axis) else f"{value} ({arm.label})"
                        bars.append(percent_bar(name, view.colours[arm.key], row.endpoints["area"], row.values["area"]))
            if len(bars) > 1:
                label = Axis("mean success on valid up to B, %", low=0.0)
                panels.append(BarPanel(f"{method}, by {axis}", label, tuple(bars)))
    caption = "The primary endpoint along the study's axes: mean over seeds, 95 % t interval, seeds as dots."
    return make_figure("axes", "Along the axes", caption, *panels)


def axes_of(arms: Sequence[Arm]) -> dict[str, list[Any]]:
    """Axes on which arms differ, with their values in the order of the plan."""
    found: dict[str, list[Any]] = {}
    for arm in arms:
        for axis, value in arm.coordinates.items():
            listed = found.setdefault(axis, [])
            if value not in listed:
                listed.append(value)
    return {axis: values for axis, values in found.items() if len(values) > 1}


def _is_alone(arms: Sequence[Arm], arm: Arm, axis: str) -> bool:
    """Whether no other arm of the method stands at the same place of this axis."""
    return not any(
        other is not arm and other.method == arm.method and other.coordinates.get(axis) == arm.coordinates.get(axis)
        for other in arms
    )


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
