"""In the middle of an episode environments go through pickle and deepcopy, and play on as before."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import webshop_official

import sdar_envs

gym.register_envs(sdar_envs)


def playing(**kwargs: Any) -> tuple[Any, list[str]]:
    """An environment at its first state, and a walk through every kind of page."""
    env = gym.make("sdar/WebShop-v0", **kwargs)
    _, info = env.reset(seed=4)
    search, item, *rest = info["privileged"]["plan"]
    return env, [search, "click[next >]", "click[< prev]", item, "click[features]", "click[< prev]", *rest]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"size": "small"},
        {"size": "small", "observation_mode": "text_rich", "stale": 0.3, "retrieval": "wrong"},
        {"size": "small", "observation_mode": "html", "done_page": "explained", "reward": "sparse10"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "made", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_copy_plays_on_equally_from_every_page(kwargs: dict[str, Any], made: Any):
    env, walk = playing(horizon=20, **kwargs)
    for step, action in enumerate(walk):
        twin = made(env)
        assert twin.unwrapped.session is not env.unwrapped.session
        copied = made(env)
        assert [copied.step(one) for one in walk[step:]][-1][2] and twin.step(action) == env.step(action)
    bought = made(env)
    assert (
        bought.unwrapped.verdict == env.unwrapped.verdict
        and bought.unwrapped.session.page == env.unwrapped.session.page
    )
    assert made(env).reset() == env.reset()
    assert made(env).reset(seed=9) == env.reset(seed=9)


def test_a_copy_shares_the_store_and_is_small():
    env, walk = playing(size="small")
    env.step(walk[0])
    data = pickle.dumps(env)
    assert len(data) < 100_000
    assert pickle.loads(data).unwrapped.source is env.unwrapped.source


def test_an_environment_that_was_never_reset_or_is_closed_can_be_copied():
    env = gym.make("sdar/WebShop-v0", size="small").unwrapped
    assert pickle.loads(pickle.dumps(env)).reset(seed=1) == env.reset(seed=1)
    env.close()
    pickle.dumps(env)


def test_official_files_are_read_again_where_a_copy_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = gym.make("sdar/WebShop-v0", data_dir=str(webshop_official.write(tmp_path)), split_by="product", price_seed=5)
    _, info = env.reset(seed=0)
    env.step(info["privileged"]["plan"][0])
    (tmp_path / "env.pickle").write_bytes(pickle.dumps(env))
    code = f"""
import pickle
env = pickle.loads(open({str(tmp_path / "env.pickle")!r}, "rb").read())
print(repr(env.step({info["privileged"]["plan"][1]!r})))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == repr(env.step(info["privileged"]["plan"][1]))
