"""The report of a study, from its directory; it can be made while runs are still missing, and says which."""

from __future__ import annotations

from collections.abc import Sequence

from ..study.analysis import analyse
from ..study.records import Study
from ..study.table_files import untuned_words
from .document import Block, DetailsBlock, Document, FigureBlock, Headline, Paragraph, Section
from .figure import Figure
from .game_figures import games_blocks
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
    privileged_table,
    tuning_blocks,
    verdict_block,
    warm_table,
)
from .training_figures import policy_figure, weights_figure

MISSING_NAMED = 12


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
        _section("curves", "Learning curves", [_figure(curves_figure(view)), _figure(each_arm_figure(view))]),
        _section("axes", "Axes", [_figure(axes_figure(view))]),
        _section("tasks", "Tasks", [_figure(task_types_figure(view))]),
        _section("tokens", "Weights", [_figure(weights_figure(trained))]),
        _section("policy", "Policy", [_figure(policy_figure(trained))]),
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
    if plan.model is None:
        lead += (
            " A tiny model that was taught to read hints: what shows here is a sign of an effect at this scale, not a "
            "reproduction of published numbers."
        )
    if untuned := untuned_words(table):
        lead += f" {untuned[0].upper()}{untuned[1:]}."
    return Document(
        title=plan.name,
        kind="Report of a study",
        lead=lead,
        headlines=_headlines(view),
        sections=tuple(section for section in sections if section is not None),
        warnings=_warnings(view),
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


def _warnings(view: Shown) -> tuple[str, ...]:
    missing = view.table.missing
    if not missing:
        return ()
    named = "; ".join(missing[:MISSING_NAMED]) + (" and others" if len(missing) > MISSING_NAMED else "")
    return (f"This study is not complete: {len(missing)} runs are missing ({named}). Verdicts may change.",)


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
    for verdict in ("supported", "refuted", "undecided"):
        ids = [each.id for each in table.verdicts if each.verdict == verdict]
        if ids:
            found.append(Headline(str(len(ids)), verdict, ", ".join(ids)))
    return tuple(found)
