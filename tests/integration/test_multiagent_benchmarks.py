"""The benchmarks of worlds of several roles print what the page quotes."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import haggle_sizes, multiagent_players
from sdar_envs.multiagent.haggle.bounds import uninformed
from sdar_envs.multiagent.haggle.tables import SIZE_TABLES


def test_scripted_players_are_measured_in_both_worlds(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    words = ["multiagent_players", "--json", "--tasks", "6", "--pair-tasks", "4", "--cross", "3"]
    monkeypatch.setattr(sys, "argv", words)
    multiagent_players.main()
    figures = json.loads(capsys.readouterr().out)["figures"]
    honest = [row for row in figures["haggle"] if row[2] == "honest"]
    assert len(honest) == 4 and all(row[3:6] == [0.0, 0.0, 1.0] for row in honest)
    assert {row[2] for row in figures["pair"]} >= {"informed", "carrier", "listener"}
    assert len(figures["cross"]) == len(multiagent_players.CROSSED)


def test_the_sizes_that_ship_are_among_those_that_are_measured() -> None:
    assert dict(haggle_sizes.sizes(every=False)) == SIZE_TABLES
    names = [name for name, _ in haggle_sizes.sizes(every=True)]
    assert len(names) == 5 + len(haggle_sizes.TRIED) and names[0] == "small" and names[-1] == "full"
    assert uninformed(haggle_sizes.of_shape(16, 2, 4, 0.985)).share == pytest.approx(0.890, abs=5e-4)
