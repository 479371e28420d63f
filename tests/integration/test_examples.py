"""The examples run, in short forms of them, and the loop in one file computes what the trainer computes."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from sdar_envs.conformance import run_checks
from trainers import SDARConfig, SDARTrainer, make_tiny_model
from trainers.batch.row import SampledRow
from trainers.cli import main as sdar
from trainers.forward.root import PolicyModel
from trainers.maths.advantages import compute_advantages
from trainers.methods import METHODS, weigh
from trainers.rollout.rows import build_rows, outcomes_of
from trainers.warm_start.behaviour_cloning import CloningConfig
from trainers.warm_start.own_environment import OWN_START
from trainers.warm_start.tiny_model import TinyModelConfig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# The short form: a smaller model that is cloned for a few steps, and two iterations of few episodes.
START = dataclasses.replace(
    OWN_START,
    demonstrations=200,
    min_steps=60,
    decay_steps=2,
    gate_episodes=4,
    model=TinyModelConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=64, head_dim=16),
    cloning=CloningConfig(batch_size=16),
)
BRIEF = dataclasses.replace(START, demonstrations=80, min_steps=5)
SHORT: dict[str, Any] = {
    "max_steps": 2, "tasks_per_step": 3, "num_generations": 4, "eval_episodes": 4, "test_episodes": 4, "eval_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _folder() -> Iterator[None]:
    """The examples' folder as the current one, as its reader has it; afterwards nothing of it is left."""
    modules, methods = set(sys.modules), dict(METHODS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield
    METHODS.clear()
    METHODS.update(methods)
    gym.registry.pop("Parcels-v0", None)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(EXAMPLES)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, _folder: None) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    args = SDARConfig.preset("any-tiny")
    given = {"demonstrator": "parcels:act", "teacher_context": "parcels:context"}
    return make_tiny_model(args, "parcels:Parcels-v0", folder, config=START, **given).folder


# The loop in one file, against the trainer.


@dataclasses.dataclass
class Fixed:
    """A batch of rollouts with what the trainer makes of it: the loss of one step over all rows, and its gradients."""

    trainer: Any
    rollouts: Any
    loss: float
    gradients: dict[str, torch.Tensor]
    weighed: Any


