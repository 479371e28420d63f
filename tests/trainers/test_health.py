"""A run that cannot learn says so: on the screen, in its summary, in its report, and with strict_health by its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_agents import ParityWorld
from small_runs import make_trainer

from sdar_envs.core import Transition
from trainers.config import SDARConfig
from trainers.evaluation.health import NAMES, Health, HopelessRunError, UnhealthyRunError, judge
from trainers.report.run_document import run_document
from trainers.report.run_records import read_run
from trainers.run.directory import read_json_lines

HEALTHY: dict[str, Any] = {
    "context_full": 0,
    "episodes/failed": 0,
    "tokens/sampled": 900,
    "tokens/learned": 900.0,
    "malformed_share": 0.1,
    "truncated_share": 0.0,
    "groups/flat_share": 0.25,
    "learning_rate": 1e-6,
    "grad_norm": 0.3,
    "sampling/logp_diff_mean": 0.01,
    "sampling/entropy": 0.4,
}
OPTIONS = SDARConfig(tasks_per_step=4, num_generations=8)


class NeverPaid(ParityWorld):
    """Nobody ever wins, so every group has zero variance."""

    env_id = "toy/NeverPaid-v0"

    def _act(self, action: str) -> Transition:
        super()._act(action)
        self._won = False
        return Transition("Nothing.", 0.0, self.steps == 1, True)


def names(summary: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in summary["health"]]


def test_a_healthy_iteration_has_no_findings_and_missing_numbers_are_none_either() -> None:
    assert judge(HEALTHY, OPTIONS) == {}
    assert judge({}, OPTIONS) == {}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"adapter/change_at_end": 0.0019}, ["adapters_still"]),
        ({"adapter/change_at_end": 0.0021}, []),
        ({"adapter/change_at_end": 0.0, "groups/flat_share": 0.95}, ["zero_variance"]),
        ({"update/unchanged": 0.91}, ["updates_lost"]),
        ({"update/unchanged": 0.89}, []),
        ({"context_full": 16}, ["context_full"]),
        ({"context_full": 15}, []),
        ({"context_full": 16, "episodes/failed": 1}, ["context_full"]),
        ({"tokens/sampled": 0, "tokens/learned": 0.0, "grad_norm": 0.0}, ["nothing_sampled"]),
        ({"context_full": 32, "tokens/sampled": 0, "tokens/learned": 0.0, "grad_norm": 0.0}, ["context_full"]),
        ({"tokens/learned": 0.0, "grad_norm": 0.0}, ["nothing_trained"]),
        ({"malformed_share": 0.5}, ["malformed"]),
        ({"truncated_share": 0.5}, ["truncated"]),
        ({"groups/flat_share": 1.0, "grad_norm": 0.0}, ["zero_variance"]),
        ({"grad_norm": 0.0}, ["gradients_zero"]),
        ({"learning_rate": 0.0}, ["learning_rate_zero"]),
        ({"sampling/logp_diff_mean": 0.1}, ["logprobs_apart"]),
        ({"sampling/entropy": 0.01}, ["entropy_collapsed"]),
    ],
)
def test_each_sickness_has_its_finding_and_hides_what_only_follows_from_it(
    changed: dict[str, Any], found: list[str]
) -> None:
    assert list(judge({**HEALTHY, **changed}, OPTIONS)) == found
    assert set(found) <= set(NAMES)


def test_zero_variance_matters_only_where_groups_are_read() -> None:
    assert judge({**HEALTHY, "groups/flat_share": 1.0}, OPTIONS, reads_groups=False) == {}


def test_a_finding_must_hold_for_a_while_and_remembers_when_it_began() -> None:
    health = Health(3)
    assert not health.observe(1, {"malformed": "m"})
    assert not health.observe(2, {})
    assert not health.observe(3, {"malformed": "m"}) and not health.observe(4, {"malformed": "m"})
    assert [finding.since for finding in health.observe(5, {"malformed": "m"})] == [3]
    again = Health(3)
    again.load(json.loads(json.dumps(health.to_json())), health.streaks())
    assert again.findings == health.findings


def test_a_run_in_which_no_prompt_fits_is_refused_and_its_folder_is_free_for_the_next_try(tmp_path: Path) -> None:
    with pytest.raises(HopelessRunError, match=r"no prompt fits.*raise max_prompt_length \(8 tokens\)"):
        make_trainer(tmp_path, max_prompt_length=8, teacher_budget=4).train()
    assert make_trainer(tmp_path, max_steps=1).train()["steps"] == 1


def test_a_run_whose_prompts_grow_out_of_the_limit_says_so(tmp_path: Path, capsys) -> None:
    # The first prompt fits and no later one does.
    probe = make_trainer(tmp_path, max_steps=0, output_dir=str(tmp_path / "probe"))
    turn = probe.evaluate().rollouts[0].episode.turns[0]
    limit = len(turn.action.tokens.prompt_ids) + 2
    changes = {"max_prompt_length": limit, "when_full": "stop", "health_patience": 1, "method": "grpo"}
    summary = make_trainer(tmp_path, **changes).train()
    assert "context_full" in names(summary)
    shown = capsys.readouterr().err
    assert shown.count("WARNING: 100% of the episodes ended because their prompt no longer fits") == 1


def test_a_model_that_answers_malformed_is_reported_at_the_start_and_at_the_top_of_the_report(
    tmp_path: Path, capsys
) -> None:
    summary = make_trainer(tmp_path, prompt_style="paper", max_prompt_length=1900, method="grpo").train()
    assert names(summary)[0] == "malformed" and summary["health"][0]["since"] == 0
    shown = capsys.readouterr().err
    assert shown.count("100% of the completions are malformed (prompt_style paper)") == 1
    assert "malformed 1.00" in shown
    folder = tmp_path / "run"
    assert json.loads((folder / "summary.json").read_text())["health"] == summary["health"]
    assert any("completions are malformed" in warning for warning in run_document(read_run(folder)).warnings)


def test_strict_health_ends_a_run_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(UnhealthyRunError, match="ended after iteration 0 by strict_health: 100% of the completions"):
        make_trainer(tmp_path, prompt_style="paper", max_prompt_length=1900, method="grpo", strict_health=True).train()
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_environment_of_zero_variance_groups_is_reported_once_and_ends_a_strict_run(tmp_path: Path, capsys) -> None:
    changes = {"method": "grpo", "max_steps": 4, "health_patience": 2}
    summary = make_trainer(tmp_path, NeverPaid, **changes).train()
    assert names(summary) == ["zero_variance"] and summary["health"][0]["since"] == 1
    shown = capsys.readouterr().err
    assert shown.count("100% of the groups have zero variance") == 1 and "zero-variance 1.00" in shown
    lines = [line for line in read_json_lines(tmp_path / "run" / "metrics.jsonl") if "success" in line]
    assert [line.get("health/zero_variance") for line in lines] == [None, 1.0, 1.0, 1.0]
    strict = make_trainer(tmp_path, NeverPaid, **changes, strict_health=True, output_dir=str(tmp_path / "strict"))
    with pytest.raises(UnhealthyRunError, match="after iteration 2 by strict_health"):
        strict.train()
    # What was done is kept, and the report of the unfinished run has the finding from its metric lines.
    assert (tmp_path / "strict" / "checkpoints" / "step-00000002").is_dir()
    warnings = run_document(read_run(tmp_path / "strict")).warnings
    assert "Since iteration 2: groups had zero variance." in warnings
    # Without strict_health the run goes on from there, and still knows.
    resumed = make_trainer(tmp_path, NeverPaid, **changes, output_dir=str(tmp_path / "strict"))
    summary = resumed.train(resume_from_checkpoint=True)
    assert summary["steps"] == 4 and names(summary) == ["zero_variance"]


def test_a_learning_rate_of_zero_is_reported(tmp_path: Path) -> None:
    summary = make_trainer(tmp_path, method="grpo", learning_rate=0.0, health_patience=1).train()
    assert names(summary) == ["learning_rate_zero"]


def test_a_privileged_prompt_policy_that_is_no_better_is_reported(tmp_path: Path) -> None:
    summary = make_trainer(tmp_path, NeverPaid, method="sdar", max_steps=1).train()
    assert names(summary) == ["nothing_to_distil"]


def test_thresholds_are_options_that_change_no_digest() -> None:
    assert judge({**HEALTHY, "malformed_share": 0.5}, SDARConfig(health_malformed=0.6)) == {}
    changed = SDARConfig(health_malformed=0.6, health_patience=1, strict_health=True)
    assert changed.digest() == SDARConfig().digest()


def test_strict_health_has_a_status_and_one_line(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from small_runs import save_model

    from trainers.cli import main

    model = save_model(tmp_path / "model")
    capsys.readouterr()
    words = ["train", "--model", str(model), "--preset", "none", "--env", "sdar/Household-v0", "--eval-episodes", "2"]
    words += ["--max-turns", "2", "--test-episodes", "0", "--device", "cpu", "--output-dir", str(tmp_path / "run")]
    assert main([*words, "--max-completion-length", "4", "--max-prompt-length", "100"]) == 2
    assert "sdar train: no prompt fits" in capsys.readouterr().err.splitlines()[-1]
    assert main([*words, "--max-completion-length", "4", "--max-prompt-length", "2000", "--strict-health"]) == 2
    assert "by strict_health" in capsys.readouterr().err.splitlines()[-1]


def test_what_held_before_an_interruption_counts_after_it() -> None:
    straight, first, second = Health(3), Health(3), Health(3)
    for step in (1, 2):
        straight.observe(step, {"flat": "all groups are flat"})
        first.observe(step, {"flat": "all groups are flat"})
    second.load(first.to_json(), json.loads(json.dumps(first.streaks())))
    expected = straight.observe(3, {"flat": "all groups are flat"})
    assert [finding.since for finding in expected] == [1]
    assert second.observe(3, {"flat": "all groups are flat"}) == expected
