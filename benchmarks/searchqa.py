"""Searching in one process against a server per step, and official files at their real kind of size.

    python -m benchmarks.searchqa [--json] [--environments 64] [--rows 1000000] [--folder DIR]

First part: the same environments play the same searches, as a vector that looks up all queries of a step in this
process, and as published: one HTTP request per environment and step by `requests`, over a connection of its own (no
keep-alive), to a FastAPI server (`benchmarks/peer_retrieval.py`; both have to be installed for this row). Rows between
them show where the time goes. CPU seconds of client and server are added. Nothing is remembered on either side, and
every query is asked once. Second part: a flat index of `rows` vectors and a JSONL corpus of as many lines are written,
opened and read; ``--rows 0`` leaves it out.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import emit, parser, table
from sdar_envs.randomness import counted_generator
from sdar_envs.searchqa import tables
from sdar_envs.searchqa.client import HttpRetriever, _hits
from sdar_envs.searchqa.corpus import JsonlCorpus, Passage
from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.index import VectorIndex
from sdar_envs.searchqa.library import open_library
from sdar_envs.searchqa.retriever import Hit

DIM = 256
TOPK = 3
_TICK = os.sysconf("SC_CLK_TCK")


class PerStepClient:
    """One query per request, a new connection for each, by the standard library."""

    name = "one request per query"

    def __init__(self, port: int) -> None:
        self._port = port

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """One request per query."""
        return [self._one(query, k) for query in queries]

    def normalise(self, query: str) -> str:
        """The query itself."""
        return query

    def _one(self, query: str, k: int) -> list[Hit]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            body = json.dumps({"query": query, "topk": k, "return_scores": True})
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", "/retrieve", body, headers)
            return _hits(json.loads(connection.getresponse().read()), 1, k)[0]
        finally:
            connection.close()


class PublishedClient(PerStepClient):
    """The same by `requests`, as published."""

    def _one(self, query: str, k: int) -> list[Hit]:
        import requests

        payload = {"query": query, "topk": k, "return_scores": True}
        answer = requests.post(f"http://127.0.0.1:{self._port}/retrieve", json=payload, timeout=60)
        return _hits(answer.json(), 1, k)[0]


@contextmanager
def server(words: Sequence[str], port: int) -> Iterator[int]:
    """A server in a process of its own, up when this returns; its process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{' '.join(words)} did not start")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_of(pid: int) -> float:
    """CPU seconds of another process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def queries_of(count: int) -> list[str]:
    """Different searches of the kind that a model writes: a name, a term, a kind of source."""
    world = open_library("full", "train", 0, 0.85).world
    rng = counted_generator("benchmark", "queries")
    facts = [world.facts[int(i)] for i in rng.integers(len(world.facts), size=count)]
    return [f"{world.entities[fact.subject].name} {fact.term} {number}" for number, fact in enumerate(facts)]


def play(environments: int, rounds: int, queries: Sequence[str], retriever: Any, together: bool) -> tuple[float, int]:
    """CPU seconds of this process for `rounds` episodes of every environment, without resets; the searches made."""
    options: dict[str, Any] = {} if retriever is None else {"retriever": retriever}
    envs = [SearchQAEnv(expose_privileged=False, cache=0, topk=TOPK, **options) for _ in range(environments)]
    asked = iter(queries)
    seconds = 0.0
    made = 0
    for episode in range(rounds):
        for number, env in enumerate(envs):
            env.reset(options={"task_id": f"train:{episode * environments + number:06d}"})
        began = time.process_time()
        for _ in range(envs[0].horizon - 1):
            actions = [f"<search>{next(asked)}</search>" for _ in envs]
            if together:
                SearchQAEnv.prepare_steps(envs, actions)
            for env, action in zip(envs, actions, strict=True):
                made += len(env.step(action)[4]["hit_ids"]) > 0
        seconds += time.process_time() - began
    return seconds, made


PUBLISHED = "FastAPI and requests, a request per environment and step (published)"


def measure_patterns(environments: int, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Searches per CPU second, client and server together, of each pattern, `repeats` times in turns."""
    queries = queries_of(environments * rounds * 5)
    found: dict[str, list[float]] = {}
    own, peer = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(server(["trainers", "serve-retrieval", "--port", str(own)], own))
        http_client = HttpRetriever([f"http://127.0.0.1:{own}"])
        patterns: list[tuple[str, Any, bool, int | None]] = [
            ("this process, a search per step", None, True, None),
            ("this process, a search per environment", None, False, None),
            ("this suite's server, a request per step", http_client, True, pid),
            ("this suite's server, a request per environment and step", PerStepClient(own), False, pid),
        ]
        if importlib.util.find_spec("fastapi") and importlib.util.find_spec("requests"):
            peer_pid = stack.enter_context(server(["benchmarks.peer_retrieval", str(peer)], peer))
            patterns.append((PUBLISHED, PublishedClient(peer), False, peer_pid))
        for repeat in range(repeats + 1):
            for name, retriever, together, served_by in patterns if repeat % 2 == 0 else patterns[::-1]:
                before = 0.0 if served_by is None else cpu_of(served_by)
                seconds, made = play(environments, rounds, queries, retriever, together)
                assert made == len(queries), f"{name}: {made} of {len(queries)} searches found something"
                if served_by is not None:
                    seconds += cpu_of(served_by) - before
                if repeat:  # the first round warms everything up
                    found.setdefault(name, []).append(made / seconds)
    return found


# Large files.


