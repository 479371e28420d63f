"""Searching and answering as tools."""

from __future__ import annotations

from ..tool_sets import ActionTool, ActionTools

TOOLS = ActionTools(
    [
        ActionTool("search", "Look something up.", "<search>{query}</search>", {"query": "What to look for."}),
        ActionTool("answer", "Answer the question.", "<answer>{answer}</answer>", {"answer": "The answer alone."}),
    ]
)
