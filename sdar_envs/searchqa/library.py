"""Generated worlds with their indexes, made once and kept: in the cache folder under a fingerprint, and in memory.

A folder holds the corpus in Search-R1's form (``passages.jsonl``), the world as data, the encoder and the index. It
is made beside its place under a lock and renamed, so that another process finds it whole or not at all; one that cannot
be read is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..cache import cache_folder
from ..files import replaced_folder
from .corpus import MemoryCorpus, Passage, write_jsonl
from .encoder import HashedEncoder
from .generator import draw_world, with_queries
from .index import VectorIndex
from .lock import locked
from .retriever import CachedRetriever, Encoder, LocalRetriever
from .world import World

logger = logging.getLogger(__name__)

FORMAT = 1
# What makes a world or an index of it.
_SOURCES = (
    *("answers", "encoder", "generator", "history", "names", "passages"),
    *("questions", "regularities", "tables", "tasks", "world"),
)
_KEPT = 64  # worlds in memory: the warm start plays in 48


@dataclass(frozen=True)
class Library:
    """A world and what searches it. All environments of a process share one."""

    world: World
    retriever: CachedRetriever
    folder: Path


@cache
def generator_version() -> str:
    """Twelve hexadecimal digits that change with anything that makes a world or an index of it."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for name in _SOURCES:
        digest.update(name.encode() + b"\0" + (here / f"{name}.py").read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]


_open: OrderedDict[tuple[Any, ...], Library] = OrderedDict()


def open_library(
    size: str, split: str, world_seed: int, regularity: float, *, encoder: Encoder | None = None, room: int = 65_536
) -> Library:
    """The library of a world, from memory, from the cache folder, or made now.

    Args:
        size: ``full`` or ``small``.
        split: Whose names.
        world_seed: Which regularities the world has.
        regularity: How often they hold.
        encoder: What encodes; None fits the default one to the world.
        room: Queries whose answers are remembered.

    Raises:
        ImportError: FAISS is not installed.
    """
    stamp = "hashed" if encoder is None else encoder.name
    # A process that was forked shares no index with its parent.
    key = (os.getpid(), size, split, world_seed, float(regularity), stamp, room)
    if key not in _open:
        _open[key] = _made(size, split, world_seed, float(regularity), encoder, stamp, room)
        if len(_open) > _KEPT:
            _open.popitem(last=False)
    _open.move_to_end(key)
    return _open[key]


def _made(
    size: str, split: str, world_seed: int, regularity: float, encoder: Encoder | None, stamp: str, room: int
) -> Library:
    parts = [FORMAT, generator_version(), size, split, world_seed, regularity, stamp]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    folder = cache_folder() / "searchqa" / "worlds" / name
    found = _load(folder, encoder, room)
    if found is not None:
        return found
    try:
        with locked(folder.with_name(f"{name}.lock")):
            found = _load(folder, encoder, room)  # another process may have made it meanwhile
            if found is None:
                world, retriever = _build(size, split, world_seed, regularity, encoder)
                _save(folder, world, retriever)
                # From its file, as every later process has it: such a retriever can be sent to workers.
                found = _load(folder, encoder, room) or Library(world, CachedRetriever(retriever, room), folder)
            return found
    except OSError as error:  # no room, or no folder that may be written to
        logger.warning(
            "the generated world cannot be kept in %s (%s) and is made anew", folder, error.strerror or error
        )
        world, retriever = _build(size, split, world_seed, regularity, encoder)
        return Library(world, CachedRetriever(retriever, room), folder)


def _build(
    size: str, split: str, world_seed: int, regularity: float, encoder: Encoder | None
) -> tuple[World, LocalRetriever]:
    world = draw_world(size, split, world_seed, regularity)
    texts = [passage.contents for passage in world.passages]
    chosen: Encoder = HashedEncoder.fit(texts) if encoder is None else encoder
    index = VectorIndex.build(chosen.encode_passages(texts))
    retriever = LocalRetriever(chosen, index, MemoryCorpus(world.passages))
    return with_queries(world, retriever), retriever


def _save(folder: Path, world: World, retriever: LocalRetriever) -> None:
    # A folder that is there already could not be read.
    with replaced_folder(folder, keep_existing=False) as partial:
        write_jsonl(partial / "passages.jsonl", world.passages)
        if isinstance(retriever.encoder, HashedEncoder):
            retriever.encoder.save(partial / "encoder.json")
        retriever.index.save(partial / "index.faiss")
        (partial / "world.json").write_text(json.dumps(world.to_json(), ensure_ascii=False), encoding="utf-8")


def _load(folder: Path, encoder: Encoder | None, room: int) -> Library | None:
    if not folder.is_dir():
        return None
    try:
        lines = (folder / "passages.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        passages = [Passage(int(record["id"]), record["contents"]) for record in records]
        world = World.from_json(json.loads((folder / "world.json").read_text(encoding="utf-8")), passages)
        chosen: Encoder = HashedEncoder.load(folder / "encoder.json") if encoder is None else encoder
        index = VectorIndex.open(folder / "index.faiss")
        retriever = LocalRetriever(chosen, index, MemoryCorpus(passages), where=str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: a kept world cannot be read and is made anew: %s", folder, error)
        return None
    return Library(world, CachedRetriever(retriever, room), folder)
