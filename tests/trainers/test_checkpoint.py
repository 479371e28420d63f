"""Checkpoints: complete or absent; damage is found, named and passed over; nothing is unpickled."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainers.engine import checkpoint
from trainers.engine.checkpoint import (
    CheckpointError,
    CheckpointStore,
    load_optimizer_state,
    open_checkpoint,
    optimizer_state,
)


def write_model(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))


def save(store: CheckpointStore, step: int) -> Path:
    return store.save(step, write_model, {"value": step * 0.1}, optimizer={"w/exp_avg": torch.full((3,), float(step))})


def test_the_newest_checkpoint_comes_back_with_its_state(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.newest() is None
    for step in (1, 2, 10):
        save(store, step)
    newest = store.newest()
    assert newest is not None and (newest.step, newest.state()["value"]) == (10, 1.0)
    assert newest.path.name == "step-00000010"
    assert not [path for path in newest.path.iterdir() if path.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_old_checkpoints_go_only_beyond_the_limit(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(5):
        save(store, step)
    assert [path.name for path in store.paths()] == ["step-00000003", "step-00000004"]
    assert not list(tmp_path.glob(".tmp*"))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "training_state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "append", "delete"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    path = save(store, 2) / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 1
        damaged = {"flip": bytes(flipped), "cut": content[:-5], "empty": b"", "append": content + b" x"}[damage]
        path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        newest = store.newest()
    assert newest is not None and newest.step == 1
    assert "step-00000002" in caplog.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_changed_byte_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = save(CheckpointStore(tmp_path), 3)
    file = data.draw(st.sampled_from(sorted(p for p in path.iterdir())))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        damaged = file.name != "manifest.json" or json.loads(content) != json.loads(before)
    except ValueError:
        damaged = True
    if damaged:
        with pytest.raises(CheckpointError, match="step-00000003"):
            open_checkpoint(path)


def test_when_no_checkpoint_is_whole_nothing_starts_over_silently(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (save(store, 1) / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint verifies:\n.*model.safetensors: expected 256 bytes, got 0"
    ):
        store.newest()


class FailingCalls:
    """Makes the n-th call of a function fail with an error of the file system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
        self.left = number
        self.code = code
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "write_text"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, function: Any) -> Any:
        def failing(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return function(*args, **kwargs)

        return failing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_whichever_write_fails_the_checkpoint_before_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    number = 0
    while True:
        number += 1
        store = CheckpointStore(tmp_path / str(number))
        save(store, 1)
        with monkeypatch.context() as patch:
            calls = FailingCalls(patch, number, code)
            try:
                save(store, 2)
            except CheckpointError as error:
                assert os.strerror(code) in str(error) and "MiB are free" in str(error)
            survived = calls.left > 0
        newest = store.newest()
        assert newest is not None and newest.step in (1, 2)
        if survived:
            break
    assert number > 10  # so many operations were made to fail


class OwnError(Exception):
    """As safetensors and tokenizers raise where a disk is full: of their own class, and no `OSError`."""


@pytest.mark.parametrize("error", [OwnError("No space left on device"), ValueError("cannot write"), MemoryError()])
def test_whatever_class_a_writers_error_has_the_sentence_comes_and_nothing_is_left(
    tmp_path: Path, error: Exception
) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)

    def fail(folder: Path) -> None:
        write_model(folder)
        raise error

    with pytest.raises(CheckpointError, match=r"step-00000002 was not written: .*MiB are free.*untouched") as raised:
        store.save(2, fail, {})
    assert raised.value.__cause__ is error
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_an_interrupted_write_leaves_nothing_either(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CheckpointStore(tmp_path).save(2, fail, {})
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_really_full_gives_the_sentence_too(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    child = (
        "import resource, sys, torch; from pathlib import Path; from trainers.engine.checkpoint import *\n"
        "store = CheckpointStore(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: store.save(1, lambda folder: None, {}, optimizer={'w': torch.zeros(1 << 16)})\n"
        "except CheckpointError as error: print(error)"
    )
    assert resource
    done = subprocess.run([sys.executable, "-c", child, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "was not written" in done.stdout and "MiB are free" in done.stdout
    assert not list(tmp_path.iterdir())


def test_any_number_can_be_saved_and_comes_back(tmp_path: Path) -> None:
    state = {"rate": math.nan, "arms": [math.inf, -math.inf, 0.1], "count": np.int64(3), "one": np.float32(0.5)}
    store = CheckpointStore(tmp_path)
    store.save(1, write_model, state)
    newest = store.newest()
    assert newest is not None
    back = newest.state()
    assert math.isnan(back["rate"]) and back["arms"] == [math.inf, -math.inf, 0.1]
    assert (back["count"], back["one"]) == (3, 0.5)
    text = (newest.path / "training_state.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_checkpoint_that_does_not_fit_is_passed_over_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        save(store, step)
    newest = store.newest(unfit=lambda found: "its log is short" if found.step == 2 else "")
    assert newest is not None and newest.step == 1
    assert "step-00000002: its log is short; trying the one before" in caplog.text
    with pytest.raises(CheckpointError, match="step-00000001: its log is short"):
        store.newest(unfit=lambda found: "its log is short")


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    store.save(1, write_model, {"value": "again"})
    newest = store.newest()
    assert newest is not None and newest.state()["value"] == "again"


@pytest.mark.parametrize("make", [torch.optim.AdamW, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)])
def test_an_optimiser_goes_on_exactly_where_it_stood(tmp_path: Path, make: Any) -> None:
    def steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    straight = torch.nn.Linear(3, 2)
    resumed = torch.nn.Linear(3, 2)
    resumed.load_state_dict(straight.state_dict())
    one = make(straight.parameters(), lr=0.1)
    steps(straight, one, 2)
    tensors, numbers = optimizer_state(one, list(straight.named_parameters()))
    path = CheckpointStore(tmp_path).save(2, write_model, {"numbers": numbers}, optimizer=tensors)
    resumed.load_state_dict(straight.state_dict())
    other = make(resumed.parameters(), lr=0.1)
    saved = open_checkpoint(path).state()["numbers"]
    load_optimizer_state(other, list(resumed.named_parameters()), path / checkpoint.OPTIMIZER, saved)
    steps(straight, one, 2)
    steps(resumed, other, 2)
    assert torch.equal(straight.weight, resumed.weight) and torch.equal(straight.bias, resumed.bias)


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    model = torch.nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="expected state of this model's parameters, got w"):
        load_optimizer_state(
            torch.optim.AdamW(model.parameters()), list(model.named_parameters()), path / checkpoint.OPTIMIZER, {}
        )
