"""Colours: of arms, of verdicts, of token shading; for light and dark, told apart by every common kind of eye.

The arms' colours follow M. Okabe and K. Ito's set (2008), darkened for white and lightened for dark paper until lines
and small text reach a contrast of 3 to 1. Number 0 is the reference, drawn in ink. Arms beyond the set repeat it with
another dash.
"""

from __future__ import annotations

LIGHT = ("#57606a", "#0b6bb8", "#d1530b", "#00845f", "#b3559a", "#9a6b00", "#3d8ea8", "#b0322f", "#5b54c7")
DARK = ("#a8b2bd", "#58a8ee", "#f48a4b", "#35c296", "#e08fc7", "#dcae3c", "#79c6df", "#f0807b", "#a29cf5")

DASHES = ("", "6 3", "2 3", "8 3 2 3")


def colour_index(colour: int) -> int:
    """The place in the palette: the reference keeps 0 for itself."""
    return colour if colour < len(LIGHT) else 1 + (colour - 1) % (len(LIGHT) - 1)


def dash_of(colour: int) -> str:
    """The dash of an arm's line, ``""`` for a full line: the arms of a second round differ by it."""
    return DASHES[0 if colour == 0 else (colour - 1) // (len(LIGHT) - 1) % len(DASHES)]
