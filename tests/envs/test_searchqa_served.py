"""The environment over a retrieval server plays as it does here, and only where its own world is served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from retrieval_servers import closed_port, fake_server, scored

from sdar_envs.searchqa.corpus import MemoryCorpus


def test_an_environment_plays_over_a_server_as_it_does_here(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("faiss")
    pytest.importorskip("uvicorn")
    from sdar_envs.searchqa.env import SearchQAEnv

    home = str(tmp_path_factory.mktemp("cache"))
    command = [
        sys.executable,
        "-m",
        "trainers",
        "serve-retrieval",
        "--size",
        "small",
        "--split",
        "valid",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", home)
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            url = said[1].split()[2]
            kwargs: dict[str, Any] = {"size": "small", "topk": 1, "passage_style": "plain", "split": "valid"}
            here, there = SearchQAEnv(**kwargs), SearchQAEnv(**kwargs, retriever=url)
            for number in range(6):
                task = {"task_id": f"valid:{number:06d}"}
                (one, info), (other, _) = here.reset(options=task), there.reset(options=task)
                while info["privileged"]["plan"]:
                    assert one == other
                    action = info["privileged"]["next_action"]
                    (one, *rest), (other, *others) = here.step(action), there.step(action)
                    info = rest[-1]
                    assert rest == others
                assert info["success"]
            wrong = SearchQAEnv(**{**kwargs, "split": "test"}, retriever=url)
            with pytest.raises(ValueError, match=r"serves corpus .* --split test"):
                wrong.reset(seed=0)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_every_address_is_asked_whether_it_serves_the_world_of_the_questions():
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.corpus import fingerprint_of
    from sdar_envs.searchqa.env import SearchQAEnv
    from sdar_envs.searchqa.library import open_library

    world = open_library("small", "valid", 0, 0.85).world
    own = json.dumps({"corpus": fingerprint_of(MemoryCorpus(world.passages))}).encode()

    def respond(body: dict[str, Any], _: int) -> tuple[int, bytes]:
        return 200, scored(body["queries"])

    def made(*urls: str) -> SearchQAEnv:
        return SearchQAEnv(split="valid", size="small", retriever=urls)

    with (
        fake_server(respond, (200, own)) as (right, _),
        fake_server(respond, (200, b'{"corpus": "of another"}')) as (wrong, _),
        fake_server(respond, (200, b"ok")) as (silent, _),
        fake_server(respond, (503, b"")) as (busy, _),
    ):
        for urls in ((right,), (right, silent), (right, closed_port()), (busy, right)):
            assert made(*urls).reset(seed=0)[0]
        for urls in ((wrong,), (right, wrong), (closed_port(), busy, wrong)):
            with pytest.raises(ValueError, match=rf"^{wrong} serves corpus of another.*--split valid"):
                made(*urls).reset(seed=0)
