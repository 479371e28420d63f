"""How an encoder wants its texts: prefixes, pooling and length of vectors, and where each of these was read.

What is named explicitly counts first, then sentence-transformers' own files in the model's folder (``modules.json``,
``config_sentence_transformers.json``, ``1_Pooling/config.json``), then the family that the model's name speaks of: e5,
bge and dpr, as Search-R1's retriever knows them. A folder of the Hub's cache has its model's name in a parent, which is
read; the published E5 models say their prefixes nowhere but in their name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..choices import require_choice

POOLINGS = ("mean", "cls", "pooler")
FILES = ("modules.json", "config_sentence_transformers.json", "config.json")

_BGE_QUERY = "Represent this sentence for searching relevant passages: "
# Family -> pooling, prefix of queries, prefix of passages, whether vectors have length one.
_FAMILIES: dict[str, tuple[str, str, str, bool]] = {
    "e5": ("mean", "query: ", "passage: ", True),
    "bge": ("cls", _BGE_QUERY, "", True),
    "dpr": ("pooler", "", "", False),
}
_HUB_FOLDER = re.compile(r"models--(?:.+--)?(?P<name>.+)")
_READ_LAYERS = ("Transformer", "Pooling", "Normalize", "Dropout")
_QUERY_PROMPTS = ("query", "search_query")
_PASSAGE_PROMPTS = ("passage", "document", "corpus", "search_document")

ReadJson = Callable[[str], Any]


class EncoderSettingsError(ValueError):
    """An encoder that asks for something that is not done here; the message says what and where it is asked."""


@dataclass(frozen=True)
class EncoderOptions:
    """What a user says about an encoder; None leaves it to the model.

    Attributes:
        pooling: One of `POOLINGS`.
        query_prefix: In front of queries.
        passage_prefix: In front of passages.
        unit: Whether vectors are normalised to length one.
    """

    pooling: str | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    unit: bool | None = None


@dataclass(frozen=True)
class EncoderSettings:
    """What was chosen. `sources` says for each of the four where it was read."""

    pooling: str
    query_prefix: str
    passage_prefix: str
    unit: bool
    sources: Mapping[str, str]

    def __str__(self) -> str:
        prefix = {"query": self.query_prefix, "passage": self.passage_prefix}
        said = [f"{self.pooling} pooling ({self.sources['pooling']})"]
        said += [f"{kind} prefix {text!r} ({self.sources[f'{kind}_prefix']})" for kind, text in prefix.items()]
        return ", ".join([*said, f"{'unit' if self.unit else 'unscaled'} vectors ({self.sources['unit']})"])

    @property
    def is_guess(self) -> bool:
        """Whether nothing at all was known about this model."""
        return set(self.sources.values()) == {_DEFAULT}


_DEFAULT = "default"


def choose_settings(name: str, options: EncoderOptions, read_json: ReadJson) -> EncoderSettings:
    """The settings of a model.

    Args:
        name: As it was named, a folder or a model of the Hub.
        options: What the user says.
        read_json: Reads a file of the model's folder; None where there is no such file.

    Raises:
        ValueError: Unknown pooling.
        EncoderSettingsError: The model's own files ask for a layer or a pooling that is not done here.
    """
    if options.pooling is not None:
        require_choice("pooling", options.pooling, POOLINGS, "TransformerEncoder")
    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}

    def take(values: Mapping[str, Any], source: str) -> None:
        for key, value in values.items():
            if value is not None and key not in chosen:
                chosen[key], sources[key] = value, source

    take(vars(options), "as asked")
    own = _sentence_transformers(name, read_json, pooling_is_given=options.pooling is not None)
    for source, values in own.items():
        take(values, source)
    family, source = _family(name, read_json)
    if family:
        pooling, query, passage, unit = _FAMILIES[family]
        take({"pooling": pooling, "query_prefix": query, "passage_prefix": passage, "unit": unit}, source)
    take({"pooling": "mean", "query_prefix": "", "passage_prefix": "", "unit": True}, _DEFAULT)
    return EncoderSettings(**chosen, sources=sources)


def _sentence_transformers(name: str, read_json: ReadJson, *, pooling_is_given: bool) -> dict[str, dict[str, Any]]:
    """File -> what it says."""
    found: dict[str, dict[str, Any]] = {}
    modules = read_json("modules.json")
    layers = [layer for layer in modules if isinstance(layer, dict)] if isinstance(modules, list) else []
    kinds = [str(layer.get("type", "")).rpartition(".")[2] for layer in layers]
    others = [kind for kind in kinds if kind not in _READ_LAYERS]
    if others:
        raise EncoderSettingsError(
            f"{name}: modules.json has the layer {others[0]}, and only {', '.join(_READ_LAYERS)} are read here: its "
            "vectors would not be the model's"
        )
    settings = _object(read_json("config_sentence_transformers.json"))
    dot = settings.get("similarity_fn_name") in ("dot", "dot_product")
    if kinds:
        found["modules.json"] = {"unit": True if "Normalize" in kinds else False if dot else None}
    for layer, kind in zip(layers, kinds, strict=True):
        file = f"{layer.get('path') or '1_Pooling'}/config.json"
        pooling = _object(read_json(file)) if kind == "Pooling" else {}
        if pooling and not pooling_is_given:
            found[file] = {"pooling": _pooling_of(pooling, f"{name}: {file}")}
    prompts = _object(settings.get("prompts"))
    found["config_sentence_transformers.json"] = {
        "query_prefix": _prompt(prompts, _QUERY_PROMPTS),
        "passage_prefix": _prompt(prompts, _PASSAGE_PROMPTS),
    }
    return found


def _pooling_of(config: Mapping[str, Any], where: str) -> str | None:
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(config.get("pooling_mode"), str):
        modes = [config["pooling_mode"]]
        names = {"cls": "cls", "mean": "mean"}
    if not modes:
        return None
    if len(modes) > 1 or modes[0] not in names:
        raise EncoderSettingsError(
            f"{where} asks for {' and '.join(modes)}: expected one of {', '.join(names)}, or pooling= of {POOLINGS}"
        )
    return names[modes[0]]


def _prompt(prompts: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first prompt of these names that says something: newer versions write empty ones for every model."""
    return next((prompts[name] for name in names if isinstance(prompts.get(name), str) and prompts[name]), None)


def _family(name: str, read_json: ReadJson) -> tuple[str, str]:
    """The family that a model's name speaks of, and the name; "" for none."""
    path = Path(name)
    names = [*_hub_names(path), path.name, *(_hub_names(path.resolve()) if path.exists() else ())]
    own = _object(read_json("config.json")).get("_name_or_path")
    names += [Path(own).name] if isinstance(own, str) else []
    names += [path.resolve().parent.name] if path.is_dir() else []
    for candidate in names:
        for family in _FAMILIES:
            if re.search(rf"(?<![a-z0-9]){family}(?![a-z0-9])", candidate.lower()):
                return family, f"by the name {candidate}"
    return "", ""


def _hub_names(path: Path) -> list[str]:
    """The model's name in a folder of the Hub's cache: models--owner--name/snapshots/revision."""
    matches = (_HUB_FOLDER.fullmatch(part) for part in reversed(path.parts))
    return [match["name"] for match in matches if match]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
