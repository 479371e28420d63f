"""A drill of something that is broken on purpose says so: each of them, in each way that it counts.

Some 12 CPU seconds in all, of which 4 are imports.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_run import write_run
from scripted_agents import ParityWorld

from sdar_envs.files import write_file
from sdar_envs.hostile import FIXED
from trainers.drills import attacks, corrupt, faults, hostile, leaks, resume, servers
from trainers.drills.catalogue import run_drill
from trainers.drills.small_run import DrillSubject, forked, wait
from trainers.drills.tally import Tally
from trainers.engine import checkpoint
from trainers.evaluation.evaluation_set import EvaluationSet
from trainers.run.directory import JsonLines

SUBJECT = DrillSubject(ParityWorld, workers=0)


# --- hostile ---


class FragileWorld(ParityWorld):
    """Breaks on a NUL, and answers otherwise every time it is asked."""

    calls = itertools.count()

    def step(self, action: str) -> Any:
        if "\x00" in action:
            raise ValueError("a NUL")
        observation, *rest = super().step(action)
        return f"{observation} {next(self.calls)}", *rest


def test_the_hostile_drill_finds_an_environment_that_breaks_or_differs() -> None:
    mine, _ = run_drill("hostile", DrillSubject(FragileWorld, workers=0), tries=200)
    assert mine.lost and mine.silent and not mine.passed
    assert any("ValueError at test_drill_controls.py" in example for example in mine.examples)


def test_every_text_of_the_list_is_read_as_an_observation_in_time() -> None:
    seen: list[str] = []
    renderer: Any = SimpleNamespace(
        encode_text=lambda text: seen.append(text) or [], tokenizer=SimpleNamespace(all_special_ids=[])
    )
    tally = Tally("hostile")
    for number in range(2 * len(FIXED) // 10 + 1):
        hostile._read_texts(renderer, number, tally)
    assert {text[: hostile._READ] for text in FIXED} <= set(seen)
    assert tally.passed


def test_a_text_that_becomes_a_control_token_and_one_that_raises_are_found() -> None:
    def encode(text: str) -> list[int]:
        if text == "\x00":
            raise ValueError("a NUL")
        return [2] if text == " " else [7]

    renderer: Any = SimpleNamespace(encode_text=encode, tokenizer=SimpleNamespace(all_special_ids=[0, 1, 2]))
    tally = Tally("hostile")
    hostile._read_texts(renderer, 0, tally)
    assert (tally.lost, tally.silent) == (1, 1)
    assert any("control tokens [2]" in example for example in tally.examples)


# --- faults ---


class ChangingWorld(ParityWorld):
    """Tells another story in every process and at every time."""

    def step(self, action: str) -> Any:
        observation, *rest = super().step(action)
        return f"{observation} {os.urandom(8).hex()}", *rest


def test_an_episode_that_comes_out_otherwise_is_silent_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "EPISODES", 3)
    monkeypatch.setattr(faults, "KINDS", ("print",))
    mine, _ = run_drill("faults", DrillSubject(ChangingWorld, workers=2), tries=3)
    assert mine.silent and not mine.passed


# --- corrupt ---


def test_damaged_files_are_found_and_so_is_a_reader_that_believes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, _ = run_drill("corrupt", SUBJECT, tries=30)
    assert mine.passed, mine.examples
    assert {kind.partition(":")[0] for kind in mine.kinds} >= {"checkpoint", "evaluation set", "log"}

    def believing(path: str | Path) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(Path(path), int(Path(path).name[5:]))

    monkeypatch.setattr(checkpoint, "open_checkpoint", believing)
    mine, _ = run_drill("corrupt", SUBJECT, tries=20)
    assert mine.silent and not mine.passed


def test_readers_that_believe_a_damaged_evaluation_set_or_a_log_that_was_cut_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = EvaluationSet.load
    monkeypatch.setattr(corrupt, "EvaluationSet", SimpleNamespace(load=_believing(other)))
    monkeypatch.setattr(JsonLines, "misfit", lambda self, length: "")
    mine, _ = run_drill("corrupt", SUBJECT, tries=40)
    assert {example.split(":")[1].strip() for example in mine.examples if example.startswith("silent")} == {
        "evaluation set",
        "log",
    }


def _believing(load: Any) -> Any:
    """A reader that takes whatever is there."""

    def believing(path: Path) -> Any:
        try:
            return load(path)
        except (OSError, ValueError):
            return "whatever is there"

    return believing


# --- resume ---


def test_waiting_for_a_run_ends_with_the_run(tmp_path: Path) -> None:
    began = time.monotonic()
    child = forked(lambda: None, tmp_path / "output.txt")
    resume._wait_for(tmp_path / "never", child)
    assert wait(child).status == 0
    assert time.monotonic() - began < 60  # and not the patience for a whole run


# --- servers ---


def test_other_hits_another_order_and_other_scores_are_a_wrong_answer() -> None:
    right = [[("a", 0.9), ("b", 0.5)], [("c", 0.1)]]
    assert not servers.differs([[("a", 0.9 + 1e-6), ("b", 0.5)], [("c", 0.1)]], right)
    for wrong in (
        [[("b", 0.9), ("a", 0.5)], [("c", 0.1)]],
        [[("a", 0.9), ("b", 0.4)], [("c", 0.1)]],
        [[("a", 0.9)], [("c", 0.1)]],
        [[("a", 0.9), ("b", 0.5)]],
    ):
        assert servers.differs(wrong, right)


@contextmanager
def _serving(answer: bytes) -> Iterator[int]:
    """A server that reads whatever comes and answers the same to everybody; with no answer it holds the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while self.request.recv(1 << 16):
                    pass
            if answer:
                self.request.sendall(answer)
            else:
                time.sleep(1.0)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


