"""What an iteration learns from: filters over its episodes, and rows given the plain prompt."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import plan_of

from agents.base import Action, Episode, StopReason, Turn, TurnTokens, View
from sdar_envs.privileged import Privileged, StudentView
from trainers.batch.outcome import EpisodeOutcome
from trainers.batch.row import SampledRow
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.methods.filters import best_successes, successes
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.rows import build_rows
from trainers.rollout.selection import Selection, mark_kept, measure_progress, select_rows

OUTCOMES = st.lists(
    st.builds(
        EpisodeOutcome,
        episode_id=st.just(0),
        group_id=st.integers(0, 3),
        return_=st.sampled_from([0.0, 0.5, 1.0]),
        failed=st.booleans(),
        success=st.booleans(),
        turns=st.integers(1, 5),
    ),
    max_size=20,
)


def outcome(group: int, success: bool, turns: int, return_: float = 1.0, failed: bool = False) -> EpisodeOutcome:
    return EpisodeOutcome(0, group, return_, failed, success, turns)


def test_successes_are_kept_and_a_broken_environment_is_none() -> None:
    episodes = [outcome(0, True, 3), outcome(0, False, 2), outcome(1, True, 4, failed=True)]
    assert successes(episodes, SDARConfig()) == [True, False, False]


def test_of_each_task_the_best_are_kept_by_return_then_by_fewest_turns_then_in_order_by_hand() -> None:
    episodes = [
        outcome(0, True, 5),
        outcome(0, True, 3),
        outcome(0, True, 3),
        outcome(0, True, 9, return_=2.0),
        outcome(0, False, 1, return_=9.0),
        outcome(1, True, 9),
    ]
    assert best_successes(episodes, SDARConfig(keep_per_task=2)) == [False, True, False, True, False, True]
    assert best_successes(episodes, SDARConfig(keep_per_task=4)) == [True, True, True, True, False, True]


@given(OUTCOMES, st.integers(1, 4), st.randoms())
def test_the_filter_keeps_at_most_so_many_of_a_task_and_never_a_worse_one_before_a_better(
    episodes: list[EpisodeOutcome], most: int, shuffle: random.Random
) -> None:
    config = SDARConfig(keep_per_task=most)
    flags = best_successes(episodes, config)
    for group in {episode.group_id for episode in episodes}:
        own = [(e, kept) for e, kept in zip(episodes, flags, strict=True) if e.group_id == group]
        won = [pair for pair in own if pair[0].success and not pair[0].failed]
        assert sum(kept for _, kept in own) == min(most, len(won))
        kept = [(-e.return_, e.turns) for e, chosen in won if chosen]
        left = [(-e.return_, e.turns) for e, chosen in won if not chosen]
        assert not left or max(kept) <= min(left)
    order = list(range(len(episodes)))
    shuffle.shuffle(order)
    again = best_successes([episodes[i] for i in order], config)

    def values(chosen: Sequence[bool], among: Sequence[EpisodeOutcome]) -> list[tuple[int, float, int]]:
        return sorted((e.group_id, e.return_, e.turns) for e, kept in zip(among, chosen, strict=True) if kept)

    assert values(again, [episodes[i] for i in order]) == values(flags, episodes)


def story(group: int, *, success: bool, turns: int = 2, member: int = 0) -> Rollout:
    """A transcript whose prompts begin with the id 99, which stands for the privileged block."""
    played = []
    for number in range(turns):
        prompt = (99, 1) if number == 0 else (2,)
        tokens = TurnTokens(prompt, number > 0, (10 + number, 20 + member), (-1.0, -2.0), (0.5, 0.5))
        played.append(Turn(StudentView("", turn=number), Action("go", "go", tokens=tokens), 0.0, True))
    episode = Episode("env", f"task {group}", "kind", (), played, success=success)
    plan = [Privileged({"plan": ["go"] * (turns - number)}) for number in range(turns)]
    return Rollout(episode, TaskDraw(f"task {group}", (), group, member), plan)


def without_block(turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> View:
    """The plain reading of `story`."""
    ids: list[int] = []
    places: list[int] = []
    for turn in turns:
        assert turn.action.tokens is not None
        ids += [i for i in turn.action.tokens.prompt_ids if i != 99]
        places += range(len(ids), len(ids) + len(turn.action.tokens.completion_ids))
        ids += turn.action.tokens.completion_ids
    return View(ids, places)


def refused(*arguments: object) -> View:
    raise AssertionError("a method that learns given its own prompt relabelled a row")


STORIES = [
    story(0, success=True, turns=3),
    story(0, success=False, member=1),
    story(1, success=True, member=2),
    story(1, success=True, turns=1, member=3),
]

ROWS: list[SampledRow] = build_rows(STORIES)


def chosen(name: str, *, coef: float | None = None, plain: Any = refused, **options: Any) -> Selection:
    plan = plan_of(name, SDARConfig(**options), METHODS[name].coef if coef is None else coef)
    return select_rows(plan, ROWS, STORIES, plain, mask_truncated=False)


def test_a_method_without_a_filter_learns_from_every_row_as_it_was_acted_and_says_nothing() -> None:
    for name in ("grpo", "sdar", "skill-grpo", "shaped-grpo"):
        selected = chosen(name)
        assert selected.rows == ROWS and selected.metrics == {}
        assert all(row.kept and row.student.ids[0] == 99 for row in selected.rows)


def test_rft_learns_from_its_best_successes_alone_and_grpo_with_rft_marks_them_among_all() -> None:
    selected = chosen("rft", keep_per_task=1)
    assert [row.episode_id for row in selected.rows] == [row.index for row in selected.rows] == [0, 3]
    assert selected.metrics == {"lessons/episodes": 2.0, "lessons/share": 0.5, "lessons/tokens": 8.0}
    selected = chosen("grpo+rft", keep_per_task=1)
    assert [row.kept for row in selected.rows] == [True, False, False, True]
    assert [dataclasses.replace(row, kept=True) for row in selected.rows] == ROWS
    assert selected.metrics["lessons/tokens"] == 8.0


def test_context_distillation_keeps_the_successes_and_lays_them_behind_the_plain_prompt() -> None:
    selected = chosen("context-distillation", plain=without_block)
    learned, metrics = selected.rows, selected.metrics
    assert [row.episode_id for row in learned] == [row.index for row in learned] == [0, 2, 3]
    assert metrics["lessons/quoting"] == 0.0 and metrics["lessons/share"] == 0.75
    assert not any(99 in row.student.ids for row in learned)
    assert learned[0].student == View([1, 10, 20, 2, 11, 20, 2, 12, 20], [1, 2, 4, 5, 7, 8])
    # Log-probs and entropies were of the prompt with the block: they are nobody's now.
    assert all(row.behaviour_logprobs_T == () == row.entropies_T for row in learned)


def test_a_row_that_may_not_be_shown_is_left_out_and_counted() -> None:
    def plain(turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> View | None:
        return None if len(turns) == 3 else without_block(turns, privileged)

    selected = chosen("context-distillation", plain=plain)
    assert [row.episode_id for row in selected.rows] == [2, 3]
    assert selected.metrics["lessons/quoting"] == 1.0 and selected.metrics["lessons/tokens"] == 6.0


def test_a_plain_row_of_other_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be learned from with the tokens that were sampled"):
        chosen("context-distillation", plain=lambda turns, known: View([1, 2], [1]))


@pytest.mark.parametrize("name", ["rft", "grpo+rft", "context-distillation"])
def test_at_coefficient_zero_nothing_is_kept(name: str) -> None:
    selected = chosen(name, coef=0.0)
    marked = mark_kept(plan_of(name, SDARConfig(), 0.0), ROWS, STORIES).rows
    assert not any(row.kept for row in marked) and selected.metrics["lessons/episodes"] == 0.0
    assert selected.rows == (marked if METHODS[name].pg_coef else [])


def test_a_truncated_row_that_is_masked_is_no_lesson() -> None:
    rows = [dataclasses.replace(ROWS[0], truncated=True), *ROWS[1:]]
    plan = plan_of("rft", SDARConfig(mask_truncated_completions=True), 1.0)
    found = {mask: select_rows(plan, rows, STORIES, refused, mask_truncated=mask).rows for mask in (True, False)}
    assert [row.episode_id for row in found[True]] == [2, 3]
    assert [row.episode_id for row in found[False]] == [0, 2, 3]


def test_a_failed_environment_counts_in_no_share() -> None:
    broken = dataclasses.replace(STORIES[1], episode=dataclasses.replace(STORIES[1].episode))
    broken.episode.stop_reason = StopReason.FAILED
    stories = [STORIES[0], broken]
    marked = mark_kept(plan_of("rft", SDARConfig(), 1.0), build_rows(stories), stories)
    assert marked.metrics == {"lessons/episodes": 1.0, "lessons/share": 1.0}


def test_progress_stands_at_the_tokens_of_its_turn_and_unknown_plans_are_counted() -> None:
    def length(known: Privileged | None) -> int | None:
        return None if known is None else len(known.reveal()["plan"]) or None

    config = SDARConfig()
    measured = measure_progress(ROWS, STORIES, config, length)
    rows = measured.rows
    assert measured.metrics == {"shaping/known": 1.0}
    third = pytest.approx(1 / 3)
    assert rows[0].progress_T == [third, third, third, third, third, third]
    assert rows[1].progress_T == [0.5, 0.5, -0.5, -0.5]
    silent = [dataclasses.replace(STORIES[0], privileged=[None] * 3)]
    measured = measure_progress(build_rows(silent), silent, config, length)
    assert measured.metrics == {"shaping/known": 0.0}
    assert measured.rows[0].progress_T == [0.0] * 6
