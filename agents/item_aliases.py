"""Small numbers in the place of ids that are no words, for tiny models.

A world may name things by ids such as ``b0u1245o7n``, which a model would have to copy letter by letter. Prompts of the
compact style show ``item 1``, ``item 2`` instead, in the order of the view's admissible actions, and an item in an
action is read as its id. The numbers hold for one view only; text without item numbers reaches the world unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdar_envs.bounded_cache import BoundedCache

# Eight letters and digits or more, at least one of each.
_ID = re.compile(r"(?<![a-z0-9])(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{8,}(?![a-z0-9])", re.IGNORECASE)
_ITEM = re.compile(r"(?<!\w)item ([1-9][0-9]{0,2})(?!\w)")


_NUMBERED: BoundedCache[tuple[str, ...], dict[str, str]] = BoundedCache(1 << 19)


def numbered_ids(actions: Sequence[str]) -> dict[str, str]:
    """Id, in lower case -> ``item N``, for the ids in the admissible actions, in their order. Not to be changed."""
    key = tuple(actions)
    kept = _NUMBERED.get(key)
    return _numbered(key) if kept is None else kept


def _numbered(actions: tuple[str, ...]) -> dict[str, str]:
    ids = dict.fromkeys(found.lower() for action in actions for found in _ID.findall(action))
    return _NUMBERED.put(actions, {name: f"item {number}" for number, name in enumerate(ids, start=1)})


def with_numbers(text: str, actions: Sequence[str]) -> str:
    """A text with the ids of the admissible actions as numbers."""
    names = numbered_ids(actions)
    return _ID.sub(lambda found: names.get(found[0].lower(), found[0]), text) if names else text


def with_ids(action: str, actions: Sequence[str]) -> str:
    """An action with the ids that its numbers stand for, where that makes it an admissible one."""
    if "item " not in action:
        return action
    ids = {name: given for given, name in numbered_ids(actions).items()}
    meant = _ITEM.sub(lambda found: ids.get(found[0], found[0]), action)
    return meant if meant in actions else action
