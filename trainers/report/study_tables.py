"""Tables and lists of a study: arms, verdicts, warm starts, trials, configuration."""

from __future__ import annotations

from collections.abc import Sequence

from ..study.analysis import contrasts_of
from ..study.endpoints import ENDPOINTS
from ..study.records import Study
from ..study.result_records import Result
from ..study.statistics import t_interval
from ..study.table_files import CURVES_SAID, iterations_of
from ..study.table_records import ArmRow, Contrast, Estimate, Verdict
from .document import Block, Cell, Column, DetailsBlock, FactsBlock, Paragraph, TableBlock, VerdictBlock
from .number_format import facts_of, percent, percent_range, plain_value, points, points_range
from .scales import with_minus
from .study_figures import ENDPOINT_NAMES, MAIN_ENDPOINTS, Shown, sentence

SHOWN = ("area", "valid_B", "valid_2B", "test", "test_fresh", "test_stale")


def arms_table(view: Shown) -> TableBlock:
    """A row per arm: endpoints with intervals, and the paired differences to the reference."""
    names = [name for name in SHOWN if any(row.endpoints[name].mean is not None for row in view.table.arms)]
    columns = [Column("success, %", number=False), Column("seeds")]
    columns += [Column(ENDPOINT_NAMES[name], about=sentence(ENDPOINTS[name].meaning) + ".") for name in names]
    columns += [Column(f"{ENDPOINT_NAMES[name]}, difference") for name in MAIN_ENDPOINTS]
    rows = []
    for row in view.table.arms:
        against = contrasts_of(view.table, row.key)
        rows.append(
            (
                Cell(row.label, _sub(row), view.colours[row.key], strong=row.key == view.table.reference),
                Cell(str(len(row.seeds))),
                *(_estimate(row.endpoints[name], row.tasks.get(name)) for name in names),
                *(_difference(against.get(name)) for name in MAIN_ENDPOINTS),
            )
        )
    caption = (
        f"Means over seeds with 95 % t intervals, n: tasks of all seeds; differences to "
        f"{view.label(view.table.reference)} in points, paired by seed"
    )
    return TableBlock(tuple(columns), tuple(rows), caption)


def _sub(row: ArmRow) -> str:
    words = [row.role] if row.role != "arm" else []
    if row.view != "plain":
        words.append(f"measured under the {row.view} prompt")
    if row.tuned:
        words.append("tuned")
    if row.collapsed:
        words.append(f"collapsed in {len(row.collapsed)} of {len(row.seeds)}")
    if row.missing:
        words.append(f"{len(row.missing)} missing")
    return ", ".join(words)


def _estimate(estimate: Estimate, tasks: int | None = None) -> Cell:
    """A rate with its interval, which ends where rates do, and with the number of its tasks."""
    known = estimate.low is not None and estimate.high is not None
    bounds = (max(estimate.low or 0.0, 0.0), min(estimate.high or 0.0, 1.0)) if known else None
    said = [percent_range(bounds), "" if not tasks else f"n {tasks:,}"]
    return Cell(percent(estimate.mean), ", ".join(filter(None, said)))


def _difference(contrast: Contrast | None) -> Cell:
    if contrast is None:
        return Cell("")
    return _points_cell(contrast.estimate, "" if contrast.p is None else f", p {contrast.p:.3f}")


def _points_cell(estimate: Estimate, more: str = "") -> Cell:
    """A difference with its interval, stressed where 0 is outside."""
    bounds = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    excludes_zero = bounds is not None and (bounds[0] > 0 or bounds[1] < 0)
    return Cell(points(estimate.mean), points_range(bounds) + more, strong=excludes_zero)


def curves_table(view: Shown) -> DetailsBlock | None:
    """How far each arm leads its reference, by iteration; None where no two arms were measured while they trained."""
    curves = view.table.curves
    if not curves:
        return None
    iterations = iterations_of(curves)
    several = len({curve.reference for curve in curves}) > 1
    rows = []
    for curve in curves:
        found = (curve.at(iteration) for iteration in iterations)
        cells = (Cell("") if estimate is None else _points_cell(estimate) for estimate in found)
        less = f"less {view.label(curve.reference)}" if several else ""
        rows.append((Cell(view.label(curve.arm), less, view.colours[curve.arm]), *cells))
    columns = (Column("lead at iteration", number=False), *(Column(str(iteration)) for iteration in iterations))
    caption = f"{CURVES_SAID[0].upper()}{CURVES_SAID[1:]}."
    return DetailsBlock("How far each arm leads, by iteration", (TableBlock(columns, tuple(rows), caption),))


