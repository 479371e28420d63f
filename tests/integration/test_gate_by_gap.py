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


def test_shares_are_of_the_whole_and_a_certain_token_takes_no_push(gate_by_gap: ModuleType):
    known = [(-5.0, 0.0, 0.9), (-0.5, -0.1, 0.5), (0.0, 0.5, 1.0), (0.005, 0.5, 0.9), (2.0, 0.9, 0.1)]
    bins = gate_by_gap.binned(gate_by_gap.Token(*each) for each in known)
    rows = {row["gap"]: row for row in gate_by_gap.summary(bins)}
    assert rows["all"]["mean_weight"] == pytest.approx(1.8 / 5)
    assert rows["under -3"]["mean_weight"] == rows["under -3"]["share_of_push"] == 0.0
    assert rows["-1 to -0.1"]["mean_weight"] == pytest.approx(-0.1)
    assert rows["-0.01 to 0.01"]["share_of_tokens"] == pytest.approx(2 / 5)
    assert rows["-0.01 to 0.01"]["share_of_weights"] == pytest.approx(1.0 / 2.0)  # sizes, so -0.1 counts as 0.1
    assert rows["-0.01 to 0.01"]["share_of_push"] == pytest.approx(0.05 / 0.91)  # all: 0.1 / 2 + 0.5 / 10 + 0.9 * 0.9
    assert rows["0.1 to 1"]["mean_weight"] is None
    for name in ("share_of_tokens", "share_of_weights", "share_of_push"):
        assert sum(row[name] for key, row in rows.items() if key != "all") == pytest.approx(rows["all"][name]) == 1.0


def test_a_gap_on_a_bound_belongs_to_the_bin_above(gate_by_gap: ModuleType):
    bins = gate_by_gap.binned(gate_by_gap.Token(gap, 0.5, 0.5) for gap in (-0.01, 0.01))
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
    tokens = list(gate_by_gap.logged_tokens(log, "train"))
    assert len(tokens) > 20 and len({token.gap for token in tokens}) > 5
    for token in tokens:
        assert token.weight == pytest.approx(1 / (1 + math.exp(-trainer.args.gate_beta * token.gap)), abs=1e-4)
        assert 0.0 < token.probability <= 1.0
    assert printed_for(tmp_path / "run")["tokens"] == len(tokens)
