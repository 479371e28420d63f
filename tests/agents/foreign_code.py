"""A model folder that wants code of its own to run."""

from __future__ import annotations

import json
from pathlib import Path


def bring_code(folder: Path, *, tokenizer: bool = False) -> Path:
    """Make a folder ask for code of its own, which leaves a mark when it runs; returns where the mark would be."""
    mark = folder / "ran"
    (folder / "foreign.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "from transformers import PretrainedConfig, PreTrainedModel\n"
        "class Config(PretrainedConfig):\n    model_type = 'foreign'\n"
        "class Model(PreTrainedModel):\n    config_class = Config\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "foreign",
        "architectures": ["Model"],
        "auto_map": {
            "AutoConfig": "foreign.Config",
            "AutoModelForCausalLM": "foreign.Model",
            "AutoModel": "foreign.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer:
        path = folder / "tokenizer_config.json"
        own = {"tokenizer_class": "Tokens", "auto_map": {"AutoTokenizer": ["foreign.Tokens", None]}}
        path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    return mark
