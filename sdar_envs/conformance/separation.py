"""Whether episodes and sets of tasks are apart: many sessions at once, and splits that share no task by content."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..core import SPLITS
from ..randomness import counted_generator
from .subject import Env, Subject, failure, require_same, strings_of
from .walks import Moment, Skipped, Walk, act, actions_of, begin, is_over, replay

_LONGEST_SESSION = 40  # actions of an episode that sessions repeat
_FEWEST_SESSIONS = 2
# Shares of the time by which sessions are opened, have been played in turns, and in threads.
_OPENING, _TURNS, _THREADS = 0.35, 0.65, 0.95
_GRAM = 8  # words
_NEAR = 0.9
# Tasks may look alike whose hidden parts differ, so a few that do are counted and no failure.
_SHARED = 0.02


def check_sessions(subject: Subject) -> dict[str, Any]:
    """Many environments of one process, stepped in turns and in threads, play as each does alone."""
    budget = subject.budget
    walks = [walk[: _LONGEST_SESSION + 1] for walk in subject.walks]
    with contextlib.ExitStack() as stack:
        envs: list[Env] = []
        played: list[Walk] = []
        for number in range(subject.sessions):
            if number >= _FEWEST_SESSIONS and not budget.has(_OPENING):
                break
            envs.append(stack.enter_context(contextlib.closing(subject.build())))
            played.append([begin(envs[-1], seed=subject.seeds[number % len(walks)])])
        chosen = [number % len(walks) for number in range(len(envs))]
        scripts = [actions_of(walks[which]) for which in chosen]

        def turn(number: int, at: int) -> None:
            script, walk = scripts[number], played[number]
            if at < len(script) and not is_over(walk[-1]):
                walk.append(act(envs[number], str(script[at])))

        # In turns: every session takes its step before any takes the next; then whole episodes in threads.
        rounds = range(1, max(map(len, scripts)))
        done = 0
        for at in rounds:
            if not budget.has(_TURNS):
                break
            for number in range(len(chosen)):
                turn(number, at)
            done = at
        _require_alone(walks, chosen, played, "in turns with")
        few = f"{len(envs)} of {subject.sessions} sessions" if len(envs) < subject.sessions else ""
        short = f"{done} of {len(rounds)} actions in turns" if done < len(rounds) else ""
        cut = ", ".join(filter(None, (few, short)))
        budget.judged = done > 0
        budget.looked_at = ", ".join(filter(None, (cut, "none in threads")))

        def episode(number: int) -> Walk:
            walk = [begin(envs[number], seed=subject.seeds[chosen[number]])]
            for action in scripts[number][1:]:
                if is_over(walk[-1]) or not budget.has(_THREADS):
                    break
                walk.append(act(envs[number], str(action)))
            return walk

        with ThreadPoolExecutor(len(chosen)) as pool:
            threaded = list(pool.map(episode, range(len(chosen))))
        _require_alone(walks, chosen, threaded, "in threads beside")
        unfinished = sum(len(walk) < len(walks[which]) for which, walk in zip(chosen, threaded, strict=True))
        late = f"{unfinished} cut off in threads" if unfinished else ""
        budget.looked_at = ", ".join(filter(None, (cut, late)))
    return {"sessions": len(chosen)}


def _require_alone(walks: Sequence[Walk], chosen: Sequence[int], played: Sequence[Walk], how: str) -> None:
    for which, walk in zip(chosen, played, strict=True):
        require_same(
            walks[which][: len(walk)],  # one that was cut off for want of time is compared as far as it goes
            walk,
            f"an episode played {how} {len(chosen) - 1} others, and alone",
            "Keep all state of an episode in the instance: nothing in the class, the module or a file",
        )


def check_global_random(subject: Subject) -> None:
    """Resets and steps leave the random streams of the process alone, Python's and NumPy's, which are the caller's."""
    with contextlib.closing(subject.build()) as env:
        for seed, walk in subject.budget.each(subject.recorded, "episodes"):
            before = _streams()
            replay(env, seed, actions_of(walk))
            touched = [name for name, state in _streams().items() if state != before[name]]
            if touched:
                raise failure(
                    f"expected {' and '.join(touched)} to go on as they were, got them drawn from or seeded by the "
                    f"episode of seed {seed}",
                    "Draw from self.np_random: environments, and whoever trains, share the streams of the process",
                )


