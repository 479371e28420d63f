"""The store's two actions as tools."""

from __future__ import annotations

from ..tool_sets import ActionTool, ActionTools

TOOLS = ActionTools(
    [
        ActionTool("search", "Search the store.", "search[{query}]", {"query": "A few words."}),
        ActionTool(
            "click",
            "Click a button, an option or a product's id on the page.",
            "click[{name}]",
            {"name": "What is clicked, as it stands on the page."},
        ),
    ]
)
