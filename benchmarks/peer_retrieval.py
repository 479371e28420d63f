"""The published pattern of retrieval as a program of its own: FastAPI, one query per request, no batching.

It serves the same generated world with the same encoder and index as this suite's server, so that what is compared is
the pattern: a pydantic model per request, a search per request, a JSON answer. `benchmarks/searchqa.py` starts it; it
needs fastapi and uvicorn.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from sdar_envs.searchqa.library import open_library


class Query(BaseModel):
    """What a request holds."""

    query: str
    topk: int | None = None
    return_scores: bool = False


def main() -> None:
    """Serve on the port that the first argument names."""
    retriever = open_library("full", "train", 0, 0.85).retriever.inner
    app = FastAPI()

    @app.post("/retrieve")
    def retrieve(request: Query) -> dict[str, Any]:
        [hits] = retriever.search([request.query], request.topk or 3)
        return {
            "result": [
                [
                    {"document": {"id": str(hit.passage.id), "contents": hit.passage.contents}, "score": hit.score}
                    for hit in hits
                ]
            ]
        }

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
