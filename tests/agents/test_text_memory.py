"""What a renderer and a teacher remember of texts is bounded in bytes, and changes no result."""

from __future__ import annotations

import tracemalloc
from typing import Any

from tiny_models import CHATML, make_tokenizer

from agents import rendering, teacher
from agents.rendering import ChatRenderer
from agents.teacher import Teacher
from sdar_envs.privileged import Privileged, StudentView


def test_a_renderers_memory_does_not_grow_with_the_texts_that_it_meets(monkeypatch: Any) -> None:
    for name in ("_TEXT_BYTES", "_SHAPE_BYTES", "_DECODED_BYTES"):
        monkeypatch.setattr(rendering, name, 1 << 16)
    renderer = ChatRenderer(make_tokenizer(CHATML))
    first = renderer.begin([{"role": "user", "content": "go to fridge 0"}])

    def meet(start: int) -> None:
        for number in range(start, start + 300):
            ids = renderer.begin([{"role": "user", "content": f"go to fridge {number} " + "open fridge 1. " * 20}])
            renderer.decode([*ids[:40], number])

    meet(0)
    tracemalloc.start()
    try:
        meet(1000)
        assert tracemalloc.get_traced_memory()[0] < 3 * (1 << 16)
    finally:
        tracemalloc.stop()
    assert renderer.begin([{"role": "user", "content": "go to fridge 0"}]) == first


def test_a_teacher_remembers_contexts_within_bytes_and_those_of_the_newest_episodes(monkeypatch: Any) -> None:
    monkeypatch.setattr(teacher, "_CONTEXT_BYTES", 1 << 14)
    reads = Teacher(ChatRenderer(make_tokenizer(CHATML)), privilege="skill")

    def view(episode: int, turn: int) -> StudentView:
        return StudentView("You see a fridge.", task_id=f"task {episode}", slot=0, draw=("x", episode), turn=turn)

    def secret(episode: int) -> Privileged:
        line = f"open fridge {episode} " * 20
        skills = {"general": "", "task": "", "lines": [line], "compact_lines": [line], "claim_ids": []}
        return Privileged({"task_type": "heat", "skills": skills})

    for episode in range(200):
        block = reads.episode_block(secret(episode), view(episode, 0))
        assert block and f"open fridge {episode}" in block
        assert reads.episode_block(None, view(episode, 1)) == block
        assert reads._contexts.bytes <= 1 << 14
    assert reads.episode_block(None, view(0, 1)) is None  # over long ago
