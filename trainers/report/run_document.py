"""The report of a single run, from its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from sdar_envs import world_entry

from ..evaluation.health import NAMES
from .document import (
    Block,
    Cell,
    Column,
    DetailsBlock,
    Document,
    FactsBlock,
    FigureBlock,
    Headline,
    Paragraph,
    Section,
    TableBlock,
)
from .figure import Axis, Bar, BarPanel, Figure, Line, LinePanel, make_figure
from .game_figures import RETURN, crossplay_blocks
from .number_format import facts_of, percent, percent_range, plain_value, points, points_range
from .plain_text import kind_name
from .run_checks import RunFindings
from .run_records import RunRecords
from .series import count_line
from .training_figures import (
    EPISODES,
    TEACHER,
    Trace,
    diversity_figure,
    phases_panel,
    policy_figure,
    quantity_panels,
    weights_figure,
)
from .type_remark import type_remark
from .wrong_turns import wrong_turns_figures

SUCCESS = Axis("success, %", low=0.0)
STUDENT, TEACHER_COLOUR = 1, 2


def run_document(run: RunRecords, findings: RunFindings | None = None) -> Document:
    """Everything the run wrote down, as a document.

    Args:
        run: What it wrote.
        findings: Whether its files go together; None where that was not looked at.
    """
    method, seed = str(run.config.get("method", "?")), run.config.get("seed", 0)
    trace = Trace(method, STUDENT, (run.training(),))
    sections = [
        _section("result", "Result", _result(run)),
        _section("crossplay", "Cross-play", crossplay_blocks(run.crossplay)),
        _section("learning", "Learning", [_figure(_curves(run)), _figure(_returns(run)), _figure(_task_types(run))]),
        _section("tokens", "Weights", [_figure(weights_figure([trace])), *map(_figure, wrong_turns_figures(run.path))]),
        _section("policy", "Policy", [_figure(policy_figure([trace])), _figure(diversity_figure([trace]))]),
        _section("teacher", "Teacher", _teacher(run, trace)),
        _section("cost", "Cost", _cost(run, trace)),
        _section("configuration", "Configuration", _configuration(run)),
    ]
    done = run.training()[-1].iteration if run.training() else 0
    return Document(
        title=f"{method} on {run.env_id}",
        kind="Report of one run",
        lead=(
            f"Method {method}, seed {seed}, {done} of {run.config.get('max_steps', '?')} iterations of "
            f"{run.episodes_per_iteration} episodes. One run shows what happened, not what a method is worth: the "
            "intervals are about its episodes, and say nothing of other seeds."
        ),
        headlines=_headlines(run),
        sections=tuple(section for section in sections if section is not None),
        warnings=(*(findings.sentences() if findings else ()), *_warnings(run)),
        made_with=f"Made by sdar report from {run.path.name}.",
    )


def _section(key: str, title: str, blocks: Sequence[Block | None]) -> Section | None:
    kept = tuple(block for block in blocks if block is not None)
    return Section(key, title, kept) if kept else None


def _figure(figure: Figure | None) -> FigureBlock | None:
    return None if figure is None else FigureBlock(figure)


def _warnings(run: RunRecords) -> tuple[str, ...]:
    found = []
    if run.summary is None:
        found.append("This run has not finished: there is no summary.json. Curves and numbers end where it stands.")
    collapsed = [int(line["step"]) for line in run.metrics if line.get("teacher/collapsed")]
    if collapsed:
        found.append(
            f"The privileged-prompt policy collapsed: from iteration {collapsed[0]} on it won less than "
            f"{run.config.get('teacher_health_floor', 0.5)} of what it won at the start, and taught little."
        )
    return (*found, *_health(run))


def _health(run: RunRecords) -> list[str]:
    """The findings about the run's health: from its summary, else from its metric lines, which have no remedy."""
    if run.summary is not None:
        findings = {each["name"]: (each["since"], each["message"]) for each in run.summary.get("health") or ()}
    else:
        findings = {}
        for line in run.metrics:
            for name in NAMES:
                if line.get(f"health/{name}"):
                    findings.setdefault(name, (line["step"], NAMES[name]))
    # The collapse of the privileged-prompt policy has a sentence of its own.
    return [
        f"Since iteration {since}: {text}." for name, (since, text) in findings.items() if name != "teacher_collapsed"
    ]


