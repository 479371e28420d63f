"""Records of official question files in both published layouts, written by hand, and a file of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROMPT = [
    {"role": "system", "content": "Question: not this one"},
    {"role": "user", "content": "Answer with tags.\nFor example, <answer> Beijing </answer>. Question: Who is it?\n"},
]

SEARCH_R1 = {
    "id": "test_0",
    "question": "who wrote it",
    "golden_answers": ["Ann", "A. Nother"],
    "data_source": "nq",
    "prompt": PROMPT,
    "ability": "fact-reasoning",
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Ann", "A. Nother"]}},
    "extra_info": {"split": "test", "index": 0},
}
SDAR = {
    "data_source": "searchR1_hotpotqa",
    "prompt": PROMPT,
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Ann"]}},
    "env_kwargs": {
        "ground_truth": {"target": ["Ann"]},
        "question": "who wrote it?",
        "data_source": "searchR1_hotpotqa",
    },
    "metadata": {"supporting_facts": {"title": ["One", "Two", "One"], "sent_id": [0, 1, 2]}},
    "extra_info": {"split": "train", "index": 7, "question": "other?", "need_tools_kwargs": True},
}


def as_jsonl(records: list[dict[str, Any]], path: Path) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n")
    return path
