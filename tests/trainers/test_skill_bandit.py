"""The bandit over skills: scores by hand, who comes first, what is rewarded, and a state that comes back whole."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Episode, StopReason, View
from sdar_envs.privileged import StudentView
from trainers.batch.row import ScoredRow
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.skill_bandit import SkillBandit, ucb_scores
from trainers.rollout.tasks import TaskPlan, group_key

ARMS = ("clean", "heat", "place")


def draw_of(group: int, member: int = 0, step: int = 0) -> tuple[int | str, ...]:
    return ("train", 7, step, group, member)


def view(group: int, member: int = 0, *, task_type: str = "heat", step: int = 0) -> StudentView:
    return StudentView("", task_type=task_type, draw=draw_of(group, member, step))


def rollout(group: int, member: int, success: bool, *, step: int = 0, failed: bool = False) -> Rollout:
    reason = StopReason.FAILED if failed else StopReason.SUCCESS
    draw = draw_of(group, member, step)
    return Rollout(
        Episode("env", "task", "heat", draw, success=success, stop_reason=reason), TaskDraw("t", draw, group)
    )


def row(episode: int, gap: float, return_: float, tokens: int = 2) -> ScoredRow:
    return ScoredRow(
        student=View([0] * 3, [1, 2][:tokens]),
        behaviour_logprobs_T=[-2.0] * tokens,
        turn_ids_T=[0] * tokens,
        episode_id=episode,
        group_id=0,
        return_=return_,
        teacher_logprobs_T={"teacher": [-2.0 + gap] * tokens},
    )


def test_the_score_is_the_mean_plus_what_uncertainty_is_worth_by_hand() -> None:
    scores = ucb_scores({"a": 3, "b": 1, "c": 0}, {"a": 1.5, "b": 1.0, "c": 0.0}, {"b": 1}, math.sqrt(2))
    assert scores["a"] == pytest.approx(0.5 + math.sqrt(2 * math.log(5) / 3))
    assert scores["b"] == pytest.approx(1.0 + math.sqrt(2 * math.log(5) / 2))  # a pull without a reward yet
    assert scores["c"] == math.inf


def test_every_arm_is_pulled_once_before_any_is_pulled_again_and_siblings_share_one() -> None:
    bandit = SkillBandit(ARMS)
    chosen = [[bandit.choose(view(group, member)) for member in range(4)] for group in range(3)]
    assert chosen == [[arm] * 4 for arm in ARMS]
    assert bandit.choose(view(9, task_type="clean")) == "clean"  # another task type has arms of its own


def test_what_was_rewarded_comes_back_more_often_and_nothing_is_given_up_for_good() -> None:
    bandit = SkillBandit(ARMS)
    pulls = dict.fromkeys(ARMS, 0)
    for step in range(60):
        arm = bandit.choose(view(0, step=step))
        pulls[arm] += 1
        bandit.learn([], [rollout(0, member, arm == "place", step=step) for member in range(2)])
    assert pulls["place"] > 40 and min(pulls.values()) >= 3
    assert bandit.choose(StudentView("", task_type="heat", draw=("panel", "hash", 0, 0))) == "place"


def test_without_exploration_the_best_mean_is_taken() -> None:
    bandit = SkillBandit(ARMS, c=0.0)
    for step, success in enumerate((False, True, False)):
        bandit.choose(view(0, step=step))
        bandit.learn([], [rollout(0, 0, success, step=step)])
    assert {bandit.choose(view(group, step=9)) for group in range(5)} == {"heat"}


def test_before_anything_is_known_an_evaluation_is_told_the_tasks_own_skill_and_changes_nothing() -> None:
    bandit = SkillBandit(ARMS)
    panel = StudentView("", task_type="place", draw=("panel", "hash", 0, 3))
    assert [bandit.choose(panel) for _ in range(3)] == ["place"] * 3
    assert bandit.choose(StudentView("", task_type="unheard of")) == "clean"
    assert bandit.choose(view(0, task_type="place")) == "clean"  # still the first of the bank


def test_a_pull_is_a_group_and_its_reward_the_mean_of_its_usable_episodes() -> None:
    bandit = SkillBandit(ARMS)
    bandit.choose(view(0)), bandit.choose(view(1))
    rollouts = [rollout(0, 0, True), rollout(0, 1, False), rollout(0, 2, False, failed=True)]
    rollouts += [rollout(1, 0, False, failed=True)]
    metrics = bandit.learn([], rollouts)
    assert bandit.state() == {"heat": {"clean": [1, 0.5], "heat": [0, 0.0], "place": [0, 0.0]}}
    assert metrics == {"retrieval/own_skill": 0.5, "retrieval/reward": 0.5}


def test_the_gap_rewards_what_the_teacher_expected_where_it_brought_something() -> None:
    bandit = SkillBandit(ARMS, reward="gap")
    for group in range(3):
        bandit.choose(view(group))
    rollouts = [rollout(0, 0, True), rollout(0, 1, False), rollout(1, 0, False), rollout(2, 0, True)]
    rows = [row(0, 0.5, 1.0), row(0, 1.0, 1.0, tokens=1), row(1, 3.0, 0.0), row(2, 0.25, -1.0)]  # none of episode 3
    bandit.learn(rows, rollouts)
    state = bandit.state()["heat"]
    assert state["clean"] == [1, pytest.approx((2 / 3 + 0.0) / 2)]
    assert state["heat"] == [1, -0.25]
    assert state["place"] == [1, -0.25]  # nobody read it: no better than the worst


def test_a_skill_that_no_teacher_can_be_told_is_tried_once_and_not_for_ever() -> None:
    bandit = SkillBandit(ARMS, reward="gap")
    told = []
    for step in range(12):
        told.append(bandit.choose(view(0, step=step)))
        rows = [] if told[-1] == "clean" else [row(0, -0.1 if told[-1] == "heat" else 0.2, 1.0)]
        bandit.learn(rows, [rollout(0, 0, True, step=step)])
    assert told[:3] == list(ARMS) and told.count("clean") < 6
    assert bandit.state()["heat"]["clean"][1] <= 0.0


def test_groups_that_gave_way_to_others_are_pulls_like_any() -> None:
    # Behind a student that acts with the skill, the groups that an arm fails are those that are replaced.
    bandit = SkillBandit(ARMS)
    first, again = view(0), StudentView("", task_type="heat", draw=(*draw_of(0), "again", 0))
    assert (bandit.choose(first), bandit.choose(again)) == ("clean", "heat")
    lost, won = rollout(0, 0, False), rollout(0, 0, True)
    won.task = TaskDraw("t", again.draw)
    bandit.learn([], [won], [lost])
    assert bandit.state()["heat"] == {"clean": [1, 0.0], "heat": [1, 1.0], "place": [0, 0.0]}


def test_of_joined_contexts_the_skills_own_reading_is_rewarded() -> None:
    bandit = SkillBandit(ARMS, reward="gap")
    bandit.choose(view(0))
    one = row(0, 3.0, 1.0)
    read = {**one.teacher_logprobs_T, "teacher:skill": [-1.5] * 2, "teacher:plan": [2.0] * 2}
    both = dataclasses.replace(one, teacher_logprobs_T=read)
    bandit.learn([both], [rollout(0, 0, True)])
    assert bandit.state()["heat"]["clean"] == [1, 0.5]


def test_where_nothing_was_chosen_nothing_is_said() -> None:
    assert SkillBandit(ARMS).learn([], [rollout(0, 0, True)]) == {}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ARMS), st.booleans()), min_size=1, max_size=25), st.integers(0, 24))
def test_a_state_that_went_through_json_goes_on_the_same(history: list[tuple[str, bool]], cut: int) -> None:
    def run(bandit: SkillBandit, start: int) -> list[str]:
        arms = []
        for step, (task_type, success) in enumerate(history[start:], start):
            arms.append(bandit.choose(view(0, task_type=task_type, step=step)))
            bandit.learn([], [rollout(0, 0, success, step=step)])
        return arms

    straight = run(SkillBandit(ARMS), 0)
    first, second = SkillBandit(ARMS), SkillBandit(ARMS)
    stop = min(cut, len(history))
    for step, (task_type, success) in enumerate(history[:stop]):
        assert first.choose(view(0, task_type=task_type, step=step)) == straight[step]
        first.learn([], [rollout(0, 0, success, step=step)])
    second.load(json.loads(json.dumps(first.state())))
    assert run(second, stop) == straight[stop:]


def test_a_training_group_has_one_key_and_its_stand_in_another() -> None:
    plan = TaskPlan(["a", "b"], SDARConfig(tasks_per_step=2, num_generations=2, dynamic_sampling=1))
    keys = [group_key(draw.draw) for draw in (*plan.draws(3), *plan.replacements(3, 0, [0]))]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert keys[4] == keys[5] and keys[4] not in keys[:4]
    assert group_key(("panel", "hash", 0, 1)) is None and group_key(()) is None


@pytest.mark.parametrize(
    ("options", "bank", "message"),
    [
        ({"privilege": "plan"}, {"a": "", "b": ""}, "chooses what privilege='skill' shows"),
        (
            {"ucb_reward": "gap", "method": "skill-grpo"},
            {"a": "", "b": ""},
            "needs a teacher that reads the episodes.* 'skill-grpo' has none",
        ),
        ({}, {"a": ""}, r"two skills or more to choose from, got \['a'\]"),
        ({}, None, r"got \[\]"),
    ],
)
def test_a_choice_that_would_not_matter_is_refused(options: dict[str, Any], bank: Any, message: str) -> None:
    found = None if bank is None else SimpleNamespace(tasks=bank)
    config = SDARConfig(retrieval="ucb", **options)
    with pytest.raises(ValueError, match=message):
        SkillBandit.of(config, found, METHODS[config.method])
    assert SkillBandit.of(SDARConfig(), found, METHODS[config.method]) is None


def test_the_world_is_not_told_of_the_bandit() -> None:
    assert SDARConfig(retrieval="ucb").environment_kwargs == {}
    assert SDARConfig(retrieval="keyword").environment_kwargs == {"retrieval": "keyword"}
