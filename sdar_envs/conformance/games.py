"""check_text_game: whether a game of several roles keeps the contract of `multiagent/game.py`; it works on anyone's.

The checks play random games and see a game through its contract alone. What they cannot show: that tasks can be won,
that rewards are right, and that nothing private of a role reaches another in other words. A leak is found when it is
verbatim: a canary that stands in everything privileged to a role must never stand in what that role reads, whoever
acts.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from ..core import INFO_KEYS
from ..hostile import hostile_actions
from ..multiagent.game import TextGame
from ..privileged import PRIVILEGED_KEYS
from ..randomness import counted_generator
from .walks import NONSENSE, ConformanceError

MakeGame = Callable[[], TextGame]
# One act of a recorded game: who, what, what every role read before it, its info, and what came of it.
Moment = tuple[str, str, dict[str, str], dict[str, Any], bool, dict[str, float]]

_CANARY = "canary-7d1f-of-{role}"


def check_text_game(make: MakeGame, *, games: int = 6, hostile: int = 300, seed: int = 0) -> tuple[str, ...]:
    """Check that a game keeps the contract of games of several roles.

    Args:
        make: Builds a fresh game.
        games: Whole games that the walking checks play.
        hostile: How many hostile texts are sent.
        seed: Of the walks.

    Returns:
        The names of the checks, all of which held.

    Raises:
        ConformanceError: A check failed; the message says which, what was expected and got, and the remedy.
    """
    for name, check in CHECKS.items():
        try:
            check(make, games, hostile, seed)
        except ConformanceError as error:
            raise ConformanceError(name, f"{make().game_id}: {error.what}", error.remedy) from error.__cause__
    return tuple(CHECKS)


def _failure(what: str, remedy: str) -> ConformanceError:
    return ConformanceError("", what, remedy)


def _tasks(game: TextGame, games: int) -> list[str]:
    ids = game.task_ids()
    return [str(ids[number]) for number in range(min(games, len(ids)))]


def _drawn(game: TextGame, seed: int, number: int) -> str:
    """A random admissible action of the role whose turn it is, and one time in five nonsense."""
    rng = counted_generator("conformance game", seed, game.task_id, number)
    listed = [action for action in game.public(game.turn)["admissible_actions"] if "<" not in action]
    if not listed or rng.random() < 0.2:
        return NONSENSE
    return listed[int(rng.integers(len(listed)))]


def _walk(game: TextGame, seed: int) -> Iterator[Moment]:
    """Play the game that has begun to its end, act by act."""
    number = 0
    while not game.over:
        role, action = game.turn, _drawn(game, seed, number)
        texts = {one: game.observe(one) for one in game.roles}
        infos = {one: copy.deepcopy(game.info(one, expose_privileged=True)) for one in game.roles}
        understood = game.act(role, action)
        yield role, action, texts, infos, understood, dict(game.rewards)
        number += 1


def _record(game: TextGame, task_id: str, seed: int) -> list[Moment]:
    game.begin(task_id)
    return list(_walk(game, seed))


def check_info(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """`info` of every role has the contract's keys, is plain JSON, and names its role."""
    game = make()
    for task_id in _tasks(game, games):
        for _, _, texts, infos, _, rewards in _record(game, task_id, seed):
            for role, info in infos.items():
                missing = (INFO_KEYS | {"role", "privileged"}) - info.keys()
                if missing or info["role"] != role or info["privileged"].keys() != PRIVILEGED_KEYS:
                    raise _failure(f"expected the keys of the contract in the info of {role}, got {sorted(info)}", "")
                try:
                    json.dumps(info, allow_nan=False)
                    texts[role].encode("utf-8")
                except (TypeError, ValueError) as error:
                    raise _failure(f"expected plain JSON and text for {role}, got {error}", "Convert it") from error
            if rewards.keys() != set(game.roles):
                raise _failure(f"expected a reward for every role after an act, got {sorted(rewards)}", "Fill rewards")


