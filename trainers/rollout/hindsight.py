"""Texts for the teacher that are made of the iteration's own episodes: whose episode tells whose teacher what.

An episode's teacher may be told of its group alone: of another episode of the same task and seat that succeeded, and of
how its own attempt ended. A text is made when all episodes of an iteration have been played, from nothing but these
episodes, so that it does not depend on worker processes, their order, or a restart. An evaluation has no such texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.hindsight import HINDSIGHTS, WRITTEN, Hindsight, successful_actions, verdict
from sdar_envs.choices import require_choice
from sdar_envs.privileged import Privileged

from .collect import Rollout


def hindsight_of(rollouts: Sequence[Rollout], privilege: str) -> list[Privileged | None]:
    """What the teacher of each episode is told; None where there is nothing.

    ``sibling``: the actions of the first other episode of its group that succeeded. ``feedback``: the environment's
    verdict on the episode itself, if it did not succeed. ``hindsight``: the first, and where there is none the second,
    as SDPO has it (arXiv 2601.20802). ``reflection`` and ``group_reflection``: what the policy wrote, or what is told
    in its place (`reflecting`), which stands in the rollouts already.

    Args:
        rollouts: The episodes of an iteration, all of them.
        privilege: Of `agents.hindsight.HINDSIGHTS`.

    Raises:
        ValueError: `privilege` is not made of episodes.
    """
    require_choice("privilege", privilege, HINDSIGHTS, "hindsight_of")
    if privilege in WRITTEN:
        return [rollout.written.get(privilege) for rollout in rollouts]
    # Per task and seat, the episodes that have something to show, with what they show; in the order of the group.
    won: dict[tuple[int, str], list[tuple[int, list[str]]]] = {}
    for number, rollout in enumerate(rollouts):
        if actions := successful_actions(rollout.episode):
            won.setdefault(place_of(rollout), []).append((number, actions))

    def told(number: int, rollout: Rollout) -> Hindsight:
        if privilege != "feedback":
            others = [actions for own, actions in won.get(place_of(rollout), []) if own != number]
            if others or privilege == "sibling":
                return {"sibling": others[0]} if others else {}
        sentences = verdict(rollout.episode)
        return {"feedback": sentences} if sentences else {}

    found = [told(number, rollout) for number, rollout in enumerate(rollouts)]
    return [Privileged(each) if each else None for each in found]


def place_of(rollout: Rollout) -> tuple[int, str]:
    """The group of an episode and its seat: what episodes must share to tell each other's teachers anything."""
    return rollout.task.group, rollout.episode.role
