"""Whole runs whose teacher reads what the policy writes: where the text stands, what it changes, what resumes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_agents import EchoEnv, ParityWorld
from small_runs import make_trainer, save_model, weights
from test_hindsight_runs import spied
from test_resume import StopAfter, equal, story
from vllm_protocol_server import ProtocolServer

from agents.sampling.base import Sample, SampleRequest
from trainers.bridges.trl_limits import check_method, refusal
from trainers.cli import main
from trainers.cli.unused_options import unread
from trainers.config import SDARConfig
from trainers.evaluation.health import judge
from trainers.methods import METHODS

CANARY = "Always count to 4711 before you speak."


class Notes:
    """The run's own sampler, whose answers to questions about episodes are put into words."""

    def __init__(self, sampler: Any, renderer: Any, words: Callable[[SampleRequest, Sample], str]) -> None:
        self.sampler, self.renderer, self.words = sampler, renderer, words
        self.asked: list[SampleRequest] = []

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        self.asked += requests
        samples = []
        for request, sample in zip(requests, self.sampler.sample(requests), strict=True):
            ids = tuple(self.renderer.encode_completion(self.words(request, sample)))
            samples.append(Sample(ids, (0.0,) * len(ids), (0.0,) * len(ids), truncated=False))
        return samples

    def release(self, slots: Sequence[int]) -> None:
        self.sampler.release(slots)


def drawn(request: SampleRequest, sample: Sample) -> str:
    """A usable text that says what was drawn, so that other draws are other texts."""
    return f"Remember the numbers {sample.ids[0]} and {len(sample.ids)}."


def writing(trainer: Any, words: Callable[[SampleRequest, Sample], str] = lambda request, sample: CANARY) -> Notes:
    reflector = trainer._iteration.reflector
    notes = Notes(reflector.sampler, trainer.policies.renderer, words)
    reflector.sampler = notes
    return notes


# --- where the text stands ---


@pytest.mark.parametrize("context", ["transcript", "window"])
@pytest.mark.parametrize("options", [{"method": "seed"}, {"method": "sdar", "privilege": "group_reflection"}])
def test_the_text_is_all_that_the_teacher_reads_beside_the_students_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], context: str
) -> None:
    calls = spied(monkeypatch)

    def telling(**kwargs: Any) -> Any:
        world = ParityWorld(**kwargs)
        world.secret = "kanarie "
        return world

    # With this seed some groups have both outcomes. The privileged fields are read for the check alone.
    trainer = make_trainer(tmp_path, telling, context=context, seed=2, **options)
    trainer.collector.policies = dataclasses.replace(trainer.policies, privileged_turns="every")
    notes = writing(trainer, lambda request, sample: f"{CANARY} Attempt {request.draw[3]} {request.draw[4]}.")
    figures = trainer.iteration()
    (rows, rollouts, readers, _, (views, _)) = calls[0]
    ((name, teacher),) = readers.items()
    outcomes: dict[int, set[bool]] = {}
    for rollout in rollouts:
        outcomes.setdefault(rollout.task.group, set()).add(rollout.episode.success)
    read = 0
    for row, own in zip(rows, views, strict=True):
        task = rollouts[row.episode_id].task
        # A note is on the row's own episode, a guide is the group's, asked for with the draw of its first member.
        member = task.member if options["method"] == "seed" else 0
        text = teacher.style.block("context", f"{CANARY} Attempt {task.group} {member}.")
        if options["method"] != "seed" and len(outcomes[task.group]) < 2:
            assert own == {}
            continue
        ids, students, read = teacher.block_ids(text), row.student.ids, read + 1
        teachers = own[name].ids
        at = next(at for at in range(len(teachers)) if teachers[at : at + len(ids)] == ids)
        assert teachers[:at] + teachers[at + len(ids) :] == students
        assert "4711" not in trainer.processing_class.decode(students)
    assert read and figures["reflection/usable"] == 1.0
    tokens = sum(len(row) for row, own in zip(rows, views, strict=True) if own)
    assert figures["distill/share_read"] == pytest.approx(tokens / sum(map(len, rows)))
    assert len(notes.asked) == figures["reflection/asked"]
    # What is asked holds nothing that the environment keeps from the student.
    prompts = [trainer.processing_class.decode(list(request.prompt_ids)) for request in notes.asked]
    assert not any("kanarie" in prompt for prompt in prompts)
    assert all("kanarie" in str(each.reveal()) for rollout in rollouts for each in rollout.privileged if each)
    assert all(each for rollout in rollouts for each in rollout.privileged)


# --- what it changes ---


