"""The folder tests/vllm is no vLLM, which TRL would take it for: pytest puts `tests` on the path."""

from __future__ import annotations

import importlib.util
import sys

_found = importlib.util.find_spec("vllm") if "vllm" not in sys.modules else None
if _found is not None and _found.origin is None:
    sys.modules["vllm"] = None  # type: ignore[assignment]  # as where it is not installed
