"""Turns of an episode by the row that their tokens stand in."""

from __future__ import annotations

from collections.abc import Sequence

from agents.base import Turn


def rows_of(turns: Sequence[Turn]) -> list[list[Turn]]:
    """The turns row by row: a turn that does not continue the one before begins a new row."""
    rows: list[list[Turn]] = []
    for turn in turns:
        assert turn.action.tokens is not None
        if not turn.action.tokens.continues:
            rows.append([])
        rows[-1].append(turn)
    return rows