@pytest.fixture(scope="module")
def fixed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Fixed:
    import parcels

    options = {
        **SHORT,
        "tasks_per_step": 6,
        "num_generations": 6,
        "beta": 0.3,
        "delta": 1.5,
        "output_dir": str(tiny.parent / "run"),
    }
    trainer = SDARTrainer(
        str(tiny), parcels.Parcels, {**options, "env_workers": 0}, preset="auto", teacher_context=parcels.context
    )
    plan = trainer.method.at(0, trainer.args)
    rollouts = trainer.collector.collect(plan).rollouts
    # One iteration away from where they were sampled, so that ratio, clipping and KL have something to do.
    generator = torch.Generator().manual_seed(0)
    scored, _ = trainer.scorer.score(build_rows(rollouts), rollouts, plan)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.06 * torch.randn(parameter.shape, generator=generator)
    rows: list[SampledRow] = list(scored)
    advantages = compute_advantages(rows, outcomes_of(rollouts), trainer.args)
    by_index = {row.index: own for row, own in zip(rows, advantages.per_token, strict=True)}
    weighed = weigh(plan, scored, by_index, mask_truncated=False)
    parts = trainer.updater.accumulate(weighed, plan)
    gradients = {name: parameter.grad.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.updater.optimizer.zero_grad(set_to_none=True)
    trainer.collector.close()
    trainer.source.close()
    return Fixed(trainer, rollouts, sum(float(part.loss) for part in parts), gradients, weighed)


def loop_step(fixed: Fixed, tiny: Path, **changes: Any) -> tuple[float, dict[str, torch.Tensor], Any]:
    """Loss, gradients and rows of `sdar_loop.py` on the fixed batch, under changed options where some are given."""
    import sdar_loop
    from transformers import AutoModelForCausalLM

    args = dataclasses.replace(fixed.trainer.args, **changes)
    initial = PolicyModel(AutoModelForCausalLM.from_pretrained(tiny).eval())
    rows = sdar_loop.read_rows(fixed.rollouts, initial, initial, fixed.trainer.policies, args)
    fixed.trainer.model.zero_grad()
    loss = sdar_loop.sdar_loss(fixed.trainer.root, rows, args, fixed.trainer.policies.renderer.pad_id)
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in fixed.trainer.model.named_parameters()}
    fixed.trainer.model.zero_grad(set_to_none=True)
    return float(loss.detach()), found, rows


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two gradients, as a share of the largest entry of the first."""
    largest = max(float(tensor.abs().max()) for tensor in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / largest


def test_the_loop_has_the_trainers_loss_and_gradients_to_a_millionth(fixed: Fixed, tiny: Path) -> None:
    loss, gradients, rows = loop_step(fixed, tiny)
    assert abs(loss - fixed.loss) < 1e-6
    assert gradients.keys() == fixed.gradients.keys()
    assert farthest(fixed.gradients, gradients) < 1e-6
    for own, theirs in zip(rows, fixed.weighed, strict=True):
        assert own.view == theirs.student
        assert own.advantages == pytest.approx(theirs.advantages_T, abs=1e-6)
        assert own.teacher == pytest.approx(theirs.teacher_logprobs_T["teacher"], abs=1e-6)
        assert own.reference == pytest.approx(theirs.reference_logprobs_T, abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"gate_beta": 4.9}, {"distill_coef": 0.301}, {"beta": 0.29}, {"epsilon_high": 0.27}, {"delta": None}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_slightly_different_number_would_be_noticed(fixed: Fixed, tiny: Path, changes: dict[str, Any]) -> None:
    loss, gradients, _ = loop_step(fixed, tiny, **changes)
    assert abs(loss - fixed.loss) > 1e-6 or farthest(fixed.gradients, gradients) > 1e-6


def test_the_loop_plays_the_trainers_first_episodes_and_learns(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import parcels
    import sdar_loop

    monkeypatch.chdir(tmp_path)
    before = (tiny / "model.safetensors").read_bytes()
    successes = sdar_loop.train(str(tiny), SDARConfig.preset("any-tiny", **SHORT))
    options = {**SHORT, "max_steps": 1, "eval_before": False, "test_episodes": 0, "output_dir": str(tmp_path / "run")}
    trainer = SDARTrainer(
        str(tiny), parcels.Parcels, {**options, "env_workers": 0}, preset="auto", teacher_context=parcels.context
    )
    trainer.train()
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert successes[0] == next(line["success"] for line in metrics if line["step"] == 1)
    assert (tmp_path / "trained" / "model.safetensors").read_bytes() != before
    assert "iteration 2: success" in capsys.readouterr().out


# The other examples.


@pytest.fixture(scope="module")
def parcels_run(tmp_path_factory: pytest.TempPathFactory, _folder: None) -> Path:
    """What `train_parcels.py` leaves."""
    import train_parcels

    folder = tmp_path_factory.mktemp("python")
    summary = train_parcels.main(folder, BRIEF, **SHORT)
    assert summary["steps"] == 2
    return folder


def test_the_own_environment_is_trained_from_python(parcels_run: Path) -> None:
    assert (parcels_run / "trained" / "model.safetensors").is_file()
    from train_parcels import in_words

    said = in_words(json.loads((parcels_run / "run" / "summary.json").read_text(encoding="utf-8"))).splitlines()
    form = r"(before|after) +\d+\.\d% of 4 test tasks \(95 % interval \d+\.\d% to \d+\.\d%\)"
    assert len(said) == 2 and all(re.fullmatch(form, line) for line in said), said


def test_a_run_directory_is_read_with_pandas(parcels_run: Path, capsys: Any) -> None:
    pytest.importorskip("pandas")
    import read_run

    run = parcels_run / "run"
    curves = read_run.curves(run)
    assert list(curves.index) == [0, 1, 2] and "valid/success_rate" in curves
    played = read_run.episodes(run)
    assert (played["phase"] == "train").sum() == 2 * 3 * 4
    sampled = read_run.tokens(run)
    assert {"text", "student", "teacher", "weight"} <= set(sampled) and sampled["weight"].between(0.0, 1.0).all()
    read_run.main(run)
    assert "valid/success_rate" in capsys.readouterr().out


def test_the_own_method_is_in_the_table_and_trains(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    from own_method import above_margin

    weights = above_margin(torch.tensor([[-1.0, 0.4, 0.6]]), None, None)  # type: ignore[arg-type]
    assert weights.tolist() == [[0.0, 0.0, 1.0]]
    assert sdar(["methods", "own_method:confident"]) == 0
    words = ["train", "--env", "parcels:Parcels-v0", "--model", str(tiny), "--teacher-context", "parcels:context"]
    words += ["--method", "own_method:confident", "--output-dir", str(tmp_path / "run"), "--env-workers", "0"]
    words += [word for name, value in SHORT.items() for word in ("--set", f"{name}={value}")]
    assert sdar(words) == 0
    assert "method own_method:confident" in capsys.readouterr().out
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0.0 <= line["distill/weight"] <= 1.0 for line in metrics if "distill/weight" in line)
    assert any("distill/weight" in line for line in metrics)


def test_a_pretrained_model_of_a_folder_is_trained_and_saved(tmp_path: Path, capsys: Any) -> None:
    import local_model
    from small_runs import save_model
    from transformers import AutoModelForCausalLM

    model = save_model(tmp_path / "model")
    short = {**SHORT, "max_steps": 1, "num_generations": 2, "num_mini_batches": 1, "test_episodes": 0, "eval_steps": 0}
    short |= {"eval_before": False, "device": "cpu", "bf16": False, "max_completion_length": 4, "max_turns": 2}
    local_model.main(model, tmp_path / "out", **short, max_prompt_length=900, teacher_budget=512)
    assert "memory" in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "trained").config.model_type == "qwen2"


def test_the_cells_of_the_notebook_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    book = json.loads((EXAMPLES / "first_hour.ipynb").read_text(encoding="utf-8"))
    few = {name: value for name, value in SHORT.items() if name != "max_steps"}

    def with_few_episodes(*args: Any, **keywords: Any) -> Any:
        return SDARTrainer(*args, **{**keywords, "args": {**keywords["args"], **few}})

    monkeypatch.setattr("trainers.SDARTrainer", with_few_episodes, raising=False)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = 0
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"], "outputs are not kept: they differ by machine"
        exec(compile("".join(cell["source"]), f"{EXAMPLES.name}/first_hour.ipynb", "exec"), names)
        shown += 1
        if "parameters" in cell["metadata"].get("tags", ()):
            names |= {"FOLDER": tmp_path, "ITERATIONS": 1, "START": BRIEF}
    assert shown == 9 and names["summary"]["steps"] == 1


# Everything that the checker can look at in an environment without tasks by name, a horizon or pictures.
NOT_LOOKED_AT = {"task_replay", "group_shares_task", "splits", "horizon", "render"}


def check_parcels(capsys: Any, target: str = "parcels:Parcels-v0", *more: str) -> dict[str, Any]:
    """The results of the command at the top of `check_parcels.py`, by check."""
    (command,) = re.findall(r"^    (sdar check .*?plant)$", (EXAMPLES / "check_parcels.py").read_text(), re.M | re.S)
    words = command.replace("\\\n", " ").split()[1:]
    status = sdar([*(target if word == "parcels:Parcels-v0" else word for word in words), "--format", "json", *more])
    report = json.loads(capsys.readouterr().out)
    assert status == (1 if report["verdict"] == "fail" else 0)
    return {result["name"]: result for result in report["results"]}


def test_the_own_environment_passes_every_check_that_can_be_made_of_it(capsys: Any) -> None:
    results = check_parcels(capsys)
    assert {name for name, result in results.items() if result["status"] != "held"} == NOT_LOOKED_AT
    assert {"canary", "declared_secret", "counterfactual", "oracle", "floor_gap", "privileged_off"} <= results.keys()


def test_a_leak_of_the_own_environment_would_be_found() -> None:
    import check_parcels
    import parcels

    class Said(parcels.Parcels):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
            text, info = super().reset(seed=seed, options=options)
            return f"{text} {parcels.context({'privileged': self.privileged()})}", info

    class Listed(parcels.Parcels):
        def _info(self, **given: bool) -> dict[str, Any]:
            return {**super()._info(**given), "shelf": self.shelf}

    def failed(kind: type[parcels.Parcels]) -> list[str]:
        report = run_checks(
            kind,
            teacher_context=parcels.context,
            plant=check_parcels.plant,
            variants=lambda which: kind(exchange=which),
            oracle=check_parcels.solve,
        )
        return [result.name for result in report.failures]

    assert failed(Said) == ["canary", "declared_secret"]
    assert failed(Listed) == ["counterfactual"]


def test_every_example_is_listed_with_its_time() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    rows = {name: row for row in listed.splitlines() for name in re.findall(r"\[`([\w.]+)`\]", row)[:1]}
    assert rows.keys() == files
    assert all(re.search(r"\d+ (s|min)|a GPU", row) for row in rows.values())
