"""How well the default encoder finds a passage, by its dimensions and by the kind of index.

    python -m benchmarks.searchqa_encoder [--json] [--worlds 3] [--dims 256 512 768]

Every fact of the full generated world is searched for in the plainest words, "name, the sources' word, the kind of
source", and recall is the share of facts whose passage is among the first three hits. All three splits of each world
are searched; by-names are left out, since plans look them up in their own words. Beside the exact index of each number
of dimensions stand two graphs (HNSW), one of 16 links and one as this suite builds them, each with the breadth that
FAISS opens it with and with the one that this suite sets.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import emit, parser, table
from sdar_envs.core import SPLITS
from sdar_envs.searchqa.encoder import HashedEncoder
from sdar_envs.searchqa.generator import draw_world
from sdar_envs.searchqa.index import VectorIndex
from sdar_envs.searchqa.world import World

TOPK = 3
BREADTHS = (16, 128)
_GRAPH_DIM = 512


def plain_queries(world: World) -> tuple[list[str], list[int]]:
    """The plainest query for each fact, and the passage that states it."""
    facts = [fact for fact in world.facts if fact.relation != "byname"]
    queries = [f"{world.entities[fact.subject].filed_as} {fact.term} {fact.kind}" for fact in facts]
    return queries, [fact.passage for fact in facts]


def recall(index: VectorIndex, vectors: NDArray[np.float32], passages: list[int]) -> tuple[float, float]:
    """The share of passages among the first hits, and CPU microseconds per query in batches of 64."""
    found: list[list[tuple[int, float]]] = []
    began = time.process_time()
    for start in range(0, len(vectors), 64):
        found += index.search(vectors[start : start + 64], TOPK)
    seconds = time.process_time() - began
    hits = sum(passage in {row for row, _ in rows} for passage, rows in zip(passages, found, strict=True))
    return hits / len(passages), 1e6 * seconds / len(passages)


def foreign_graph(rows: NDArray[np.float32]) -> VectorIndex:
    """A graph of 16 links per row, otherwise as FAISS builds it by itself."""
    import faiss

    index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    return VectorIndex(index)


def measure_world(world: World, dims: list[int]) -> dict[str, tuple[float, float, float]]:
    """Recall, CPU microseconds of encoding and of searching, by what encodes and indexes."""
    texts = [passage.contents for passage in world.passages]
    queries, passages = plain_queries(world)
    measured = {}
    for dim in dims:
        encoder = HashedEncoder.fit(texts, dim=dim)
        rows = encoder.encode_passages(texts)
        began = time.process_time()
        vectors = np.concatenate([encoder.encode_queries(queries[i : i + 64]) for i in range(0, len(queries), 64)])
        encoding = 1e6 * (time.process_time() - began) / len(queries)
        share, searching = recall(VectorIndex.build(rows), vectors, passages)
        measured[f"{dim} dimensions, exact"] = (share, encoding, searching)
        if dim != _GRAPH_DIM:
            continue
        for name, graph in (("16 links", foreign_graph(rows)), ("ours", VectorIndex.build(rows, kind="hnsw"))):
            for breadth in BREADTHS:
                graph._index.hnsw.efSearch = breadth
                share, searching = recall(graph, vectors, passages)
                measured[f"{dim} dimensions, HNSW ({name}), efSearch {breadth}"] = (share, encoding, searching)
    return measured


def main() -> None:
    """Print a table, or one JSON object."""
    options = parser("searchqa_encoder", "Recall of the default encoder in the full generated world.", repeats=1)
    options.add_argument("--worlds", type=int, default=3, help="world seeds; each has three splits")
    options.add_argument("--dims", type=int, nargs="+", default=[256, 512, 768], help="dimensions")
    options.add_argument("--size", default="full", help="full or small")
    arguments = options.parse_args()
    runs: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    passages = []
    for seed in range(arguments.worlds):
        for split in SPLITS:
            world = draw_world(arguments.size, split, seed, 0.85)
            passages.append(len(world.passages))
            for name, figures in measure_world(world, arguments.dims).items():
                runs[name].append(figures)
    summary: dict[str, Any] = {}
    for name, found in runs.items():
        shares, encoding, searching = zip(*found, strict=True)
        summary[name] = {
            "recall_mean": float(np.mean(shares)),
            "recall_lowest": min(shares),
            "encode_cpu_microseconds": float(np.median(encoding)),
            "search_cpu_microseconds": float(np.median(searching)),
        }
    heading = f"{len(passages)} worlds of {min(passages):,} to {max(passages):,} passages"
    columns = [heading, f"recall@{TOPK}, mean", "lowest", "encode, CPU us", "search, CPU us"]
    rows = [[name, *values.values()] for name, values in summary.items()]
    emit(
        "searchqa_encoder", {"passages": passages, "encoders": summary}, [table(columns, rows)], as_json=arguments.json
    )


if __name__ == "__main__":
    main()
