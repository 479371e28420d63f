"""A world as an environment of SkyRL-gym (skyrl-gym 0.4), and its tasks as rows of data.

Nothing privileged is made on this side, let alone returned: what an environment says besides its messages becomes
metrics and logs there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from ..core import resolve_split
from ..randomness import counted_generator
from .replies import SYSTEM, action_in
from .sessions import Registry, Session, Worlds
from .wording import opening, with_actions

try:
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
except ImportError as missing:
    raise ImportError(
        f"an environment of SkyRL needs skyrl-gym, and there is no {missing.name}: pip install skyrl-gym==0.4.0"
    ) from missing

ENTRY_POINT = "sdar_envs.bridges.skyrl:SkyRLEnv"  # for `skyrl_gym.register`
Conversation = list[dict[str, str]]


class SkyRLEnv(BaseTextEnv):
    """One episode of a world.

    It ends at the world's horizon, or after `extras["max_turns"]` turns where that is fewer: SkyRL's generator puts its
    own `max_turns` there, and leaves it to the environment to stop.

    Args:
        env_config: What SkyRL's configuration says of environments of this id; not used.
        extras: The row of the data without its prompt: ``extra_info`` has `env_id`, `task_id` and, as JSON,
            `env_kwargs`.

    Raises:
        ValueError: The row names no world or no task.
    """

    def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        row = dict((extras or {}).get("extra_info") or {})
        if not row.get("env_id") or not row.get("task_id"):
            raise ValueError(
                "expected the row's extra_info to have env_id and task_id, got the keys "
                f"{sorted(row)}: sdar_envs.bridges.skyrl.task_rows makes such rows"
            )
        self._task_id = str(row["task_id"])
        kwargs = json.loads(row.get("env_kwargs") or "{}")
        self._session = Session(Worlds(functools.partial(gym.make, str(row["env_id"]), **kwargs)), Registry())
        self._limit = (extras or {}).get("max_turns")
        self._metrics = {"success": 0.0, "score": 0.0, "not_understood": 0.0}

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, Any]]:
        """The row's prompt with the world's first message after it, in one message with a user's that ends it."""
        text = opening(self._session.reset(task_id=self._task_id), list_actions=True)
        self.max_turns = min(int(turns) for turns in (self._limit, self._session.horizon) if turns is not None)
        before = list(prompt)
        if before and before[-1]["role"] == "user":
            text = f"{before.pop()['content']}\n\n{text}".strip()
        return [*before, {"role": "user", "content": text}], {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Play the action in a reply. Nothing is said of the end: SkyRL would cut it off again."""
        seen = self._session.step(action_in(action))
        self.turns += 1
        done = seen.terminated or seen.truncated or self.turns >= self.max_turns
        self._metrics["success"], self._metrics["score"] = float(seen.success), seen.score
        self._metrics["not_understood"] += not seen.is_action_valid
        said = [] if done else [{"role": "user", "content": with_actions(seen.text, seen)}]
        return BaseTextEnvStepOutput(observations=said, reward=seen.reward, done=done, metadata=self.get_metrics())

    def get_metrics(self) -> dict[str, float]:
        """How the episode stands: success, score, and replies that were not understood."""
        return dict(self._metrics)

    def close(self) -> None:
        """End the episode."""
        self._session.close()


def task_rows(
    env_id: str, split: str = "train", n: int = 1000, seed: int = 0, *, system: str = SYSTEM, **env_kwargs: Any
) -> list[dict[str, Any]]:
    """Tasks of a split as rows for SkyRL: ``pandas.DataFrame(rows).to_parquet(...)`` makes its file of data.

    Args:
        env_id: A registered text environment.
        split: ``train``, ``valid`` or ``test``.
        n: How many tasks, different ones.
        seed: Draws them.
        system: The system message.
        **env_kwargs: The environment's arguments.

    Raises:
        ValueError: There is no such split, or it has fewer tasks.
    """
    split = resolve_split(split, "task_rows")
    tasks = Worlds(functools.partial(gym.make, env_id, **env_kwargs)).tasks(split)
    if n > len(tasks):
        raise ValueError(f"task_rows: expected at most the {len(tasks)} tasks of split {split} of {env_id}, got n={n}")
    places = counted_generator("task_rows", env_id, split, seed).choice(len(tasks), size=n, replace=False)
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": ""}]
    about = {"env_id": env_id, "env_kwargs": json.dumps(env_kwargs)}  # tables have no empty records
    return [
        {"prompt": prompt, "env_class": "sdar", "extra_info": {**about, "task_id": str(tasks[int(place)])}}
        for place in places
    ]
