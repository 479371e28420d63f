"""Runs whose completions come from a generation server, which is sent the weights at every iteration."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, save_model
from vllm_protocol_server import ProtocolServer

from agents.sampling.vllm.client import GenerationServerError
from agents.sampling.vllm.nccl import Control, DirectTransfer
from agents.sampling.vllm.sampler import VllmSampler
from trainers import cli
from trainers.cli.unused_options import unread
from trainers.config import SDARConfig
from trainers.run.directory import read_json_lines

SERVER = {"rollout": "vllm", "vllm_timeout": 60.0, "vllm_wait": 60.0, "vllm_concurrency": 8}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ProtocolServer]:
    """Starts with other weights than those that are trained."""
    torch.manual_seed(1)
    folder = save_model(tmp_path / "served")
    server = ProtocolServer(folder).start()
    with torch.no_grad():
        for parameter in server.model.parameters():
            parameter.mul_(1.1)
    yield server
    server.stop()


def trainer_on(server: ProtocolServer, folder: Path, **changes: Any) -> Any:
    return make_trainer(folder, **{**SERVER, "vllm_url": server.url, **changes})


def sampler_of(trainer: Any) -> VllmSampler:
    assert isinstance(trainer.policies.sampler, VllmSampler)
    return trainer.policies.sampler


@pytest.mark.parametrize("method", ["grpo", "sdar", "sdar-soft-or"])
def test_a_run_learns_from_what_the_server_samples_with_its_newest_weights(
    server: ProtocolServer, tmp_path: Path, method: str
) -> None:
    trainer = trainer_on(server, tmp_path, method=method, max_steps=2, eval_episodes=2)
    trainer.train()
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    trained = [line for line in lines if "loss" in line]
    assert len(trained) == 2
    for line in trained:
        # The tokens' log-probs are the trainer's, and so are the server's after the update.
        assert line["tokens/sampled"] > 0 and line["sampling/logp_diff_max"] < 1e-4
        assert line["server/logp_diff_max"] < 1e-4 and line["server/weights_lost"] == 0
        assert line["sampling/entropy"] is None  # a server tells the log-probs of twenty tokens, and no entropy
        assert not any(name.startswith("health/entropy") for name in line)
    assert trained[0]["grad_norm"] > 0
    reloads = [body["kwargs"]["weights_path"] for path, body in server.log if path == "/collective_rpc"]
    assert [Path(path).name for path in reloads] == ["v000000", "v000001", "v000002"]
    assert not (tmp_path / "run" / "server_weights").exists()
    assert "NaN" not in (tmp_path / "run" / "episodes.jsonl").read_text(encoding="utf-8")
    # A seed of its own for every member of a group at every turn.
    train = [(tuple(body["prompt"]), body["seed"]) for body in server.completions()]
    assert len(set(train)) > 0.9 * len(train)


def test_a_run_through_a_server_that_is_restarted_is_the_run_through_one_that_is_not(
    server: ProtocolServer, tmp_path: Path
) -> None:
    results = []
    for restarts in (False, True):
        folder = tmp_path / str(restarts)
        folder.mkdir()
        trainer = trainer_on(server, folder, method="grpo", max_steps=2, eval_episodes=2, sampler_batch=3)
        if restarts:

            def dies(body: dict[str, Any], answer: dict[str, Any]) -> Any:
                server.restart()
                return answer

            server.faults.extend([lambda body, answer: answer] * 15 + [dies])
        trainer.train()
        assert bool(sampler_of(trainer).restored) == restarts
        episodes = read_json_lines(folder / "run" / "episodes.jsonl")
        results.append([[turn["completion"] for turn in each["turns"]] for each in episodes])
    assert results[0] == results[1] and len(results[0]) > 20


def test_weights_that_come_from_elsewhere_in_the_middle_end_the_run_before_it_learns(
    server: ProtocolServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.sampling.vllm.sampler.PROBE_EVERY_S", 1e9)  # or a slow machine would notice before
    trainer = trainer_on(server, tmp_path, method="grpo", max_steps=2, eval_episodes=2, collection="asynchronous")
    trainer._sync_sampler(0)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}

    def changes(body: dict[str, Any], answer: dict[str, Any]) -> Any:
        with torch.no_grad():
            for parameter in server.model.parameters():
                parameter.mul_(1.1)
        server._computed.clear()
        return answer

    server.faults.extend([lambda body, answer: answer] * 5 + [changes])
    with pytest.raises(
        GenerationServerError, match=r"no longer holds the weights of version 0.*nothing is trained on it"
    ):
        trainer.iteration()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_a_run_with_adapters_sends_them_alone_and_the_base_model_stays(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = save_model(tmp_path / "model")
    server = ProtocolServer(folder).start()
    before = {name: tensor.clone() for name, tensor in server.model.state_dict().items()}
    trainer = trainer_on(server, tmp_path, method="grpo", max_steps=2, eval_episodes=2, lora=True, lora_rank=4)
    trainer.train()
    server.stop()
    lines = [line for line in read_json_lines(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert all(line["sampling/logp_diff_max"] < 1e-4 and line["server/logp_diff_max"] < 1e-4 for line in lines)
    loaded = [body["lora_name"] for path, body in server.log if path == "/v1/load_lora_adapter"]
    assert [name.rsplit("-", 1)[1] for name in loaded] == ["v0", "v1", "v2"] and len(set(loaded)) == 3
    assert {body["model"] for body in server.completions()} == set(loaded)
    assert not server.adapters  # the run has taken them away
    assert "/collective_rpc" not in server.paths()
    assert all(torch.equal(tensor, before[name]) for name, tensor in server.model.state_dict().items())


def test_the_end_of_a_run_with_adapters_does_not_wait_for_a_server_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("peft")
    server = ProtocolServer(save_model(tmp_path / "model")).start()
    trainer = trainer_on(server, tmp_path, method="grpo", lora=True, vllm_wait=1e6)
    trainer._sync_sampler(0)
    server.stop()
    sampler_of(trainer).close()  # would take days
    assert "was not told that the run has ended" in caplog.text and sampler_of(trainer).client.wait == 1e6


def test_adapters_on_another_base_model_are_refused_before_anything_is_sampled(
    server: ProtocolServer, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    trainer = trainer_on(server, tmp_path, method="grpo", lora=True, lora_rank=4)
    with pytest.raises(GenerationServerError, match=r"does not sample from the weights.*no other run has sent whole"):
        trainer.train()
    assert not any(body["max_tokens"] > 1 for body in server.completions())


def test_a_server_without_adapters_is_named_with_its_flags(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    server = ProtocolServer(save_model(tmp_path / "model"), lora=False).start()
    with pytest.raises(GenerationServerError, match=r"--enable-lora .* VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        trainer_on(server, tmp_path, method="grpo", lora=True)
    with pytest.raises(ValueError, match="vllm_weights=adapter sends LoRA adapters, and the model has none"):
        trainer_on(server, tmp_path, method="grpo", vllm_weights="adapter")
    with pytest.raises(ValueError, match="vllm_weights=nccl sends whole weights, and with lora only adapters change"):
        trainer_on(server, tmp_path, method="grpo", vllm_weights="nccl", lora=True)
    server.stop()


def test_a_colocated_server_sleeps_exactly_while_the_trainer_computes(server: ProtocolServer, tmp_path: Path) -> None:
    trainer = trainer_on(server, tmp_path, method="sdar", max_steps=2, eval_episodes=2, vllm_colocate=True)
    asleep: list[bool] = []
    update = trainer.updater.update
    trainer.updater.update = lambda *args: [asleep.append(bool(server.asleep)), update(*args)][1]
    trainer.train()
    assert asleep == [True, True] and not server.asleep
    assert server.paths().count("/sleep") == 2
    lines = [line for line in read_json_lines(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert all(line["sampling/logp_diff_max"] < 1e-4 for line in lines)


def test_a_resumed_run_sends_the_weights_of_its_checkpoint(server: ProtocolServer, tmp_path: Path) -> None:
    trainer_on(server, tmp_path, method="grpo", max_steps=1, eval_episodes=2).train()
    server.restart()
    server.log.clear()
    resumed = trainer_on(server, tmp_path, method="grpo", max_steps=2, eval_episodes=2)
    resumed.train(resume_from_checkpoint=True)
    reloads = [body["kwargs"]["weights_path"] for path, body in server.log if path == "/collective_rpc"]
    assert [Path(path).name for path in reloads] == ["v000001", "v000002"]


def test_evaluation_by_hand_needs_no_training_before_or_after(server: ProtocolServer, tmp_path: Path) -> None:
    trainer = trainer_on(server, tmp_path, method="grpo", max_steps=1, eval_episodes=2)
    first = trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    assert first.overall.episodes == 2
    sampler_of(trainer).close()


def test_an_iteration_from_other_weights_than_its_own_is_refused(server: ProtocolServer, tmp_path: Path) -> None:
    trainer = trainer_on(server, tmp_path, method="grpo", max_steps=3)
    with pytest.raises(GenerationServerError, match="holds the weights of version -1, and iteration 0 learns from"):
        trainer.iteration()
    trainer._sync_sampler(0)
    trainer.state.step = 1
    with pytest.raises(GenerationServerError, match="holds the weights of version 0, and iteration 1 learns from"):
        trainer.iteration()


# Tensors over NCCL: the calls to the server are vLLM's, and the tensors go through a queue instead of a network.


class QueueSender:
    """A sender as vLLM's trainers have it: metadata in the update, tensors in the same order meanwhile."""

    made: int = 0

    def __init__(
        self,
        inbox: queue.Queue[tuple[str, torch.Tensor]],
        model: Any,
        control: Control,
        address: str,
        port: int,
        size: int,
    ) -> None:
        QueueSender.made += 1
        self.inbox, self.model, self.control = inbox, model, control
        self.open = True
        info = {"master_address": address, "master_port": port, "rank_offset": 1, "world_size": size, "packed": True}
        control.init_weight_transfer_engine(info)

    def send_weights(self) -> None:
        assert self.open
        named = [(name, parameter.detach().clone()) for name, parameter in self.model.named_parameters()]
        self.control.start_weight_update()
        for pair in named:
            self.inbox.put(pair)
        self.control.update_weights(
            {
                "names": [name for name, _ in named],
                "dtype_names": [str(tensor.dtype).split(".")[-1] for _, tensor in named],
                "shapes": [list(tensor.shape) for _, tensor in named],
            }
        )
        self.control.finish_weight_update()

    def shutdown(self) -> None:
        self.open = False


