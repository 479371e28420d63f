"""Build, compress or check the index of a corpus of passages.

build      index every line of a JSONL corpus, or a folder of documents (txt, md, html, parquet, JSONL): by words, or as
           vectors of an encoder (with the hashed one, the encoder is written beside the index)
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
  sdar index build --folder docs/ --output docs.index
  sdar index build --corpus passages.jsonl --output passages.index
  sdar index build --corpus passages.jsonl --output passages.index --encoder hashed
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
    parser.add_argument(
        "--folder",
        metavar="DIR",
        help="documents to cut into passages, which are written to --corpus [OUTPUT.passages.jsonl] (build)",
    )
    parser.add_argument(
        "--words", type=int, default=120, metavar="N", help="words of a passage at most (--folder) [120]"
    )
    parser.add_argument(
        "--overlap", type=int, default=30, metavar="N", help="words repeated of the passage before (--folder) [30]"
    )
    parser.add_argument("--index", metavar="FILE", help="the index (compress, check)")
    parser.add_argument("--output", metavar="FILE", help="where to write (build, compress)")
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help="lexical (by words), hashed, or an E5-style model [lexical; check: what the index was made with]",
    )
    add_encoder_arguments(parser)
    parser.add_argument("--dim", type=int, metavar="N", help="dimensions of the hashed encoder [512]")
    parser.add_argument(
        "--kind", help="of an index of vectors: flat (exact) or hnsw, from some 200,000 passages on [flat]"
    )
    parser.add_argument(
        "--nprobe", type=int, metavar="N", help="lists that a search in an IVF file reads (check) [4 x root of all]"
    )
    parser.add_argument("--to", default="SQ8", help="SQfp16 or SQ8 (compress) [SQ8]")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of FAISS [1]")


def add_encoder_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare what can be said of a transformers encoder."""
    own = "[the model's own]"
    parser.add_argument("--query-prefix", metavar="TEXT", help=f"in front of queries of an E5-style model {own}")
    parser.add_argument("--passage-prefix", metavar="TEXT", help=f"in front of passages of an E5-style model {own}")
    parser.add_argument("--pooling", metavar="NAME", help=f"mean, cls or pooler, of an E5-style model {own}")


def run(options: argparse.Namespace) -> int:
    """Do one of the three; what can be refused is refused before hours of encoding."""
    from sdar_envs.choices import require_choice, require_number
    from sdar_envs.searchqa.index import COMPRESSIONS, KINDS

    where = f"sdar index {options.action}"
    built = ("output",) if options.folder is not None else ("corpus", "output")
    needed = {"build": built, "compress": ("index", "output"), "check": ("corpus", "index")}
    for name in needed[options.action]:
        if getattr(options, name) is None:
            raise ValueError(f"{where} expects --{name}")
    require_number("--threads", options.threads, where, low=1, whole=True)
    for name in ("dim", "nprobe"):
        if getattr(options, name) is not None:
            require_number(f"--{name}", getattr(options, name), where, low=1, whole=True)
    if options.kind is not None:
        require_choice("--kind", options.kind, KINDS, where)
    vectors = [name for name in ("dim", "kind") if getattr(options, name) is not None]
    if options.encoder == "lexical" and vectors:
        raise ValueError(f"{where} expects --{vectors[0]} with an encoder of vectors, and lexical makes none")
    if options.encoder is None and options.action == "build":
        options.encoder = "hashed" if vectors else "lexical"
    require_choice("--to", options.to, COMPRESSIONS, where)
    if options.output is not None:
        output = Path(options.output)
        if output.exists():
            raise ValueError(f"{output} is there already: remove it, or name another --output")
        if not output.parent.is_dir():
            raise ValueError(f"{where} expects --output in a folder that is there, and {output.parent} is none")
    return {"build": build, "compress": compress, "check": check}[options.action](options)