def privileged_table(view: Shown) -> TableBlock | None:
    """Test at the end under the privileged prompt, for arms that are measured under both; None where none is."""
    rows = []
    for arm in view.arms:
        panels = [r.after_privileged for r in view.study.of(arm.key) if r.after_privileged is not None]
        rates = [panel.overall.rate for panel in panels if panel.overall.rate is not None]
        plain = [r.after.overall.rate for r in view.study.of(arm.key) if r.after and r.after.overall.rate is not None]
        if rates:
            cells = (_estimate(t_interval(plain)), _estimate(t_interval(rates)))
            rows.append((Cell(arm.label, colour=view.colours[arm.key]), *cells))
    columns = (
        Column("success on test, %", number=False),
        Column("plain prompt"),
        Column("privileged prompt"),
    )
    return TableBlock(columns, tuple(rows), "Arms that are measured with the hint, too") if rows else None


# --- verdicts ---


def verdict_block(verdict: Verdict) -> VerdictBlock:
    """A hypothesis with its verdict and its numbers."""
    tail = " Provisional: fewer than 8 seeds, so that it rests on t tests." if verdict.provisional else ""
    evidence = [(contrast.name, _evidence(contrast)) for contrast in verdict.claims]
    evidence += [(f"{contrast.name} (secondary)", _evidence(contrast)) for contrast in verdict.secondary]
    if verdict.p_holm is not None:
        evidence.append(("p, Holm-corrected over the hypotheses", f"{verdict.p_holm:.3f}"))
    decided = {"supported": "All of its claims hold.", "refuted": "A claim of it is excluded."}
    reason = decided.get(verdict.verdict, "The intervals allow both.") + tail
    if any(contrast.estimate.mean is None for contrast in verdict.claims):
        reason = "Not all of its claims have paired seeds yet."
    return VerdictBlock(verdict.id, verdict.statement, verdict.verdict, reason, tuple(evidence))


def _evidence(contrast: Contrast) -> str:
    estimate = contrast.estimate
    if estimate.mean is None:
        return "no paired seeds yet"
    said = f"{points(estimate.mean)} points"
    if estimate.low is not None and estimate.high is not None:
        said += f" ({points_range((estimate.low, estimate.high))})"
    side = "above" if contrast.direction == "greater" else "below"
    bound = with_minus(f"{100 * contrast.bound:g}")
    said += f", {estimate.n} seeds, claimed {side} {bound}: {contrast.verdict or 'not judged'}"
    if contrast.bootstrap is not None and len(contrast.bootstrap) == 2:
        said += f"; seeds and tasks drawn anew: {points_range(contrast.bootstrap)}"
    return said


# --- teacher and collapse ---


def collapse_blocks(view: Shown) -> list[Block]:
    """Which runs broke a rule of health."""
    rows = []
    for row in view.table.arms:
        for seed, collapses in row.collapsed.items():
            for collapse in collapses:
                numbers = f"{collapse.value:.3g} under {collapse.threshold:.3g}"
                rows.append(
                    (
                        Cell(row.label, colour=view.colours[row.key]),
                        Cell(seed),
                        Cell(collapse.rule),
                        Cell(str(collapse.iteration)),
                        Cell(numbers),
                    )
                )
    if not rows:
        return [
            Paragraph(
                "No run broke a rule of health: success, privileged-prompt policy and entropy stayed over their floors."
            )
        ]
    columns = (
        Column("arm", number=False),
        Column("seed"),
        Column("rule", number=False),
        Column("first at iteration"),
        Column("value"),
    )
    said = (
        "Flagged by rules that were fixed before the runs: success, or the privileged-prompt policy's, under half of "
        "its start; entropy under its floor. No run is left out for it."
    )
    return [TableBlock(columns, tuple(rows), "Collapses"), Paragraph(said, "note")]