def test_tensors_are_sent_directly_and_the_group_is_made_anew_after_a_restart(
    server: ProtocolServer, tmp_path: Path
) -> None:
    trainer = trainer_on(server, tmp_path, method="grpo", max_steps=2, eval_episodes=2)
    sampler, QueueSender.made = sampler_of(trainer), 0
    made = lambda *args: QueueSender(server.inbox, *args)  # noqa: E731
    sampler.transport = DirectTransfer(sampler.client, "served-model", make_sender=made, timeout=30.0)
    sampler.transport.check()
    trainer._sync_sampler(0)
    server.restart()
    trainer.iteration()
    assert sampler.restored == 1 and QueueSender.made == 2
    assert sampler.last_sync is not None and sampler.last_sync.apart.largest < 1e-4
    assert server.group is not None and server.group["world_size"] == 2 and server.group["rank_offset"] == 1
    assert server.version.endswith("-v1") and "/collective_rpc" not in server.paths()


def test_a_transfer_that_fails_or_hangs_ends_with_an_error_in_time(server: ProtocolServer, tmp_path: Path) -> None:
    trainer = trainer_on(server, tmp_path, method="grpo")
    sampler = sampler_of(trainer)

    class Hangs(QueueSender):
        def send_weights(self) -> None:
            queue.Queue().get(timeout=20)  # type: ignore[var-annotated]

    class Fails(QueueSender):
        def send_weights(self) -> None:
            raise RuntimeError("NCCL error: unhandled system error")

    for kind, why in ((Hangs, "it took too long"), (Fails, "RuntimeError: NCCL error")):
        server.group = None
        sampler.transport = DirectTransfer(
            sampler.client, "served-model", make_sender=lambda *args, k=kind: k(server.inbox, *args), timeout=1.0
        )
        with pytest.raises(GenerationServerError, match=rf"failed to send the weights over NCCL \({why}"):
            trainer._sync_sampler(0)
        assert server.version.endswith("-loading")  # of no version, so nothing that it says now could be trained on


