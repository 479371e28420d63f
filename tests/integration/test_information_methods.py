"""Methods that use what the teacher reads in plainer ways, run whole: who reads what, what is learned, what is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted_agents import ParityEnv, ParityWorld
from small_runs import make_trainer, weights

from agents.base import Action, Episode, Turn
from sdar_envs.core import Transition
from sdar_envs.privileged import PrivilegedFields, StudentView
from trainers.batch.row import WeighedRow
from trainers.cli.evaluate import show_summaries
from trainers.cli.summary_table import show_summary
from trainers.cli.terminal import make_console
from trainers.methods import IterationPlan
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.run.directory import read_json_lines
from trainers.run.episode_log import episode_record, privileged_record

CANARY = "canary-4711"


class StairsWorld(ParityWorld):
    """An action of an even number of characters climbs a stair, any other falls back one; the second stair wins."""

    def __init__(self, *, horizon: int = 4, **kwargs: Any) -> None:
        super().__init__(horizon=horizon, **kwargs)
        self.secret = f"{CANARY} "
        self.stairs = 0

    def _begin(self, task_id: str) -> str:
        self.stairs = 0
        return super()._begin(task_id)

    def _act(self, action: str) -> Transition:
        self.stairs = max(self.stairs + (1 if len(action) % 2 == 0 else -1), 0)
        self._won = self.stairs == 2
        return Transition(f"You stand on stair {self.stairs}.", float(self._won), self._won, True)

    def _privileged(self) -> PrivilegedFields:
        plan = ["go"] * (2 - self.stairs)
        return {**super()._privileged(), "plan": plan, "next_action": plan[0] if plan else ""}


class HopelessWorld(StairsWorld):
    """The same stairs, and nobody ever wins."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        self._won = False
        return transition._replace(reward=0.0, terminated=False)


