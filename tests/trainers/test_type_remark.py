"""Differences by task type come with a remark where there are too few episodes to tell them from chance."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from made_up_run import write_run
from rich.console import Console

from trainers.cli.summary_table import show_summary
from trainers.evaluation.intervals import wilson
from trainers.report.run_document import run_document
from trainers.report.run_records import read_run
from trainers.report.type_remark import type_remark


def evaluation(**kinds: tuple[int, int]) -> dict[str, Any]:
    """Wins and episodes by task type."""
    return {
        "by_task_type": {
            kind: {"success_rate": won / played, "ci95": list(wilson(won, played)), "episodes": played, "wins": won}
            for kind, (won, played) in kinds.items()
        }
    }


def test_a_swing_of_a_few_episodes_is_remarked_and_one_of_hundreds_is_not() -> None:
    few = type_remark(evaluation(heat=(1, 5), cool=(4, 6)), evaluation(heat=(4, 5), cool=(1, 6)))
    assert few.startswith("In every one of the 2 task types the intervals before and after overlap (5 to 6 episodes")
    assert type_remark(evaluation(heat=(20, 200), cool=(40, 200)), evaluation(heat=(150, 200), cool=(190, 200))) == ""


def test_the_types_that_are_clear_are_not_counted() -> None:
    before, after = evaluation(heat=(20, 200), cool=(1, 4)), evaluation(heat=(150, 200), cool=(3, 4))
    assert type_remark(before, after).startswith("In 1 of the 2 task types")
    assert "(4 episodes each)" in type_remark(before, after)


@pytest.mark.parametrize("before", [{}, evaluation(heat=(1, 5)), {"by_task_type": {"heat": {"ci95": None}}}])
def test_where_nothing_is_compared_by_type_nothing_is_remarked(before: dict[str, Any]) -> None:
    assert type_remark(before, evaluation(heat=(4, 5))) == ""


def test_the_page_of_a_run_and_its_table_on_the_screen_both_have_it(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run"))
    assert run.summary is not None
    remark = type_remark(run.summary["before"], run.summary["after"])
    assert remark and remark in repr(run_document(run))
    said = io.StringIO()
    show_summary(Console(file=said, width=1000), run.summary)
    assert remark in said.getvalue()
