"""Run directories: one run each, one process at a time, logs that a resume can cut."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainers.config import SDARConfig
from trainers.run.directory import JsonLines, RunDirectory, RunDirectoryError, read_json_lines
from trainers.run.log import RunLog

CONFIG = SDARConfig()


def test_a_directory_in_use_is_refused_and_says_by_whom(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "run", CONFIG)
    with pytest.raises(RunDirectoryError, match=r"is in use by process \d+ on .*choose another output_dir"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True)
    first.close()
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, os; from trainers.run.directory import RunDirectory; from trainers.config import SDARConfig; "
        "RunDirectory(sys.argv[1], SDARConfig()); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert done.returncode == 9
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()


def test_another_configuration_is_refused_with_the_options_that_differ(tmp_path: Path) -> None:
    RunDirectory(tmp_path, CONFIG).close()
    other = dataclasses.replace(CONFIG, gate_beta=1.0, seed=3)
    with pytest.raises(RunDirectoryError, match=r"gate_beta \(5.0 there, 1.0 here\), seed \(0 there, 3 here\)"):
        RunDirectory(tmp_path, other, resume=True)


def test_another_model_or_environment_is_refused(tmp_path: Path) -> None:
    RunDirectory(tmp_path, CONFIG, extra={"env_id": "a", "initial_weights": "x"}).close()
    with pytest.raises(RunDirectoryError, match="differs in initial_weights"):
        RunDirectory(tmp_path, CONFIG, resume=True, extra={"env_id": "a", "initial_weights": "y"})


def test_a_finished_part_is_not_overwritten_by_a_new_start(tmp_path: Path) -> None:
    RunDirectory(tmp_path, CONFIG).close()
    with pytest.raises(RunDirectoryError, match="resume_from_checkpoint=True"):
        RunDirectory(tmp_path, CONFIG)


@pytest.mark.parametrize("text", ["{", "", "[]", "\x00"])
def test_a_damaged_identity_is_named(tmp_path: Path, text: str) -> None:
    RunDirectory(tmp_path, CONFIG).close()
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"run\.json: expected the identity of a run"):
        RunDirectory(tmp_path, CONFIG, resume=True)


def test_options_that_change_no_result_may_change(tmp_path: Path) -> None:
    RunDirectory(tmp_path, CONFIG).close()
    other = dataclasses.replace(CONFIG, save_steps=7, max_steps=900, micro_batch_tokens=99, log_privileged=True)
    RunDirectory(tmp_path, other, resume=True).close()
    assert SDARConfig.from_yaml(tmp_path / "config.yaml") == other


def test_a_directory_says_what_made_it(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, CONFIG)
    directory.write_summary({"after": np.float64(0.5)})
    directory.close()
    assert json.loads((tmp_path / "summary.json").read_text()) == {"after": 0.5}
    assert {"python", "torch", "transformers"} <= set(json.loads((tmp_path / "versions.json").read_text()))
    assert not (tmp_path / "privileged.jsonl").exists()


def test_the_privileged_log_exists_only_when_asked_for(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, dataclasses.replace(CONFIG, log_privileged=True))
    assert set(directory.logs()) == {"metrics", "episodes", "privileged"}
    directory.close()


def test_a_log_is_cut_back_to_a_length_and_goes_on_there(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    length = log.flush(sync=True)
    log.write({"step": 2})
    log.close()
    again = JsonLines(tmp_path / "metrics.jsonl")
    again.cut(length)
    again.write({"step": 2, "text": "caf\u00e9 \ud800"})
    again.close()
    assert read_json_lines(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2, "text": "caf\u00e9 ?"}]
    shorter = JsonLines(tmp_path / "metrics.jsonl")
    with pytest.raises(RunDirectoryError, match="expected at least 999 bytes"):
        shorter.cut(999)


def test_a_figure_that_is_not_finite_is_null_in_the_log(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, CONFIG)
    RunLog(directory, CONFIG, str).metrics(1, {"loss": float("nan"), "kl": float("inf"), "entropy": 0.5})
    directory.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step":1,"loss":null,"kl":null,"entropy":0.5}\n'


def test_a_last_line_that_a_crash_cut_is_left_out_and_damage_inside_is_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1}\n{"step":2')
    assert read_json_lines(path) == [{"step": 1}]
    path.write_text('{"step":1\n{"step":2}\n')
    with pytest.raises(json.JSONDecodeError):
        read_json_lines(path)


@pytest.mark.parametrize(
    "name",
    [
        "metrics.jsonl",
        "run.json",
        ".lock",
        "config.yaml",
        "checkpoints",
        "checkpoints/step-00000001",
        "panels/test.json",
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path, name: str, resume: bool) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    if resume:
        RunDirectory(run, SDARConfig()).close()
    link = run / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    elsewhere.write_text("somebody's own")
    link.symlink_to(elsewhere)
    with pytest.raises(RunDirectoryError, match=f"{name} is a symbolic link .to .*elsewhere.*choose another") as caught:
        RunDirectory(run, SDARConfig(), resume=resume)
    assert "\n" not in str(caught.value)
    assert elsewhere.read_text() == "somebody's own" and link.is_symlink()


def test_a_run_directory_that_is_itself_a_link_is_where_somebody_wants_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    RunDirectory(tmp_path / "run", SDARConfig()).close()
    assert (tmp_path / "disk" / "run.json").is_file()


class FullDisk:
    """A file whose writes and flushes fail as on a full disk."""

    def write(self, line: bytes = b"") -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    flush = close = write


def test_a_log_on_a_full_disk_says_which_and_how_much_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    log.flush()
    monkeypatch.setattr(log, "_file", FullDisk())
    for call in (lambda: log.write({"step": 2}), log.flush, log.close):
        with pytest.raises(RunDirectoryError, match=r"metrics.jsonl: .*No space left.*MiB are free there.*resume"):
            call()


def test_a_summary_on_a_full_disk_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(tmp_path, CONFIG)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunDirectoryError, match=r"summary.json: .*No space left.*MiB are free there"):
        directory.write_summary({"after": 1})
    assert not list(tmp_path.glob(".partial-*")) and not (tmp_path / "summary.json").exists()
    directory.close()


@pytest.mark.parametrize("before", [False, True])
def test_the_privileged_log_is_for_its_owner_alone(tmp_path: Path, before: bool) -> None:
    if before:  # of an earlier part of the run, by whatever wrote it
        (tmp_path / "privileged.jsonl").touch(0o644)
    directory = RunDirectory(tmp_path, dataclasses.replace(CONFIG, log_privileged=True))
    assert directory.privileged is not None
    directory.privileged.write({"plan": ["take apple"]})
    directory.close()
    assert stat.S_IMODE((tmp_path / "privileged.jsonl").stat().st_mode) == 0o600


def test_a_log_that_is_shorter_than_a_checkpoint_says_or_ends_elsewhere_is_named(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    length = log.flush()
    log.write({"step": 2})
    log.close()
    assert log.misfit(length) == log.misfit(0) == ""
    assert "expected at least 1,000 bytes" in log.misfit(1000)
    assert "no line ends" in log.misfit(length + 1)
    assert "expected at least 12 bytes, got 0" in JsonLines(tmp_path / "absent.jsonl").misfit(12)
