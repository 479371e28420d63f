"""Build, compress or check the index of a corpus of passages.

build      encode every line of a JSONL corpus and write a FAISS index (and, for the hashed encoder, the encoder)
compress   write an index again in half (SQfp16) or a quarter (SQ8) of its bytes
check      read every line, compare index and corpus, and search for a sample of passages by their own text
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..run.progress import StageBar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdar_envs.searchqa.corpus import JsonlCorpus
    from sdar_envs.searchqa.retriever import Encoder

ACTIONS = ("build", "compress", "check")
USAGE = "build|compress|check [options]"
EPILOGUE = """examples:
  sdar index build --corpus passages.jsonl --output passages.index
  sdar index build --corpus passages.jsonl --output e5.index --encoder intfloat/e5-base-v2
  sdar index compress --index e5_Flat.index --to SQ8 --output e5_SQ8.index
  sdar index check --corpus wiki-18.jsonl --index e5_Flat.index --encoder intfloat/e5-base-v2"""

_BATCH = 4_096
_SAMPLE = 100
_TICK = 256  # passages between movements of the bar
_PAUSE_S = 10.0  # seconds after which there is a line in any case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar index``."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="build, compress or check")
    parser.add_argument("--corpus", metavar="FILE", help="JSONL, one passage per line (build, check)")
    parser.add_argument("--index", metavar="FILE", help="the index (compress, check)")
    parser.add_argument("--output", metavar="FILE", help="where to write (build, compress)")
    parser.add_argument("--encoder", default="hashed", metavar="NAME", help="hashed, or an E5-style model [hashed]")
    parser.add_argument("--dim", type=int, default=512, metavar="N", help="dimensions of the hashed encoder [512]")
    parser.add_argument("--kind", default="flat", help="flat (exact) or hnsw, from some 200,000 passages on [flat]")
    parser.add_argument("--to", default="SQ8", help="SQfp16 or SQ8 (compress) [SQ8]")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of FAISS [1]")


def run(options: argparse.Namespace) -> int:
    """Do one of the three; what can be refused is refused before hours of encoding."""
    from sdar_envs.choices import require_choice, require_number
    from sdar_envs.searchqa.index import COMPRESSIONS, KINDS

    where = f"sdar index {options.action}"
    needed = {"build": ("corpus", "output"), "compress": ("index", "output"), "check": ("corpus", "index")}
    for name in needed[options.action]:
        if getattr(options, name) is None:
            raise ValueError(f"{where} expects --{name}")
    require_number("--threads", options.threads, where, low=1, whole=True)
    require_number("--dim", options.dim, where, low=1, whole=True)
    require_choice("--kind", options.kind, KINDS, where)
    require_choice("--to", options.to, COMPRESSIONS, where)
    if options.output is not None:
        output = Path(options.output)
        if output.exists():
            raise ValueError(f"{output} is there already: remove it, or name another --output")
        if not output.parent.is_dir():
            raise ValueError(f"{where} expects --output in a folder that is there, and {output.parent} is none")
    return {"build": build, "compress": compress, "check": check}[options.action](options)


def build(options: argparse.Namespace) -> int:
    """Encode a corpus and write its index."""
    from sdar_envs.searchqa.corpus import JsonlCorpus
    from sdar_envs.searchqa.encoder import HashedEncoder
    from sdar_envs.searchqa.index import VectorIndex
    from sdar_envs.searchqa.setup import open_encoder, saved_encoder

    corpus = JsonlCorpus(options.corpus)
    output = Path(options.output)
    encoder: Encoder
    if options.encoder == "hashed":
        say(f"counting the words of {len(corpus):,} passages")
        with StageBar("index") as bar:
            encoder = HashedEncoder.fit(counted(corpus, bar), dim=options.dim)
    else:
        encoder = open_encoder(options.encoder)
    with StageBar("index") as bar:
        index = VectorIndex.build_from(
            encoded(corpus, encoder, bar), dim=encoder.dim, kind=options.kind, threads=options.threads
        )
    if isinstance(encoder, HashedEncoder):
        encoder.save(saved_encoder(output))
    index.save(output)
    print(f"{output}: {index.size:,} vectors of {index.dim}, {output.stat().st_size:,} bytes, encoder {encoder.name}")
    return 0


def counted(corpus: JsonlCorpus, bar: StageBar) -> Iterator[str]:
    """The texts of a corpus, with a bar on how far it is; the hashed encoder reads them once."""
    for number, passage in enumerate(corpus, 1):
        if number % _TICK == 0:
            bar.advance("counting words", number, len(corpus))
        yield passage.contents


def encoded(corpus: JsonlCorpus, encoder: Encoder, bar: StageBar) -> Iterator[NDArray[np.float32]]:
    """The corpus's vectors, block by block: with a bar on a terminal, and elsewhere lines on how far it is."""
    started = said = time.monotonic()
    for start in range(0, len(corpus), _BATCH):
        rows = range(start, min(start + _BATCH, len(corpus)))
        yield encoder.encode_passages([corpus.passage(row).contents for row in rows])
        bar.advance("encoding", rows.stop, len(corpus))
        now = time.monotonic()
        if not bar.shown and ((start // _BATCH) % 16 == 15 or now - said >= _PAUSE_S):
            said = now
            rate = rows.stop / (time.monotonic() - started)
            left = (len(corpus) - rows.stop) / rate
            say(f"{rows.stop:,} of {len(corpus):,} passages, {rate:,.0f}/s, {left:,.0f} s left")


def compress(options: argparse.Namespace) -> int:
    """Write an index again in fewer bytes."""
    from sdar_envs.searchqa.index import VectorIndex
    from sdar_envs.searchqa.setup import saved_encoder

    source, output = Path(options.index), Path(options.output)
    VectorIndex.open(source, threads=options.threads).compressed(options.to).save(output)
    beside = saved_encoder(source)
    if beside.is_file():
        saved_encoder(output).write_bytes(beside.read_bytes())
    before, after = source.stat().st_size, output.stat().st_size
    print(f"{output}: {after:,} bytes, {after / before:.0%} of {source}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Read a corpus whole and compare it with its index; status 1 when they do not fit."""
    import numpy as np

    from sdar_envs.searchqa.corpus import JsonlCorpus
    from sdar_envs.searchqa.setup import open_local

    retriever = open_local(options.corpus, options.index, options.encoder, threads=options.threads)
    corpus = JsonlCorpus(options.corpus)
    for _ in corpus:  # a damaged line is named by its row
        pass
    rows = np.unique(np.linspace(0, len(corpus) - 1, num=min(_SAMPLE, len(corpus)), dtype=np.int64))
    texts = [corpus.passage(int(row)).contents.replace("\n", " ") for row in rows]
    found = retriever.search(texts, 3)
    own = sum(any(hit.passage.id == row for hit in hits) for row, hits in zip(rows, found, strict=True))
    print(f"{options.corpus}: {len(corpus):,} passages, every line read")
    print(f"{options.index}: as many vectors; {own} of {len(rows)} passages are found by their own text")
    if own < 0.8 * len(rows):
        print("the index does not find its own passages: was it made with another encoder?", file=sys.stderr)
        return 1
    return 0


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