class LevelWorld(ParityWorld):
    """Pays for actions, is never won, and its plan is never shorter."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        self._won = False
        return transition


def records(folder: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return read_json_lines(folder / "run" / f"{name}.jsonl")


def lessons_of(trainer: Any) -> list[WeighedRow]:
    """Let the trainer keep what it learns from; filled by its next iterations."""
    seen: list[WeighedRow] = []
    update = trainer.updater.update

    def remembering(rows: Sequence[WeighedRow], plan: IterationPlan) -> Any:
        seen.extend(rows)
        return update(rows, plan)

    trainer.updater.update = remembering
    return seen


def episodes_of(trainer: Any) -> list[Rollout]:
    """The same for what it collects."""
    seen: list[Rollout] = []
    collect = trainer.collector.collect

    def remembering(plan: IterationPlan) -> Any:
        resampled = collect(plan)
        seen.extend(resampled.rollouts)
        return resampled

    trainer.collector.collect = remembering
    return seen


def moved(before: dict[str, Any], trainer: Any) -> bool:
    return any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())


@pytest.mark.parametrize(("context", "privilege"), [("transcript", "hints"), ("window", "facts"), ("window", "hints")])
def test_context_distillation_acts_behind_the_block_and_learns_successes_without_it(
    tmp_path: Path, context: str, privilege: str
) -> None:
    trainer = make_trainer(
        tmp_path, StairsWorld, method="context-distillation", context=context, privilege=privilege, max_turns=4
    )
    learned, acted, before = lessons_of(trainer), episodes_of(trainer), weights(trainer)
    figures = trainer.iteration()
    decode = trainer.processing_class.decode
    for rollout in acted:
        first = rollout.episode.turns[0].action.tokens
        assert first is not None and CANARY in decode(list(first.prompt_ids))
    assert learned and {row.episode_id for row in learned} == {i for i, r in enumerate(acted) if r.episode.success}
    for row in learned:
        assert CANARY not in decode(row.student.ids)
        sampled = [
            i
            for number in row.row_turns
            for i in acted[row.episode_id].episode.turns[number].action.tokens.completion_ids  # type: ignore[union-attr]
        ]
        assert row.student.sampled_ids() == sampled
    assert figures["success_privileged"] == sum(r.episode.success for r in acted) / len(acted)
    assert "success" not in figures and figures["lessons/quoting"] == 0.0
    assert figures["distill/weight"] == 1.0 and figures["lessons/tokens"] == sum(len(row) for row in learned)
    # O is what the weights that sampled say under the plain prompt, where S is taken.
    assert figures["sampling/logp_diff_max"] < 1e-4
    assert moved(before, trainer)


def test_a_learned_row_is_what_the_student_itself_would_have_read(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method="context-distillation", privilege="hints", max_turns=4)
    learned, acted = lessons_of(trainer), episodes_of(trainer)
    trainer.iteration()
    for row in learned:
        assert trainer.policies.teacher is not None
        turns = acted[row.episode_id].episode.turns
        ids = trainer.policies.renderer.begin(turns[0].action.messages)
        assert row.student.ids[: len(ids)] == ids
        assert turns[0].action.tokens.prompt_ids != tuple(ids)


def test_an_episode_that_says_the_block_aloud_is_not_learned_from(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method="context-distillation", privilege="hints", max_turns=4)
    learned, acted = lessons_of(trainer), episodes_of(trainer)
    collect = trainer.collector.collect

    def quoting(plan: IterationPlan) -> Any:
        resampled = collect(plan)
        won = next(r for r in resampled.rollouts if r.episode.success)
        turn = won.episode.turns[-1]
        block = trainer.policies.teacher.block(won.privileged[-1], turn.view)
        turn.action = Action(turn.action.text, f"since {block} so", turn.action.parse, turn.action.tokens)
        return resampled

    trainer.collector.collect = quoting
    figures = trainer.iteration()
    won = {index for index, rollout in enumerate(acted) if rollout.episode.success}
    assert figures["lessons/quoting"] == 1.0
    assert {row.episode_id for row in learned} == won - {min(won)}


@pytest.mark.parametrize("method", ["context-distillation", "rft"])
def test_an_iteration_that_keeps_nothing_changes_no_bit_of_any_weight(tmp_path: Path, method: str) -> None:
    trainer = make_trainer(tmp_path, HopelessWorld, method=method, beta=0.1, weight_decay=0.1, max_turns=3)
    before = weights(trainer)
    summary = trainer.train()
    assert not moved(before, trainer) and not trainer.updater.optimizer.state
    assert summary["updates"] == 0 and summary["trained_tokens"] == 0 and summary["tokens"] > 0
    for line in records(tmp_path):
        assert all(value is not None for value in line.values()), "a figure that is not finite"
    assert records(tmp_path)[-1]["lessons/episodes"] == 0.0


def test_rft_learns_from_the_shortest_successes_of_each_task_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method="rft", keep_per_task=1, max_turns=4)
    learned, acted, before = lessons_of(trainer), episodes_of(trainer), weights(trainer)
    figures = trainer.iteration()
    assert learned and moved(before, trainer)
    for row in learned:
        own = [r for r in acted if r.task.group == row.group_id and r.episode.success]
        assert len(acted[row.episode_id].episode.turns) == min(len(r.episode.turns) for r in own)
    assert len(learned) == len({row.group_id for row in learned}) == figures["lessons/episodes"]
    assert figures["groups"] == 3.0 and "success" in figures


def test_grpo_with_rft_learns_from_all_rows_and_clones_the_kept_ones(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method="grpo+rft", max_turns=4)
    learned = lessons_of(trainer)
    figures = trainer.iteration()
    assert len(learned) == 12
    tokens, kept = sum(len(row) for row in learned), sum(len(row) for row in learned if row.kept)
    assert 0 < kept < tokens and figures["distill/weight"] == pytest.approx(kept / tokens)


def test_the_plan_is_asked_for_at_every_turn_and_moves_the_weights_elsewhere(tmp_path: Path) -> None:
    results = []
    for method in ("grpo", "shaped-grpo"):
        trainer = make_trainer(tmp_path, StairsWorld, method=method, beta=0.0, max_turns=4)
        learned, acted = lessons_of(trainer), episodes_of(trainer)
        figures = trainer.iteration()
        results.append(weights(trainer))
    assert figures["shaping/known"] == 1.0 and "success" in figures
    for row in learned:
        episode = acted[row.episode_id].episode
        stairs = [0, *(int(turn.view.observation[-2]) for turn in episode.turns[1:]), 2 if episode.success else 0]
        # One stair is half of the plan, and an end without success pays back what was climbed.
        assert row.progress_T == [(stairs[turn + 1] - stairs[turn]) / 2 for turn in row.turn_ids_T]
    assert any(not torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_plan_that_never_changes_leaves_grpo_bit_for_bit(tmp_path: Path) -> None:
    results = []
    for method in ("grpo", "shaped-grpo"):
        trainer = make_trainer(tmp_path, LevelWorld, method=method, beta=0.0)
        for _ in range(2):
            trainer.iteration()
            trainer.state.step += 1
        results.append(weights(trainer))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_without_a_plan_or_a_privileged_side_a_run_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)length of the remaining plan.*ParityEnv gives none.*got the keys none"):
        make_trainer(tmp_path, ParityEnv, method="shaped-grpo")
    make_trainer(tmp_path, ParityEnv, method="shaped-grpo", distill_coef=0.0).iteration()
    for method in ("context-distillation", "skill-grpo", "skill-prompt"):
        with pytest.raises(ValueError, match="gives it nothing to read"):
            make_trainer(tmp_path, ParityEnv, method=method)
    make_trainer(tmp_path, ParityEnv, method="rft").iteration()


def shown(capsys: pytest.CaptureFixture[str], summary: dict[str, Any]) -> str:
    """What a terminal shows of a run, in the table of one run and in that of several."""
    capsys.readouterr()
    console = make_console()
    show_summary(console, summary)
    show_summaries(console, {"run": summary})
    return capsys.readouterr().out


def test_skill_grpo_is_reported_with_and_without_the_block_under_names_that_can_not_be_mistaken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method="skill-grpo", privilege="hints", test_episodes=5, max_turns=4)
    learned = lessons_of(trainer)
    summary = trainer.train()
    assert all(CANARY in trainer.processing_class.decode(row.student.ids) for row in learned)
    assert summary["before"]["view"] == summary["after"]["view"] == summary["watched"]["after"]["view"] == "plain"
    assert list(summary["views"]) == ["plain", "privileged"]
    for view, found in summary["views"].items():
        for when in ("before", "after"):
            assert found[when]["view"] == view and found[when]["episodes"] == 5 and found[when]["split"] == "test"
        assert found["before"]["panel_hash"] == found["after"]["panel_hash"] == summary["after"]["panel_hash"]
        assert set(found["difference"]) == {"mean", "ci95"}
    assert summary["views"]["plain"] == {key: summary[key] for key in ("before", "after", "difference")}
    told = shown(capsys, summary)
    assert told.count("all tasks, privileged prompt") == 1 and "(privileged" not in told
    assert "behind the" not in told and "under the" not in told
    last = records(tmp_path)[-1]
    assert {"valid/success_rate", "valid_privileged/success_rate", "success_privileged"} <= set(last)
    assert "success" not in last
    # The privileged-prompt policy is the student's own second view; both are one measurement and one set of episodes.
    assert last["teacher/success_rate"] == last["valid_privileged/success_rate"]
    counts: dict[tuple[str, str, int], int] = {}
    for record in records(tmp_path, "episodes"):
        key = (record["phase"], record["view"], record["iteration"])
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        **{("train", "privileged", step): 12 for step in (0, 1)},
        **{("valid", "plain", step): 4 for step in (0, 2)},
        **{("valid_privileged", "privileged", step): 4 for step in (0, 2)},
        **{("test", "plain", step): 5 for step in (0, 2)},
        **{("test_privileged", "privileged", step): 5 for step in (0, 2)},
    }


def test_the_log_shows_a_weight_where_something_was_learned_and_the_tokens_of_every_episode(tmp_path: Path) -> None:
    make_trainer(tmp_path, StairsWorld, method="rft", max_turns=4, beta=0.1, max_steps=3, test_episodes=6).train()
    kinds = set()
    for record in records(tmp_path, "episodes"):
        for tokens in [turn["tokens"] for turn in record["turns"] if "tokens" in turn]:
            assert len(tokens["id"]) == len(tokens["behaviour"]) == len(tokens["student"])
            assert tokens.get("weight", []) == ([1.0] * len(tokens["id"]) if record["success"] else [])
            assert "teacher" not in tokens
            kinds.add((record["phase"], record["success"]))
    assert {("train", True), ("train", False), ("test", True), ("test", False)} <= kinds


@pytest.mark.parametrize(("method", "view"), [("vanilla", "plain"), ("skill-prompt", "privileged")])
def test_a_method_that_learns_nothing_is_measured_and_that_is_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, view: str
) -> None:
    trainer = make_trainer(tmp_path, StairsWorld, method=method, test_episodes=5, max_turns=4, beta=0.1)
    before = weights(trainer)
    summary = trainer.train()
    assert summary["steps"] == summary["updates"] == summary["tokens"] == 0 and not moved(before, trainer)
    assert summary["before"] == summary["after"] and summary["after"]["view"] == view
    assert list(summary["views"]) == [view] and summary["difference"]["mean"] == 0.0
    (line,) = records(tmp_path)
    name = "valid" if view == "plain" else "valid_privileged"
    assert f"{name}/success_rate" in line and ("valid/success_rate" in line) == (view == "plain")
    assert summary["teacher"]["before"] == summary["teacher"]["after"]
    told = shown(capsys, summary)
    assert ("all under the privileged prompt" in told) == (f"{method} (privileged" in told) == (view != "plain")
    assert trainer.evaluate("valid").outcomes == trainer.evaluate("valid", view=view).outcomes


def test_what_is_acted_behind_the_block_is_told_without_text_unless_it_is_asked_for(tmp_path: Path) -> None:
    for name, asked in (("quiet", False), ("telling", True)):
        (tmp_path / name).mkdir()
        trainer = make_trainer(
            tmp_path / name,
            StairsWorld,
            method="skill-grpo",
            privilege="hints",
            log_privileged=asked,
            test_episodes=2,
            max_turns=4,
        )
        trainer.train()
        for record in records(tmp_path / name, "episodes"):
            for turn in record["turns"]:
                told = {turn[key] is not None for key in ("observation", "completion", "action")}
                assert told == {record["view"] == "plain"}
                assert "tokens" not in turn or record["view"] == "plain"
        holding = {
            path.name
            for path in (tmp_path / name / "run").rglob("*")
            if path.is_file() and path.suffix != ".safetensors" and CANARY in path.read_text(errors="replace")
        }
        assert holding == ({"privileged.jsonl"} if asked else set())
        if asked:
            kept = records(tmp_path / name, "privileged")
            assert all(("acted" in record) == (record["phase"] not in ("valid", "test")) for record in kept)


def test_a_record_holds_nothing_that_was_written_behind_the_block() -> None:
    spoken = Turn(StudentView(f"the world says {CANARY}", instruction="goal"), Action(CANARY, CANARY), 1.0, True)
    rollout = Rollout(Episode("env", "task", "kind", (), [spoken]), TaskDraw("task", ()), [None])
    where: dict[str, Any] = {"run": "r", "iteration": 0, "phase": "teacher"}
    hidden = episode_record(rollout, **where, seed=0, view="privileged")
    assert CANARY not in json.dumps(hidden) and hidden["view"] == "privileged"
    assert hidden["turns"][0]["reward"] == 1.0 and hidden["turns"][0]["valid"] is True
    assert CANARY in json.dumps(episode_record(rollout, **where, seed=0))
    acted = privileged_record(rollout, **where, view="privileged")["acted"]
    assert acted[0]["completion"] == CANARY and "acted" not in privileged_record(rollout, **where)
