"""The report of a study, from its directory; it can be made while runs are still missing, and says which."""

from __future__ import annotations

from collections.abc import Sequence

from ..study.analysis import analyse, contrasts_of
from ..study.records import Study
from ..study.table_files import missing_words, scale_words, untuned_words
from ..study.table_records import Contrast, Verdict
from .document import Answer, Block, DetailsBlock, Document, FigureBlock, Headline, Paragraph, Section
from .figure import Figure
from .game_figures import games_blocks
from .number_format import points, points_range
from .study_figures import (
    Shown,
    axes_figure,
    claims_figure,
    cost_figure,
    curves_figure,
    differences_figure,
    each_arm_figure,
    shown,
    task_types_figure,
    teacher_figure,
    traces,
)
from .study_tables import (
    arms_table,
    collapse_blocks,
    configuration_blocks,
    cost_table,
    curves_table,
    privileged_table,
    tuning_blocks,
    verdict_block,
    warm_table,
)
from .training_figures import diversity_figure, policy_figure, weights_figure

PANELS_UNFOLDED = 8  # of a figure with a panel per arm
ANSWERS = 6  # of a study without hypotheses: the arms that lead most


def study_view(study: Study) -> Shown:
    """The study with its analysis, as it stands.

    Raises:
        StudyError: Arms of one seed did not begin with the same weights.
    """
    return shown(study, analyse(study))


def study_document(view: Shown) -> Document:
    """Everything the study found, as a document."""
    study, plan, table = view.study, view.study.plan, view.table
    trained = traces(view)
    sections = [
        _section("verdicts", "Hypotheses", _verdicts(view)),
        _section("arms", "Arms", _arms(view)),
        _section("games", "Games", games_blocks(view)),
        _section("curves", "Learning curves", _curves(view)),
        _section("axes", "Axes", [_figure(axes_figure(view))]),
        _section("tasks", "Tasks", [_figure(task_types_figure(view))]),
        _section("tokens", "Weights", [_figure(weights_figure(trained))]),
        _section("policy", "Policy", [_figure(policy_figure(trained)), _figure(diversity_figure(trained))]),
        _section("teacher", "Teacher", [_figure(teacher_figure(view)), *collapse_blocks(view)]),
        _section("cost", "Cost", [_figure(cost_figure(view)), cost_table(view)]),
        _section("start", "Start and tuning", [warm_table(study), *tuning_blocks(view)]),
        _section("configuration", "Configuration", configuration_blocks(view)),
    ]
    lead = (
        f"{len(plan.arms)} arms on {plan.env_id}, paired by seed: a seed has its own world, start, training tasks and "
        f"draws, which its arms share. "
    )
    budget = f"{plan.budget * plan.episodes_per_iteration:,}"
    if plan.opponents is None:
        lead += f"The primary endpoint is the mean success on valid over the first {budget} training episodes (B)."
    else:
        lead += (
            f"The primary endpoints are success and return of the trained policies, in every seat, against "
            f"{len(plan.opponents.players)} opponents that do not learn. B is {budget} training games."
        )
    if scale := scale_words(plan):
        lead += f" {scale}"
    if untuned := untuned_words(table):
        lead += f" {untuned[0].upper()}{untuned[1:]}."
    return Document(
        title=plan.name,
        kind="Report of a study",
        lead=lead,
        headlines=_headlines(view),
        sections=tuple(section for section in sections if section is not None),
        warnings=_warnings(view),
        answers=answers(view),
        made_with=f"Made by sdar report from {study.path.name}; {len(study.results)} finished runs, "
        f"{'all that were planned' if table.complete else f'{len(table.missing)} missing'}.",
    )


def _section(key: str, title: str, blocks: Sequence[Block | None]) -> Section | None:
    kept = tuple(block for block in blocks if block is not None)
    return Section(key, title, kept) if kept else None


def _figure(figure: Figure | None) -> FigureBlock | None:
    return None if figure is None else FigureBlock(figure)


