"""Whether scores mean something: the oracle wins, chance does not, and the same play gets the same score."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from .budget import OutOfTime
from .subject import Subject, failure, first_difference
from .walks import LONGEST_WALK, Skipped, Walk, act, actions_of, begin, is_over, random_walk, replay

_PLAYS = 20  # episodes of the oracle and of the random player, at least
_Z = 1.96  # 95 %


def check_verifier_determinism(subject: Subject) -> dict[str, Any]:
    """The same actions get the same rewards and scores, on the same instance and on another."""
    with contextlib.closing(subject.build()) as one, contextlib.closing(subject.build()) as other:
        for seed, walk in subject.budget.each(subject.recorded, "episodes"):
            for env in (one, one, other):
                again = replay(env, seed, actions_of(walk))
                for number, (expected, got) in enumerate(zip(walk, again, strict=False)):
                    if expected.scored() != got.scored():
                        raise failure(
                            f"expected the same score for the same actions, episode of seed {seed}, call {number} "
                            f"({expected.where()}), got {first_difference(expected.scored(), got.scored())}",
                            "Score by a rule, or by a model at temperature 0 whose answers are kept",
                        )
    return {"episodes": len(subject.walks)}


def oracle_walk(subject: Subject, seed: int, *, task_id: str | None = None) -> Walk:
    """One episode of the oracle: the given one, or the head of the privileged plan.

    Args:
        subject: The environment, and its oracle.
        seed: Of the reset.
        task_id: The task; the one that the seed draws by default.

    Raises:
        Skipped: There is no oracle.
    """
    with contextlib.closing(subject.build()) as env:
        walk = [begin(env, seed=seed, task_id=task_id)]
        while not is_over(walk[-1]) and len(walk) <= LONGEST_WALK:
            moment = walk[-1]
            if subject.oracle is not None:
                action = subject.oracle(env.unwrapped, moment.observation, moment.info)
            else:
                privileged = moment.snapshot.get("privileged")
                if not isinstance(privileged, dict) or "next_action" not in privileged:
                    raise Skipped("no oracle was given (--oracle), and the privileged side has no plan")
                action = privileged["next_action"]
            walk.append(act(env, action))
    return walk


def won(walk: Walk) -> float:
    """What an episode came to: success where `info` says it, the return elsewhere."""
    last = walk[-1].snapshot.get("success")
    return float(last) if isinstance(last, bool) else float(sum(moment.reward for moment in walk))


def check_oracle(subject: Subject) -> dict[str, Any]:
    """The oracle wins every episode that it plays: with success, or with the best return that anybody got."""
    if subject.oracle is None:
        raise Skipped("no oracle was given (--oracle)")
    played = subject.budget.each(range(subject.episodes), "episodes", judged=False)
    walks = [oracle_walk(subject, subject.seed + number) for number in played]
    best = max([won(walk) for walk in [*walks, *subject.walks]])
    for number, walk in enumerate(walks):
        said = isinstance(walk[-1].snapshot.get("success"), bool)
        if won(walk) < (1.0 if said else best) or (not said and best <= 0.0):
            raise failure(
                f"expected the oracle to win the episode of seed {subject.seed + number}, got "
                f"{'success False' if said else f'a return of {won(walk):g}'} after {len(walk) - 1} actions"
                + ("" if said else f", where {max(best, 1.0):g} was expected"),
                "Mend the oracle, the verifier, or the horizon",
            )
    return {"episodes": len(walks), "mean": sum(map(won, walks)) / len(walks)}


def check_floor_gap(subject: Subject) -> dict[str, Any]:
    """A player of random actions does clearly worse than the oracle: by a margin, beyond chance."""
    plays = max(_PLAYS, subject.episodes)
    by_oracle = subject.budget.each(range(subject.episodes), "episodes of the oracle", judged=False)
    oracle = [won(oracle_walk(subject, subject.seed + number)) for number in by_oracle]
    with contextlib.closing(subject.build()) as env:
        by_chance = subject.budget.each(range(plays), "episodes of random actions", judged=False)
        floor = [won(random_walk(env, subject.seed + number, walk_seed=subject.seed + 1)) for number in by_chance]
    wanted, plays = plays, len(floor)
    top = sum(oracle) / len(oracle)
    share = sum(floor) / plays
    scale = max([1.0, *map(abs, oracle), *map(abs, floor)])
    high = wilson_high(min(max(share / scale, 0.0), 1.0), plays) * scale
    if high + subject.floor_margin > top:
        if plays < wanted:
            raise OutOfTime  # the interval is wide because so few were played, which is not the environment's fault
        raise failure(
            f"expected random actions to stay {subject.floor_margin:g} below the oracle's {top:.2f}, got {share:.2f} "
            f"(up to {high:.2f} by chance) over {plays} episodes",
            "Make reward depend on what the agent does; play more episodes where the interval is what is too wide",
        )
    return {"random": share, "at most": high, "oracle": top}


def wilson_high(share: float, count: int) -> float:
    """Upper end of Wilson's 95 % interval for a share of `count` tries (Wilson, 1927)."""
    z2 = _Z * _Z
    centre = share + z2 / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return (centre + spread) / (1 + z2 / count)