def test_without_vllm_here_the_way_over_nccl_is_refused_at_the_start(server: ProtocolServer, tmp_path: Path) -> None:
    with pytest.raises(
        GenerationServerError, match=r"vllm_weights=nccl sends with vLLM's own sender.*vllm_weights=reload"
    ):
        trainer_on(server, tmp_path, method="grpo", vllm_weights="nccl")


# The command line.


def test_a_closed_port_is_said_before_the_warm_start_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    flags = ["--rollout", "vllm", "--vllm-url", url, "--output-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert cli.main(["train", "--env", "sdar/Household-v0", *flags]) == 2
    said = capsys.readouterr()
    assert f"sdar train: no generation server answers at {url}" in said.err and "warm start" not in said.out
    assert not (tmp_path / "run").exists()


def test_the_options_are_of_a_server_alone_and_the_digest_knows_only_who_samples() -> None:
    plain, served = SDARConfig(), SDARConfig(rollout="vllm")
    assert plain.digest() != served.digest()
    assert served.digest() == SDARConfig(rollout="vllm", vllm_url="http://other:1", vllm_tries=9).digest()
    with pytest.raises(ValueError, match="vllm_url: expected the address"):
        SDARConfig(rollout="vllm", vllm_url="nonsense://x")
    assert json.loads(json.dumps(plain.to_dict()))["rollout"] == "local"
    said = unread(SDARConfig(vllm_tries=9, vllm_memory_share=0.3), ["vllm_tries", "vllm_memory_share"])
    assert said == ["vllm_memory_share, vllm_tries are not read: rollout is local, and no server is asked"]
    said = unread(SDARConfig(rollout="vllm", vllm_memory_share=0.3), ["vllm_tries", "vllm_memory_share"])
    assert said == ["vllm_memory_share is not read: vllm_colocate is off, and the server has a card of its own"]