def test_asking_alone_changes_nothing_and_a_text_changes_the_update(tmp_path: Path) -> None:
    """Controls: with texts of no use the run is grpo to the last bit; two texts give the same episodes, two updates."""
    found = {}
    for name, words in (("grpo", None), ("mute", ""), ("one", CANARY), ("two", "Never say a word with two letters.")):
        folder = tmp_path / name
        folder.mkdir()
        options: dict[str, Any] = {} if words is None else {"reflection_fallback": "none", "distill_coef": 0.5}
        trainer = make_trainer(folder, method="grpo" if words is None else "seed", **options)
        if words is not None:
            writing(trainer, lambda request, sample, words=words: words)  # type: ignore[misc]
        figures = trainer.iteration()
        found[name] = (figures["tokens/sampled"], figures["success"], weights(trainer))
    assert len({value[:2] for value in found.values()}) == 1
    assert equal(found["grpo"][2], found["mute"][2])
    assert not equal(found["grpo"][2], found["one"][2]) and not equal(found["one"][2], found["two"][2])


def test_tokens_are_counted_in_what_the_run_has_sampled(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="seed", reflection_tokens=9)
    figures = trainer.iteration()
    assert 12 <= figures["tokens/reflection"] <= 9 * 12 and figures["tokens/reflection_prompts"] > 12 * 20
    assert trainer.state.sampled_tokens == figures["tokens/sampled"] + figures["tokens/reflection"]
    assert figures["seconds/reflection"] > 0 and figures["seconds/rollout"] > 0


def test_other_methods_and_privileges_ask_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", privilege="feedback")
    assert trainer._iteration.reflector is None
    assert not [name for name in trainer.iteration() if "reflection" in name]


def test_nothing_is_asked_at_a_coefficient_of_zero_nor_of_an_evaluation(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="seed", distill_coef=0.0)
    notes = writing(trainer)
    trainer.iteration()
    trainer.evaluate()
    assert notes.asked == []


def test_an_environment_of_somebody_elses_needs_no_privileged_information(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, EchoEnv, method="seed")
    writing(trainer)
    assert trainer.iteration()["distill/share_read"] == 1.0


def test_a_run_whose_policy_writes_nothing_of_use_says_so(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="seed", health_patience=1)
    for words, found in (("", True), (CANARY, False)):
        writing(trainer, lambda request, sample, words=words: words)  # type: ignore[misc]
        said = judge(trainer.iteration(), trainer.args).get("unusable_texts", "")
        assert said.startswith("100% of the texts that the policy wrote for its teacher are of no use") == found


# --- what does not depend on chance ---


def test_an_interrupted_run_goes_on_as_if_nothing_had_stopped(tmp_path: Path) -> None:
    both = {"method": "sdar", "privilege": "reflection+group_reflection"}
    options = {**both, "seed": 2, "save_steps": 1, "max_steps": 2, "eval_steps": 1, "distill_coef": 0.5}

    def run(folder: Path, resume: bool = False, **trainer_options: Any) -> Any:
        trainer = make_trainer(folder, trainer=trainer_options, **options)
        notes = writing(trainer, drawn)
        trainer.train(resume_from_checkpoint=resume)
        return trainer, notes

    (tmp_path / "straight").mkdir()
    straight, asked = run(tmp_path / "straight")
    run(tmp_path, callbacks=[StopAfter(1)])
    resumed, asked_again = run(tmp_path, resume=True)
    assert equal(weights(straight), weights(resumed))
    assert story(tmp_path, "metrics") == story(tmp_path / "straight", "metrics")
    last = [request for request in asked.asked if request.draw[2] == 1]
    assert last and [(each.draw, each.prompt_ids) for each in last] == [
        (e.draw, e.prompt_ids) for e in asked_again.asked
    ]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    counted = [line for line in story(tmp_path, "metrics") if "tokens/sampled" in line]
    assert summary["tokens"] == sum(line["tokens/sampled"] + line["tokens/reflection"] for line in counted)


def test_worker_processes_and_the_samplers_layout_change_no_text(tmp_path: Path) -> None:
    found = []
    for name, options in (("here", {}), ("workers", {"env_workers": 2}), ("rows", {"sampler_layout": "rows"})):
        folder = tmp_path / name
        folder.mkdir()
        trainer = make_trainer(folder, ParityWorld, method="seed", reflection_tokens=2, max_steps=1, **options)
        said: list[tuple[Any, ...]] = []
        writing(trainer, lambda request, sample, said=said: said.append((request.draw, sample.ids)) or CANARY)  # type: ignore
        try:
            trainer.iteration()
        finally:
            trainer.collector.close()
        found.append(said)
    assert found[0] == found[1] == found[2] and len({ids for _, ids in found[0]}) > 1
    assert max(len(ids) for _, ids in found[0]) == 2  # and no longer than was asked for


