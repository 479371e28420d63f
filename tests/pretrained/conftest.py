"""SmolLM2 with its real weights, for tests in places where a tiny random model proves too little.

Everything here is marked ``pretrained`` (`tox -e pretrained`). The model comes from the cache, or from the package
index by `sdar models get smollm2`; the warm one from the cache alone, since it takes long to make. Where one cannot be
had, its tests are skipped, and say why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdar_envs.cache import cache_folder
from sdar_envs.packaged_models import SMOLLM2


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2."""
    from trainers.warm_start.packaged_weights import PackagedModelError, get_packaged_model

    try:
        return get_packaged_model(SMOLLM2, lambda line: None)
    except PackagedModelError as error:
        pytest.skip(f"SmolLM2 is not here and cannot be had: {error}")


@pytest.fixture(scope="session")
def tokenizer(smollm2: Path) -> Any:
    from sdar_envs.model_files import load_tokenizer

    return load_tokenizer(smollm2)


@pytest.fixture(scope="session")
def model(smollm2: Path) -> Any:
    """SmolLM2 in float32, for tests that change no parameter."""
    from trainers.engine.single import load_model

    return load_model(str(smollm2))[0].float().eval()


@pytest.fixture(scope="session")
def warm_smollm2(smollm2: Path) -> Path:
    """The folder of the newest warm SmolLM2 of the small house in the cache."""
    found = []
    for record in (cache_folder() / "warm-start").glob("*/warm_start.json"):
        facts = json.loads(record.read_text(encoding="utf-8"))
        if (facts.get("family"), facts.get("env_id")) == ("smollm2", "sdar/Household-v0"):
            found.append((record.stat().st_mtime, record.parent))
    if not found:
        pytest.skip(
            "no warm SmolLM2 in the cache: `sdar train --env sdar/Household-v0 --model smollm2 --warm-start "
            "demonstrations --max-steps 0` makes one"
        )
    return max(found)[1]
