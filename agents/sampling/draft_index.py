"""Guesses of what a completion goes on with, from what was sampled before: forms repeat, such as tags and calls."""

from __future__ import annotations

from collections.abc import Sequence

_ORDER = 3  # tokens that a guess goes by
_MOST = 200_000  # contexts that are kept


class DraftIndex:
    """Per context of a few tokens, the token that followed it most lately, and how reliably.

    A guess costs computation where it is wrong and changes nothing that is sampled (`DecodeState.note_ahead` checks
    it), so that simple counts do.
    """

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], list[int]] = {}  # context -> [token, times right, times wrong]

    def learn(self, ids: Sequence[int], start: int) -> None:
        """Count what stands from `start` on, each token after its context.

        Args:
            ids: Prompt and completion.
            start: Where the completion begins.
        """
        if len(self._next) > _MOST:
            self._next.clear()
        for at in range(max(start, _ORDER), len(ids)):
            key, token = tuple(ids[at - _ORDER : at]), ids[at]
            known = self._next.get(key)
            if known is None:
                self._next[key] = [token, 1, 0]
            elif known[0] == token:
                known[1] += 1
            else:
                known[2] += 1
                if known[2] > known[1]:
                    self._next[key] = [token, 1, 0]

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """What `ids` may go on with, up to where guesses were wrong as often as right.

        Args:
            ids: Prompt and completion so far.
            most: Tokens at most.
        """
        context = list(ids[-_ORDER:])
        draft: list[int] = []
        while len(draft) < most:
            known = self._next.get(tuple(context))
            if known is None or known[1] <= 2 * known[2]:
                break
            draft.append(known[0])
            context = [*context[1:], known[0]]
        return draft