# --- logs ---


def test_the_text_is_in_no_log_unless_asked_for_and_then_in_its_own(tmp_path: Path) -> None:
    for name, asked in (("quiet", False), ("telling", True)):
        (tmp_path / name).mkdir()
        trainer = make_trainer(tmp_path / name, method="seed", log_privileged=asked, max_steps=1, test_episodes=2)
        writing(trainer)
        trainer.train()
        run = tmp_path / name / "run"
        holding = {
            path.name
            for path in run.rglob("*")
            if path.is_file() and path.suffix != ".safetensors" and "to 4711" in path.read_text(errors="replace")
        }
        assert holding == ({"privileged.jsonl"} if asked else set())
    lines = [json.loads(line) for line in (run / "privileged.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["phase"] == "train"]
    assert trained and all(line["written"] == {"reflection": {"reflection": CANARY}} for line in trained)
    assert not any("written" in line for line in lines if line["phase"] != "train")


# --- another engine, and what is refused ---


def test_a_generation_server_writes_them_too(tmp_path: Path) -> None:
    server = ProtocolServer(save_model(tmp_path / "model")).start()
    try:
        trainer = make_trainer(
            tmp_path,
            method="seed",
            rollout="vllm",
            vllm_url=server.url,
            reflection_tokens=9,
            max_steps=1,
            eval_before=False,
        )
        trainer.train()
    finally:
        server.stop()
    (line,) = [each for each in story(tmp_path, "metrics") if "tokens/reflection" in each]
    assert line["reflection/asked"] == 12 and 12 <= line["tokens/reflection"] <= 9 * 12


def test_what_cannot_work_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="made of episodes that have ended"):
        make_trainer(tmp_path, method="skill-grpo", privilege="reflection")
    with pytest.raises(ValueError, match=r"privilege='group_reflection' is made of other episodes .*at least 2, got 1"):
        make_trainer(tmp_path, method="sdar", privilege="group_reflection", num_generations=1, advantage="grpo")
    with pytest.raises(ValueError, match="within the model's 2048 positions together, got 2000 and 100"):
        make_trainer(tmp_path, method="seed", reflection_prompt_length=2000, reflection_tokens=100)
    with pytest.raises(
        ValueError, match="no text is made there of an iteration's own episodes: train with SDARTrainer"
    ):
        check_method(METHODS["sdar"], SDARConfig(privilege="reflection"))
    assert "reads reflection, and no text is made there" in refusal(METHODS["seed"])


def test_an_option_of_texts_that_nobody_writes_is_said_to_be_unread() -> None:
    (said,) = unread(SDARConfig(reflection_tokens=20), ["reflection_tokens"])
    assert said.endswith(
        "is not read: the teacher reads nothing that the policy writes (reflection or group_reflection)"
    )
    assert unread(SDARConfig(method="seed", reflection_tokens=20), ["reflection_tokens"]) == []


# --- on screen ---


@pytest.mark.parametrize(
    "words", [["--method", "seed"], ["--privilege", "reflection"], ["--privilege", "group_reflection"]]
)
def test_inspect_shows_what_is_asked_and_where_the_answer_stands(words: list[str], capsys: Any) -> None:
    assert main(["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--turns", "1", *words]) == 0
    student, rest = capsys.readouterr().out.split("----- TEACHER -----")
    teacher, asked = rest.split("----- THE POLICY IS ASKED, before its teacher reads -----")
    block = teacher.partition("[[PRIVILEGED")[2].partition("]]")[0]
    assert "here stands what the policy writes" in block and "here stands" not in student
    assert ("of your attempts" in asked) and "is a placeholder, since no model is loaded" in asked
    if "group_reflection" in words:
        assert "After attempts that succeeded:" in asked
    else:
        assert "(turn 2)" not in asked and "[turn 1] done:" in asked and "[turn 2]" not in asked


def test_inspect_has_a_model_write_what_it_can(tmp_path: Path, capsys: Any) -> None:
    make_trainer(tmp_path)  # leaves a random model
    words = ["inspect", "--model", str(tmp_path / "model"), "--env", "sdar/Household-v0", "--method", "seed"]
    assert main([*words, "--env-kwargs", "size=small", "--turns", "1", "--max-prompt-length", "900"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "NO TEXT of reflection" in said or "the text of reflection was written by this model" in said
    assert "placeholder, since no model" not in said
