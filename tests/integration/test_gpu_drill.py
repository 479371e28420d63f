"""The drill for a GPU, on a CPU: every part runs, and what it measures is what `sdar memory` reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as drill_module
from benchmarks.gpu.__main__ import PARTS, TRIAL, drill, tables
from benchmarks.gpu.machine import Device
from trainers.engine.run_time import Rates

CPU = Device(torch.device("cpu"), torch.float32)


def test_every_part_runs_on_a_cpu_and_its_rates_are_read_back(tmp_path: Path) -> None:
    found = drill("tiny", CPU, list(PARTS), TRIAL)
    assert found["failures"] == {} and set(PARTS) <= found.keys()
    path = tmp_path / "drill.json"
    path.write_text(json.dumps({"benchmark": "gpu", "figures": found}, allow_nan=False))
    rates = Rates.read(path)
    assert rates.bytes == 4 and rates.card == CPU.name
    exact = found["correctness"]
    assert exact["float32_device_cpu_max"] < 1e-4 and exact["sampler_trainer_float32_max"] < 1e-4
    assert 0 < exact["bfloat16_float32_mean"] < 0.1
    for name in ("update", "adapters"):
        assert found[name]["update_mfu"] > 0 and math.isfinite(found[name]["computed_over_peak"])
    assert found["iteration"]["over_first"]["grpo"] == 1.0 and found["iteration"]["over_first"]["sdar"] > 0
    assert found["iteration"]["methods"]["sdar"]["computed_seconds"] > 0
    text = "\n".join(tables(found))
    assert "of the bandwidth bound" in text and "FAILED" not in text


def test_a_part_that_fails_is_named_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(drill_module.correctness, "measure", broken)
    found = drill("tiny", CPU, ["machine", "correctness"], TRIAL)
    assert found["failures"] == {"correctness": "RuntimeError: out of memory"}
    assert found["machine"]["matmul_flops"] > 0 and "FAILED correctness" in "\n".join(tables(found))
