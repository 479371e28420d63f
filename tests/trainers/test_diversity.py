"""What self-distillation can cost, by hand: pass@k, distinct actions, length, and mentions of what was never read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import make_trainer

from agents.base import Action, Episode, StopReason, Turn, TurnTokens
from sdar_envs.privileged import Privileged, StudentView
from trainers.evaluation.diversity import (
    breadth,
    completion_tokens,
    diversity_metrics,
    mention_share,
    mentions,
    pass_at_k,
)
from trainers.report.training_figures import Trace, diversity_figure
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.study.read_run import KEPT_METRICS
from trainers.study.result_records import TrainingPoint


def episode(*actions: str, success: bool = False, read: str = "", said: str = "", tokens: int = 2) -> Episode:
    turns = [
        Turn(
            StudentView("seen", turn=number),
            Action(
                text,
                said or text,
                tokens=TurnTokens((1,), number > 0, (3,) * tokens, (-1.0,) * tokens),
                messages=({"role": "user", "content": read}, {"role": "assistant", "content": "it is in drawer 3"}),
            ),
            0.0,
            True,
        )
        for number, text in enumerate(actions)
    ]
    return Episode("env", "task", "kind", (), turns, success=success)


# --- pass@k ---


def test_pass_at_k_by_hand() -> None:
    # Two wins in four: of the six pairs one holds none of them.
    assert pass_at_k(2, 4, 2) == pytest.approx(5 / 6)
    assert pass_at_k(1, 4, 1) == 0.25 and pass_at_k(1, 4, 4) == 1.0
    assert pass_at_k(0, 4, 4) == 0.0 and pass_at_k(3, 4, 2) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_draws_without_replacement_that_hold_a_win(episodes: int, data: Any) -> None:
    wins, k = data.draw(st.integers(0, episodes)), data.draw(st.integers(1, episodes))
    draws = list(itertools.combinations([True] * wins + [False] * (episodes - wins), k))
    assert pass_at_k(wins, episodes, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("wins", "episodes", "k"), [(0, 4, 0), (0, 4, 5), (5, 4, 2), (-1, 4, 2)])
def test_more_than_was_played_is_refused(wins: int, episodes: int, k: int) -> None:
    with pytest.raises(ValueError, match="expected 1 <= k <= episodes"):
        pass_at_k(wins, episodes, k)


# --- breadth and length ---


def test_breadth_is_the_mean_over_groups_and_k_goes_as_far_as_the_smallest_does() -> None:
    alike = [episode("look", "open", success=number < 2) for number in range(4)]
    apart = [episode("a"), episode("b"), episode("c", success=True)]
    found = breadth([alike, apart])
    assert set(found) == {"pass_at_2", "distinct_episodes", "distinct_actions"}
    assert found["pass_at_2"] == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert found["distinct_episodes"] == pytest.approx((1 / 4 + 1) / 2)
    assert found["distinct_actions"] == pytest.approx((2 / 8 + 1) / 2)
    assert "pass_at_4" in breadth([alike])


def test_an_episode_differs_by_the_order_of_its_actions_too() -> None:
    found = breadth([[episode("a", "b"), episode("b", "a")]])
    assert found["distinct_episodes"] == 1.0 and found["distinct_actions"] == 0.5


def test_without_a_second_episode_there_is_no_breadth() -> None:
    assert breadth([[episode("a")], []]) == {}


def test_length_is_per_completion() -> None:
    assert completion_tokens([episode("a", "b", tokens=3), episode("c", tokens=6)]) == pytest.approx(4.0)
    assert completion_tokens([]) == 0.0


def test_groups_are_of_one_task_and_seat_and_broken_environments_are_in_none() -> None:
    played = [episode("a"), episode("a", success=True), episode("x"), episode("y")]
    played[3].stop_reason = StopReason.FAILED
    rollouts = [Rollout(own, TaskDraw("task", (), at // 2, at % 2)) for at, own in enumerate(played)]
    found = diversity_metrics(rollouts)
    assert found == {"pass_at_2": 1.0, "distinct_episodes": 0.5, "distinct_actions": 0.5, "completion_tokens": 2.0}
    assert diversity_metrics(rollouts, view="privileged")["pass_at_2_privileged"] == 1.0


# --- mentions ---


@pytest.mark.parametrize(
    ("said", "read", "expected"),
    [
        ("The mug is in drawer 3.", (), True),
        ("the mug IS -- in drawer", (), True),  # words, whatever stands between them
        ("the mug is in drawer 3", ("You see: the mug is in drawer 3.",), False),  # it was read
        ("the mug is in drawer 3", ("the mug is on the table", "is in drawer 4"), True),  # but not this run
        ("look for the mug", (), False),
        ("in drawer", (), False),
    ],
)
def test_a_mention_is_three_words_of_the_context_that_were_never_read(
    said: str, read: tuple[str, ...], expected: bool
) -> None:
    assert mentions(said, "Hint: the mug is in drawer 3.", read) is expected


def test_the_share_counts_turns_with_a_context_and_what_earlier_turns_read() -> None:
    secret = "it is in drawer 3"
    leaks = episode("a", "b", said="surely it is in drawer 3")
    told = episode("c", read=secret, said="it is in drawer 3")
    assert mention_share([leaks, told], [[secret, secret], [secret]]) == pytest.approx(2 / 3)
    # An assistant's message is what the student said itself, and no reading.
    assert mention_share([leaks], [[None, secret]]) == 1.0
    assert mention_share([leaks], [[None, None]]) is None and mention_share([], []) is None


# --- in a run, and on its page ---


def test_a_run_says_all_of_them_and_a_run_without_a_teacher_has_no_mentions(tmp_path: Path) -> None:
    figures = make_trainer(tmp_path, method="sdar", privilege="plan").iteration()
    assert {"pass_at_2", "pass_at_4", "distinct_episodes", "distinct_actions", "completion_tokens"} <= set(figures)
    assert 0.0 <= figures["teacher/mentioned"] <= 1.0
    assert figures["pass_at_4"] >= figures["pass_at_2"] >= figures["success"] - 1e-9
    assert figures["completion_tokens"] == pytest.approx(figures["tokens/sampled"] / (figures["turns"] * 12))
    assert "teacher/mentioned" not in make_trainer(tmp_path, method="grpo").iteration()
    assert "teacher/mentioned" not in make_trainer(tmp_path, method="sdar", privilege="sibling").iteration()


def test_the_page_of_a_run_draws_what_was_logged() -> None:
    assert {"pass_at_4", "distinct_actions", "completion_tokens", "teacher/mentioned"} <= set(KEPT_METRICS)
    points = tuple(
        TrainingPoint(step, 12 * step, 100 * step, {"pass_at_4": 0.5, "teacher/mentioned": 0.25 * step})
        for step in (1, 2)
    )
    figure = diversity_figure([Trace("sdar", 1, (points,))])
    assert figure is not None
    assert [panel.title for panel in figure.panels] == [
        "Groups won in four attempts (pass@4)",
        "Turns that mention what only the teacher read",
    ]
    assert diversity_figure([Trace("sdar", 1, ((TrainingPoint(1, 12, 100, {}),),))]) is None


def test_what_is_privileged_stays_sealed_in_what_is_measured() -> None:
    rollout = Rollout(episode("a"), TaskDraw("task", ()), [Privileged({"plan": ["xyzzy"]})])
    assert "xyzzy" not in str(diversity_metrics([rollout]))
