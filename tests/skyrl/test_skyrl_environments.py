"""The worlds through SkyRL-gym: the expert's replies solve them, and nothing of the teacher's is made on this side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import sdar_envs

pytestmark = pytest.mark.skyrl
skyrl_gym = pytest.importorskip("skyrl_gym")
registration = pytest.importorskip("skyrl_gym.envs.registration")
skyrl = pytest.importorskip("sdar_envs.bridges.skyrl")

WORLDS = [env_id for env_id, entry in sdar_envs.WORLDS.items() if entry.demonstrator]  # those that need no files


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    skyrl_gym.register(id="sdar", entry_point=skyrl.ENTRY_POINT)
    yield
    registration.deregister("sdar")


def plan_of(env: gym.Env[str, str], task_id: str) -> tuple[list[str], list[float]]:
    """The actions that solve a task, and the rewards that they bring."""
    _, info = env.reset(options={"task_id": task_id})
    actions, rewards, over = [], [], False
    while not over:
        actions.append(info["privileged"]["next_action"])
        _, reward, ended, truncated, info = env.step(actions[-1])
        rewards.append(float(reward))
        over = ended or truncated
    assert info["success"]
    return actions, rewards


@pytest.mark.parametrize("env_id", WORLDS)
def test_the_experts_replies_solve_every_world_and_no_teachers_side_is_made(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = gym.make(env_id)
    rows = skyrl.task_rows(env_id, "valid", n=5, seed=1)
    plans = [plan_of(world, row["extra_info"]["task_id"]) for row in rows]

    def never(self: object) -> Any:
        raise AssertionError("what a teacher may know was asked for")

    monkeypatch.setattr(type(world.unwrapped), "_privileged", never)
    for row, (actions, rewards) in zip(rows, plans, strict=True):
        extras = {key: value for key, value in row.items() if key not in ("prompt", "env_class")}
        env = skyrl_gym.make(row["env_class"], env_config={}, extras={**extras, "max_turns": 50})
        said, _ = env.init(row["prompt"])
        assert [message["role"] for message in said] == ["system", "user"]
        for place, (action, reward) in enumerate(zip(actions, rewards, strict=True), start=1):
            answer = env.step(f"<think>so</think><action>{action}</action>")
            assert answer["reward"] == reward and answer["done"] is (place == len(actions))
            assert json.loads(json.dumps(answer)) == answer
            assert answer.get("postprocessed_action") is None  # SkyRL would train on other tokens than were sampled
            said += answer["observations"]
        assert [message["role"] for message in said] == ["system", *["user"] * len(actions)]
        assert env.get_metrics() == {"success": 1.0, "score": 1.0, "not_understood": 0.0}
        assert sum(rewards) == 1.0 or env_id.startswith(("sdar/Trip", "sdar/Haggle", "sdar/Pair"))
        env.close()


def begun(**extras: Any) -> Any:
    """An environment of the household after its first message."""
    (row,) = skyrl.task_rows("sdar/Household-v0", n=1, size="small")
    env = skyrl_gym.make("sdar", env_config=None, extras={"extra_info": row["extra_info"], **extras})
    env.init([])
    return env


def test_an_episode_ends_at_the_horizon_or_at_the_generators_turns_whichever_is_first() -> None:
    for limit, expected in ((3, 3), (1000, gym.make("sdar/Household-v0", size="small").unwrapped.horizon)):
        env, turns, done = begun(max_turns=limit), 0, False
        while not done:
            done = env.step("look")["done"]
            turns += 1
        assert turns == expected == env.max_turns


def test_what_an_agent_says_never_raises_and_is_counted_where_it_is_not_understood() -> None:
    env = begun()
    for said in ("", "<action>", "\x00" * 100_000, "<action>a</action><action>b</action>", "\ud800"):
        answer = env.step(said)
        assert answer["reward"] == 0.0 and not answer["done"]
    assert env.get_metrics()["not_understood"] == 5.0


def test_a_users_message_at_the_end_of_a_prompt_is_continued() -> None:
    (row,) = skyrl.task_rows("sdar/WebShop-v0", n=1)
    env = skyrl_gym.make("sdar", env_config=None, extras=row)
    before = [{"role": "user", "content": "Shop well."}]
    (message,), about = env.init(before)
    assert message["content"].startswith("Shop well.\n\n") and about == {}
    assert before == [{"role": "user", "content": "Shop well."}]


def test_rows_survive_a_table_and_are_drawn_by_their_seed() -> None:
    pandas = pytest.importorskip("pandas")
    rows = skyrl.task_rows("sdar/Household-v0", n=50, size="small")
    assert pandas.DataFrame(rows).to_dict("records") == rows
    ids = [row["extra_info"]["task_id"] for row in rows]
    assert len(set(ids)) == 50 and all(name.startswith("train:") for name in ids)
    assert rows == skyrl.task_rows("sdar/Household-v0", n=50, size="small")
    assert ids != [row["extra_info"]["task_id"] for row in skyrl.task_rows("sdar/Household-v0", n=50, seed=1)]


def test_a_row_without_a_task_and_too_many_tasks_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"task_rows makes such rows"):
        skyrl_gym.make("sdar", env_config=None, extras={"extra_info": {"env_id": "sdar/Trip-v0"}})
    with pytest.raises(ValueError, match=r"at most the 2000 tasks of split valid"):
        skyrl.task_rows("sdar/Household-v0", "valid", n=2001)


def test_the_first_run_of_its_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages import ROOT, blocks

    registration.deregister("sdar")  # the page registers it
    monkeypatch.chdir(tmp_path)
    code, *_ = [body for body, _ in blocks(ROOT / "docs" / "bridges" / "skyrl.md", "python")]
    said: dict[str, Any] = {}
    exec(compile(code, "skyrl.md", "exec"), said)
    assert said["answer"]["done"] is True
