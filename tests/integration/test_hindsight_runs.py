"""Whole runs whose teacher reads the iteration's own episodes: where the text stands, what resumes, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from scripted_agents import EchoEnv, ParityEnv, ParityWorld
from small_runs import make_trainer, weights
from test_resume import StopAfter, equal, story

from trainers.cli import main
from trainers.cli.inspection import chatml_tokenizer, inspect_prompts
from trainers.config import SDARConfig
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.hindsight import hindsight_of
from trainers.scoring import scorer as scoring
from trainers.warm_start.warm_start import demonstrable

SDPO: dict[str, Any] = {"method": "sdpo", "divergence": "jsd", "divergence_top_k": 4, "beta": 0.0}


def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Rows, episodes, readers, what was told, and the views that came of it, at every reading of a run."""
    calls: list[tuple[Any, ...]] = []
    real = scoring.read_teachers

    def read(rows: Any, rollouts: Any, readers: Any, told: Any) -> Any:
        found = real(rows, rollouts, readers, told)
        calls.append((rows, rollouts, readers, told, found))
        return found

    monkeypatch.setattr(scoring, "read_teachers", read)
    return calls


@pytest.mark.parametrize("context", ["transcript", "window"])
@pytest.mark.parametrize("privilege", ["sibling", "feedback", "hindsight"])
def test_the_text_stands_whole_in_the_teachers_prompt_and_nowhere_in_the_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, privilege: str, context: str
) -> None:
    calls = spied(monkeypatch)
    trainer = make_trainer(tmp_path, method="sdar", privilege=privilege, context=context)
    figures = trainer.iteration()
    (rows, rollouts, readers, told, (views, _)) = calls[0]
    (teacher,) = readers.values()
    read = 0
    for row, own in zip(rows, views, strict=True):
        known = told["teacher"][row.episode_id]
        assert ("teacher" in own) == (known is not None)
        if known is None:
            continue
        read += 1
        text = teacher.block(known, rollouts[row.episode_id].episode.turns[row.row_turns[0]].view)
        ids = teacher.block_ids(text)
        teachers, students = own["teacher"].ids, row.student.ids
        assert text and any(
            teachers[at : at + len(ids)] == ids and teachers[:at] + teachers[at + len(ids) :] == students
            for at in range(len(teachers))
        )
    assert read > 0
    tokens = sum(len(row) for row, own in zip(rows, views, strict=True) if own)
    assert figures["distill/share_read"] == pytest.approx(tokens / sum(map(len, rows)))
    assert figures["teacher/without_text"] == pytest.approx(1 - read / len(rows))


@pytest.mark.parametrize("options", [SDPO, {"method": "rlrt", "privilege": "sibling", "weight_clip": 1.0}])
def test_an_interrupted_run_goes_on_as_if_nothing_had_stopped(tmp_path: Path, options: dict[str, Any]) -> None:
    options = {"learning_rate": 1e-2, "save_steps": 2, "eval_steps": 2, "max_steps": 3, "test_episodes": 2, **options}
    (tmp_path / "straight").mkdir()
    straight = make_trainer(tmp_path / "straight", ParityWorld, **options)
    straight.train()
    make_trainer(tmp_path, ParityWorld, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    resumed = make_trainer(tmp_path, ParityWorld, **options)
    resumed.train(resume_from_checkpoint=True)
    assert equal(weights(straight), weights(resumed))
    assert story(tmp_path, "metrics") == story(tmp_path / "straight", "metrics")


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        trainer = make_trainer(folder, ParityWorld, env_workers=workers, max_steps=1, **SDPO)
        try:
            found.append((trainer.iteration()["distill/divergence"], weights(trainer)))
        finally:
            trainer.collector.close()
    assert found[0][0] == found[1][0] > 0 and equal(found[0][1], found[1][1])


def test_no_text_is_made_of_the_episodes_of_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch)
    options = {"max_steps": 1, "test_episodes": 8, "eval_steps": 1, "eval_temperature": 1.0}
    trainer = make_trainer(tmp_path, method="sdar", privilege="hindsight", **options)
    assert trainer.policies.privileged_policy is None and trainer.policies.privileged_turns == "never"
    trainer.train()
    # The iteration's reading, and that of the last evaluation's tokens: there nothing is told of anybody.
    (_, rollouts, _, told, _), (_, played, _, none, (views, _)) = calls
    assert any(told["teacher"]) and told["teacher"] == hindsight_of(rollouts, "hindsight")
    assert any(hindsight_of(played, "hindsight"))  # there would have been something to tell
    assert len(played) == 8 and none["teacher"] == [None] * 8 and not any(views)


