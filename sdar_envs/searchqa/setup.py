"""From an environment's options to where its questions come from and who searches for it.

Three ways: a generated world searched here (nothing to download), official records with a corpus and an index on disk,
and a server's address with either kind of questions. What was opened is shared by all environments of a process; a
process that was forked opens its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .. import SEARCHQA
from ..choices import unknown_choice
from ..core import SPLITS, resolve_split
from .client import ClientLimits
from .corpus import JsonlCorpus, MemoryCorpus, fingerprint_of
from .encoder import HashedEncoder
from .encoder_settings import EncoderOptions
from .index import IndexFileError, VectorIndex
from .lexical import LexicalIndex, LexicalRetriever, is_lexical
from .library import Library, open_library
from .retriever import CachedRetriever, Encoder, LocalRetriever, Retriever
from .sources import GeneratedTasks, TaskSource

T = TypeVar("T")

_WHERE = SEARCHQA.env_id
# Passages that are indexed on the fly where a corpus comes without an index.
_MOST_UNINDEXED = 200_000

# What an encoder's name can be besides a model's: `AUTO` is `HASHED` for a generated world and for an index of vectors,
# `LEXICAL` for a corpus without an index and for a lexical index.
AUTO, HASHED, LEXICAL = "auto", "hashed", "lexical"

RetrieverOption = str | Sequence[str] | Mapping[str, Any] | Retriever | None

_shared: dict[tuple[Any, ...], Any] = {}


@dataclass(frozen=True)
class SearchOptions:
    """How is searched, whatever is searched for.

    Attributes:
        threads: Of searches in this process.
        room: Queries whose answers are remembered.
        nprobe: Lists that a search in an IVF file reads; None for the default.
        encoder: What a user says about a transformers encoder.
        limits: Of a client of a server.
    """

    threads: int = 1
    room: int = 65_536
    nprobe: int | None = None
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    limits: ClientLimits = field(default_factory=ClientLimits)


@dataclass(frozen=True)
class Setup:
    """Where questions come from, who searches in the episodes of a split, and the seed of skill retrieval.

    `version` changes with questions that are not generated.
    """

    tasks: TaskSource
    retriever: Callable[[str], Retriever]
    seed: int
    version: str = ""


def make_setup(
    *,
    split: str,
    task_type: str | None,
    size: str,
    regularity: float,
    world_seed: int,
    stale: float,
    stale_seed: int,
    dataset: str | Mapping[str, str] | None,
    corpus: str | None,
    index: str | None,
    encoder: str,
    retriever: RetrieverOption,
    topk: int,
    searches: int,
    search: SearchOptions,
    dataset_splits: str = "named",
) -> Setup:
    """See `env.SearchQAEnv` for the options.

    Raises:
        ValueError: Options that do not go together, or files that do not.
    """
    if retriever is not None and (corpus is not None or index is not None):
        raise ValueError(f"{_WHERE} expects either retriever= or corpus= and index=, got both")
    if index is not None and corpus is None:
        raise ValueError(f"{_WHERE} expects corpus= beside index=: rows of an index stand for lines of a corpus")
    chosen: Callable[[str], Retriever] | None = None
    if retriever is not None:
        chosen = _given(retriever, search)
    elif corpus is not None:
        opened = open_local(corpus, index, encoder, search)
        chosen = lambda split: opened  # noqa: E731
    if dataset is not None:
        if chosen is None:
            raise ValueError(
                f"{_WHERE} expects corpus= and index=, or retriever=, beside dataset=: there is nothing to search"
            )
        from .official import OfficialTasks

        official = OfficialTasks(dataset, split=split, task_type=task_type, splits=dataset_splits)
        return Setup(official, chosen, 0, official.fingerprint)
    if corpus is not None:
        raise ValueError(
            f"{_WHERE} expects dataset= beside corpus=: generated questions are about a world of their own"
        )

    def library(split: str) -> Library:
        if encoder == LEXICAL:
            raise ValueError(f"{_WHERE} expects encoder='lexical' with corpus=: generated worlds are made for vectors")
        own = None if encoder in (AUTO, HASHED) else open_encoder(encoder, options=search.encoder)
        return open_library(size, split, world_seed, regularity, encoder=own, room=search.room)

    tasks = GeneratedTasks(
        library,
        size=size,
        world_seed=world_seed,
        task_type=task_type,
        topk=topk,
        searches=searches,
        stale=stale,
        stale_seed=stale_seed,
    )
    if chosen is None:
        return Setup(tasks, lambda split: library(split).retriever, world_seed)
    given = chosen
    checked: set[str] = set()

    def of_the_world(split: str) -> Retriever:
        found = given(split)
        if split not in checked and _serves(found, library(split)):
            checked.add(split)
        return found

    return Setup(tasks, of_the_world, world_seed)


def open_encoder(name: str, index: Path | None = None, options: EncoderOptions | None = None) -> Encoder:
    """The encoder of a name: ``hashed`` (saved beside `index`), a saved hashed encoder, or a transformers encoder.

    Raises:
        ValueError: There is no saved encoder where one is expected.
        OSError: There is no such model.
    """
    if name in (AUTO, HASHED) and index is not None:
        saved = saved_encoder(index)
        if not saved.is_file():
            raise ValueError(
                f"{_WHERE} expects the hashed encoder of {index} at {saved}, and it is not there: `sdar index build` "
                "writes both; for an index made elsewhere name its encoder, e.g. encoder='intfloat/e5-base-v2'"
            )
        return HashedEncoder.load(saved)
    if name.endswith(".json"):
        return HashedEncoder.load(Path(name))
    if name in (AUTO, HASHED, LEXICAL):
        raise unknown_choice("encoder of vectors", name, ("a model's name", "a saved hashed encoder (.json)"), _WHERE)
    from .transformer_encoder import TransformerEncoder  # the one file of this package that needs torch

    asked = options or EncoderOptions()
    return _once(
        ("encoder", name, asked),
        lambda: TransformerEncoder(
            name,
            pooling=asked.pooling,
            query_prefix=asked.query_prefix,
            passage_prefix=asked.passage_prefix,
            unit=asked.unit,
        ),
    )


def saved_encoder(index: Path) -> Path:
    """Where the hashed encoder of an index is kept."""
    return index.with_name(index.name + ".encoder.json")


def open_local(
    corpus: str, index: str | None, encoder: str = AUTO, options: SearchOptions | None = None
) -> CachedRetriever:
    """A corpus file with its index, opened once per process.

    Args:
        corpus: The JSONL file.
        index: The index file, of words or of vectors; None indexes a small corpus on the fly.
        encoder: ``auto``, ``lexical`` (no vectors at all), or see `open_encoder`.
        options: How is searched.

    Raises:
        CorpusError, IndexFileError, ValueError: A file is damaged, or they do not belong together.
    """
    asked = options or SearchOptions()

    def opened() -> CachedRetriever:
        passages = JsonlCorpus(corpus)
        where = f"{corpus} and {index or 'its index'}"
        inner = (
            _indexed(passages, encoder, asked) if index is None else _from_file(passages, Path(index), encoder, asked)
        )
        if isinstance(inner, LexicalIndex):
            return CachedRetriever(LexicalRetriever(inner, passages, where=where), asked.room)
        coder, vectors = inner
        return CachedRetriever(LocalRetriever(coder, vectors, passages, where=where), asked.room)

    return _once(("local", corpus, index, encoder, asked), opened)


def _from_file(
    passages: JsonlCorpus, path: Path, encoder: str, options: SearchOptions
) -> LexicalIndex | tuple[Encoder, VectorIndex]:
    lexical = is_lexical(path)
    if encoder != AUTO and lexical != (encoder == LEXICAL):
        kind = "a lexical index" if lexical else "an index of vectors"
        raise IndexFileError(f"{path}: expected the index of encoder {encoder!r}, and it is {kind}")
    if lexical:
        return LexicalIndex.open(path)
    found = VectorIndex.open(path, threads=options.threads, nprobe=options.nprobe)
    return open_encoder(encoder, path, options.encoder), found


def _indexed(passages: JsonlCorpus, encoder: str, options: SearchOptions) -> LexicalIndex | tuple[Encoder, VectorIndex]:
    if encoder not in (AUTO, HASHED, LEXICAL) or len(passages) > _MOST_UNINDEXED:
        raise IndexFileError(
            f"{passages.path}: expected index= for {len(passages):,} passages and encoder {encoder!r}: make one with "
            "`sdar index build`"
        )
    texts = [passage.contents for passage in passages]
    if encoder != HASHED:
        return LexicalIndex.build(texts)
    coder = HashedEncoder.fit(texts)
    return coder, VectorIndex.build(coder.encode_passages(texts), threads=options.threads)


def _serves(retriever: Retriever, library: Library) -> bool:
    """Whether every address is known to serve this world's passages; not known of one that is down.

    Raises:
        ValueError: One serves others: every plan would lead astray.
    """
    from .client import HttpRetriever

    client = retriever.inner if isinstance(retriever, CachedRetriever) else retriever
    if not isinstance(client, HttpRetriever):
        return True
    healths = client.healths()
    own = fingerprint_of(MemoryCorpus(library.world.passages))
    for address, health in healths.items():
        if health is not None and health.get("corpus") not in (None, own):
            world = library.world
            raise ValueError(
                f"{address} serves corpus {health['corpus']}, and the questions are about the generated world {own}: "
                f"start `sdar serve-retrieval --size {world.size} --split {world.split} --world-seed "
                f"{world.world_seed} --regularity {world.regularity}`, or pass dataset= for questions about what it "
                "serves"
            )
    return len(healths) == len(client.addresses)


def _given(
    option: str | Sequence[str] | Mapping[str, Any] | Retriever, search: SearchOptions
) -> Callable[[str], Retriever]:
    """Who searches, by split, for what was passed as ``retriever=``."""
    if isinstance(option, Mapping):
        by_split = {resolve_split(str(name), _WHERE): _given(inner, search) for name, inner in option.items()}

        def of(split: str) -> Retriever:
            if split not in by_split:
                raise ValueError(
                    f"{_WHERE} expects a retriever for split {split!r}, got some for {', '.join(by_split)}"
                )
            return by_split[split](split)

        return of
    if isinstance(option, str) or (isinstance(option, Sequence) and all(isinstance(url, str) for url in option)):
        from .client import HttpRetriever

        urls = (option,) if isinstance(option, str) else tuple(map(str, option))
        client = _once(
            ("http", urls, search.room, search.limits),
            lambda: CachedRetriever(HttpRetriever(urls, **asdict(search.limits)), search.room),
        )
        return lambda split: client
    if not callable(getattr(option, "search", None)) or not callable(getattr(option, "normalise", None)):
        raise ValueError(
            f"{_WHERE} expects retriever= to be an address, several, a mapping from {', '.join(SPLITS)} to addresses, "
            f"or an object with search() and normalise(), got {type(option).__name__}"
        )
    own: Any = option
    return lambda split: own


def _once(key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """What `make` makes, once for this key and process."""
    own = (os.getpid(), *key)
    if own not in _shared:
        _shared[own] = make()
    found: T = _shared[own]
    return found
