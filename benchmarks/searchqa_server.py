"""Many clients of one retrieval server: are all requests answered, are all answers right, and what does one cost.

    python -m benchmarks.searchqa_server [--json] [--requests 100000] [--clients 64]

`sdar serve-retrieval` serves the full generated world in a process of its own. Every client is a thread with a
connection of its own that it keeps; every third request is in the dialect of one query (``query``), the others are
lists of one to four (``queries``), and the number of hits changes from request to request. What comes back is compared
with what this process finds for the same query by itself: ids and scores. A request without an answer is counted as
lost; none is sent twice.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import emit, parser, table
from benchmarks.searchqa import cpu_of, free_port, queries_of, server
from sdar_envs.searchqa.library import open_library

MOST_HITS = 5
_QUERIES = 2_000

Answers = Mapping[str, list[tuple[str, float]]]


@dataclass
class Tally:
    """What became of a client's requests."""

    right: int = 0
    wrong: int = 0
    lost: int = 0
    searches: int = 0
    seconds: list[float] = field(default_factory=list)
    first_failure: str = ""


def expected_answers(queries: Sequence[str]) -> Answers:
    """The first hits of each query, searched here."""
    retriever = open_library("full", "train", 0, 0.85).retriever.inner
    found = retriever.search(queries, MOST_HITS)
    return {
        query: [(str(hit.passage.id), hit.score) for hit in hits] for query, hits in zip(queries, found, strict=True)
    }


def body_of(number: int, queries: Sequence[str]) -> tuple[dict[str, Any], list[str], int]:
    """The request of a number: its fields, the queries in it, and how many hits it asks for."""
    hits = 1 + number % MOST_HITS
    count = 1 if number % 3 == 0 else 1 + number % 4
    asked = [queries[(number * 7 + place) % len(queries)] for place in range(count)]
    one: dict[str, Any] = {"query": asked[0]} if number % 3 == 0 else {"queries": asked}
    return {**one, "topk": hits, "return_scores": True}, asked, hits


def is_right(answer: Any, asked: Sequence[str], hits: int, expected: Answers) -> bool:
    """Whether an answer has, for every query, the ids and scores that were found here."""
    found = [[(item["document"]["id"], item["score"]) for item in listed] for listed in answer["result"]]
    return found == [expected[query][:hits] for query in asked]


def client(port: int, numbers: range, queries: Sequence[str], expected: Answers, tally: Tally) -> None:
    """Send the requests of `numbers`, one after the other, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for number in numbers:
        body, asked, hits = body_of(number, queries)
        content = json.dumps(body)
        began = time.perf_counter()
        try:
            connection.request("POST", "/retrieve", content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            tally.lost += 1
            tally.first_failure = tally.first_failure or f"request {number}: {type(error).__name__}: {error}"
            connection.close()
            continue
        tally.seconds.append(time.perf_counter() - began)
        tally.searches += len(asked)
        if response.status == 200 and is_right(json.loads(text), asked, hits, expected):
            tally.right += 1
        else:
            tally.wrong += 1
            tally.first_failure = tally.first_failure or f"request {number}: {response.status} {text[:200]!r}"
    connection.close()


def measure_server(requests: int, clients: int) -> dict[str, Any]:
    """Send `requests` requests by `clients` clients at once."""
    queries = queries_of(_QUERIES)
    expected = expected_answers(queries)
    tallies = [Tally() for _ in range(clients)]
    port = free_port()
    with server(["trainers", "serve-retrieval", "--port", str(port)], port) as pid:
        threads = [
            threading.Thread(target=client, args=(port, range(place, requests, clients), queries, expected, tally))
            for place, tally in enumerate(tallies)
        ]
        served_before, began = cpu_of(pid), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, served = time.perf_counter() - began, cpu_of(pid) - served_before
    latencies = sorted(second for tally in tallies for second in tally.seconds)
    answered = len(latencies)
    return {
        "requests": requests,
        "clients": clients,
        "right": sum(tally.right for tally in tallies),
        "wrong": sum(tally.wrong for tally in tallies),
        "lost": sum(tally.lost for tally in tallies),
        "searches": sum(tally.searches for tally in tallies),
        "first_failure": next((tally.first_failure for tally in tallies if tally.first_failure), ""),
        "seconds": seconds,
        "server_cpu_seconds": served,
        "requests_per_server_cpu_second": answered / served if served else 0.0,
        "latency_median_ms": 1e3 * latencies[answered // 2] if latencies else 0.0,
        "latency_99_ms": 1e3 * latencies[int(0.99 * answered)] if latencies else 0.0,
    }


def main() -> None:
    """Print a table, or one JSON object; status 1 when an answer was wrong or lost."""
    options = parser("searchqa_server", "Many clients of one retrieval server.", repeats=1)
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--clients", type=int, default=64)
    arguments = options.parse_args()
    figures = measure_server(arguments.requests, arguments.clients)
    shown = [(name.replace("_", " "), value) for name, value in figures.items() if name != "first_failure"]
    emit("searchqa_server", figures, [table(["one server", "figure"], shown)], as_json=arguments.json)
    if figures["right"] != arguments.requests:
        raise SystemExit(f"{figures['wrong']} wrong, {figures['lost']} lost: {figures['first_failure']}")


if __name__ == "__main__":
    main()