def _arms(view: Shown) -> list[Block | None]:
    others = differences_figure(view, main=False)
    folded = None if others is None else DetailsBlock("Other endpoints", (FigureBlock(others),))
    return [arms_table(view), privileged_table(view), _figure(differences_figure(view)), folded]


def _curves(view: Shown) -> list[Block | None]:
    each = each_arm_figure(view)
    if each is None or len(each.panels) <= PANELS_UNFOLDED:
        return [_figure(curves_figure(view)), _figure(each), curves_table(view)]
    folded = DetailsBlock(f"{each.title}: {len(each.panels)} panels", (FigureBlock(each),))
    return [_figure(curves_figure(view)), folded, curves_table(view)]


def answers(view: Shown) -> tuple[Answer, ...]:
    """The verdict on every hypothesis with the claim that decides it; without hypotheses, how far each arm leads."""
    table = view.table
    if table.verdicts:
        return tuple(
            Answer(
                f"{verdict.verdict} so far" if verdict.provisional else verdict.verdict,
                f"{verdict.id}: {verdict.statement.rstrip('.')}",
                _numbers(deciding_claim(verdict)) if verdict.claims else "",
            )
            for verdict in table.verdicts
        )
    found = [(row, contrasts_of(table, row.key).get("area")) for row in table.arms if row.key != table.reference]
    measured = [(row, each) for row, each in found if each is not None and each.estimate.mean is not None]
    measured.sort(key=lambda pair: -(pair[1].estimate.mean or 0.0))
    return tuple(
        Answer(_lead(each), f"{row.label} against {view.label(table.reference)}, area under the curve", _numbers(each))
        for row, each in measured[:ANSWERS]
    )


def deciding_claim(verdict: Verdict) -> Contrast:
    """The first claim whose own verdict is that of the hypothesis."""
    return next((claim for claim in verdict.claims if claim.verdict == verdict.verdict), verdict.claims[0])


def _lead(contrast: Contrast) -> str:
    """Whether the interval of a difference excludes 0, in a word."""
    low, high = contrast.estimate.low, contrast.estimate.high
    if low is None or high is None or low <= 0.0 <= high:
        return "undecided"
    return "ahead" if low > 0.0 else "behind"


def _numbers(contrast: Contrast) -> str:
    """A contrast's estimate with its interval and the number of seeds."""
    estimate = contrast.estimate
    if estimate.mean is None:
        return "no paired seeds yet"
    bounds = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    interval = "no interval" if bounds is None else f"95 % interval {points_range(bounds)}"
    return f"{contrast.name}: {points(estimate.mean)} points, {interval}, {estimate.n} seeds"


def _warnings(view: Shown) -> tuple[str, ...]:
    missing = missing_words(view.table)
    return (f"This study is not complete, verdicts may change: {missing}.",) if missing else ()


def _verdicts(view: Shown) -> list[Block | None]:
    if not view.table.verdicts:
        return [Paragraph("No hypotheses were written down before the runs; what follows is exploratory.")]
    said = (
        "Written before the runs, with their endpoints. Supported: the 95 % interval lies beyond the bound (and p, "
        "corrected, is at most 0.05 from 8 seeds on); refuted: even the smallest gain worth a claim is excluded; "
        "undecided: anything else."
    )
    blocks: list[Block | None] = [Paragraph(said), *(verdict_block(verdict) for verdict in view.table.verdicts)]
    return [*blocks, _figure(claims_figure(view))]


def _headlines(view: Shown) -> tuple[Headline, ...]:
    plan, table = view.study.plan, view.table
    seeds = sorted({result.seed for result in view.study.results})
    found = [
        Headline(str(len(table.arms)), "arms", f"{len(seeds)} seeds, {len(view.study.results)} runs"),
        Headline(
            f"{plan.budget * plan.episodes_per_iteration:,}",
            "training episodes (B)",
            f"{plan.common.get('max_steps', '?')} iterations in all",
        ),
    ]
    panels = [len(result.after.outcomes) for result in view.study.results if result.after is not None]
    if panels:
        found.append(Headline(str(panels[0]), "test tasks per run", "played before and after"))
    return tuple(found)