# --- cost ---


def cost_table(view: Shown) -> TableBlock:
    """CPU-seconds, tokens and updates per run, and the cost of an iteration over the reference's."""
    rows = {row.key: row for row in view.table.arms}
    base = rows[view.table.reference].timed.get("cpu_seconds_per_iteration") if view.table.reference in rows else None
    listed = []
    for key, row in rows.items():
        results = view.study.of(key)
        if not results:
            continue
        per_iteration, whole = row.timed["cpu_seconds_per_iteration"].mean, row.timed["cpu_seconds"].mean
        over = per_iteration / base.mean if base and base.mean and per_iteration else None
        listed.append(
            (
                Cell(row.label, colour=view.colours[key]),
                Cell("-" if whole is None else f"{whole:,.0f}"),
                Cell("-" if per_iteration is None else f"{per_iteration:.2f}"),
                Cell("-" if over is None else f"{over:.2f}"),
                Cell(f"{_mean([r.cost.tokens for r in results]):,.0f}"),
                Cell(f"{_mean([r.cost.updates for r in results]):,.0f}"),
                Cell(str(sum(r.cost.updates_skipped for r in results))),
            )
        )
    columns = (
        Column("per run, mean over seeds", number=False),
        Column("CPU-seconds"),
        Column("per iteration"),
        Column(f"over {view.label(view.table.reference)}"),
        Column("tokens sampled"),
        Column("updates"),
        Column("skipped, all seeds"),
    )
    return TableBlock(columns, tuple(listed))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# --- where it began, and how it was tuned ---


def warm_table(study: Study) -> TableBlock | None:
    """A row per warm start: what student and privileged-prompt policy could do before training."""
    found: dict[str, list[Result]] = {}
    for result in study.results:
        if result.warm is not None:
            found.setdefault(result.warm.key, []).append(result)
    rows = []
    for results in sorted(found.values(), key=lambda each: (each[0].seed, each[0].arm)):
        warm = results[0].warm
        assert warm is not None
        rows.append(
            (
                Cell(str(results[0].seed)),
                Cell(percent(warm.student_success)),
                Cell(percent(warm.teacher_success)),
                Cell(str(warm.steps)),
                Cell(str(len({result.arm for result in results}))),
                Cell(results[0].initial_weights[:12]),
            )
        )
    columns = (
        Column("seed", number=False),
        Column("student, %"),
        Column("privileged prompt, %"),
        Column("cloning steps"),
        Column("arms that begin there"),
        Column("weights", number=False),
    )
    caption = "Warm starts, measured on valid; arms of a seed begin with the same weights"
    return TableBlock(columns, tuple(rows), caption) if rows else None


def tuning_blocks(view: Shown) -> list[Block]:
    """Every trial of every tuned arm, the chosen one marked; where the plan brought values, these."""
    tuned = view.study.tuned
    if tuned is None:
        brought = view.study.plan.tuned
        if not brought:
            return [
                Paragraph(
                    "No arm was tuned for this study: all run with documented values, or with those that the plan sets."
                )
            ]
        listed = "; ".join(
            f"{key}: {', '.join(f'{name} {plain_value(value)}' for name, value in values.items())}"
            for key, values in brought.items()
        )
        return [Paragraph(f"The tuned values came with the plan. {listed}.")]
    labels = {arm.key: arm.label for arm in view.arms}
    rows = []
    for key, arm in tuned.arms.items():
        for trial in arm.trials:
            chosen = trial.overrides == arm.overrides
            rows.append(
                (
                    Cell(labels.get(key, key), "chosen" if chosen else "", view.colours.get(key), strong=chosen),
                    Cell(", ".join(f"{name} {plain_value(value)}" for name, value in trial.overrides.items())),
                    Cell(percent(trial.area), strong=chosen),
                    Cell(", ".join(f"{seed}: {percent(area)}" for seed, area in trial.areas.items())),
                )
            )
    columns = (
        Column("arm", number=False),
        Column("configuration", number=False),
        Column("area on valid, %"),
        Column("by seed"),
    )
    seeds = ", ".join(map(str, tuned.seeds))
    said = (
        f"The same number of configurations per arm, {tuned.iterations} iterations each, on the seeds {seeds}, which "
        "are reported nowhere else. The best mean area was taken."
    )
    return [Paragraph(said), TableBlock(columns, tuple(rows), "Trials")]


