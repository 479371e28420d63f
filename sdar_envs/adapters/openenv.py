"""A remote OpenEnv environment as a Gymnasium text world: ``gym.make("sdar/OpenEnv-v0", url=...)``.

The server may be anybody's whose action is one text field. Where a teacher's channel is named
(docs/teacher-channel.md), `info` has a privileged side; where none is, there is none.
"""

from __future__ import annotations

import copy
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import gymnasium as gym

from ..choices import unknown_choice
from ..core import ClosedError, clean_action, resolve_split
from ..distribution import with_extra
from ..spaces import FreeText

_NAMES = ("task_id", "task_type", "instruction")
_TASKS = 1000  # that one request lists
_LONGEST_ANSWER = 1 << 24  # bytes of an answer of the teacher's channel or the task API


class SessionLostError(RuntimeError):
    """The server, or its session, is gone: the episode has to be played again from its reset."""


class OpenEnvText(gym.Env[str, str]):
    """A session of a remote environment.

    Args:
        url: Address of the server, such as ``http://127.0.0.1:8000``.
        text_key: Field of the observation that is the text.
        action_key: Field of the action that takes the text.
        split: ``train``, ``valid`` or ``test``, sent with every reset where the server enumerates tasks.
        teacher_url: Address of the teacher's channel; without one `info` has no privileged side.
        teacher_token: Its token.
        expose_privileged: Whether `info` has ``"privileged"`` where there is a teacher's channel.
        timeout: Seconds for a connection or an answer.
        max_action_length: Characters of an action; what is longer is cut, and never understood.
        render_mode: ``"ansi"`` returns the last exchange as text.

    Raises:
        ImportError: openenv is not installed.
        ValueError: A teacher's channel without a token, or an unknown split.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}  # type: ignore[misc]
    env_id = "sdar/OpenEnv-v0"

    def __init__(
        self,
        url: str,
        *,
        text_key: str = "text",
        action_key: str = "text",
        split: str = "train",
        teacher_url: str | None = None,
        teacher_token: str | None = None,
        expose_privileged: bool = True,
        timeout: float = 60.0,
        max_action_length: int = 512,
        render_mode: str | None = None,
    ) -> None:
        try:
            from openenv.core import GenericEnvClient
        except ImportError as missing:
            raise ImportError(
                f"a remote environment needs OpenEnv, and there is no {missing.name}: {with_extra('openenv')}"
            ) from missing
        if teacher_url is not None and not teacher_token:
            raise ValueError(f"{self.env_id} expects teacher_token with teacher_url, and there is none")
        self.url = url.rstrip("/")
        self.split = resolve_split(split, self.env_id)
        self.expose_privileged = expose_privileged
        self.render_mode = render_mode
        self.observation_space = FreeText(1 << 20)
        self.action_space = FreeText(max_action_length)
        self._keys = (text_key, action_key)
        self._teacher = (teacher_url.rstrip("/"), str(teacher_token)) if teacher_url is not None else None
        self._timeout = timeout
        self._make_client = lambda: GenericEnvClient(
            base_url=self.url, connect_timeout_s=timeout, message_timeout_s=timeout
        ).sync()
        self._client: Any = None
        self._closed = False
        self._over = True
        self._steps = 0
        self._episode = ""
        self._name: str | None = None
        self._last = ("", "")

    # Tasks, where the server has the task API.

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The tasks of a split, named by their place; one request.

        Raises:
            ValueError: The server does not enumerate tasks, or there is no such split.
        """
        wanted = resolve_split(split or self.split, self.env_id)
        return [f"{wanted}:{number}" for number in range(int(self._ask("num_tasks", {"split": wanted})["num_tasks"]))]

    @property
    def enumerates(self) -> bool:
        """Whether the server has the task API."""
        try:
            return bool(self._ask("splits", None))
        except ValueError:
            return False

    def _ask(self, route: str, body: Mapping[str, Any] | None) -> Any:
        if self._name is None:
            names = self._fetch(f"{self.url}/list_environments", None)
            self._name = str(names[0]) if names else ""
        return self._fetch(f"{self.url}/{quote(self._name)}/{route}", body)

    def _fetch(self, address: str, body: Mapping[str, Any] | None, token: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = urllib.request.Request(address, data, headers)  # the user's own address
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return json.loads(answer.read(_LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            said = error.read(400).decode("utf-8", "replace")
            raise ValueError(f"{address}: expected an answer, got status {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise SessionLostError(f"{address}: expected an answer, got {error!r:.200}") from None

    # Gymnasium's side.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode: of ``options["task_id"]``, or drawn by the server from the seed.

        Raises:
            ValueError: An unknown option or task.
            SessionLostError: The server cannot be reached.
        """
        super().reset(seed=seed)
        chosen = dict(options or {})
        task_id = chosen.pop("task_id", None)
        if chosen:
            raise unknown_choice("reset option", next(iter(chosen)), ["task_id"], self.env_id)
        wanted: dict[str, Any] = {"seed": int(self.np_random.integers(2**31))}
        if task_id is not None:
            split, colon, index = str(task_id).partition(":")
            if not colon or not index.isdecimal():
                raise ValueError(f"{self.env_id} expects a task id such as train:7, got {task_id!r:.80}")
            wanted |= {"split": resolve_split(split, self.env_id), "index": int(index)}
        elif self.enumerates:
            wanted["split"] = self.split
        self._closed, self._over = False, True
        result = self._call("reset", **wanted)
        self._over = bool(result.done)
        self._steps = 0
        self._episode = str(self._call("state").get("episode_id") or "")
        self._last = ("", self._text(result))
        return self._last[1], self._info(result)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action.

        Raises:
            TypeError: The action is not a `str`.
            ClosedError: The environment is closed.
            gymnasium.error.ResetNeeded: No episode is running.
            SessionLostError: The server or the session is gone.
        """
        text = clean_action(action, self.action_space.max_length)  # type: ignore[attr-defined]
        if self._closed:
            raise ClosedError(f"{self.env_id} is closed, and cannot step: reset() opens it again")
        if self._over:
            raise gym.error.ResetNeeded(f"{self.env_id} expects reset() before step(): no episode is running")
        result = self._call("step", {self._keys[1]: text})
        self._steps += 1
        truncated = bool(self._field(result, "truncated", False))
        terminated = bool(result.done) and not truncated
        self._over = terminated or truncated
        self._last = (text, self._text(result))
        return self._last[1], float(result.reward or 0.0), terminated, truncated, self._info(result)

    def render(self) -> str | None:
        """The last exchange, in ``"ansi"`` mode."""
        if self.render_mode != "ansi":
            return None
        action, text = self._last
        return f"> {action}\n{text}" if action else text

    def close(self) -> None:
        """End the session, and the client's thread."""
        self._closed = self._over = True
        if self._client is not None:
            client, self._client = self._client, None
            try:
                client.close()
            except Exception as error:  # the server may be gone already
                gym.logger.warn(f"{self.env_id}: closing the session failed: {error!r:.100}")

    # Answers.

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            if self._client is None:
                self._client = self._make_client()
                self._client.connect()
            return getattr(self._client, name)(*arguments, **options)
        except Exception as error:
            if "code: EXECUTION_ERROR" in str(error) and name == "reset":
                raise ValueError(f"{self.url} refused the reset: {error!s:.300}") from None
            self._client = None
            self._over = True
            raise SessionLostError(
                f"{self.url}: expected an answer to {name}, got {error!r:.200}: reset again"
            ) from None

    def _field(self, result: Any, name: str, default: Any) -> Any:
        observation = result.observation
        return observation.get(name, default) if isinstance(observation, Mapping) else default

    def _text(self, result: Any) -> str:
        text = self._field(result, self._keys[0], None)
        if not isinstance(text, str):
            keys = sorted(result.observation) if isinstance(result.observation, Mapping) else []
            raise ValueError(
                f"{self.url}: expected text in the observation's field {self._keys[0]!r}, got {keys}: name another "
                "with text_key"
            )
        return text

    def _info(self, result: Any) -> dict[str, Any]:
        info: dict[str, Any] = {name: str(self._field(result, name, "")) for name in _NAMES}
        actions = self._field(result, "admissible_actions", [])
        info |= {
            "admissible_actions": [str(action) for action in actions] if isinstance(actions, list) else [],
            "skill_keys": [],
            "is_action_valid": self._field(result, "is_action_valid", True) is True,
            "success": self._field(result, "success", False) is True,
            "score": float(self._field(result, "score", 0.0) or 0.0),
        }
        if self._teacher is not None and self.expose_privileged:
            info["privileged"] = self.teacher_view()
        return info

    def teacher_view(self) -> dict[str, Any]:
        """What a teacher may know now, from the teacher's channel.

        Raises:
            ValueError: There is no channel, it refuses, or it is a step ahead or behind.
        """
        if self._teacher is None:
            raise ValueError(f"{self.env_id}: expected a teacher_url, and there is none")
        address, token = self._teacher
        answer = self._fetch(f"{address}/privileged/{quote(self._episode, safe='')}", None, token)
        if (
            not isinstance(answer, dict)
            or answer.get("protocol") != 1
            or not isinstance(answer.get("privileged"), dict)
        ):
            raise ValueError(
                f"{address}: expected an answer of the teacher's channel, version 1, got {str(answer)[:200]}"
            )
        if answer.get("step_count") != self._steps:
            raise ValueError(
                f"{address}: expected what the teacher knows after {self._steps} steps, got {answer.get('step_count')}"
            )
        return copy.deepcopy(answer["privileged"])
