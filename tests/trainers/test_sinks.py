"""Further sinks by name: what a metric line holds arrives there, step by step."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from trainers.config import SDARConfig
from trainers.run.directory import RunDirectory
from trainers.run.log import RunLog
from trainers.run.sinks import SINKS

LINES = [(0, {"valid/success_rate": 0.125}), (1, {"success": 0.25, "kl": 0.002}), (2, {"success": 0.5, "kl": math.nan})]


def write_lines(folder: Path, *sinks: str) -> RunDirectory:
    config = SDARConfig(output_dir=str(folder), report_to=sinks)
    directory = RunDirectory(folder, config)
    log = RunLog(directory, config, str)
    for step, figures in LINES:
        log.metrics(step, figures)
    log.close()
    directory.close()
    return directory


def test_every_sink_has_the_name_of_its_package():
    assert set(SINKS) == {"tensorboard", "wandb"}


def test_tensorboard_gets_every_number_as_a_scalar(tmp_path: Path):
    pytest.importorskip("tensorboard", reason='pip install "sdar-gym[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_lines(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"valid/success_rate", "success", "kl"}
    assert [(event.step, event.value) for event in events.Scalars("success")] == [(1, 0.25), (2, 0.5)]
    assert math.isnan(events.Scalars("kl")[1].value)


def test_wandb_gets_every_line_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    seen: list[tuple[int, dict[str, float]]] = []
    log = wandb.Run.log

    def watched(run, data, step=None, **options):
        seen.append((step, dict(data)))
        return log(run, data, step=step, **options)

    monkeypatch.setattr(wandb.Run, "log", watched)
    write_lines(tmp_path / "house", "wandb")
    assert seen[:2] == LINES[:2]
    assert (seen[2][0], seen[2][1]["success"]) == (2, 0.5)
    # The run is on disk, under its own name, to be uploaded by who wants to: `wandb sync`.
    (written,) = (tmp_path / "house").glob("wandb/offline-run-*/*.wandb")
    for _ in range(200):  # its service writes the file a moment after the run was finished
        content = written.read_bytes()
        if b"0.125" in content:
            break
        time.sleep(0.05)
    assert b"house" in content and b"valid/success_rate" in content and b"0.125" in content
