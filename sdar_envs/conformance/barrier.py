"""Checks of the information barrier: what the privileged side holds, and that none of it reaches the student."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from ..core import TextEnv
from .subject import Env, Subject, failure, promise, require_same, strings_of
from .walks import Moment, Skipped, act, actions_of, begin, is_over, replay


def check_privileged_off(subject: Subject) -> None:
    """With ``expose_privileged=False`` the privileged side is absent and all else is byte-identical."""
    subject.require_privileged()
    try:
        env = subject.build(expose_privileged=False)
    except TypeError as error:
        if "expose_privileged" not in str(error):
            raise
        raise promise(f"expected the keyword expose_privileged, got {error}", "Accept expose_privileged") from error
    with contextlib.closing(env):
        for seed, walk in subject.budget.each(subject.recorded, "episodes"):
            bare = replay(env, seed, actions_of(walk))
            for moment in bare:
                if "privileged" in moment.snapshot:
                    raise failure(
                        f"expected no info['privileged'] {moment.where()}", "Leave the key out when it is off"
                    )
            require_same(
                walk,
                bare,
                f"the episode of seed {seed}, with privileged information on and off",
                "Compute observations and public info without looking at expose_privileged",
                of=Moment.public,
            )


def check_canary(subject: Subject) -> None:
    """No privileged text is in observations, public info, or frames; `sdar_envs.conformance` names the limits."""
    subject.require_privileged()
    for walk in subject.walks:
        for moment in walk:
            _require_no_sentence(moment)
    canary = f"canary{subject.seed:06d}zq"
    with contextlib.closing(subject.build(render_mode="ansi") if _renders_text(subject) else subject.build()) as env:
        if not _plant(env.unwrapped, canary, subject.plant):
            raise Skipped(
                "no sentence of the privileged side was found, and nothing was planted (--plant): leaks in other words "
                "were not looked for"
            )
        planted = False
        for seed, walk in subject.budget.each(subject.recorded, "episodes", judged=False):
            for moment in replay(env, seed, actions_of(walk)):
                frame = env.render() if env.render_mode == "ansi" else ""
                planted = planted or canary in json.dumps(moment.snapshot.get("privileged"))
                for text in [str(frame), *_student_strings(moment)]:
                    if any(form in text.casefold() for form in _disguises(canary)):
                        raise failure(
                            f"privileged text reached the student {moment.where()}: a canary planted in the privileged "
                            f"side stands in {text[-120:]!r}",
                            "Keep privileged fields out of observations, public info and frames",
                        )
            subject.budget.judged = planted
        if not planted:
            raise failure(
                "expected the planted canary in info['privileged'], and it never came: this check would see no leak",
                "Plant it where the privileged side is made from",
            )


def _renders_text(subject: Subject) -> bool:
    with contextlib.closing(subject.build()) as env:
        return "ansi" in env.unwrapped.metadata.get("render_modes", [])


def _plant(env: Env, canary: str, plant: Callable[[Env, str], None] | None) -> bool:
    if plant is not None:
        plant(env, canary)
    if isinstance(env, TextEnv):
        inner = env._privileged
        env._privileged = lambda: _marked(inner(), canary)  # type: ignore[method-assign]
    return plant is not None or isinstance(env, TextEnv)


def _marked(value: Any, canary: str) -> Any:
    if isinstance(value, str):
        return f"{value} {canary}" if value else value
    if isinstance(value, dict):
        return {key: _marked(part, canary) for key, part in value.items()}
    return [_marked(part, canary) for part in value] if isinstance(value, list) else value


def _disguises(canary: str) -> set[str]:
    """Lower-case forms under which the canary is looked for: plain, reversed, hexadecimal, base64 at any alignment."""
    raw = canary.encode()
    # Each alignment's first and last characters also encode the neighbours, so they are left off.
    encoded = {base64.b64encode(b"\0" * shift + raw)[4:-4].decode().casefold() for shift in range(3)}
    return {canary, canary[::-1], raw.hex(), *encoded}


def _student_strings(moment: Moment) -> list[str]:
    public = {key: value for key, value in moment.snapshot.items() if key != "privileged"}
    return [moment.observation, *strings_of(public)]


def _require_no_sentence(moment: Moment) -> None:
    privileged = moment.snapshot.get("privileged")
    if not isinstance(privileged, dict):  # not at every call: `info_keys` says so
        return
    # Whatever shape hints and skills have, where they are not the contract's; a skill's prose is a line a sentence.
    texts = [text for key in ("hints", "skills") for text in _sayings(privileged.get(key))]
    sentences = [line for text in texts for line in text.splitlines()]
    plan = privileged.get("plan")
    if isinstance(plan, list) and len(plan) >= 3 and all(isinstance(action, str) for action in plan):
        sentences += [joint.join(plan) for joint in (", ", "; ", "\n", " ", " then ", " -> ")] + [json.dumps(plan)]
    actions = set(moment.snapshot.get("admissible_actions", []))
    # The separator keeps a sentence from being found across two texts.
    shown = "\x1f".join(_student_strings(moment)).casefold()
    for sentence in sentences:
        wanted = sentence.strip().rstrip(".").casefold()
        # Shorter ones, and names of actions, the world may well say of its own accord.
        if len(wanted.split()) < 4 or sentence.strip() in actions:
            continue
        if wanted in shown:
            raise failure(
                f"privileged text reached the student {moment.where()}: {sentence!r:.100} stands in the observation or "
                "the public info",
                "Keep skills, hints and plans out of observations and public info",
            )


def _sayings(value: Any) -> list[str]:
    """The texts of hints or of skills that could be said; the ids of skill statements are names and no sentences."""
    said = {key: part for key, part in value.items() if key != "claim_ids"} if isinstance(value, dict) else value
    return list(strings_of(said))


def check_plan(subject: Subject) -> None:
    """Following ``privileged["next_action"]`` from any reset ends in success, and the plan's head is that action."""
    subject.require_privileged()
    if "plan" not in subject.walks[0][0].snapshot["privileged"]:
        raise Skipped("the privileged side has no plan")
    broken = None  # a promise, of which it is only told when the plans have all been played
    with contextlib.closing(subject.build()) as env:
        for seed in subject.budget.each(subject.seeds, "episodes", judged=False):
            moment = begin(env, seed=seed)
            while not is_over(moment):
                privileged = moment.snapshot["privileged"]
                plan = privileged.get("plan")
                head = privileged.get("next_action")
                if "next_action" not in privileged and plan:
                    head = plan[0]
                    broken = promise("expected next_action, the head of the plan, and there is none", "Fill it")
                if not plan or head != plan[0]:
                    raise failure(
                        f"expected next_action to be the head of a plan in the unfinished episode of seed {seed} "
                        f"{moment.where()}, got {head!r} and {plan!r:.80}",
                        "Fill plan with the remaining actions from the present state",
                    )
                moment = act(env, head)
            if moment.snapshot.get("success", True) is not True:  # without it `oracle` judges by the return
                raise failure(
                    f"expected the plan to solve the episode of seed {seed}, and it ended without success "
                    f"{moment.where()}",
                    "Mend the planner, or the horizon",
                )
            left = moment.snapshot.get("privileged", {})
            if left.get("plan") or left.get("next_action"):
                broken = promise(
                    f"expected an empty plan after success, got {left.get('plan')!r:.80}", "Empty it when won"
                )
    if broken is not None:
        raise broken