def check_observe(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """Observing changes nothing: a game that is looked at often goes as one that is looked at once."""
    game, watched = make(), make()
    for task_id in _tasks(game, games):
        expected = _record(game, task_id, seed)
        watched.begin(task_id)
        for number, moment in enumerate(expected):
            for role in watched.roles:
                if watched.observe(role) != moment[2][role] or watched.observe(role) != moment[2][role]:
                    raise _failure(
                        f"expected {role} to read the same again before act {number} of {task_id}, "
                        f"got {watched.observe(role)!r:.120}",
                        "Keep observe() pure: news is forgotten by the role's own act",
                    )
            watched.act(watched.turn, _drawn(watched, seed, number))


def check_isolation(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """A game depends on its task and its acts alone: not on games before it, nor on one played beside it."""
    first = make()
    tasks = _tasks(first, games)
    alone = [_record(first, task_id, seed) for task_id in tasks]
    again = make()
    for task_id, expected in reversed(list(zip(tasks, alone, strict=True))):
        again.begin(tasks[0])
        again.act(again.turn, NONSENSE)
        if _record(again, task_id, seed) != expected:
            raise _failure(f"expected {task_id} to go as it did after other games", "Set the whole state in _begin")
    pair = make(), make()
    for game, task_id in zip(pair, (tasks[0], tasks[-1]), strict=True):
        game.begin(task_id)
    walks = [_walk(game, seed) for game in pair]
    played: list[list[Moment]] = [[], []]
    while any(not game.over for game in pair):
        for number, walk in enumerate(walks):
            played[number].extend([moment for moment in [next(walk, None)] if moment is not None])
    if played != [alone[0], alone[len(tasks) - 1]]:
        raise _failure("expected two games in turns to go as they do alone", "Keep all state in the instance")


def check_canary(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """What is privileged to a role is in none of its observations and public fields, whoever has acted."""
    game = make()
    inner = game._privileged

    def planted(role: str) -> Any:
        return _marked(inner(role), _CANARY.format(role=role))

    game._privileged = planted  # type: ignore[method-assign]
    for task_id in _tasks(game, games):
        for _, action, texts, infos, _, _ in _record(game, task_id, seed):
            for role in game.roles:
                public = {key: value for key, value in infos[role].items() if key != "privileged"}
                read = texts[role] + json.dumps(public)
                if "canary-7d1f" in read:
                    raise _failure(f"expected nothing privileged in what {role} reads, got {read[-160:]!r}", "")
                for sentence in _sentences(infos[role]["privileged"], role):
                    if sentence in read and sentence not in action:
                        raise _failure(f"{role} reads {sentence!r:.100}, which is its teacher's", "Keep it there")


def _marked(value: Any, canary: str) -> Any:
    if isinstance(value, str):
        return f"{value} {canary}" if value else value
    if isinstance(value, dict):
        return {key: _marked(part, canary) for key, part in value.items()}
    return [_marked(part, canary) for part in value] if isinstance(value, list) else value


def _sentences(privileged: dict[str, Any], role: str) -> Iterator[str]:
    """Hints and statements as they were before they were marked."""
    mark = " " + _CANARY.format(role=role)
    for text in [*privileged["hints"], *privileged["skills"]["lines"], *privileged["skills"]["compact_lines"]]:
        sentence = text.removesuffix(mark)
        if len(sentence.split()) >= 4:
            yield sentence


def check_plans(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """A plan is never empty while the game runs, its head is the next action, and it is empty at the end."""
    game = make()
    for task_id in _tasks(game, games):
        moments = _record(game, task_id, seed)
        for _, _, _, infos, _, _ in moments:
            for role, info in infos.items():
                plan, head = info["privileged"]["plan"], info["privileged"]["next_action"]
                if not plan or head != plan[0]:
                    raise _failure(
                        f"expected a plan of {role} with next_action at its head in {task_id}, got {plan!r:.80}",
                        'Plan ["wait"] where a role has nothing to do',
                    )
        for role in game.roles:
            if game.privileged(role)["plan"]:
                raise _failure(f"expected no plan of {role} after the end of {task_id}", "Empty it")


def check_hostile(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """Hostile text is an ordinary turn; what others read of it can be encoded, and is one line more at most."""
    game = make()
    tasks = _tasks(game, games)
    begun = 0
    for text in hostile_actions(hostile, seed=seed, legal=(NONSENSE,)):
        if game.over:
            game.begin(tasks[begun % len(tasks)])
            begun += 1
        role = game.turn
        lines = {one: len(game.observe(one).splitlines()) for one in game.roles}
        try:
            game.act(role, text)
            for other in game.roles:
                heard = game.observe(other)
                heard.encode("utf-8")
                if other != role and len(heard.splitlines()) > lines[other] + 1:
                    raise _failure(f"expected at most one line more for {other}, got {heard!r:.120}", "Clean the text")
        except ConformanceError:
            raise
        except Exception as error:
            raise _failure(
                f"expected an ordinary turn from {text!r:.80}, got {type(error).__name__}: {error!s:.120}",
                "Agent text never raises",
            ) from error


def check_copies(make: MakeGame, games: int, hostile: int, seed: int) -> None:
    """A copy and a pickle in mid-game are the same game, and go on alone."""
    game = make()
    for task_id in _tasks(game, min(games, 2)):
        game.begin(task_id)
        for number in range(3):
            if not game.over:
                game.act(game.turn, _drawn(game, seed, number))
        for twin in (copy.deepcopy(game), pickle.loads(pickle.dumps(game))):
            for role in game.roles:
                if (twin.observe(role), twin.info(role, expose_privileged=True)) != (
                    game.observe(role),
                    game.info(role, expose_privileged=True),
                ):
                    raise _failure(f"expected a copy in mid-game to be the game, as {role} reads it", "Keep its state")
            acts = len(game.log)
            if not twin.over:
                twin.act(twin.turn, NONSENSE)
            if len(game.log) != acts:
                raise _failure("expected a copy to go on alone", "Share no lists between copies")


CHECKS: dict[str, Callable[[MakeGame, int, int, int], None]] = {
    "info": check_info,
    "observe": check_observe,
    "isolation": check_isolation,
    "canary": check_canary,
    "plans": check_plans,
    "hostile": check_hostile,
    "copies": check_copies,
}
