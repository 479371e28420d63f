"""The trainer as a whole: any text environment, methods that are data, figures that check themselves."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted_agents import CrashingWorld, ParityEnv, ParityWorld
from small_runs import make_trainer, save_model, small_config, weights
from transformers import AutoModelForCausalLM, TrainerCallback

import trainers.scoring.scorer
from agents.base import View
from trainers import methods
from trainers.cli.evaluate import show_summaries
from trainers.cli.summary_table import show_summary
from trainers.cli.terminal import make_console
from trainers.config import SDARConfig, configuration
from trainers.engine.single import SingleProcess
from trainers.methods import IterationPlan
from trainers.run.directory import read_json_lines
from trainers.trainer import SDARTrainer


def records(folder: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return read_json_lines(folder / "run" / f"{name}.jsonl")


def test_a_third_partys_environment_is_trained_on_with_grpo(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ParityEnv, method="grpo")
    before = weights(trainer)
    summary = trainer.train()
    assert summary["steps"] == 2 and summary["updates"] == 2 and summary["teacher"]["after"] is None
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert all(torch.isfinite(tensor).all() for tensor in weights(trainer).values())
    episodes = [record for record in records(tmp_path, "episodes") if record["phase"] == "train"]
    assert len(episodes) == 24 and len({record["return"] for record in episodes}) > 1


def test_a_method_with_a_teacher_is_refused_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)ParityEnv gives it nothing.*info\['privileged'\].*teacher_context="):
        make_trainer(tmp_path, ParityEnv, method="sdar")


def test_a_users_own_teacher_context_makes_a_teacher(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def context(info: dict[str, Any]) -> str:
        asked.append(info)
        return "the word is red"

    class Telling(ParityEnv):
        def step(self, action: str) -> Any:
            *reply, _ = super().step(action)
            return *reply, {"secret": self._word}

    trainer = make_trainer(tmp_path, Telling, method="sdar", trainer={"teacher_context": context})
    summary = trainer.train()
    assert any("secret" in info for info in asked)
    assert 0.0 < records(tmp_path)[1]["distill/weight"] < 1.0
    assert summary["teacher"]["after"] is not None


@pytest.mark.parametrize("context", ["transcript", "window"])
def test_sdar_runs_on_the_suites_contract_in_both_contexts(tmp_path: Path, context: str) -> None:
    trainer = make_trainer(tmp_path, context=context, method="sdar", test_episodes=5, beta=0.05)
    summary = trainer.train()
    last = records(tmp_path)[-1]
    assert 0.0 < last["distill/weight"] < 1.0 and last["distill/share_read"] == 1.0
    assert last["teacher/privileged_dropped"] == 0.0 and last["teacher/block_tokens"] > 0
    assert last["sampling/logp_diff_max"] < 1e-4
    for key in ("before", "after"):
        assert {"success_rate", "ci95", "episodes", "wins", "by_task_type", "panel_hash"} <= set(summary[key])
        assert summary[key]["episodes"] == 5 and summary[key]["split"] == "test"
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    loaded = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert all(torch.equal(t, weights(trainer)[n]) for n, t in loaded.state_dict().items())


def test_a_block_that_is_over_its_budget_teaches_nothing_and_the_run_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(tmp_path, method="sdar", teacher_budget=1).train()
    last = records(tmp_path)[-1]
    assert last["distill/share_read"] == 0.0 and last["teacher/privileged_dropped"] > 0
    said = [record.getMessage() for record in caplog.records if "privileged context" in record.getMessage()]
    assert len(said) == 1 and "teacher_budget=1 tokens" in said[0]


def test_the_samplers_log_probs_are_the_trainers(tmp_path: Path) -> None:
    for temperature in (0.6, 1.0, 1.3):
        trainer = make_trainer(tmp_path, method="grpo", temperature=temperature)
        assert trainer.iteration()["sampling/logp_diff_max"] < 1e-4


def test_with_coefficient_zero_sdar_is_grpo_to_the_last_bit_and_no_teacher_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    real = trainers.scoring.scorer.read_teachers
    monkeypatch.setattr(trainers.scoring.scorer, "read_teachers", lambda *a, **k: passes.append(1) or real(*a, **k))
    results = []
    for options in ({"method": "grpo"}, {"method": "sdar", "distill_coef": 0.0}, {"method": "sdar"}):
        trainer = make_trainer(tmp_path, **options)
        for _ in range(2):
            trainer.iteration()
            trainer.state.step += 1
        results.append(weights(trainer))
        assert bool(passes) == (options == {"method": "sdar"})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert any(not torch.equal(results[0][name], results[2][name]) for name in results[0])


def test_without_a_coefficient_an_environment_without_a_teachers_side_will_do(tmp_path: Path) -> None:
    make_trainer(tmp_path, ParityEnv, method="sdar", distill_coef=0.0).iteration()


def test_a_teacher_that_reads_the_students_own_prompt_sees_no_gap_and_every_gate_is_half(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", privilege="none")
    gaps: list[float] = []
    score = trainer.scorer.score

    def watched(rows: Any, rollouts: Any, plan: Any) -> Any:
        scored, metrics = score(rows, rollouts, plan)
        for row in scored:
            pairs = zip(row.teacher_logprobs_T["teacher"], row.behaviour_logprobs_T, strict=True)
            gaps.extend(abs(teacher - sampled) for teacher, sampled in pairs)
        return scored, metrics

    trainer.scorer.score = watched
    figures = trainer.iteration()
    assert len(gaps) > 20 and max(gaps) <= 1e-5  # of every token: in a mean, gaps of both signs would cancel
    assert abs(figures["distill/signal"]) <= 1e-5
    assert figures["distill/weight"] == pytest.approx(0.5, abs=1e-5)
    assert figures["teacher/block_tokens"] == 0.0


def test_a_teacher_reads_before_the_update_with_the_weights_that_sampled(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", num_mini_batches=4)
    order: list[str] = []
    score, step = trainer.scorer.score, trainer.updater.optimiser_step
    trainer.scorer.score = lambda *a, **k: (order.append("score"), score(*a, **k))[1]
    trainer.updater.optimiser_step = lambda *a, **k: (order.append("step"), step(*a, **k))[1]
    trainer.iteration()
    assert order == ["score", "step", "step", "step", "step"]


def test_the_reference_stays_the_initial_policy_and_exists_only_with_a_coefficient(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="grpo", beta=0.1, num_mini_batches=2)
    before = weights(trainer)
    assert trainer.iteration()["kl"] >= 0.0
    reference = trainer.scorer.reference
    assert all(torch.equal(before[name], tensor) for name, tensor in reference.root.language_model.state_dict().items())
    assert make_trainer(tmp_path, method="grpo", beta=0.0).scorer.reference is None


def test_the_gradient_does_not_depend_on_how_a_step_is_cut(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", beta=0.1)
    captured: list[Any] = []
    trainer.updater.update = lambda rows, plan: captured.append(rows) or {}
    trainer.iteration()
    (rows,) = captured
    plan = IterationPlan.resolve(trainer.method, trainer.args, coefficient=0.3)
    gradients = []
    longest = max(len(row.student.ids) for row in rows)
    for tokens in (1, 2 * longest, 5 * longest, 100_000):
        trainer.updater.options = dataclasses.replace(trainer.args, micro_batch_tokens=tokens)
        parts = trainer.updater.accumulate(rows, plan)
        gradients.append((len(parts), torch.cat([p.grad.reshape(-1) for p in trainer.model.parameters()])))
        trainer.updater.optimizer.zero_grad()
    assert gradients[0][0] == len(rows) and gradients[-1][0] == 1 and 1 < gradients[1][0] < len(rows)
    scale = float(gradients[-1][1].abs().max())
    assert scale > 1e-3
    for _, gradient in gradients[:-1]:
        assert float((gradient - gradients[-1][1]).abs().max()) < 1e-5 * max(scale, 1.0)


def test_finished_episodes_cost_no_forward_pass(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="grpo")
    turns: list[int] = []
    act = trainer.policies.student.act

    def counting(views: Any, privileged: Any = None) -> Any:
        turns.append(len(views))
        return act(views)

    trainer.policies.student.act = counting
    figures = trainer.iteration()
    assert sum(turns) == round(figures["turns"] * 12)


def test_a_broken_environment_is_in_neither_loss_nor_statistics(tmp_path: Path) -> None:
    def crashing(**kwargs: Any) -> Any:
        return CrashingWorld(crash=(broken, 1), **kwargs)

    broken = make_trainer(tmp_path, CrashingWorld, method="grpo").collector.tasks.tasks(0)[1]
    trainer = make_trainer(tmp_path, crashing, method="grpo")
    captured: list[Any] = []
    trainer.updater.update = lambda rows, plan: captured.append(rows) or {}
    figures = trainer.iteration()
    assert figures["episodes/failed"] == 4 and figures["groups"] == 2.0
    assert {row.group_id for row in captured[0]} == {0, 2}


def test_when_every_environment_is_broken_the_run_says_why(tmp_path: Path) -> None:
    class Dead(ParityWorld):
        def step(self, action: str) -> Any:
            raise OSError("no engine")

    with pytest.raises(RuntimeError, match=r"every episode of iteration 0 failed; the first: .*OSError at"):
        make_trainer(tmp_path, Dead, method="grpo").iteration()


def test_equal_rewards_give_no_gradient_without_a_teacher(tmp_path: Path) -> None:
    class Flat(ParityWorld):
        def step(self, action: str) -> Any:
            observation, _, *rest = super().step(action)
            return observation, 1.0, *rest

    trainer = make_trainer(tmp_path, Flat, method="grpo", beta=0.0, invalid_action_penalty=0.0)
    figures = trainer.iteration()
    assert figures["groups/flat"] == figures["groups"] == 3.0 and figures["grad_norm"] == 0.0


def test_a_non_finite_gradient_changes_nothing_and_five_in_a_row_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path, method="grpo", num_mini_batches=2, max_skipped_share=1.0)
    before = weights(trainer)
    real = trainer.updater.accumulate

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        parts = real(*args, **kwargs)
        next(trainer.model.parameters()).grad.view(-1)[0] = float("nan")
        return parts

    monkeypatch.setattr(trainer.updater, "accumulate", poisoned)
    assert trainer.iteration()["updates_skipped"] == 2.0
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert not trainer.updater.optimizer.state
    monkeypatch.setattr(trainer.updater, "accumulate", real)
    trainer.iteration()
    assert trainer.updater.counters.skipped_in_a_row == 0
    monkeypatch.setattr(trainer.updater, "accumulate", poisoned)
    with pytest.raises(RuntimeError, match="non-finite gradients, the last 5 in a row"):
        for _ in range(3):
            trainer.iteration()


def test_ids_sampled_are_the_ids_trained_on(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", context="transcript")
    sampled: list[tuple[int, ...]] = []
    scored: list[View] = []
    sample, accumulate = trainer.policies.student.sampler.sample, trainer.updater.accumulate
    trainer.policies.student.sampler.sample = lambda requests: keep(sample(requests), sampled)
    trainer.updater.accumulate = lambda rows, plan: (scored.extend(r.student for r in rows), accumulate(rows, plan))[1]
    trainer.iteration()
    trained = sorted(token for view in scored for token in view.sampled_ids())
    assert trained == sorted(token for ids in sampled for token in ids)


def keep(samples: Any, seen: list[tuple[int, ...]]) -> Any:
    seen.extend(sample.ids for sample in samples)
    return samples


def test_a_fall_of_the_privileged_prompt_policy_is_said_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(tmp_path, method="sdar", eval_steps=1)
    trainer.monitor.teacher_start = 1.0
    real = trainer.monitor.teacher
    trainer.monitor.teacher = lambda split: dataclasses.replace(real(split), overall=type(real(split).overall)(1, 4))
    trainer.train()
    said = capsys.readouterr().err
    warning = "WARNING: the privileged-prompt policy wins 25.0 %, less than 0.5 of its start (100.0 %)"
    assert said.count(warning) == 2  # two steps
    assert records(tmp_path)[1]["teacher/collapsed"] == 1.0


def test_a_collapse_ends_the_run_where_that_is_asked_for(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", eval_steps=1, stop_on_teacher_collapse=True, max_steps=5)
    trainer.monitor.check_teacher = lambda rate: "WARNING: collapsed"
    assert trainer.train()["steps"] == 1


def test_callbacks_of_transformers_work(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        seen: list[str] = []  # noqa: RUF012

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            self.seen.append(f"step {state.global_step}")
            control.should_training_stop = True
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            self.seen.append(f"log {'success' in logs}")

        def on_rollout_end(self, args: Any, state: Any, control: Any, rollouts: Any = None, **kwargs: Any) -> None:
            self.seen.append(f"rollouts {len(rollouts)}")

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seen.append("save")

    trainer = make_trainer(tmp_path, method="grpo", max_steps=9, trainer={"callbacks": [Stop()]})
    assert trainer.train()["steps"] == 1
    assert Stop.seen == ["log False", "rollouts 12", "step 1", "log True", "save"]


def test_the_trainer_never_asks_for_a_methods_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = dataclasses.replace(methods.METHODS["sdar"], name="never_heard_of")
    monkeypatch.setitem(methods.METHODS, "never_heard_of", twin)
    results = []
    for name in ("sdar", "never_heard_of"):
        trainer = make_trainer(tmp_path, method=name)
        trainer.iteration()
        results.append(weights(trainer))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_the_seconds_of_a_run_hold_its_first_and_its_last_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(SingleProcess, "clock", lambda self: now[0])
    trainer = make_trainer(tmp_path, method="grpo", test_episodes=2)
    real = trainer.monitor.student

    def slow(split: str, **options: Any) -> Any:
        now[0] += 1000.0 if split == "test" else 10.0
        return real(split, **options)

    trainer.monitor.student = slow
    summary = trainer.train()
    assert summary["seconds"] == json.loads((tmp_path / "run" / "summary.json").read_text())["seconds"] == 2020.0


def test_a_model_object_needs_its_tokenizer(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "model"))
    with pytest.raises(ValueError, match="pass processing_class="):
        SDARTrainer(model, ParityWorld, small_config(tmp_path))


def test_evaluate_prints_as_a_sentence_and_save_model_loads(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="grpo")
    result = trainer.evaluate()
    assert str(result).startswith("success ") and "of 4 episodes" in str(result)
    trainer.save_model(tmp_path / "out")
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_token_arrays_are_logged_for_a_few_episodes_and_run_parallel(tmp_path: Path) -> None:
    make_trainer(tmp_path, method="sdar", test_episodes=3).train()
    episodes = records(tmp_path, "episodes")
    train = [record for record in episodes if record["phase"] == "train" and record["iteration"] == 0]
    assert [any("tokens" in turn for turn in r["turns"]) for r in train] == [True, True] + [False] * 10
    last = [record for record in episodes if record["phase"] == "test" and record["iteration"] == 2]
    assert len(last) == 3
    for record in [*train[:2], *last]:
        for turn in record["turns"]:
            names = ("id", "text", "behaviour", "student", "teacher", "signal", "weight", "entropy")
            assert len({len(turn["tokens"][name]) for name in names}) == 1
            for behaviour, student in zip(turn["tokens"]["behaviour"], turn["tokens"]["student"], strict=True):
                assert behaviour == pytest.approx(student, abs=1e-4)


def test_privileged_text_is_in_no_log_unless_asked_for_and_then_in_its_own(tmp_path: Path) -> None:
    def telling(**kwargs: Any) -> Any:
        world = ParityWorld(**kwargs)
        world.secret = "canary-4711 "
        return world

    for name, asked in (("quiet", False), ("telling", True)):
        (tmp_path / name).mkdir()
        trainer = make_trainer(
            tmp_path / name, telling, method="sdar", privilege="hints", log_privileged=asked, test_episodes=2
        )
        trainer.train()
        holding = {
            path.name
            for path in (tmp_path / name / "run").rglob("*")
            if path.is_file() and path.suffix != ".safetensors" and "canary-4711" in path.read_text(errors="replace")
        }
        assert holding == ({"privileged.jsonl"} if asked else set())


def test_a_privileged_view_without_the_part_that_is_read_is_named(tmp_path: Path) -> None:
    class Hinting(ParityEnv):
        def reset(self, **kwargs: Any) -> Any:
            observation, _ = super().reset(**kwargs)
            return observation, {"privileged": {"hints": ["say red"]}}

        def step(self, action: str) -> Any:
            *reply, _ = super().step(action)
            return *reply, {"privileged": {"hints": ["say red"]}}

    with pytest.raises(ValueError, match=r"privilege='skill' reads 'skills'.*got the keys hints"):
        make_trainer(tmp_path, Hinting, method="sdar")
    figures = make_trainer(tmp_path, Hinting, method="sdar", privilege="hints").iteration()
    assert figures["distill/share_read"] == 1.0 and figures["teacher/block_tokens"] > 0


def test_without_an_evaluation_before_there_is_no_before_and_all_else_is_the_same(tmp_path: Path) -> None:
    summaries = {}
    for before in (True, False):
        trainer = make_trainer(tmp_path / str(before), method="sdar", max_steps=2, eval_before=before)
        summaries[before] = trainer.train()
        assert trainer.args.digest() == make_trainer(tmp_path / "other", method="sdar", max_steps=2).args.digest()
    assert summaries[True]["before"] is not None and summaries[False]["before"] is None
    assert summaries[False]["difference"] is None and summaries[False]["teacher"]["before"] is None
    assert summaries[False]["after"] == summaries[True]["after"]
    console = make_console()
    show_summary(console, summaries[False])
    show_summaries(console, {"run": summaries[False]})


def test_a_trainer_starts_from_a_preset_as_the_command_line_does() -> None:
    env_id, model = "sdar/Household-v0", "Qwen/Qwen3-1.7B"
    wanted = SDARConfig.preset("household-qwen3", method="skill-sd", seed=2)
    for name in ("household-qwen3", "auto"):
        assert configuration(model, env_id, {"method": "skill-sd", "seed": 2}, name) == wanted
    assert configuration(None, env_id, None, "auto") == SDARConfig.preset("household-tiny")
    assert configuration(model, "CartPole-v1", None, "auto") == configuration(model, env_id, None, None) == SDARConfig()
    with pytest.raises(ValueError, match="preset 'webshop-tiny' is for sdar/WebShop-v0"):
        configuration(model, env_id, None, "webshop-tiny")
    with pytest.raises(TypeError, match=r"SDARConfig\.preset\(name"):
        configuration(model, env_id, SDARConfig(), "auto")
    with pytest.raises(TypeError, match="goes with preset="):
        configuration(model, env_id, {"seed": 1}, None)


def test_a_run_opens_no_connection_and_listens_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("connect", "connect_ex", "bind", "listen"):
        real = getattr(socket.socket, name)

        def noted(self: socket.socket, *words: Any, name: str = name, real: Any = real) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                asked.append(f"{name}{words}")
            return real(self, *words)

        monkeypatch.setattr(socket.socket, name, noted)
    make_trainer(tmp_path, max_steps=1, save_steps=1).train()
    assert asked == []
    with socket.socket() as own:  # the notes would be taken
        own.bind(("127.0.0.1", 0))
    assert len(asked) == 1
