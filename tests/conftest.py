"""Fixtures for all tests. This file imports no torch: the environments' tests run where it is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test is timed: a busy machine must not fail one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Directories of tiny random models with tokenizers, by kind (``qwen2``, ``qwen3``), made once per session."""
    from tiny_models import save_tiny

    made: dict[tuple[object, ...], Path] = {}

    def path(kind: str = "qwen3", template: str | None = None, *, pad: str = "<|endoftext|>") -> Path:
        key = (kind, template, pad)
        if key not in made:
            made[key] = save_tiny(tmp_path_factory.mktemp(f"tiny-{kind}"), kind, template, pad=pad)
        return made[key]

    return path


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty folder for what is kept between runs, so that no test reads another's or the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