def _headlines(run: RunRecords) -> tuple[Headline, ...]:
    summary = run.summary
    if summary is None:
        return ()
    before, after = summary.get("before") or {}, summary["after"]
    split = after.get("split", "test")
    found = []
    for rate, when in ((before, "before"), (after, "after")):
        if rate:
            note = f"95 % interval {percent_range(rate['ci95'])}"
            found.append(Headline(f"{percent(rate['success_rate'])} %", f"success on {split}, {when}", note))
    difference = summary.get("difference")
    if difference:
        note = f"95 % interval {points_range(difference['ci95'])}"
        found.append(Headline(f"{points(difference['mean'])}", "points of difference, paired by task", note))
    teacher = (summary.get("teacher") or {}).get("after")
    if teacher:
        first = (summary["teacher"].get("before") or {}).get("success_rate")
        note = "not evaluated before" if first is None else f"{percent(first)} % before"
        found.append(Headline(f"{percent(teacher['success_rate'])} %", "privileged-prompt policy, after", note))
    return tuple(found)


def _result(run: RunRecords) -> list[Block | None]:
    summary = run.summary
    if summary is None:
        return []
    before, after = summary.get("before") or {}, summary["after"]
    names = ["all tasks", *sorted({*before.get("by_task_type", {}), *after.get("by_task_type", {})})]
    rows = []
    for name in names:
        first = before if name == "all tasks" else before.get("by_task_type", {}).get(name, {})
        last = after if name == "all tasks" else after.get("by_task_type", {}).get(name, {})
        rows.append(_result_row(name, first, last))
    teacher = summary.get("teacher") or {}
    if teacher.get("before") or teacher.get("after"):
        rows.append(_result_row("privileged-prompt policy", teacher.get("before") or {}, teacher.get("after") or {}))
    columns = (
        Column("success, %", number=False),
        Column("episodes"),
        Column("before"),
        Column("after"),
        Column("difference"),
    )
    split = after.get("split", "test")
    remark = type_remark(before, after)
    caption = f"The {split} split before and after training, with Wilson's 95 % intervals"
    caption += f". {remark}" if remark else ""
    return [TableBlock(columns, tuple(rows), caption)]


def _result_row(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Cell, ...]:
    first, last = before.get("success_rate"), after.get("success_rate")
    episodes = after.get("episodes", before.get("episodes", "-"))
    return (
        Cell(kind_name(name), strong=name == "all tasks"),
        Cell(str(episodes)),
        Cell(percent(first), percent_range(before.get("ci95"))),
        Cell(percent(last), percent_range(after.get("ci95"))),
        Cell(points(None if first is None or last is None else last - first)),
    )


def _curves(run: RunRecords) -> Figure | None:
    student, teacher = run.curve(run.watched), run.curve("teacher")
    per_iteration = run.episodes_per_iteration

    def lines(seconds: bool) -> tuple[Line, ...]:
        def x(iteration: int, cpu: float) -> float:
            return cpu if seconds else float(iteration * per_iteration)

        found = [
            count_line(f"student, {run.watched}", STUDENT, [(x(step, cpu), count) for step, cpu, count in student]),
            count_line(
                "privileged-prompt policy",
                TEACHER_COLOUR,
                [(x(step, cpu), count) for step, cpu, count in teacher],
                dashed=True,
            ),
        ]
        return tuple(line for line in found if line is not None)

    panels = [LinePanel("Against training episodes", EPISODES, SUCCESS, lines(False))]
    if any(cpu > 0 for _, cpu, _ in student):
        seconds_axis = Axis("CPU-seconds of training", low=0.0)
        panels.append(LinePanel("Against CPU-seconds", seconds_axis, SUCCESS, lines(True)))
    caption = (
        f"Success on the same {run.watched} tasks throughout; bands are Wilson's 95 % intervals of the episodes. The "
        "privileged-prompt policy is the same model under the prompt that the teacher reads."
    )
    return make_figure("curves", "Learning curve", caption, *panels)


