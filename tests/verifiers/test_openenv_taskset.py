"""verifiers' own `openenv` taskset plays our server, and has the faults that the page tells of."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import gymnasium as gym
import pytest
from expert_endpoint import serving
from openenv_process import PYTHON, served
from pages import ROOT
from test_verifiers_tasksets import commands_of, plan_of, run, traces_of

import sdar_envs  # noqa: F401  # registers the worlds

pytestmark = pytest.mark.verifiers
pytest.importorskip("verifiers.v1")
pytest.importorskip("openenv", reason="the extra: pip install verifiers[openenv]")
taskset = pytest.importorskip("verifiers.v1.tasksets.openenv.taskset")

PAGE = ROOT / "docs" / "bridges" / "verifiers.md"
ACTION = {"required": ["text"], "properties": {"text": {"type": "string"}}}


@pytest.mark.skipif(not os.environ.get(PYTHON), reason=f"{PYTHON} names no Python with OpenEnv 0.10: tox -e verifiers")
def test_its_two_resets_are_our_tasks_and_the_experts_words_win_both(tmp_path: Path) -> None:
    """The file and the command of the page, but for addresses, and for our harness, which starts no process a turn."""
    (settings,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (command,) = [words for words in commands_of(PAGE) if words[:2] == ["vf-eval", "@"]]
    env = gym.make("sdar/Household-v0", size="small")
    names = env.unwrapped.task_ids("train")[:2]  # type: ignore[attr-defined]
    plans = {f'"task_id": "{name}"': plan_of(env, name)[1] for name in names}
    with (
        served(os.environ[PYTHON], "sdar/Household-v0", "--env-kwargs", "size=small", log=tmp_path / "log") as address,
        serving(plans) as endpoint,
    ):
        settings = settings.replace("http://127.0.0.1:8001", address).replace('"null"', '"sdar_household"')
        assert address in settings and "sdar_household" in settings
        (tmp_path / "openenv.toml").write_text(settings, encoding="utf-8")
        run(*[word.replace("http://127.0.0.1:8000/v1", endpoint.url) for word in command], folder=tmp_path)
    lines = traces_of(tmp_path)
    assert [line["errors"] for line in lines] == [[], []]
    for line in lines:
        (trace,) = line["traces"]
        assert trace["rewards"]["openenv_reward"]["score"] == 1.0
    assert len(endpoint.bodies) == sum(map(len, plans.values()))
    firsts = [messages for body in endpoint.bodies if len(messages := json.loads(body)["messages"]) == 1]
    shown = {
        seen["task_id"]: seen["text"] for (said,) in firsts for seen in [json.loads(said["content"])["observation"]]
    }
    assert shown == {name: env.reset(options={"task_id": name})[0] for name in names}
    assert "privileged" not in "".join(endpoint.bodies)


def test_it_cannot_be_named_on_the_command_line() -> None:
    """Fault 1 of the page; where this fails the page can say less."""
    from verifiers.v1.cli.eval.main import EvalConfig
    from verifiers.v1.cli.resolve import narrow_config

    with pytest.raises(ValueError, match="pass `env` or `base_url`"):
        narrow_config(EvalConfig, ["--env.taskset.id", "openenv", "--env.taskset.base-url", "http://127.0.0.1:8001"])


def test_a_reply_that_is_json_is_no_text_any_more() -> None:
    """Faults 2 and 3 of the page; where this fails the page can say less."""
    assert taskset.parse_action("look", ACTION) == {"text": "look"}
    assert taskset.parse_action("42", ACTION) == {"text": 42}
    assert taskset.parse_action("null", ACTION) == {"text": None}
    assert taskset.parse_action('{"text": "42"}', ACTION) == {"text": "42"}
    assert taskset.parse_action('{"action": "look"}', ACTION) == {"action": "look"}
