"""Colours: of arms, of verdicts, of token shading; for light and dark, told apart by every common kind of eye.

Number 0 is the reference, drawn in ink. The others were searched for: within hues that have names, the lightness and
chroma that keep the smallest distance between any two as large as can be, as seen by eyes with all three receptors, or
without those for red or green, at a contrast of 3 to 1 to the paper. The first six are furthest apart. Arms beyond the
set repeat it with another dash.
"""

from __future__ import annotations

LIGHT = ("#30363d", "#186bec", "#ce710c", "#33a182", "#9d068b", "#755914", "#1997cf", "#aa4964", "#4f4ab9")
DARK = ("#e3e7ec", "#4c7df7", "#c15d11", "#76be86", "#b55499", "#fed835", "#3bb9ed", "#bd7675", "#c7cdff")

DASHES = ("", "6 3", "2 3", "8 3 2 3")


def colour_index(colour: int) -> int:
    """The place in the palette: the reference keeps 0 for itself."""
    return colour if colour < len(LIGHT) else 1 + (colour - 1) % (len(LIGHT) - 1)


def dash_of(colour: int) -> str:
    """The dash of an arm's line, ``""`` for a full line: the arms of a second round differ by it."""
    return DASHES[0 if colour == 0 else (colour - 1) // (len(LIGHT) - 1) % len(DASHES)]
