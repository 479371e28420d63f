"""`sdar train`, `sdar eval` and `sdar inspect` over a run of seconds: from a model on disk to one table of several."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from short_runs import SHORT_RUN, save_random_model

from trainers.cli import main
from trainers.cli.players import environment_of
from trainers.presets import load_preset


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from a second thread, and on a busy machine they wait for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "sdar"
    assert main(["train", "--model", str(model), *SHORT_RUN, "--output-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def grpo_run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "grpo"
    assert main(["train", "--model", str(model), *SHORT_RUN, "--method", "grpo", "--output-dir", str(path)]) == 0
    return path


def test_a_run_ends_with_its_table_its_directory_and_what_to_do_next(model: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run"
    assert main(["train", "--model", str(model), *SHORT_RUN, "--output-dir", str(path)]) == 0
    shown = capsys.readouterr().out
    for expected in ("all tasks", "place", "privileged-prompt policy, valid", "paired difference", "tokens"):
        assert expected in shown
    for name in ("summary.json", "metrics.jsonl", "episodes.jsonl", "checkpoints/", "config.yaml"):
        assert name in shown
    assert f"sdar play --agent {path}" in shown


def test_episodes_hold_their_schema_and_which_claims_were_read(run: Path) -> None:
    from trainers.run.directory import read_json_lines

    records = read_json_lines(run / "episodes.jsonl")
    keys = {"schema", "run", "iteration", "group", "member", "phase", "view", "env_id", "task_id", "task_type", "seed"}
    keys |= {"view", "instruction", "world", "policy", "first_detour", "first_wrong_turn"}
    keys |= {"success", "score", "return", "stop_reason", "failure", "claim_ids", "stale", "turns"}
    assert all(set(record) == keys for record in records)
    turn = {"observation", "completion", "action", "parse", "valid", "reward"}
    turns = [each for record in records for each in record["turns"]]
    assert all(set(each) - {"tokens", "messages"} == turn for each in turns)
    # The student's prompt stands where the tokens stand, and nothing of the teacher's is in it.
    assert all(("tokens" in each) == bool(each.get("messages")) for each in turns)
    # Two iterations of four; the watched set before and after each, by student and privileged-prompt policy; the test
    # set before and after. What the teacher wrote is not logged.
    phases = [(record["phase"], record["iteration"]) for record in records]
    counts = {phase: phases.count(phase) for phase in phases}
    assert counts == {
        **{("train", step): 4 for step in (0, 1)},
        **{(name, step): 6 for step in (0, 1, 2) for name in ("valid", "teacher")},
        **{("test", step): 6 for step in (0, 2)},
    }
    for record in records:
        told = [turn[name] is not None for turn in record["turns"] for name in ("observation", "completion", "action")]
        assert record["view"] == ("privileged" if record["phase"] == "teacher" else "plain")
        assert set(told) == {record["view"] == "plain"}
    read = [record for record in records if record["phase"] in ("train", "teacher")]
    assert all(record["claim_ids"] and record["stale"] == [False] * len(record["claim_ids"]) for record in read)
    assert not any(record["claim_ids"] for record in records if record["phase"] == "valid")


def test_the_summary_holds_what_a_reader_of_runs_is_promised(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    rate = {"success_rate", "ci95", "episodes", "wins"}
    for side in (summary["before"], summary["after"], summary["teacher"]["before"], summary["teacher"]["after"]):
        assert rate | {"by_task_type", "panel_hash"} <= set(side)
        assert all(set(kind) == rate for kind in side["by_task_type"].values())
        assert sum(kind["wins"] for kind in side["by_task_type"].values()) == side["wins"]
        assert side["success_rate"] == side["wins"] / side["episodes"]
    assert (summary["method"], summary["seed"]) == ("sdar", 0)
    assert summary["seconds"] > 0 and summary["tokens"] > 0
    hashes = {name: json.loads((run / "panels" / f"{name}.json").read_text())["hash"] for name in ("valid", "test")}
    assert summary["before"]["panel_hash"] == summary["after"]["panel_hash"] == hashes["test"]
    assert summary["teacher"]["before"]["panel_hash"] == summary["teacher"]["after"]["panel_hash"] == hashes["valid"]


def test_stale_claims_are_logged_as_stale(model: Path, tmp_path: Path) -> None:
    from trainers.run.directory import read_json_lines

    words = [*SHORT_RUN, "--max-steps", "1", "--test-episodes", "0", "--set", "env_kwargs.stale=1.0"]
    assert main(["train", "--model", str(model), *words, "--output-dir", str(tmp_path / "run")]) == 0
    train = [r for r in read_json_lines(tmp_path / "run" / "episodes.jsonl") if r["phase"] == "train"]
    assert all(any(record["stale"]) and len(record["stale"]) == len(record["claim_ids"]) for record in train)


def test_the_table_shows_what_the_summary_holds(run: Path, capsys) -> None:
    from trainers.cli.summary_table import show_summary
    from trainers.cli.terminal import make_console

    summary = json.loads((run / "summary.json").read_text())
    summary["after"] |= {"success_rate": 0.625, "ci95": [0.31, 0.863]}
    show_summary(make_console(), summary)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("all tasks"))
    assert "62.5" in line
    assert "31.0 to 86.3" in line


def test_the_run_used_the_preset_and_the_flags_that_win_over_it(run: Path) -> None:
    from trainers.config import SDARConfig

    config = SDARConfig.from_yaml(run / "config.yaml")
    assert (config.max_steps, config.env_kwargs) == (2, {"size": "small", "horizon": 3})
    assert (config.prompt_style, config.context) == ("compact", "transcript")


def test_a_directory_that_holds_a_run_is_refused_and_resumed_on_demand(run: Path, model: Path, capsys) -> None:
    words = ["train", "--model", str(model), *SHORT_RUN, "--output-dir", str(run)]
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    before = (run / "metrics.jsonl").read_text()
    assert main([*words, "--resume"]) == 0
    assert (run / "metrics.jsonl").read_text().startswith(before)
    assert main([*words, "--resume", "--learning-rate", "0.5"]) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_an_interrupt_saves_the_iteration_exits_with_130_and_resume_finishes(
    model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.trainer import SDARTrainer

    iteration = SDARTrainer.iteration

    def interrupted(self: SDARTrainer, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return iteration(self, *args, **kwargs)

    path = tmp_path / "run"
    words = ["train", "--model", str(model), *SHORT_RUN, "--save-steps", "0", "--output-dir", str(path)]
    monkeypatch.setattr(SDARTrainer, "iteration", interrupted)
    assert main(words) == 130
    assert "--resume" in capsys.readouterr().out
    assert [p.name for p in (path / "checkpoints").iterdir()] == ["step-00000001"]
    monkeypatch.setattr(SDARTrainer, "iteration", iteration)
    assert main([*words, "--resume"]) == 0
    assert json.loads((path / "summary.json").read_text())["steps"] == 2


def test_eval_puts_runs_models_and_baselines_into_one_table(
    run: Path, grpo_run: Path, model: Path, tmp_path: Path, capsys
) -> None:
    panel = tmp_path / "panels" / "valid.json"
    words = ["eval", str(run), str(grpo_run), str(model), "--agent", "expert", "--agent", "random"]
    assert main([*words, "--episodes", "6", "--panel", str(panel), "--max-prompt-length", "900"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("success") :]
    named = [line.split()[0] for line in table if line]
    for name in (str(run), str(grpo_run), str(model), "expert", "random"):
        assert named.count(name) == 2  # overall, and by task type
    content = json.loads(panel.read_text())
    assert content["env_kwargs"] == {"size": "small", "horizon": 3}
    assert len(content["task_ids"]) == 6


def test_eval_on_a_written_panel_gives_the_same_figures_again(run: Path, tmp_path: Path) -> None:
    panel, figures = tmp_path / "panel.json", tmp_path / "figures.json"
    results = []
    for _ in range(2):
        assert main(["eval", str(run), "--episodes", "6", "--panel", str(panel), "--json", str(figures)]) == 0
        results.append(json.loads(figures.read_text()))
    assert results[0] == results[1]
    assert results[0]["results"][str(run)]["episodes"] == 6


def test_eval_refuses_a_panel_that_was_changed(run: Path, tmp_path: Path, capsys) -> None:
    panel = tmp_path / "panel.json"
    assert main(["eval", str(run), "--episodes", "2", "--panel", str(panel)]) == 0
    panel.write_text(panel.read_text().replace("valid:000001", "valid:000002"))
    assert main(["eval", str(run), "--panel", str(panel)]) == 2
    assert "changed" in capsys.readouterr().err


def test_eval_takes_one_checkpoint_of_a_run(run: Path, tmp_path: Path) -> None:
    checkpoint, figures = run / "checkpoints" / "step-00000001", tmp_path / "figures.json"
    assert main(["eval", str(checkpoint), "--episodes", "2", "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["results"][str(checkpoint)]["episodes"] == 2


def test_recorded_shows_several_runs_in_one_table_without_playing(run: Path, grpo_run: Path, capsys) -> None:
    assert main(["eval", str(run), str(grpo_run), "--recorded"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["sdar", "grpo"]


def test_a_trained_agent_can_be_watched(run: Path, capsys) -> None:
    assert main(["play", "--agent", str(run), "--episodes", "1"]) == 0
    assert "after 3 steps" in capsys.readouterr().out


def test_inspect_shows_the_block_inside_the_teachers_prompt_only(run: Path, capsys) -> None:
    assert main(["inspect", "--model", str(run), "--turns", "2"]) == 0
    shown = capsys.readouterr().out
    student, teacher = shown.split("----- STUDENT -----")[1].split("----- TEACHER -----")
    assert "[[PRIVILEGED" in teacher
    block = teacher.partition("[[PRIVILEGED")[2].partition("]]")[0].strip()
    assert block
    assert block not in student
    assert "PRIVILEGED" not in student
    assert teacher.partition("[[PRIVILEGED")[0].startswith("\n<|system|>")
    assert "nothing was cut" in shown


@pytest.mark.parametrize(
    ("model_name", "privilege"),
    [
        *(("chatml", name) for name in ("plan", "next_action", "facts", "hints", "skill", "general", "wrong_skill")),
        *(("tiny", name) for name in ("plan", "skill")),
    ],
)
def test_inspect_counts_every_token_of_both_prompts_for_every_privilege(
    model_name: str, privilege: str, capsys
) -> None:
    words = ["inspect", "--model", model_name, "--privilege", privilege, "--env-kwargs", "size=small"]
    assert main([*words, "--teacher-budget", "100000", "--max-prompt-length", "100000"]) == 0
    shown = capsys.readouterr().out
    table = {line[:18].strip(): line[18:].split() for line in shown.partition("tokens ")[2].splitlines()[1:7]}
    student, teacher = ([int(cells[side]) for cells in table.values()] for side in (0, 1))
    assert sum(student[:-1]) == student[-1]
    assert sum(teacher[:-1]) == teacher[-1]
    assert table["privileged context"][0] == "0"
    assert int(table["privileged context"][1]) == teacher[-1] - student[-1] > 0


def test_inspect_says_what_was_cut_and_what_does_not_fit(capsys) -> None:
    words = ["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--turns", "4"]
    assert main([*words, "--max-prompt-length", "1500", "--teacher-budget", "100"]) == 0
    shown = capsys.readouterr().out
    assert "INCOMPLETE" in shown
    assert "CUT" in shown


def test_inspect_with_nothing_privileged_says_that_both_read_the_same(capsys) -> None:
    assert main(["inspect", "--privilege", "none"]) == 0
    assert "EMPTY" in capsys.readouterr().out


def test_without_a_model_a_tiny_one_is_warmed_up_first_and_cached(tmp_path: Path, capsys) -> None:
    # A budget that proves the path and nothing about learning: bands that everything is in.
    warm = ["demonstrations=40", "min_steps=1", "max_steps=2", "decay_steps=1", "gate_episodes=4", "student_low=0"]
    words = ["train", *SHORT_RUN, "--warm-start", *warm, "teacher_lead=-1", "model.hidden_size=32"]
    words += ["--cache-dir", str(tmp_path / "cache"), "--output-dir"]
    assert main([*words, str(tmp_path / "first")]) == 0
    shown = capsys.readouterr().out
    assert "2 steps in" in shown
    assert "all tasks" in shown
    assert main([*words, str(tmp_path / "second")]) == 0
    assert "from the cache; measured on valid" in capsys.readouterr().out
    runs = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second")]
    assert runs[0]["after"] == runs[1]["after"]


def test_a_directory_that_holds_a_run_is_refused_before_the_warm_start(run: Path, capsys) -> None:
    assert main(["train", "--output-dir", str(run)]) == 2
    captured = capsys.readouterr()
    assert "--resume" in captured.err
    assert "warm start" not in captured.out


def test_what_can_not_work_is_said_before_the_warm_start(
    run: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.run.sinks.find_spec", lambda name: None)  # a sink's package may be installed here
    for words, remedy in (
        (["--resume", *SHORT_RUN, "--learning-rate", "0.5", "--output-dir", str(run)], "learning_rate (0.0007 there"),
        (["--resume", "--env", "toy/Other-v0", "--output-dir", str(run)], "differs in env_id"),
        (["--device", "cuda:99"], "use auto or cpu"),
        (["--report-to", "wandb"], "pip install wandb"),
        (["--report-to", "wandbb"], 'the nearest is "wandb"'),
    ):
        assert main(["train", "--output-dir", str(tmp_path / "new"), *words]) == 2
        captured = capsys.readouterr()
        assert remedy in captured.err and captured.err.count("\n") == 1
        assert "warm start" not in captured.out
    assert not (tmp_path / "new").exists()


def test_an_unknown_option_of_the_warm_start_names_the_nearest(capsys) -> None:
    assert main(["train", "--warm-start", "max_step=5"]) == 2
    assert '"max_steps"' in capsys.readouterr().err
    assert main(["train", "--warm-start", "max_steps=soon"]) == 2
    assert "max_steps" in capsys.readouterr().err


def test_the_retrieval_that_is_configured_reaches_the_environment_that_asks_its_skill_bank(capsys) -> None:
    blocks = {}
    for retrieval in ("task_type", "wrong", "none"):
        words = ["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--privilege", "skill"]
        assert main([*words, "--turns", "1", "--retrieval", retrieval]) == 0
        blocks[retrieval] = capsys.readouterr().out.partition("[[PRIVILEGED")[2].partition("]]")[0]
    assert "usually find" in blocks["task_type"]
    assert len(set(blocks.values())) == 3
    assert len(blocks["none"]) < len(blocks["wrong"])


def test_inspect_shows_every_reading_of_joined_privileges(capsys) -> None:
    words = ["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--privilege", "skill+plan"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    student, skill, plan = re.split(r"----- TEACHER, \w+ -----", shown)
    assert "[[PRIVILEGED" not in student
    assert "Knowledge that helps" in skill and "The shortest way" not in skill
    assert "The shortest way" in plan and "Knowledge that helps" not in plan
    assert re.search(r"student +teacher, skill +teacher, plan", plan)


def test_inspect_marks_what_no_model_has_written(capsys) -> None:
    words = ["inspect", "--model", "chatml", "--env-kwargs", "size=small", "--turns", "1", "--context", "transcript"]
    assert main([*words, "--actions", "go to fridge 1"]) == 0
    shown = capsys.readouterr().out
    answer = "<think>\n\n</think>\n\n<action>go to fridge 1</action>"
    assert shown.count(answer) == shown.count(f"[[PLACEHOLDER {answer}") == 2  # the student's prompt and the teacher's
    assert "written by no model" in shown


def test_a_bare_model_plays_in_the_world_of_its_preset_and_given_arguments_win(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen3"}')
    env_id = "sdar/SearchQA-v0"
    preset = load_preset("searchqa-qwen3").config["env_kwargs"]
    assert preset["obs_mode"] == "prompt"  # without it a bare model would see no instructions
    assert environment_of(str(model), env_id, {}) == (env_id, preset)
    assert environment_of(str(model), env_id, {"size": "small"}) == (env_id, {**preset, "size": "small"})
    for who in ("human", "expert", "random", None):
        assert environment_of(who, env_id, {"topk": 2}) == (env_id, {"topk": 2})
