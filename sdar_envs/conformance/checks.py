"""The checks of the contract, one function each; `catalogue` names them, and those of other files, in their order."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import pickle
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.utils.env_checker import check_env

from ..core import INFO_KEYS, TextEnv
from ..hostile import hostile_actions
from ..privileged import PRIVILEGED_KEYS, SKILL_KEYS
from ..text_only import expected_text
from .budget import RECORDING_SHARE
from .execution import require_long_numbers, require_text_is_data
from .subject import Subject, failure, first_difference, require_same, strings_of
from .walks import LONGEST_WALK, NONSENSE, Moment, Skipped, act, actions_of, begin, is_over, legal_actions, replay

_GYMNASIUM_RESETS = 12  # of its checker, about


def check_plays(subject: Subject) -> dict[str, Any]:
    """Episodes of random actions can be played."""
    walks = subject.walks
    ended = sum(is_over(walk[-1]) or len(walk) > LONGEST_WALK for walk in walks)
    if min(ended, len(walks)) < subject.episodes:
        share = f"{RECORDING_SHARE:.0%} of"  # the others replay what is recorded here
        subject.budget.looked_at = (
            f"{len(walks)} of {subject.episodes} episodes, {ended} to the end, in {share} the time"
        )
    return {"episodes": len(walks), "steps": sum(len(walk) - 1 for walk in walks)}


def check_gymnasium(subject: Subject) -> None:
    """Gymnasium's own checker, with its warnings as errors but for those that are tolerated."""
    with (
        contextlib.closing(subject.build()) as env,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("error")
        for part in subject.tolerated:
            warnings.filterwarnings("ignore", message=f"(?s).*{re.escape(part)}")
        subject.budget.require_resets(_GYMNASIUM_RESETS, "Gymnasium's checker")
        env.unwrapped.action_space.seed(subject.seed)  # Gymnasium samples an action without seeding
        try:
            check_env(env.unwrapped, skip_render_check=env.unwrapped.spec is None)
        except Exception as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            remedy = "Mend what it names"
            with contextlib.closing(subject.build()) as other, contextlib.suppress(Exception):
                observation = other.reset(seed=subject.seed)[0]
                remedy = _alphabet_remedy(observation, other.observation_space) or remedy
            raise failure(f"gymnasium.utils.env_checker.check_env says: {said}", remedy) from error


def _alphabet_remedy(text: object, space: gym.Space[Any]) -> str:
    """What helps where Gymnasium's `Text` refuses a text for its alphabet; empty where that is not the reason."""
    if not isinstance(space, gym.spaces.Text) or not isinstance(text, str) or len(text) > space.max_length:
        return ""
    outside = sorted(set(text) - set(space.characters))
    if not outside:
        return ""
    return (
        f"gymnasium.spaces.Text has an alphabet (letters and digits, unless charset= says more), and {outside[0]!r} is "
        f"not in it: declare sdar_envs.spaces.FreeText({space.max_length}), which bounds the length alone, or pass "
        "charset="
    )


def check_text(subject: Subject) -> None:
    """Observations are encodable strings inside their space; reward, terminated and truncated have their types."""
    with contextlib.closing(subject.build()) as env:
        space = env.observation_space
    for moment in subject.moments():
        _require_text(moment, space)
        if not isinstance(moment.reward, int | float) or not math.isfinite(moment.reward):
            raise failure(f"expected a finite reward {moment.where()}, got {moment.reward!r}", "Return a Python float")
        for name in ("terminated", "truncated"):
            if not isinstance(getattr(moment, name), bool):
                raise failure(f"expected {name} to be a bool {moment.where()}", "Return Python's True or False")


def _require_text(moment: Moment, space: gym.Space[Any]) -> None:
    observation = moment.observation
    if not isinstance(observation, str):
        what, _, remedy = expected_text(type(observation).__name__).partition(": ")
        raise failure(f"{what} {moment.where()}", remedy[0].upper() + remedy[1:])
    if observation not in space:
        raise failure(
            f"expected an observation in {space} {moment.where()}, got {observation!r:.80}",
            _alphabet_remedy(observation, space) or "Return a str within the space's bounds",
        )
    for text in [observation, *strings_of(moment.snapshot)]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise failure(
                f"expected text that UTF-8 can encode {moment.where()}, got {text!r:.80}",
                "Never echo agent text before cleaning it (sdar_envs.core.clean_action)",
            ) from None


def check_info_json(subject: Subject) -> None:
    """`info` holds plain JSON values, and the contract's keys have the contract's types."""
    types = {"task_id": str, "task_type": str, "instruction": str, "is_action_valid": bool, "success": bool}
    for moment in subject.moments():
        _require_json(moment.snapshot, "info", moment)
        for key, kind in types.items():
            if key in moment.snapshot and not isinstance(moment.snapshot[key], kind):
                got = moment.snapshot[key]
                raise failure(
                    f"expected info[{key!r}] to be a {kind.__name__} {moment.where()}, got {got!r}", "Convert it"
                )
        score = moment.snapshot.get("score", 0.0)
        if not 0.0 <= score <= 1.0:
            raise failure(f"expected info['score'] in [0, 1] {moment.where()}, got {score}", "Scale the score")
        if moment.action is None and moment.snapshot.get("is_action_valid", True) is not True:
            raise failure("expected info['is_action_valid'] to be True at reset", "Set it there")


def _require_json(value: Any, path: str, moment: Moment) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if type(key) is not str or key.startswith("_") or key in ("final_obs", "final_info"):
                raise failure(
                    f"expected names in {path} that are str, without a leading underscore, and not final_obs or "
                    f"final_info, got {key!r} {moment.where()}",
                    "Rename the key: vector environments use these names",
                )
            _require_json(part, f"{path}[{key!r}]", moment)
    elif type(value) is list:
        for part in value:
            _require_json(part, f"{path}[...]", moment)
    elif value is not None and type(value) not in (str, bool, int, float):
        raise failure(
            f"expected plain JSON in {path} {moment.where()}, got {type(value).__name__}", "Convert it to JSON's types"
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise failure(f"expected a finite number in {path} {moment.where()}, got {value}", "JSON has no such number")


def check_info_keys(subject: Subject) -> None:
    """`info` and its privileged side have the same keys at every call."""
    first = subject.walks[0][0].snapshot
    with contextlib.closing(subject.build()) as env:
        missing = INFO_KEYS - first.keys() if isinstance(env.unwrapped, TextEnv) else ()
    if missing:
        raise failure(f"expected info to have {sorted(missing)} at reset", "Fill every public field of the contract")
    for moment in subject.moments():
        for name, expected, got in (
            ("info", first.keys(), moment.snapshot.keys()),
            ("info['privileged']", _privileged_of(first).keys(), _privileged_of(moment.snapshot).keys()),
        ):
            if expected != got:
                raise failure(
                    f"expected the same keys in {name} at every call, got a difference in {sorted(expected ^ got)} "
                    f"{moment.where()}",
                    "Return every key always, with an empty value where there is nothing",
                )
    privileged = _privileged_of(first)
    if privileged and privileged.keys() != PRIVILEGED_KEYS:
        raise failure(
            f"expected info['privileged'] to have the keys {sorted(PRIVILEGED_KEYS)}, got {sorted(privileged)}",
            "Fill the fields of sdar_envs.privileged.PrivilegedFields",
        )
    skills = privileged.get("skills")
    if privileged and (not isinstance(skills, dict) or skills.keys() != SKILL_KEYS):
        raise failure(
            f"expected info['privileged']['skills'] to have the keys {sorted(SKILL_KEYS)}, got {skills!r:.120}",
            "Return what SkillBank.retrieve returns, with empty values where there is nothing",
        )


def _privileged_of(info: dict[str, Any]) -> dict[str, Any]:
    privileged = info.get("privileged")
    return privileged if isinstance(privileged, dict) else {}


def check_info_fresh(subject: Subject) -> None:
    """No list or dict of `info` is shared between calls, and what was returned is not changed later."""
    owners: dict[int, Moment] = {}
    for moment in subject.moments():
        if moment.info != moment.snapshot:
            raise failure(f"expected the info returned {moment.where()} to stay as it was", "Build info afresh")
        for container in _containers(moment.info):
            before = owners.setdefault(id(container), moment)
            if before is not moment:
                raise failure(
                    f"expected info to be built afresh, got one {type(container).__name__} ({container!r:.80}) both "
                    f"{before.where()} and {moment.where()}",
                    "Copy what you put into info",
                )


def check_determinism(subject: Subject) -> None:
    """Whole episodes repeat on a second instance: observations, rewards, ends, and all of `info`."""
    with contextlib.closing(subject.build()) as env:
        for seed, walk in subject.budget.each(subject.recorded, "episodes"):
            again = replay(env, seed, actions_of(walk))
            require_same(
                walk,
                again,
                f"the episode of seed {seed}, played by two instances",
                "Draw only from self.np_random or counted generators, never iterate sets, keep clocks out of info",
                of=Moment.shown,
            )


def check_episode_isolation(subject: Subject) -> None:
    """An episode does not depend on the episodes before it, nor on one that was left half-way."""
    with contextlib.closing(subject.build()) as env:
        for seed, walk in subject.budget.each(subject.recorded[::-1], "episodes"):
            script = actions_of(walk)
            replay(env, seed, script[: len(script) // 2])
            again = replay(env, seed, script)
            require_same(
                walk,
                again,
                f"the episode of seed {seed}, played after other episodes in another order",
                "Set every field of the episode's state in reset",
            )


def check_task_replay(subject: Subject) -> None:
    """``options={"task_id": ...}`` replays the task that `info` named, for any seed."""
    if "task_id" not in subject.walks[0][0].snapshot:
        raise Skipped("info has no task_id")
    with contextlib.closing(subject.build()) as env:
        for walk in subject.budget.each(subject.walks, "tasks"):
            task_id = walk[0].snapshot["task_id"]
            again = begin(env, seed=subject.seed + 1_000_003, task_id=task_id)
            require_same(
                walk[:1],
                [again],
                f"the task {task_id!r}, chosen by reset options",
                'Make the episode a function of options["task_id"], whatever the seed',
            )


def check_horizon(subject: Subject) -> None:
    """An episode that only reaches its horizon is truncated and not terminated, exactly there."""
    with contextlib.closing(subject.build()) as env:
        horizon = getattr(env.unwrapped, "horizon", None) or (env.spec and env.spec.max_episode_steps)
        if not isinstance(horizon, int):
            raise Skipped("neither env.unwrapped.horizon nor a registered max_episode_steps")
        moment, steps = begin(env, seed=subject.seed), 0
        while not is_over(moment) and steps < min(horizon + 1, LONGEST_WALK):
            subject.budget.looked_at = f"{steps} of {horizon} steps"
            moment, steps = act(env, NONSENSE), steps + 1
        subject.budget.looked_at = ""
        if steps < horizon and moment.terminated:
            raise Skipped("text that is not understood ends the episode")
        if (moment.terminated, moment.truncated, steps) != (False, True, horizon):
            raise failure(
                f"expected truncated and not terminated after {horizon} steps, got terminated={moment.terminated}, "
                f"truncated={moment.truncated} after {steps}",
                "Terminate where the task ends, truncate at the horizon",
            )
        if isinstance(env.unwrapped, TextEnv):
            try:
                env.step(NONSENSE)
            except gym.error.ResetNeeded:
                return
            raise failure("expected ResetNeeded from a step after the end, got a transition", "Refuse such steps")


def check_hostile_actions(subject: Subject) -> None:
    """Hostile text is an ordinary step: no exception, bounded time, text that can be encoded, never obeyed or run."""
    require_text_is_data(subject)
    require_long_numbers(subject)
    with contextlib.closing(subject.build()) as env:
        space = env.observation_space
        seed = subject.seed
        moment = begin(env, seed=seed)
        script: list[str] = []
        texts = list(hostile_actions(subject.hostile_actions, seed=subject.seed, legal=legal_actions(moment)[:8]))
        for number, text in subject.budget.each(list(enumerate(texts)), "hostile texts"):
            legal = legal_actions(moment)
            action = legal[number % len(legal)] if legal and number % 10 == 9 else text
            script.append(action)
            began = time.perf_counter()
            try:
                moment = act(env, action)
            except Exception as error:
                raise failure(
                    f"expected an ordinary step from action {action!r:.80}, got {type(error).__name__}: {error!s:.200}",
                    "Clean agent text before using it (sdar_envs.core.clean_action); agent text never raises",
                ) from error
            elapsed = time.perf_counter() - began
            if elapsed > subject.step_seconds and _slow_again(subject, seed, script):
                raise failure(
                    f"expected a step within {subject.step_seconds} s, got {elapsed:.2f} s, and too long once more, "
                    f"from action {action!r:.80} of {len(action)} characters",
                    "Cut the length before any other work",
                )
            _require_text(moment, space)
            said = _first_line(action) if getattr(env.unwrapped, "reads_first_line", False) else action.strip()
            if legal and said not in legal and moment.snapshot.get("is_action_valid") is True:
                raise failure(
                    f"expected {action!r:.80} not to be obeyed, got is_action_valid", "Match whole actions only"
                )
            if is_over(moment):
                seed += 1
                moment, script = begin(env, seed=seed), []


def _first_line(action: str) -> str:
    return action.strip(" \t\r\n").partition("\n")[0].strip(" \t\r")


def _slow_again(subject: Subject, seed: int, script: list[str]) -> bool:
    """Whether the last action of `script` is slow on a fresh instance too, so that it was not the machine."""
    with contextlib.closing(subject.build()) as env:
        replay(env, seed, [None, *script[:-1]])
        began = time.perf_counter()
        env.step(script[-1])
        return time.perf_counter() - began > subject.step_seconds


def check_not_text(subject: Subject) -> None:
    """An action that is not a `str` is the caller's mistake: a TypeError."""
    with contextlib.closing(subject.build()) as env:
        for value in (None, 3, 1.5, b"look", ["look"]):
            env.reset(seed=subject.seed)
            try:
                env.step(value)
            except TypeError:
                continue
            except Exception as error:
                raise failure(
                    f"expected a TypeError from action {value!r}, got {error!r:.120}", "Check the type"
                ) from error
            raise failure(f"expected a TypeError from action {value!r}, got a transition", "Check the type in step")


def check_spaces(subject: Subject) -> None:
    """Spaces survive pickling and copying, repeat their samples, and are equal between instances."""
    with contextlib.closing(subject.build()) as env, contextlib.closing(subject.build()) as other:
        for name in ("observation_space", "action_space"):
            space = getattr(env, name)
            try:
                copies = [pickle.loads(pickle.dumps(space)), copy.deepcopy(space), getattr(other, name)]
            except Exception as error:
                raise failure(
                    f"expected {name} to be picklable, got {error!r:.200}", "Keep lambdas out of it"
                ) from error
            for twin in copies:
                if twin != space:
                    raise failure(f"expected equal copies of {name}, got {twin} for {space}", "Give the space __eq__")
                twin.seed(subject.seed)
                space.seed(subject.seed)
                if [space.sample() for _ in range(8)] != [twin.sample() for _ in range(8)]:
                    raise failure(f"expected {name} to repeat its samples", "Sample from self.np_random")


def check_vector(subject: Subject) -> None:
    """In a vector of environments every one plays as it does alone."""
    numbers = range(len(subject.walks))
    with contextlib.closing(gym.vector.SyncVectorEnv([subject.build] * 2)) as envs:
        pairs = list(zip(numbers, [*numbers[1:], 0], strict=True))
        for pair in subject.budget.each(pairs, "pairs of episodes"):
            walks = [subject.walks[number] for number in pair]
            observations, _ = envs.reset(seed=[subject.seeds[number] for number in pair])
            # Up to the first end: from there the vector resets by its own rules.
            for moments in zip(*walks, strict=False):
                if moments[0].action is not None:
                    observations, *_ = envs.step([moment.action for moment in moments])
                for moment, observation in zip(moments, observations, strict=True):
                    if observation != moment.observation:
                        raise failure(
                            f"expected the vector's observation {moment.where()} to be the single environment's, got "
                            f"{first_difference(moment.observation, observation)}",
                            "Keep all state in the instance",
                        )


def check_render(subject: Subject) -> None:
    """``ansi`` returns text without control characters, ``human`` prints and returns None."""
    with contextlib.closing(subject.build()) as env:
        modes = [mode for mode in ("ansi", "human") if mode in env.unwrapped.metadata.get("render_modes", [])]
    if not modes:
        raise Skipped("neither ansi nor human is among the render modes")
    for mode in modes:
        with contextlib.closing(subject.build(render_mode=mode)) as env:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                env.reset(seed=subject.seed)
                env.step(f"\x1b[31m{NONSENSE}")
                frame = env.render()
            text = frame if mode == "ansi" else printed.getvalue()
            if not isinstance(text, str) or not text or "\x1b[31m" in text or (mode == "human" and frame is not None):
                raise failure(
                    f"expected {mode!r} to show text without the agent's control characters, got {text!r:.120}",
                    "Return a str from ansi; print and return None from human; show cleaned actions only",
                )


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)