def _returns(run: RunRecords) -> Figure | None:
    """Mean returns before and after beside what can be got at most, in worlds of which that is known exactly."""
    entry, summary = world_entry(run.env_id), run.summary or {}
    if entry is None or entry.reference_returns is None or not summary:
        return None
    module, _, name = entry.reference_returns.partition(":")
    known: Mapping[str, float] = getattr(import_module(module), name)(run.config.get("env_kwargs") or {})
    if not known:
        return None
    bars = [
        Bar(f"student, {when}", STUDENT, float(rate["mean_return"]))
        for when in ("before", "after")
        if "mean_return" in (rate := summary.get(when) or {})
    ]
    bars += [Bar(label, 0, value) for label, value in known.items()]
    split = (summary.get("after") or {}).get("split", "test")
    caption = (
        f"Mean return on {split} against the usual opponent, and the most that a player of each kind can get from it, "
        "computed by backward induction over beliefs: the mean over all worlds, of which this run's is one."
    )
    return make_figure("returns", "Return beside what can be got", caption, BarPanel("", RETURN, tuple(bars)))


def _task_types(run: RunRecords) -> Figure | None:
    summary = run.summary or {}
    before = (summary.get("before") or {}).get("by_task_type", {})
    after = (summary.get("after") or {}).get("by_task_type", {})
    bars = []
    for kind, rate in sorted(after.items()):
        low, high = rate["ci95"]
        faint = before.get(kind, {}).get("success_rate")
        value = 100 * rate["success_rate"]
        bars.append(
            Bar(kind_name(kind), STUDENT, value, 100 * low, 100 * high, faint=None if faint is None else 100 * faint)
        )
    caption = "Success after training by type of task, with Wilson's 95 % intervals; upright marks are before training."
    return make_figure("task-types", "By type of task", caption, BarPanel("", SUCCESS, tuple(bars)))


def _teacher(run: RunRecords, trace: Trace) -> list[Block | None]:
    caption = (
        "What share of the sampled tokens the teacher had an opinion on (rows whose privileged context did not fit are "
        "left out), and how long the block was."
    )
    return [_figure(make_figure("teacher", "What the teacher reads", caption, *quantity_panels([trace], TEACHER)))]


def _cost(run: RunRecords, trace: Trace) -> list[Block | None]:
    facts = []
    if run.summary is not None:
        cpu = run.training()[-1].cpu_seconds if run.training() else 0.0
        facts = [
            ("wall clock, evaluation included", f"{float(run.summary['seconds']):,.0f} s"),
            ("CPU-seconds of training", f"{cpu:,.0f}" if cpu else "not logged"),
            ("tokens sampled", f"{run.summary.get('tokens', 0):,}"),
            ("tokens trained on, prompts included", f"{run.summary.get('trained_tokens', 0):,}"),
            ("updates, skipped", f"{run.summary.get('updates', 0):,}, {run.summary.get('updates_skipped', 0):,}"),
            ("episodes whose environment failed", f"{run.summary.get('failed_episodes', 0):,}"),
        ]
    caption = "Mean wall-clock seconds of an iteration. Evaluation counts where it was done."
    figure = make_figure("cost", "Where the time goes", caption, phases_panel([trace], ""))
    return [FactsBlock(tuple(facts)) if facts else None, _figure(figure)]


def _configuration(run: RunRecords) -> list[Block | None]:
    panels = [
        (f"panel {split}", f"{len(panel.get('task_ids', ()))} tasks, SHA-256 {panel.get('hash', '?')}")
        for split, panel in run.panels.items()
    ]
    version = next((panel.get("world_version") for panel in run.panels.values()), None)
    where = [("environment", run.env_id), ("world version", plain_value(version))]
    return [
        FactsBlock((*where, *panels), wide=True),
        DetailsBlock("All options", (FactsBlock(facts_of(run.config)),)),
        DetailsBlock("Versions", (FactsBlock(facts_of(run.versions)),)),
        Paragraph("sdar train --config config.yaml repeats the run; sdar eval --panel plays its panels again.", "note"),
    ]
