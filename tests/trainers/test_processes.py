"""The place of a process in its run: what launchers set, and each mistake with its own message, before any waiting."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

import pytest
import torch

from benchmarks.forked_ranks import ForkedRanks
from trainers.config import SDARConfig
from trainers.engine import processes
from trainers.engine.agreement import RanksDifferError, require_agreement
from trainers.engine.processes import Place, ProcessesError, join, joined
from trainers.engine.rank_failures import is_of_collectives, says
from trainers.rollout.generation_server import own_url

COMPLETE = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("size", [None, "", "1"])
def test_one_process_has_no_place(size: str | None) -> None:
    assert Place.of({} if size is None else {"WORLD_SIZE": size, "RANK": "0"}) is None


def test_a_place_is_read_from_what_torchrun_sets() -> None:
    assert Place.of({**COMPLETE, "LOCAL_WORLD_SIZE": "2"}) == Place(3, 4, 1, 2)
    assert Place.of(COMPLETE) == Place(3, 4, 1, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "", "MASTER_ADDR": ""}, "RANK, MASTER_ADDR are not set.*torchrun --nproc-per-node"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT: expected a whole number, got 'http'"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE: expected a whole number, got '-2'"),
        ({"RANK": "4"}, "RANK: expected from 0 to 3 .* got 4"),
    ],
)
def test_half_a_place_is_refused_with_what_is_missing(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ProcessesError, match=words):
        Place.of({**COMPLETE, **changes})


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(5, 8, 1, 4)
    gpus(monkeypatch, 4)
    assert place.device("auto") == place.device("cuda") == torch.device("cuda", 1)
    assert place.device("cpu") == torch.device("cpu")
    gpus(monkeypatch, 0)
    assert place.device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("count", "device"), [(2, "auto"), (0, "cuda")])
def test_fewer_gpus_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch, count: int, device: str) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(
        ProcessesError, match=rf"4 processes on this machine, and torch sees {count} GPUs.*--device cpu"
    ):
        Place(1, 4, 1, 4).device(device)


def test_one_gpu_for_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 4)
    with pytest.raises(ProcessesError, match="expected auto, cuda or cpu, got 'cuda:0'"):
        Place(1, 4, 1, 4).device("cuda:0")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        port = holder.getsockname()[1]
        (ending,) = ForkedRanks.start(
            lambda: join(SDARConfig(device="cpu")), 1, variables=[{"WORLD_SIZE": "2"}], port=port
        ).wait(60)
    assert re.search(rf"ProcessesError: rank 0 of 2: the port .*127.0.0.1:{port}, is taken", str(ending.error))


def test_a_process_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT", 1.0)
    (ending,) = ForkedRanks.start(
        lambda: join(SDARConfig(device="cpu")), 1, variables=[{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}]
    ).wait(60)
    assert re.search("ProcessesError: .*(of 2 processes, rank 1 did not come|did not meet at)", str(ending.error))


def test_each_process_asks_a_generation_server_of_its_own() -> None:
    place = Place(3, 4, 1, 2)
    assert own_url(SDARConfig(vllm_url="http://one:8000"), None) == "http://one:8000"
    assert own_url(SDARConfig(vllm_url="http://one:800{rank}"), place) == "http://one:8003"
    with pytest.raises(ProcessesError, match=r"with 4 processes: .*'http://one:8000' for all.*\{rank\}"):
        own_url(SDARConfig(vllm_url="http://one:8000"), place)


class Told:
    """Processes whose facts are given."""

    rank = 0

    def __init__(self, facts: list[dict[str, Any]]) -> None:
        self.facts = facts
        self.world_size = len(facts)

    def gather(self, value: Any) -> list[Any]:
        assert value == self.facts[0]
        return self.facts


def test_facts_that_differ_are_named_with_the_ranks_that_have_them() -> None:
    same = {"torch": "2.13.0", "seed": 0}
    require_agreement(Told([same, dict(same), dict(same)]), same)
    with pytest.raises(
        RanksDifferError, match=r"seed is 0 on ranks 0, 2, 7 on rank 1; torch is '2.13.0' on ranks 0, 1"
    ):
        require_agreement(
            Told([{"seed": 0, "torch": "2.13.0"}, {"seed": 7, "torch": "2.13.0"}, {"seed": 0, "torch": "2.12.1"}]),
            {"seed": 0, "torch": "2.13.0"},
        )


def test_only_errors_of_collectives_are_taken_for_a_lost_process() -> None:
    lost = "[pair.cc:553] Connection closed by peer [127.0.0.1]:5030"
    assert is_of_collectives(RuntimeError(lost))
    assert is_of_collectives(torch.distributed.DistNetworkError("recv failed"))
    assert not is_of_collectives(RuntimeError("CUDA out of memory"))
    assert not is_of_collectives(ConnectionError("Connection refused"))  # an environment's own server, perhaps
    assert not is_of_collectives(ProcessesError("the port is taken"))


def test_before_they_meet_the_first_process_of_a_machine_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined() is None
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "1")
    assert not says(ProcessesError("fewer GPUs than processes"))
    assert says(ValueError("of this process alone"))
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "0")
    assert says(ProcessesError("fewer GPUs than processes"))
