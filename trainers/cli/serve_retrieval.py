"""Serve passages over HTTP, as Search-R1's retriever does: a generated world's, or a corpus with its index.

It listens on 127.0.0.1 unless --host says otherwise; whoever can reach the address can read the corpus.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .index import add_encoder_arguments

if TYPE_CHECKING:
    from sdar_envs.searchqa.lexical import LexicalRetriever
    from sdar_envs.searchqa.retriever import CachedRetriever, LocalRetriever

PORT = 8000

EPILOGUE = """examples:
  sdar serve-retrieval
  sdar serve-retrieval --size small --split valid --port 0
  sdar serve-retrieval --corpus wiki-18.jsonl --index e5_Flat.index --encoder intfloat/e5-base-v2 --threads 8"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar serve-retrieval``."""
    files = parser.add_argument_group("a corpus on disk")
    files.add_argument("--corpus", metavar="FILE", help="JSONL, one passage per line")
    files.add_argument("--index", metavar="FILE", help="FAISS index over its lines; small corpora need none")
    files.add_argument(
        "--encoder",
        default="auto",
        metavar="NAME",
        help="lexical, hashed, or an E5-style model [as the index was made]",
    )
    add_encoder_arguments(files)
    files.add_argument(
        "--nprobe", type=int, metavar="N", help="lists that a search in an IVF file reads [4 x root of all]"
    )
    files.add_argument("--threads", type=int, default=1, metavar="N", help="threads of a search [1]")
    world = parser.add_argument_group("a generated world, where no corpus is named")
    world.add_argument("--size", default="full", help="full or small [full]")
    world.add_argument("--split", default="train", help="train, valid or test [train]")
    world.add_argument("--world-seed", type=int, default=0, metavar="N", help="whose regularities [0]")
    world.add_argument("--regularity", type=float, default=0.85, metavar="X", help="how often they hold [0.85]")
    web = parser.add_argument_group("server")
    web.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    web.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0 for a free one [{PORT}]")
    web.add_argument("--topk", type=int, default=3, metavar="N", help="hits where a request names no number [3]")
    web.add_argument("--cache", type=int, default=65_536, metavar="N", help="queries that are remembered [65536]")
    web.add_argument("--cache-mb", type=int, default=256, metavar="N", help="megabytes that they may take [256]")
    web.add_argument("--connections", type=int, default=512, metavar="N", help="connections at once [512]")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from sdar_envs.choices import require_number
    from sdar_envs.searchqa.retriever import MAX_TOPK, CachedRetriever
    from sdar_envs.searchqa.server import LOOPBACK, bind, make_app, serve

    require_number("--topk", options.topk, "sdar serve-retrieval", low=1, high=MAX_TOPK, whole=True)
    require_number("--port", options.port, "sdar serve-retrieval", low=0, high=65_535, whole=True)
    require_number("--threads", options.threads, "sdar serve-retrieval", low=1, whole=True)
    require_number("--connections", options.connections, "sdar serve-retrieval", low=1, whole=True)
    for name in ("cache", "cache_mb"):
        require_number(f"--{name.replace('_', '-')}", getattr(options, name), "sdar serve-retrieval", low=0, whole=True)
    # Taken before the index is opened, which may take a while.
    listener = bind(options.host, options.port)
    with listener:
        retriever = open_retriever(options)
        retriever = CachedRetriever(retriever.inner, options.cache, options.cache_mb << 20)
        facts = facts_of(retriever.inner)  # type: ignore[arg-type]  # what `open_retriever` opens searches here
        own = options.host in LOOPBACK
        app = make_app(retriever, topk=options.topk, facts=facts, hosts=LOOPBACK if own else ("*",))
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/retrieve"
        if not own:
            print(f"warning: {options.host} can be reached from elsewhere, and there is no password", file=sys.stderr)
        print(f"{facts['ntotal']:,} passages, encoder {facts['encoder']}", flush=True)
        serve(
            app,
            listener,
            connections=options.connections,
            ready=lambda: print(f"listening on {address} (Ctrl-C ends)", flush=True),
        )
    return 0


def open_retriever(options: argparse.Namespace) -> CachedRetriever:
    """What the options name.

    Raises:
        ValueError: Files that do not go together, or a world that there is not.
    """
    from sdar_envs.choices import require_choice
    from sdar_envs.core import SPLITS
    from sdar_envs.searchqa.encoder_settings import EncoderOptions
    from sdar_envs.searchqa.library import open_library
    from sdar_envs.searchqa.setup import AUTO, HASHED, LEXICAL, SearchOptions, open_encoder, open_local
    from sdar_envs.searchqa.tables import SIZES

    said = EncoderOptions(options.pooling, options.query_prefix, options.passage_prefix)
    if options.corpus is not None:
        search = SearchOptions(threads=options.threads, nprobe=options.nprobe, encoder=said)
        return open_local(options.corpus, options.index, options.encoder, search)
    if options.encoder == LEXICAL:
        raise ValueError("sdar serve-retrieval expects --corpus with --encoder lexical: worlds are made for vectors")
    if options.index is not None:
        raise ValueError("sdar serve-retrieval expects --corpus beside --index: rows of an index stand for its lines")
    require_choice("--size", options.size, SIZES, "sdar serve-retrieval")
    require_choice("--split", options.split, SPLITS, "sdar serve-retrieval")
    encoder = None if options.encoder in (AUTO, HASHED) else open_encoder(options.encoder, options=said)
    return open_library(options.size, options.split, options.world_seed, options.regularity, encoder=encoder).retriever


def facts_of(local: LocalRetriever | LexicalRetriever) -> dict[str, Any]:
    """What ``/health`` says."""
    from sdar_envs.searchqa.lexical import LexicalRetriever

    facts: dict[str, Any] = {"ntotal": local.index.size, "corpus": local.corpus.fingerprint}
    if isinstance(local, LexicalRetriever):
        return facts | {"encoder": "lexical"}
    chosen = getattr(local.encoder, "settings", None)
    return (
        facts
        | {"dim": local.index.dim, "encoder": local.encoder.name}
        | ({} if chosen is None else {"settings": str(chosen)})
    )
