"""Whole runs of rows that ask for more than log-probs of a token: distributions, entropies, figures of an iteration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, weights

from trainers.run.directory import read_json_lines

STEPS: dict[str, Any] = {"beta": 0.0, "distill_coef": 0.3, "num_mini_batches": 2}

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("opsd", {}),
    ("opsd-full", {"divergence": "jsd"}),
    ("grpo+full", {"divergence_top_k": 4, "divergence": "forward_kl"}),
    ("gated-full", {"divergence_target_share": 0.5, "divergence": "forward_kl"}),
    ("sdar-entropy", {}),
    ("sdar-soft-or", {"soft_or_scale": "batch"}),
    ("sdar-centred", {}),
    ("shuffled-teacher", {}),
    ("agent-opsd-token", {"importance_sampling_level": "sequence"}),
    ("rlrt", {"weight_clip": 1.0}),
    ("grsd", {}),
]


@pytest.mark.parametrize(("method", "options"), RUNS, ids=[method for method, _ in RUNS])
def test_a_row_trains_and_says_what_it_did(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method=method, **STEPS, **options)
    before = weights(trainer)
    figures = trainer.iteration()
    assert any(not torch.equal(before[name], after) for name, after in weights(trainer).items())
    assert figures["updates_skipped"] == 0.0
    assert all(math.isfinite(figures[name]) for name in ("loss", "distill/signal", "distill/weight"))
    assert figures["distill/share_read"] == 1.0
    assert ("distill/divergence" in figures) == ("full" in method)
    if "full" in method:
        assert figures["distill/divergence"] > 0


@pytest.mark.parametrize("method", ["gated-full", "sdar-entropy", "sdar-centred", "shuffled-teacher"])
def test_the_log_has_signal_and_weight_of_every_row_on_the_last_panel_too(method: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method=method, max_steps=1, test_episodes=4, **STEPS)
    trainer.train()
    records = read_json_lines(tmp_path / "run" / "episodes.jsonl")
    turns = [(record["phase"], turn["tokens"]) for record in records for turn in record["turns"] if turn.get("tokens")]
    assert {phase for phase, _ in turns} >= {"train", "test"}
    for _, tokens in turns:
        assert len(tokens["weight"]) == len(tokens["signal"]) == len(tokens["id"])
        assert any(tokens["weight"])
        assert ("teacher" in tokens and bool(tokens["teacher"])) == (method != "sdar-entropy")


def test_distributions_are_kept_for_the_update_and_for_no_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.scoring import scorer as scoring

    read: list[int] = []
    original = scoring.read_distributions

    def counted(model: Any, views: Any, *arguments: Any, **keywords: Any) -> Any:
        read.append(len(views))
        return original(model, views, *arguments, **keywords)

    monkeypatch.setattr(scoring, "read_distributions", counted)
    trainer = make_trainer(tmp_path, method="opsd-full", max_steps=2, test_episodes=4, **STEPS)
    trainer.train()
    assert len(read) == 2  # one reading per iteration


def test_the_reference_is_read_for_updates_alone_and_not_kept_where_there_are_none(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="grpo", max_steps=2, test_episodes=4, beta=0.1)
    reference, read = trainer.scorer.reference, []
    embeddings = reference.root.language_model.get_input_embeddings()
    embeddings.register_forward_hook(lambda *arguments: read.append(trainer.state.step))
    trainer.train()
    assert set(read) == {0, 1}  # and not behind the last iteration, for the last panel
    assert make_trainer(tmp_path, method="vanilla", beta=0.1).scorer.reference is None


def test_a_run_whose_distributions_do_not_fit_stops_before_it_reads_and_says_what_would_fit(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="gated-full", divergence_memory_gb=1e-9, **STEPS)
    with pytest.raises(ValueError, match=r"'gated-full' keeps .* divergence_top_k=100"):
        trainer.iteration()


def test_the_shuffled_teacher_is_dealt_anew_in_every_iteration_and_alike_in_every_run(tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        make_trainer(folder, method="shuffled-teacher", **STEPS).train()
        runs.append(read_json_lines(folder / "run" / "metrics.jsonl"))
    for one, other in zip(*runs, strict=True):
        assert one.get("distill/weight") == other.get("distill/weight")
        assert one.get("loss") == other.get("loss")


def test_a_teacher_that_reads_the_students_own_prompt_has_no_gap_and_no_divergence(tmp_path: Path) -> None:
    for method in ("grpo+rkl", "grpo+full"):
        trainer = make_trainer(tmp_path, method=method, privilege="none", beta=0.0, distill_coef=0.3)
        figures = trainer.iteration()
        assert abs(figures["distill/signal"]) <= 1e-5
        assert abs(figures.get("distill/divergence", 0.0)) <= 1e-6