def anonymous() -> int:
    """Anonymous memory of this process, in bytes."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous"))


def write_index(path: Path, rows: int) -> None:
    """A flat index of random unit vectors, written by a process of its own."""
    code = f"""
import sys, numpy as np
from sdar_envs.searchqa.index import VectorIndex
def blocks(rows, size=100_000):
    rng = np.random.default_rng(0)
    for start in range(0, rows, size):
        block = rng.standard_normal((min(size, rows - start), {DIM}), dtype=np.float32)
        yield block / np.linalg.norm(block, axis=1, keepdims=True)
VectorIndex.build_from(blocks(int(sys.argv[2])), dim={DIM}).save(sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", code, str(path), str(rows)], check=True)


def write_corpus(path: Path, rows: int) -> None:
    """Lines of about 700 bytes, as wiki-18's are."""
    words = tables.words("the river of a town that was known for its market and its bridge in the year")
    rng = counted_generator("benchmark", "corpus")
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, rows, 10_000):
            drawn = rng.integers(len(words), size=(min(10_000, rows - start), 110))
            for number, row in enumerate(drawn, start=start):
                text = " ".join(words[i] for i in row)
                file.write(json.dumps({"id": str(number), "contents": f'"Entry {number}"\n{text}'}) + "\n")


def measure_files(folder: Path, rows: int) -> dict[str, float]:
    """Opening times, memory, and CPU microseconds per document, on files of `rows` rows that are made here."""
    index_path, corpus_path = folder / "large.index", folder / "large.jsonl"
    write_index(index_path, rows)
    write_corpus(corpus_path, rows)
    VectorIndex.build(np.ones((1, DIM), dtype=np.float32))  # FAISS itself is loaded before memory is read
    memory, began = anonymous(), time.perf_counter()
    index = VectorIndex.open(index_path)
    opened, taken = time.perf_counter() - began, anonymous() - memory
    query = counted_generator("benchmark", "query").standard_normal((1, DIM)).astype(np.float32)
    began = time.process_time()
    index.search(query, TOPK)
    first = time.process_time() - began
    after_search = anonymous() - memory
    began = time.process_time()
    JsonlCorpus(corpus_path)
    scanned = time.process_time() - began
    memory, began = anonymous(), time.process_time()
    corpus = JsonlCorpus(corpus_path)
    reopened = time.process_time() - began
    wanted = [int(i) for i in counted_generator("benchmark", "documents").integers(rows, size=200_000)]
    began = time.process_time()
    for row in wanted:
        corpus.passage(row)
    fetched = (time.process_time() - began) / len(wanted)
    size = index_path.stat().st_size
    assert isinstance(corpus.passage(rows - 1), Passage)
    return {
        "rows": rows,
        "index_bytes": size,
        "corpus_bytes": corpus_path.stat().st_size,
        "index_open_seconds": opened,
        "index_anonymous_share": taken / size,
        "index_anonymous_share_after_search": after_search / size,
        "first_search_cpu_seconds": first,
        "corpus_first_open_cpu_seconds": scanned,
        "corpus_open_cpu_seconds": reopened,
        "corpus_anonymous_bytes": anonymous() - memory,
        "document_cpu_microseconds": 1e6 * fetched,
    }


def main() -> None:
    """Print tables, or one JSON object."""
    options = parser(
        "searchqa", "Searching together in one process against a request per step; large files.", repeats=3
    )
    options.add_argument("--environments", type=int, default=64, help="environments of the vector")
    options.add_argument("--rounds", type=int, default=8, help="episodes per environment")
    options.add_argument("--rows", type=int, default=1_000_000, help="rows of the large files; 0 leaves them out")
    options.add_argument("--folder", help="where they are written [a temporary folder, removed afterwards]")
    arguments = options.parse_args()
    patterns = measure_patterns(arguments.environments, arguments.rounds, arguments.repeats)
    rates = {name: sorted(values)[len(values) // 2] for name, values in patterns.items()}
    published = rates.get(PUBLISHED, min(rates.values()))
    rows = [(name, rate, rate / published) for name, rate in sorted(rates.items(), key=lambda item: -item[1])]
    heading = f"vector of {arguments.environments}"
    figures: dict[str, Any] = {
        "environments": arguments.environments,
        "searches_per_cpu_second": rates,
        "runs": patterns,
        "over_published": {name: ratio for name, _, ratio in rows},
    }
    tables = [table([heading, "searches per CPU-s", "over the last"], rows)]
    if arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            files = figures["files"] = measure_files(Path(folder), arguments.rows)
        tables.append(
            table(
                ["large files", "figure"],
                [
                    (f"index of {files['rows']:,} x {DIM}, GB", files["index_bytes"] / 1e9),
                    ("  opened in, s", files["index_open_seconds"]),
                    ("  anonymous memory, % of the file", 100 * files["index_anonymous_share"]),
                    ("  and after a search, %", 100 * files["index_anonymous_share_after_search"]),
                    ("  one search, CPU-s", files["first_search_cpu_seconds"]),
                    (f"corpus of {files['rows']:,} lines, GB", files["corpus_bytes"] / 1e9),
                    ("  first opened in, CPU-s", files["corpus_first_open_cpu_seconds"]),
                    ("  opened again in, CPU-s", files["corpus_open_cpu_seconds"]),
                    ("  anonymous memory, MB", files["corpus_anonymous_bytes"] / 1e6),
                    ("  a random document, CPU microseconds", files["document_cpu_microseconds"]),
                ],
            )
        )
    emit("searchqa", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
