"""The figures of what a weight does to tokens, by hand on a few of them, and on the log of a real run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def gate_by_gap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))  # benchmarks are part of the checkout, not of the installed packages
    from benchmarks import gate_by_gap

    return gate_by_gap


@pytest.fixture
def printed_for(gate_by_gap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["gate_by_gap", *map(str, words), "--json"])
        gate_by_gap.main()
        figures: dict[str, Any] = json.loads(capsys.readouterr().out)["figures"]
        return figures

    return run


def test_pushes_are_shares_of_the_whole_and_those_beyond_the_mean_cancel(gate_by_gap: ModuleType):
    bins = gate_by_gap.binned([(-5.0, 0.0), (-0.5, 0.1), (0.0, 0.5), (0.005, 0.5), (2.0, 0.9)])
    rows = {row["gap"]: row for row in gate_by_gap.summary(bins)}
    assert rows["all"]["mean_weight"] == pytest.approx(0.4)
    assert rows["under -3"]["mean_weight"] == 0.0 and rows["under -3"]["push_beyond_mean"] == pytest.approx(-0.08)
    assert rows["-0.01 to 0.01"]["share_of_tokens"] == pytest.approx(0.4)
    assert rows["-0.01 to 0.01"]["push"] == pytest.approx(0.2)
    assert rows["over 1"]["push_beyond_mean"] == pytest.approx(0.1)
    assert rows["0.1 to 1"]["mean_weight"] is None
    parts = [row for name, row in rows.items() if name != "all"]
    assert sum(row["push"] for row in parts) == pytest.approx(0.4)
    assert sum(row["push_beyond_mean"] for row in parts) == pytest.approx(0.0)


def test_a_gap_on_a_bound_belongs_to_the_bin_above(gate_by_gap: ModuleType):
    bins = gate_by_gap.binned([(-0.01, 0.5), (0.01, 0.5)])
    assert [one.name for one in bins if one.tokens] == ["-0.01 to 0.01", "0.01 to 0.1"]


def test_only_the_tokens_of_the_phase_that_a_teacher_read_are_counted(printed_for: Run, tmp_path: Path):
    read = {"student": [-1.0, -2.0], "teacher": [-0.5, -4.0], "weight": [0.9, 0.0]}
    unread = {"student": [-1.0], "teacher": [], "weight": []}
    episodes = [
        {"phase": "train", "turns": [{"tokens": read}, {"tokens": unread}, {}]},
        {"phase": "test", "turns": [{"tokens": {**read, "weight": [1.0, 1.0]}}]},
    ]
    log = tmp_path / "episodes.jsonl"
    log.write_text("".join(json.dumps(episode) + "\n" for episode in episodes), encoding="utf-8")
    figures = printed_for(tmp_path)
    assert figures["tokens"] == 2 and figures["results"][-1]["mean_weight"] == pytest.approx(0.45)
    assert printed_for(tmp_path, "--phase", "test")["results"][-1]["mean_weight"] == pytest.approx(1.0)
    with pytest.raises(SystemExit, match=r"phase 'valid'; 1 logs have none"):
        printed_for(tmp_path, "--phase", "valid")


def test_a_run_of_sdar_logs_the_sigmoid_of_the_gap(printed_for: Run, gate_by_gap: ModuleType, tmp_path: Path):
    pytest.importorskip("torch")
    from small_runs import make_trainer

    trainer = make_trainer(tmp_path, method="sdar", distill_coef=0.3, max_steps=2)
    trainer.train()
    log = tmp_path / "run" / "episodes.jsonl"
    pairs = list(gate_by_gap.gaps_and_weights(log, "train"))
    assert len(pairs) > 20 and len({gap for gap, _ in pairs}) > 5
    for gap, weight in pairs:
        assert weight == pytest.approx(1 / (1 + math.exp(-trainer.args.gate_beta * gap)), abs=1e-4)
    assert printed_for(tmp_path / "run")["tokens"] == len(pairs)
