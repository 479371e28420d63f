"""The words of the household's hints: true sentences, each more helpful than the one before.

Data and the one function that fills it in. The words are part of the world's version (`version.py`), since a teacher
reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Task type -> what has to be done, as a rule.
RULES: dict[str, str] = {
    "place": "Take one {target} and move it to a {destination}.",
    "two": "Move one {target} to a {destination}, then move another {target} to the same {destination}.",
    "light": "Take one {target}, go to the {destination} with it, and use the {destination}.",
    "clean": "Take one {target}, clean it with a sinkbasin, then move it to a {destination}.",
    "heat": "Take one {target}, heat it with a microwave, then move it to a {destination}.",
    "cool": "Take one {target}, cool it with a fridge, then move it to a {destination}.",
}

# About the present state.
SENTENCES: dict[str, str] = {
    "won": "Nothing is left to do.",
    "lost": "It can not be done any more.",
    "source": "The {thing} is in or on the {place}.",
    "held": "You are holding the {thing}.",
    "next": "The next action is: {action}",
}

# Between the receptacles of an object that is in several, as happens in official games alone.
BOTH = " and "


def hints(
    task_type: str, target: str, destination: str, *, plan: Sequence[str], facts: Mapping[str, Any], won: bool
) -> list[str]:
    """The rule of the task, where to fetch the thing, and what to do now.

    Args:
        task_type: One of the six.
        target: The type of the things to move.
        destination: The type of the receptacle to end in; for `light`, of the lamp.
        plan: The remaining commands; empty when the game is won or cannot be won any more.
        facts: ``privileged["facts"]`` of the same state.
        won: Whether the game is won.
    """
    sentences = [RULES[task_type].format(target=target, destination=destination)]
    if not plan:
        return [*sentences, SENTENCES["won" if won else "lost"]]
    fetched = next((words for words in (action.split(" from ") for action in plan) if len(words) == 2), None)
    places = dict(zip(facts["targets"], facts["target_receptacles"], strict=True))
    if fetched is not None:
        thing, place = fetched[0].removeprefix("take "), fetched[1]
        others = [other for other in places.get(thing, "").split(BOTH) if other and other != place]
        sentences.append(SENTENCES["source"].format(thing=thing, place=f"{BOTH}the ".join([place, *others])))
    elif facts["holding"]:
        thing = facts["holding"]
        if places.get(thing):
            thing += f", which is also in or on the {places[thing].replace(BOTH, f'{BOTH}the ')}"
        sentences.append(SENTENCES["held"].format(thing=thing))
    sentences.append(SENTENCES["next"].format(action=plan[0]))
    return sentences