REFUSED = sorted(
    name.replace("_", " ")
    for name in (
        *("huge_length", "negative_length", "bad_chunks", "two_lengths", "nonsense", "long_head", "foreign_host"),
        *("traversal", "no_origin", "deep_json"),
    )
)


@pytest.mark.parametrize("name", REFUSED)
def test_a_server_that_obeys_an_attack_is_found(name: str) -> None:
    with _serving(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as port:
        assert "200" in attacks.ATTACKS[name](port, b"/start")
    with _serving(b"HTTP/1.1 500 No\r\n\r\nTraceback (most recent call last)") as port:
        assert "traceback" in attacks.ATTACKS[name](port, b"/start") or name in (
            "long head",
            "deep json",
            "huge length",
        )


@pytest.mark.parametrize("name", ["half head", "half body", "body after answer"])
def test_a_server_that_holds_half_a_request_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "HELD", 0.3)
    with _serving(b"") as port:
        assert "held" in attacks.ATTACKS[name](port, b"/start")


# --- leaks ---


def _used_run(place: Path) -> Path:
    """A run and what commands made of it."""
    write_run(place / "run", iterations=1)
    (place / "pages").mkdir()
    write_file(place / "pages" / leaks.REPORT, "<html></html>")
    return place


@pytest.mark.parametrize(("raised", "kind"), [(True, "lost"), (False, "survived")])
def test_an_exception_of_which_nothing_was_said_would_hide_what_this_drill_looks_for(
    raised: bool, kind: str, tmp_path: Path
) -> None:
    place = _used_run(tmp_path)
    write_file(place / "output.txt", "nothing")
    tally = Tally("leaks")
    leaks._search(place, "abcdefgh", "qrstuvwx", False, tally, raised=raised)
    assert getattr(tally, kind) >= 1 and tally.passed == (kind == "survived")


def test_a_report_that_was_not_written_is_lost(tmp_path: Path) -> None:
    place = _used_run(tmp_path)
    (place / "pages" / leaks.REPORT).unlink()
    write_file(place / "pages" / "commands.txt", "sdar report: no")
    tally = Tally("leaks")
    leaks._search(place, "abcdefgh", "qrstuvwx", False, tally, raised=False)
    assert tally.lost == 1 and "sdar report: no" in tally.examples[0]


def test_a_secret_is_found_however_it_is_disguised() -> None:
    secret = "abcdefghijklmnop"
    coded = [base64.b64encode(b"x" * shift + secret.encode() + b"yz") for shift in range(4)]
    for content in (
        secret.encode(),
        secret.upper().encode(),
        secret[::-1].encode(),
        secret.encode().hex().encode(),
        *coded,
    ):
        assert leaks._holds(b"before " + content + b" after", secret)
    assert not leaks._holds(b"nothing of abcdefghijklmno", secret)


def test_a_secret_in_a_file_of_the_run_is_silent_damage(tmp_path: Path) -> None:
    place = _used_run(tmp_path)
    write_file(place / "output.txt", "the exception said qrstuvwx")
    for name, content in (("privileged.jsonl", "abcdefgh"), ("episodes.jsonl", _tokens_of("abcdefgh"))):
        with (place / "run" / name).open("a", encoding="utf-8") as file:
            file.write(content + "\n")
    tally = Tally("leaks")
    leaks._search(place, "abcdefgh", "qrstuvwx", False, tally, raised=True)
    assert sorted(example.split()[3] for example in tally.examples) == ["run/episodes.jsonl", "run/privileged.jsonl"]


def _tokens_of(secret: str) -> str:
    return json.dumps({"schema": "sdar/episode/1", "turns": [{"tokens": {"text": list(secret)}, "observation": ""}]})