def build(options: argparse.Namespace) -> int:
    """Index a corpus, or the documents of a folder."""
    from sdar_envs.searchqa.corpus import JsonlCorpus
    from sdar_envs.searchqa.encoder import HashedEncoder
    from sdar_envs.searchqa.encoder_settings import EncoderOptions
    from sdar_envs.searchqa.index import VectorIndex
    from sdar_envs.searchqa.lexical import LexicalIndex
    from sdar_envs.searchqa.setup import open_encoder, saved_encoder

    output = Path(options.output)
    encoder: Encoder | None = None
    if options.encoder not in ("hashed", "lexical"):  # opened before a folder is read: what is missing is said at once
        said = EncoderOptions(options.pooling, options.query_prefix, options.passage_prefix)
        encoder = open_encoder(options.encoder, options=said)
        if hasattr(encoder, "settings"):
            say(f"encoder {options.encoder}: {encoder.settings}")
    corpus = JsonlCorpus(options.corpus if options.folder is None else write_corpus(options))
    if options.encoder == "lexical":
        with StageBar("index") as bar:
            lexical = LexicalIndex.build(counted(corpus, bar))
        lexical.save(output)
        print(f"{output}: {lexical.size:,} passages by their words, {output.stat().st_size:,} bytes")
        return 0
    if encoder is None:
        say(f"counting the words of {len(corpus):,} passages")
        with StageBar("index") as bar:
            encoder = HashedEncoder.fit(counted(corpus, bar), dim=options.dim or 512)
    with StageBar("index") as bar:
        index = VectorIndex.build_from(
            encoded(corpus, encoder, bar), dim=encoder.dim, kind=options.kind or "flat", threads=options.threads
        )
    if isinstance(encoder, HashedEncoder):
        encoder.save(saved_encoder(output))
    index.save(output)
    cut = getattr(encoder, "cut", 0)
    if cut:
        say(f"warning: {cut:,} passages are longer than what this encoder reads of them: their ends are not found")
    print(f"{output}: {index.size:,} vectors of {index.dim}, {output.stat().st_size:,} bytes, encoder {encoder.name}")
    return 0


def write_corpus(options: argparse.Namespace) -> Path:
    """Cut the documents of ``--folder`` into passages and write them as a corpus."""
    import json

    from sdar_envs.files import replaced_file
    from sdar_envs.searchqa.documents import Report, chunks_of

    path = Path(options.corpus or f"{options.output}.passages.jsonl")
    if path.exists():
        raise ValueError(f"{path} is there already: remove it, or name another --corpus")
    report = Report()
    with replaced_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        chunks = chunks_of(Path(options.folder), words=options.words, overlap=options.overlap, report=report)
        for row, chunk in enumerate(chunks):
            line = {"id": chunk.id, "row": row, "contents": chunk.contents}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    for line_of_report in report.lines():
        say(line_of_report)
    print(f"{path}: {report.chunks:,} passages; pass it as corpus=, with index= beside it")
    return path


def counted(corpus: JsonlCorpus, bar: StageBar) -> Iterator[str]:
    """The texts of a corpus, with a bar on how far it is; says how many are longer than what is shown of a passage."""
    from sdar_envs.searchqa.wording import MAX_PASSAGE

    long = 0
    for number, passage in enumerate(corpus, 1):
        if number % _TICK == 0:
            bar.advance("counting words", number, len(corpus))
        long += len(passage.text) > MAX_PASSAGE
        yield passage.contents
    if long:
        say(f"warning: {long:,} passages are longer than the {MAX_PASSAGE:,} characters that are shown of one")


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
    from sdar_envs.searchqa.lexical import is_lexical
    from sdar_envs.searchqa.setup import saved_encoder

    if is_lexical(Path(options.index)):
        raise ValueError(f"{options.index} is a lexical index, which has no vectors to compress")
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
    from sdar_envs.searchqa.encoder_settings import EncoderOptions
    from sdar_envs.searchqa.setup import AUTO, SearchOptions, open_local

    said = EncoderOptions(options.pooling, options.query_prefix, options.passage_prefix)
    search = SearchOptions(threads=options.threads, nprobe=options.nprobe, encoder=said)
    retriever = open_local(options.corpus, options.index, options.encoder or AUTO, search)
    corpus = JsonlCorpus(options.corpus)
    for _ in corpus:  # a damaged line is named by its row
        pass
    rows = np.unique(np.linspace(0, len(corpus) - 1, num=min(_SAMPLE, len(corpus)), dtype=np.int64))
    texts = [corpus.passage(int(row)).contents for row in rows]
    found = retriever.search([text.replace("\n", " ") for text in texts], 3)
    own = sum(any(hit.passage.contents == text for hit in hits) for text, hits in zip(texts, found, strict=True))
    print(f"{options.corpus}: {len(corpus):,} passages, every line read")
    print(f"{options.index}: as many in the index; {own} of {len(rows)} passages are found by their own text")
    if own < 0.8 * len(rows):
        print("the index does not find its own passages: was it made with another encoder?", file=sys.stderr)
        return 1
    return 0


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
