"""The benchmarks of the store run at a tiny size and count what they say; nothing here looks at how fast."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.shoppers import Shopper

ROOT = Path(__file__).parents[2]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def figures_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.syspath_prepend(str(ROOT))

    def run(module: str, *words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [module, *map(str, words), "--json"])
        importlib.import_module(f"benchmarks.{module}").main()
        printed = json.loads(capsys.readouterr().out)
        assert printed["benchmark"] == module
        figures: dict[str, Any] = printed["figures"]
        return figures

    return run


def test_steps_resets_searches_and_stores_of_each_size_are_measured(figures_of: Run) -> None:
    figures = figures_of("webshop", "--steps", 60, "--products", "100,200", "--repeats", 1)
    stores = [name for name in figures if "privileged" in name]
    assert len(stores) == 4
    for name in stores:
        assert figures[name]["steps_per_second"] > 0 and figures[name]["reset_us"] > 0
        assert 0.05 < figures[name]["share_of_searches"] < 0.6
    small, large = figures["100 products"], figures["200 products"]
    assert small["build_s"] > small["index_s"] > 0 and small["query_ms"] > 0
    assert large["index_mb"] > small["index_mb"] > 0


def test_decisions_of_recorded_episodes_are_held_against_the_laws(figures_of: Run, tmp_path: Path) -> None:
    """Shoppers that are told the laws follow them, those that are not guess evenly."""
    env = WebShopEnv(size="small", split="test")
    panel = {"env_id": "sdar/WebShop-v0", "env_kwargs": {"size": "small"}}
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "test.json").write_text(json.dumps(panel), encoding="utf-8")
    with open(tmp_path / "episodes.jsonl", "w", encoding="utf-8") as file:
        file.write('{"phase":"train","iteration":0}\n')
        for number, task_id in enumerate(env.task_ids()[:210]):
            observation, info = env.reset(options={"task_id": task_id})
            told = info["privileged"]["skills"]["compact_lines"] if number % 2 else ()
            play, turns, over = Shopper(told, (number,), inspects=False).play(observation), [], False
            action = next(play)
            while not over:
                turns.append({"observation": observation, "action": action})
                observation, _, over, _, info = env.step(action)
                action = "" if over else play.send(observation)
            facts = {name: info[name] for name in ("task_type", "instruction", "success")}
            line = {"phase": "test", "iteration": number % 2, "turns": turns, **facts}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    guessed, followed = figures_of("webshop_laws", tmp_path)[str(tmp_path)].values()
    search, price, part = (name for name in guessed if name != "success")
    assert followed[search] == followed[part] == 1.0 and guessed["success"] < 0.4 < 0.6 < followed["success"]
    # Lures of which two are the cheapest or the dearest are not told apart from the one that is meant.
    assert followed[price] > 0.95
    assert all(abs(guessed[name] - even) < 0.15 for name, even in ((search, 1 / 3), (price, 1 / 3), (part, 1 / 2)))


def test_scripted_players_are_ordered_by_what_they_know(figures_of: Run) -> None:
    figures = figures_of("webshop_shoppers", "--sizes", "small", "--tasks", 70)["small"]
    players = {name: entry["success"] for name, entry in figures.items() if isinstance(entry, dict)}
    assert players["plan"] == 1.0 == figures["plan"]["score"]
    assert players["random clicks and searches"] == players["first hit of the whole request"] == 0.0
    for reads in ("shopper", "shopper that reads"):
        assert 0.0 < players[f"{reads}, no law"] < players[f"{reads}, the skill lines"] - 0.4
    stale = players["shopper that reads, 30% stale"]
    assert players["shopper that reads, no law"] < stale < players["shopper that reads, the skill lines"]
