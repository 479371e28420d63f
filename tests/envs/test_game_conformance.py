"""The checker of games: it holds for ours, and finds each fault that it is for."""

from __future__ import annotations

import functools

import pytest
from toy_game import Toy

from sdar_envs.conformance import ConformanceError
from sdar_envs.conformance.games import CHECKS, check_text_game
from sdar_envs.multiagent.haggle.game import Haggle
from sdar_envs.multiagent.pair.game import Pair


@pytest.mark.parametrize(
    "make",
    [
        Toy,
        functools.partial(Haggle, split="valid"),
        functools.partial(Haggle, size="full", stale=0.5, talk=False),
        functools.partial(Pair, channel="free", shaping=True),
    ],
    ids=["toy", "haggle", "haggle-full", "pair"],
)
def test_games_pass(make):
    assert check_text_game(make, games=3, hostile=120) == tuple(CHECKS)


class Forgets(Toy):
    """Forgets what a role has read."""

    def observe(self, role: str) -> str:
        text = super().observe(role)
        self._news[role] = []
        return text


class Leaks(Toy):
    """Tells a role what only its teacher may read."""

    def _act(self, role: str, text: str) -> bool:
        self.tell(role, str(self.privileged(role)["facts"]))
        return super()._act(role, text)


class Shares(Toy):
    """Keeps the last word for all games."""

    said: list[str] = []  # noqa: RUF012  # the fault

    def _act(self, role: str, text: str) -> bool:
        self.tell(role, f"{len(self.said)} words so far")
        self.said.append(text)
        return super()._act(role, text)


class Idle(Toy):
    """Has no plan for a role that waits."""

    def _privileged(self, role: str):
        known = super()._privileged(role)
        return known if role == self.turn else {**known, "plan": [], "next_action": ""}


class Echoes(Toy):
    """Raises on text that it does not expect."""

    def _act(self, role: str, text: str) -> bool:
        text.encode("ascii")
        return super()._act(role, text)


class Poor(Toy):
    """Leaves out the rewards of those who do not act."""

    def _act(self, role: str, text: str) -> bool:
        understood = super()._act(role, text)
        self.rewards = {role: 0.0}
        return understood


class Loses(Toy):
    """Loses its news when it is copied."""

    def __getstate__(self):
        return {**super().__getstate__(), "_news": {role: [] for role in self.roles}}


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Forgets, "observe"),
        (Leaks, "canary"),
        (Shares, "observe"),
        (Idle, "plans"),
        (Echoes, "hostile"),
        (Poor, "info"),
        (Loses, "copies"),
    ],
)
def test_a_broken_game_is_found_by_its_check(broken: type[Toy], check: str):
    with pytest.raises(ConformanceError) as caught:
        check_text_game(broken, games=3, hostile=60)
    assert caught.value.check == check and "toy/toy-v0" in str(caught.value)
