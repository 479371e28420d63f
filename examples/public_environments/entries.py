"""The environments of docs/public-environments.md: how each is checked, and what reading its report by hand came to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

PAGE = "public-environments.md"


class Entry(NamedTuple):
    """One environment.

    Attributes:
        title: What the table calls it.
        package: Its distribution.
        target: What `sdar check` gets.
        options: Further words of the command.
        findings: Check that failed or warned -> heading on the page, where it is described.
        fresh: Whether this is a second look past what another row found.
    """

    title: str
    package: str
    target: str
    options: tuple[str, ...]
    findings: Mapping[str, str] = MappingProxyType({})
    fresh: bool = False


def _three(module: str, name: str) -> tuple[str, ...]:
    return ("--oracle", f"{module}:solve", "--variants", f"{module}:{name}")


_RESET = "TextArena: after a reset the last episode is still shown"
_SURROGATE = "TextArena: half a character pair comes back"
_GLOBAL = "TextArena and GEM: the random stream of the process"
_DIGITS = "TextArena: a number of 5,000 digits raises"
_EVAL = "reasoning-gym: answers are run as Python"
_HANGS = "TextWorld: a NUL or a backslash hangs the interpreter"
_ORDER = "ScienceWorld: a second episode lists things in another order"
_SLOW = (
    *("--oracle", "science_world:solve", "--secret", "science_world:answers", "--episodes", "2", "--sessions", "2"),
    *("--hostile-actions", "30", "--step-seconds", "5", "--check-seconds", "60"),
)
_TEXT = ("--oracle", "reasoning_gym_tasks:solve", "--secret", "reasoning_gym_tasks:answers")

ENTRIES: dict[str, Entry] = {
    "textarena-blackjack": Entry(
        "Blackjack-v0",
        "textarena",
        "textarena_games:Blackjack",
        ("--variants", "textarena_games:Blackjack"),
        {"episode_isolation": _RESET, "global_random": _GLOBAL, "hostile_actions": _SURROGATE},
    ),
    "textarena-blackjack-careful": Entry(
        "Blackjack-v0, a new game for every episode, clean text",
        "textarena",
        "textarena_games:Blackjack",
        ("--env-kwargs", "careful=true"),
        {"sessions": _GLOBAL, "global_random": _GLOBAL},
        fresh=True,
    ),
    "textarena-guess-the-number": Entry(
        "GuessTheNumber-v0-hardcore",
        "textarena",
        "textarena_games:GuessTheNumber",
        _three("textarena_games", "GuessTheNumber"),
        {"episode_isolation": _RESET, "global_random": _GLOBAL, "hostile_actions": _DIGITS},
    ),
    "textarena-mastermind": Entry(
        "Mastermind-v0",
        "textarena",
        "textarena_games:Mastermind",
        _three("textarena_games", "Mastermind"),
        {"episode_isolation": _RESET, "global_random": _GLOBAL, "hostile_actions": _SURROGATE},
    ),
    "textarena-mastermind-careful": Entry(
        "Mastermind-v0, a new game for every episode, clean text",
        "textarena",
        "textarena_games:Mastermind",
        ("--env-kwargs", "careful=true", "--oracle", "textarena_games:solve"),
        {"global_random": _GLOBAL},
        fresh=True,
    ),
    "reasoning-gym-countdown": Entry(
        "countdown", "reasoning-gym", "reasoning_gym_tasks:Countdown", _TEXT, {"hostile_actions": _EVAL}
    ),
    "reasoning-gym-spiral-matrix": Entry(
        "spiral_matrix", "reasoning-gym", "reasoning_gym_tasks:SpiralMatrix", _TEXT, {"hostile_actions": _EVAL}
    ),
    "reasoning-gym-caesar-cipher": Entry("caesar_cipher", "reasoning-gym", "reasoning_gym_tasks:CaesarCipher", _TEXT),
    "gem-guess-the-number": Entry(
        "game:GuessTheNumber-v0-hard",
        "gem-llm",
        "gem_games:GuessTheNumber",
        _three("gem_games", "GuessTheNumber"),
        {"global_random": _GLOBAL},
    ),
    "gem-mastermind": Entry(
        "game:Mastermind-v0-hard",
        "gem-llm",
        "gem_games:Mastermind",
        _three("gem_games", "Mastermind"),
        {"global_random": _GLOBAL},
    ),
    "skyrl-gsm8k": Entry("gsm8k_multi_turn", "skyrl-gym", "skyrl_tasks:Sums", _three("skyrl_tasks", "Sums")),
    "textworld-coin-collector": Entry(
        "tw-coin_collector, `.z8`",
        "textworld",
        "text_world:CoinCollector",
        (
            *("--oracle", "text_world:solve", "--secret", "text_world:answers"),
            *("--episodes", "2", "--hostile-actions", "120", "--sessions", "4"),
        ),
        {"declared_secret": _HANGS},
    ),
    "scienceworld-find-living-thing": Entry(
        "find-living-thing",
        "scienceworld",
        "science_world:FindLivingThing",
        _SLOW,
        {"episode_isolation": _ORDER},
    ),
}