# --- configuration ---


def configuration_blocks(view: Shown) -> list[Block]:
    """The plan to the letter: arms, seeds, options, panels, versions, jobs."""
    study, plan = view.study, view.study.plan
    facts = [
        ("environment", plan.env_id),
        ("preset", plan.preset or "none"),
        ("model", plan.model or "the embedded tiny model, a warm start per seed"),
        ("seeds", ", ".join(map(str, plan.seeds))),
        ("budget B", f"{plan.budget} iterations of {plan.episodes_per_iteration} episodes"),
        ("takes the seed", ", ".join(plan.seeded) or "nothing of the environment"),
        ("planned", plan.planned_at or "not noted"),
        *(("amended", line) for line in plan.amended),
    ]
    arms = []
    for arm in plan.arms:
        overrides = {row.key: row.overrides for row in view.table.arms}.get(arm.key, arm.overrides)
        said = ", ".join(f"{name} {plain_value(value)}" for name, value in overrides.items())
        derived = ", ".join(f"{name} from {source.arm}'s {source.figure}" for name, source in arm.derived.items())
        arms.append(
            (
                Cell(arm.label, colour=view.colours[arm.key]),
                Cell(arm.method),
                Cell(", ".join(part for part in (said, derived) if part) or "as common"),
                Cell(", ".join(map(str, plan.seeds_of(arm)))),
            )
        )
    columns = (
        Column("arm", number=False),
        Column("method", number=False),
        Column("differs from the common options in", number=False),
        Column("seeds", number=False),
    )
    blocks: list[Block] = [
        FactsBlock(tuple(facts), wide=True),
        TableBlock(columns, tuple(arms), "Arms"),
        DetailsBlock("Options that all arms share", (FactsBlock(facts_of(plan.common)),)),
    ]
    if plan.warm_start:
        blocks.append(DetailsBlock("Options of the warm start", (FactsBlock(facts_of(plan.warm_start)),)))
    blocks.append(DetailsBlock("Panels", (_panels(study),)))
    blocks.append(DetailsBlock("Versions", (FactsBlock(_versions(study), wide=True),)))
    blocks.append(DetailsBlock("Runs", (_runs(view),)))
    return blocks


def _panels(study: Study) -> TableBlock:
    found: dict[tuple[int, str, str], int] = {}
    for result in study.results:
        if result.after is not None:
            found[result.seed, "test", result.after.panel_hash] = len(result.after.outcomes)
        if result.curve and result.watched_hash:
            split = str(result.config.get("eval_split", "valid"))
            found[result.seed, split, result.watched_hash] = result.curve[-1].overall.n
    rows = tuple(
        (Cell(str(seed)), Cell(split), Cell(str(count)), Cell(digest))
        for (seed, split, digest), count in sorted(found.items())
    )
    columns = (
        Column("seed", number=False),
        Column("split", number=False),
        Column("tasks"),
        Column("SHA-256 of the evaluation set", number=False),
    )
    return TableBlock(columns, rows, "Panels; each seed plays a world of its own")


def _versions(study: Study) -> tuple[tuple[str, str], ...]:
    """At planning, and every value that results were made with."""
    found: dict[str, dict[str, None]] = {name: {plain_value(said): None} for name, said in study.plan.versions.items()}
    for result in study.results:
        for name, said in result.versions.items():
            found.setdefault(name, {})[plain_value(said)] = None
    return tuple((name, "; ".join(said)) for name, said in found.items())


def _runs(view: Shown) -> TableBlock:
    rows = [
        (
            Cell(result.label, colour=view.colours[result.arm]),
            Cell(str(result.seed)),
            Cell(result.key),
            Cell(result.config_digest[:16]),
        )
        for result in view.study.results
    ]
    columns = (
        Column("arm", number=False),
        Column("seed"),
        Column("job", number=False),
        Column("digest of its options", number=False),
    )
    return TableBlock(columns, tuple(rows), "Finished runs")