def _streams() -> dict[str, str]:
    """The state of each stream of the process; a digest, since it has thousands of numbers."""
    states = {"random": random.getstate(), "numpy.random": np.random.get_state(legacy=False)}
    return {name: hashlib.sha256(_state_text(state).encode()).hexdigest() for name, state in states.items()}


def _state_text(state: Any) -> str:
    if isinstance(state, dict):
        return " ".join(f"{key} {_state_text(value)}" for key, value in state.items())
    return " ".join(map(str, state.tolist())) if isinstance(state, np.ndarray) else str(state)


def check_unknown_option(subject: Subject) -> dict[str, Any]:
    """A reset option that there is not is refused, since whoever misspells one would get another task in silence."""
    with contextlib.closing(subject.build()) as env:
        try:
            env.reset(seed=subject.seed, options={"no_such_option": 1})
        except Exception as error:
            if isinstance(error, ValueError | TypeError | KeyError):
                return {}
            raise failure(
                f"expected a ValueError from an unknown reset option, got {type(error).__name__}", "Raise a ValueError"
            ) from error
    raise failure("expected an unknown reset option to be refused, got an episode", "Raise a ValueError that names it")


def content_of(moment: Moment) -> str:
    """What a task is, whatever its id: the first observation, the instruction, and what the teacher knows of it."""
    privileged = moment.snapshot.get("privileged")
    known = [privileged.get(key) for key in ("facts", "plan")] if isinstance(privileged, dict) else []
    return "\n".join([str(moment.observation), str(moment.snapshot.get("instruction", "")), *strings_of(known)])


def check_splits(subject: Subject) -> dict[str, Any]:
    """Tasks of one split are not tasks of another by their content, whatever their ids; near-duplicates are counted."""
    contents: dict[str, dict[str, str]] = {split: {} for split in SPLITS}  # split -> hash of the content -> task id
    grams: dict[str, list[set[str]]] = {split: [] for split in SPLITS}
    with contextlib.closing(subject.build()) as env:
        tasks_of = getattr(env.unwrapped, "task_ids", None)
        if not callable(tasks_of):
            raise Skipped("the environment does not enumerate tasks (task_ids(split))")
        picked = {split: _some(tasks_of(split), subject.split_tasks, subject.seed) for split in SPLITS}
        # The splits in turn, so that there is something of each to compare where there is no time for all.
        turns = [
            (split, tasks[at])
            for at in range(max(map(len, picked.values()), default=0))
            for split, tasks in picked.items()
            if at < len(tasks)
        ]
        for split, task in subject.budget.each(turns, "tasks", judged=False):
            text = content_of(begin(env, task_id=task))
            contents[split][hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()] = task
            grams[split].append(_grams(text))
    near = shared = 0
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        both = contents[first].keys() & contents[second].keys()
        shared += len(both)
        if len(both) > _SHARED * min(len(contents[first]), len(contents[second])):
            some = min(both)
            raise failure(
                f"expected splits without a common task, got {len(both)} of {len(contents[first])} of {first} in "
                f"{second}: {contents[first][some]!r} is {contents[second][some]!r}",
                "Split by what a task is, and not by its id",
            )
        near += _near_duplicates(grams[first], grams[second])
    return {"tasks": sum(map(len, contents.values())), "shared": shared, "near-duplicates": near}


def _some(tasks: Sequence[str], most: int, seed: int) -> list[str]:
    """At most so many tasks, drawn without an order that the split might be made by."""
    if len(tasks) <= most:
        return list(tasks)
    places = counted_generator("split content", seed).choice(len(tasks), size=most, replace=False)
    return [tasks[int(place)] for place in sorted(places)]


def _grams(text: str) -> set[str]:
    words = text.casefold().split()
    return {" ".join(words[at : at + _GRAM]) for at in range(max(len(words) - _GRAM + 1, 1))}


def _near_duplicates(first: Iterable[set[str]], second: Sequence[set[str]]) -> int:
    """Tasks of the first split that share nine tenths of their runs of eight words with one of the second."""
    return sum(any(len(one & other) > _NEAR * len(one | other) for other in second) for one in first)
