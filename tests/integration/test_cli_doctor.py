"""`sdar doctor`: every check is made whatever the others find, and the end is one verdict with one remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainers.cli import doctor_checks, main, threads
from trainers.cli.doctor_answers import Answer, Failed, Skipped, Subject
from trainers.cli.doctor_server import check_server

HERE = Subject("cpu", None, Path("runs"))


def with_checks(monkeypatch: pytest.MonkeyPatch, **checks: object) -> None:
    monkeypatch.setattr(doctor_checks, "CHECKS", checks)


def test_this_machine_is_ready_and_the_report_can_be_sent(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("SDAR_OFFICIAL_DATA", raising=False)
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    path = tmp_path / "doctor.json"
    assert main(["doctor", "--device", "cpu", "--json", str(path), "--output-dir", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "ready"
    assert "there is no GPU to compare with the CPU" in shown
    report = json.loads(path.read_text())
    assert report["ready"] and report["remedy"] is None
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert all(states[name] == "ok" for name in ("machine", "versions", "disk", "memory", "update"))
    assert states["decoding"] in ("ok", "advice")  # by what else the machine does
    assert {name for name, state in states.items() if state == "skipped"} - {"threads"} == {
        "published data", "log-probs, CPU and GPU", "generation server",
    }  # fmt: skip
    assert str(tmp_path) not in path.read_text() and str(Path.home()) not in path.read_text()


def test_one_remedy_is_that_of_the_first_failure_and_no_failure_hides_a_later_check(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    def fails(subject: Subject) -> Answer:
        raise Failed("it is broken", "mend it")

    def breaks(subject: Subject) -> Answer:
        raise RuntimeError("two\nlines")

    def skips(subject: Subject) -> Answer:
        raise Skipped("not here")

    with_checks(monkeypatch, first=lambda _: Answer("fine"), second=fails, third=breaks, fourth=skips)
    path = tmp_path / "doctor.json"
    assert main(["doctor", "--json", str(path)]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "not ready: mend it"
    assert "1 checks passed, 1 skipped, 2 failed" in shown and "RuntimeError: two lines" in shown
    assert json.loads(path.read_text())["remedy"] == "mend it"


def test_a_device_that_is_not_there_is_named_with_a_remedy(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(Failed, match="torch sees 0 GPUs") as caught:
        doctor_checks.check_machine(Subject("cuda:3", None, Path("runs")))
    assert "--device at auto" in caught.value.remedy


def test_a_driver_without_a_torch_that_sees_it_is_named(monkeypatch) -> None:
    monkeypatch.setattr(doctor_checks, "_driver", lambda: "550.54")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(Failed, match=r"torch .* sees no GPU") as caught:
        doctor_checks.check_machine(HERE)
    assert "pytorch.org" in caught.value.remedy


def test_a_sampler_that_answers_otherwise_than_generate_is_found(monkeypatch) -> None:
    monkeypatch.setattr("agents.sampling.local.BatchSampler.sample", lambda self, requests: [
        type("Sample", (), {"ids": (1, 2, 3)})() for _ in requests
    ])  # fmt: skip
    with pytest.raises(Failed, match="not that of generate"):
        doctor_checks.check_decode(HERE)


def test_a_step_that_takes_more_than_computed_is_found(monkeypatch) -> None:
    monkeypatch.setattr("trainers.cli.doctor_memory.measured_step", lambda *_: (3 << 30, 1 << 30))
    with pytest.raises(Failed, match=r"took 3\.0 GiB, and 1\.0 GiB were computed \(\+200%\)"):
        doctor_checks.check_memory(HERE)


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(Failed, match="does not answer as vLLM does") as caught:
        check_server(Subject("cpu", "http://127.0.0.1:9", Path("runs")))
    assert "--vllm-url" in caught.value.remedy


def test_weights_are_sent_to_a_server_which_then_has_the_trainers_log_probs(tiny_model_path) -> None:
    from vllm_protocol_server import ProtocolServer

    served, other = tiny_model_path("qwen3"), tiny_model_path("qwen3", pad="<|im_end|>")
    server = ProtocolServer(served).start()
    try:
        answer = check_server(Subject("cpu", server.url, Path("runs"), str(other)))
        assert "weights sent" in answer.line and answer.values["apart_mean"] < 1e-3
        assert "no weights were sent" in check_server(Subject("cpu", server.url, Path("runs"))).line
    finally:
        server.stop()


def test_a_machine_that_decodes_slowly_is_ready_and_is_told_what_to_look_at(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    with_checks(monkeypatch, decoding=doctor_checks.check_decode)
    path = tmp_path / "doctor.json"
    for least, state in ((0, "ok"), (10**9, "advice")):  # no machine is below none, and any is below a thousand million
        monkeypatch.setattr(doctor_checks, "SLOW_TOKENS", least)
        assert main(["doctor", "--device", "cpu", "--json", str(path)]) == 0
        shown = capsys.readouterr().out
        [record] = json.loads(path.read_text())["checks"]
        assert record["state"] == state and bool(record["advice"]) is (state == "advice")
        assert ("that is slow" in shown) is ("(1 with advice)" in shown) is (state == "advice")
        assert shown.splitlines()[-1] == "ready"


@pytest.mark.parametrize(("one", "all_of_them", "advised"), [(1000.0, 40.0, True), (1000.0, 900.0, False)])
def test_threads_that_wait_for_one_another_are_found_and_the_other_checks_compute_with_one(
    monkeypatch, one: float, all_of_them: float, advised: bool
) -> None:
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    monkeypatch.setattr(doctor_checks, "_products_per_second", lambda number: one if number == 1 else all_of_them)
    found = doctor_checks.check_threads(HERE)
    assert ("OMP_NUM_THREADS=1" in found.advice) is advised
    assert torch.get_num_threads() == (1 if advised else before + 1)
    threads.give_back_threads()
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


def test_products_are_counted_and_the_threads_put_back() -> None:
    before = torch.get_num_threads()
    assert doctor_checks._products_per_second(before + 1, least_seconds=0.0) > 0
    assert torch.get_num_threads() == before


def test_whoever_has_chosen_a_number_of_threads_is_not_asked_about_it(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(Skipped, match="chosen by OMP_NUM_THREADS"):
        doctor_checks.check_threads(HERE)
