"""The one place that finds `assets/`: beside the packages in a checkout, inside `sdar_envs` in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def assets_root() -> Path:
    """The folder with skill banks, prompt templates, grammars and presets.

    Raises:
        FileNotFoundError: Neither place exists: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_assets", package.parent / "assets"):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"the assets were expected at {package / '_assets'} (wheel) or {package.parent / 'assets'} (checkout) "
        "and are at neither: reinstall sdar-gym, or sdar-envs"
    )


def asset_path(*parts: str) -> Path:
    """The path of one asset, e.g. ``asset_path("household", "domain.pddl")``.

    Raises:
        FileNotFoundError: There is no such asset.
    """
    path = assets_root().joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"no asset {'/'.join(parts)} under {assets_root()}: reinstall sdar-gym, or sdar-envs")
    return path


def asset_text(*parts: str) -> str:
    """The text of one asset, UTF-8."""
    return asset_path(*parts).read_text(encoding="utf-8")
