"""Sending a model's folder to the Hugging Face Hub: on an explicit word, and never otherwise."""

from __future__ import annotations

import re
from pathlib import Path

# Files of a model, its tokenizer, its adapters and its card. Nothing else of a folder is sent.
SENT = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model", "README.md")
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def require_hub_name(name: str) -> str:
    """`name`, if it can be that of a model on the Hub.

    Raises:
        ValueError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected the name of a model on the Hub as OWNER/NAME, got {name!r}")
    return name


def push_folder(folder: Path, name: str, *, private: bool = True) -> str:
    """Create the repository where there is none, and send the folder. Returns the address of what was sent.

    Args:
        folder: Holds a model.
        name: ``OWNER/NAME``. Who one is comes from the Hub's own login (`hf auth login`, or ``$HF_TOKEN``).
        private: Of a new repository; one that exists keeps what it is.

    Raises:
        ValueError: The name cannot be one of the Hub.
        OSError: The Hub cannot be reached, does not know who asks, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(require_hub_name(name), private=private, exist_ok=True)
        sent = api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(SENT), commit_message="Model trained with sdar-gym"
        )
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise OSError(
            f"{name} could not be sent to the Hub: {error}. Log in with `hf auth login`, with a token that may write "
            "there; the folder is written all the same"
        ) from error
    return str(sent)