def test_sdpo_learns_from_the_rows_that_were_told_something_and_from_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path, **SDPO)
    figures = trainer.iteration()
    assert figures["distill/divergence"] > 0 and 0.0 < figures["distill/share_read"] <= 1.0
    assert 0.0 < figures["distill/weight"] <= 2.0
    before = weights(trainer)
    monkeypatch.setattr(scoring, "hindsight_of", lambda rollouts, privilege: [None] * len(rollouts))
    silent = trainer.iteration()
    assert silent["teacher/without_text"] == 1.0 and silent["loss"] == 0.0
    assert all(math.isfinite(value) for value in silent.values() if isinstance(value, float))
    after = weights(trainer)
    moved = max(float((after[name] - before[name]).abs().max()) for name in before if before[name].is_floating_point())
    assert moved < 0.1 and silent["grad_norm"] == 0.0


@pytest.mark.parametrize("env", [ParityEnv, EchoEnv])
def test_environments_that_keep_nothing_from_the_student_have_such_a_teacher_too(tmp_path: Path, env: Any) -> None:
    trainer = make_trainer(tmp_path, env, method="sdar", privilege="hindsight")
    assert trainer.iteration()["distill/share_read"] > 0


def test_what_cannot_be_told_in_time_is_refused(tmp_path: Path) -> None:
    for method in ("skill-grpo", "context-distillation", "skill-prompt"):
        with pytest.raises(ValueError, match="made of episodes that have ended"):
            make_trainer(tmp_path, method=method, privilege="sibling")
    with pytest.raises(ValueError, match="num_generations of at least 2, got 1"):
        make_trainer(tmp_path, method="sdar", privilege="sibling", num_generations=1, advantage="grpo")


# --- on screen ---


@pytest.mark.parametrize(
    ("options", "shown", "note"),
    [
        (["--method", "sdpo"], "Another attempt at this task succeeded", "the sibling's success is a second attempt"),
        (["--privilege", "sibling"], "Another attempt at this task succeeded", "a second attempt"),
        (["--privilege", "feedback"], "This attempt did not succeed; its score is", "the verdict is on these 1 turns"),
    ],
)
def test_inspect_shows_the_text_highlighted_on_the_teachers_side_alone(
    options: list[str], shown: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--turns", "1", *options]) == 0
    said = capsys.readouterr().out
    student, teacher = said.split("----- TEACHER -----")
    assert shown in teacher.partition("[[PRIVILEGED")[2].partition("]]")[0] and shown not in student
    assert note in teacher and f"privilege {options[1] if options[0] == '--privilege' else 'hindsight'}" in student


def test_inspect_says_where_there_is_nothing_to_tell() -> None:
    config = SDARConfig(privilege="sibling", prompt_style="paper", max_prompt_length=10**6, teacher_budget=10**6)
    found = inspect_prompts(EnvironmentSource(EchoEnv, {}), chatml_tokenizer(), config, "train", "3", 1, ["nonsense"])
    assert any(note.startswith("NO TEXT: sibling has nothing to tell here") for note in found.notes)


def test_a_warm_start_shows_a_plan_where_a_run_shows_what_has_ended() -> None:
    assert demonstrable(SDARConfig(privilege="sibling+skill")).privilege == "plan"
    args = SDARConfig(privilege="skill")
    assert demonstrable(args) is args


def test_a_policy_under_such_a_prompt_cannot_be_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(tmp_path)  # leaves a model
    words = ["eval", str(tmp_path / "model"), "--env", "sdar/Household-v0", "--privileged", "--privilege", "feedback"]
    assert main([*words, "--episodes", "1", "--env-kwargs", "size=small", "--max-prompt-length", "900"]) != 0
    assert "made of episodes that have ended" in "".join(capsys.readouterr())
