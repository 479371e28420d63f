"""What tests of the questions share: how a turn is written, an episode by its number, retrievers made for a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.retriever import Hit, RetrievalError

SMALL = {"size": "small", "topk": 1, "passage_style": "plain"}


def search(query: str) -> str:
    return f"<search>{query}</search>"


def answer(text: str) -> str:
    return f"<answer>{text}</answer>"


def begin(env: SearchQAEnv, number: int = 0) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task_id": f"{env.split}:{number:06d}"})


class Shelf:
    """A retriever with fixed passages."""

    name = "shelf"

    def __init__(self, *texts: str) -> None:
        self.hits = [Hit(Passage.of(number, "t", text), 1.0) for number, text in enumerate(texts)]
        self.calls: list[list[str]] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.calls.append(list(queries))
        return [self.hits[:k] for _ in queries]

    def normalise(self, query: str) -> str:
        return query


class Broken(Shelf):
    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.calls.append(list(queries))
        raise RetrievalError("http://10.0.0.1:8000/retrieve: connection refused")
