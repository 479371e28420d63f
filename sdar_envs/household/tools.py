"""The household's verbs as tools."""

from __future__ import annotations

from ..tool_sets import ActionTool, ActionTools

_THING = "Name and number of a thing, such as apple 1."
_PLACE = "Name and number of a place, such as fridge 1."
_BOTH = {"object": _THING, "place": _PLACE}

TOOLS = ActionTools(
    [
        ActionTool("go_to", "Go to a place.", "go to {place}", {"place": _PLACE}),
        ActionTool("open", "Open a place that is closed.", "open {place}", {"place": _PLACE}),
        ActionTool("close", "Close a place that is open.", "close {place}", {"place": _PLACE}),
        ActionTool("take", "Take a thing from a place.", "take {object} from {place}", _BOTH),
        ActionTool("move", "Put the thing that is carried in or on a place.", "move {object} to {place}", _BOTH),
        ActionTool("heat", "Heat the thing that is carried.", "heat {object} with {place}", _BOTH),
        ActionTool("cool", "Cool the thing that is carried.", "cool {object} with {place}", _BOTH),
        ActionTool("clean", "Clean the thing that is carried.", "clean {object} with {place}", _BOTH),
        ActionTool("use", "Switch a lamp on or off.", "use {object}", {"object": _THING}),
        ActionTool("examine", "Look at a thing or a place.", "examine {object}", {"object": _THING}),
        ActionTool("look", "Look around.", "look"),
        ActionTool("inventory", "See what is carried.", "inventory"),
        ActionTool("help", "List the commands.", "help"),
    ]
)
