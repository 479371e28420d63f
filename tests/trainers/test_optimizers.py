"""The optimiser of a configuration, its 8-bit form, and its state in host memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainers.config import SDARConfig
from trainers.engine.checkpoint import CheckpointStore, load_optimizer_state, optimizer_state
from trainers.engine.optimizers import HostState, make_optimizer, set_rate, step_scope
from trainers.engine.updater import MasterWeights

CPU = torch.device("cpu")


def problem(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A layer that is large enough for 8-bit moments, and one that is not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 3)).to(dtype)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    """Steps on the gradients of a fixed quadratic."""
    for number in numbers:
        for place, parameter in enumerate(model.parameters()):
            wave = torch.sin(torch.arange(parameter.numel()).reshape(parameter.shape) * (number + 1.0) + place)
            parameter.grad = parameter.detach().float() + 0.1 * wave
        with step_scope(CPU):
            optimizer.step()


def of(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    config = SDARConfig(**{"learning_rate": 1e-2, "weight_decay": 0.0, **options})
    return make_optimizer(config, list(model.named_parameters()))


def test_eight_bit_moments_take_a_quarter_and_lead_nearly_where_float32_leads() -> None:
    pytest.importorskip("torchao")
    found = {}
    for optim in ("adamw", "adamw_8bit"):
        model = problem()
        start = [p.detach().clone() for p in model.parameters()]
        optimizer = of(model, optim=optim)
        steps(model, optimizer, range(20))
        found[optim] = torch.cat([(p - s).detach().flatten() for p, s in zip(model.parameters(), start, strict=True)])
        tensors, _ = optimizer_state(optimizer, list(model.named_parameters()))
        large = {name: t for name, t in tensors.items() if name.startswith("0.weight/exp_avg")}
        size = sum(t.numel() * t.element_size() for t in large.values())
        assert size == (64 * 128 * 8 if optim == "adamw" else 64 * 128 * 2 + 2 * 4 * 64 * 128 // 256)
    apart = (found["adamw"] - found["adamw_8bit"]).norm() / found["adamw"].norm()
    assert 0.0 < float(apart) < 0.05


@pytest.mark.parametrize("optim", ["adamw", "adamw_8bit"])
def test_a_saved_state_goes_on_to_the_last_bit(tmp_path: Path, optim: str) -> None:
    if optim == "adamw_8bit":
        pytest.importorskip("torchao")
    straight = problem()
    steps(straight, of(straight, optim=optim), range(6))
    first = problem()
    optimizer = of(first, optim=optim)
    steps(first, optimizer, range(3))
    tensors, numbers = optimizer_state(optimizer, list(first.named_parameters()))
    path = CheckpointStore(tmp_path).save(1, lambda folder: None, {}, optimizer=tensors)
    again = of(first, optim=optim)
    load_optimizer_state(again, list(first.named_parameters()), path / "optimizer.safetensors", numbers)
    steps(first, again, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), first.parameters(), strict=True))


@pytest.mark.parametrize("optim", ["adamw", "adamw_8bit", "sgd"])
def test_the_rate_reaches_every_optimiser(optim: str) -> None:
    if optim == "adamw_8bit":
        pytest.importorskip("torchao")
    model = problem()
    optimizer = of(model, optim=optim)
    before = [p.detach().clone() for p in model.parameters()]
    set_rate(optimizer, 0.0)
    steps(model, optimizer, range(1))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    set_rate(optimizer, 1e-2)
    steps(model, optimizer, range(1))
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_without_masters_sixteen_bit_parameters_are_updated_themselves_and_lose_small_updates() -> None:
    lost = {}
    for separate in (True, False):
        model = problem(torch.bfloat16)
        masters = MasterWeights(list(model.named_parameters()), separate_masters=separate)
        assert bool(masters.separate()) == separate
        optimizer = make_optimizer(SDARConfig(learning_rate=1e-5, weight_decay=0.0), masters.named_masters())
        before = [master.detach().clone() for master in masters.masters]
        for _ in range(5):
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            masters.take_gradients()
            optimizer.step()
            masters.publish()
        changed = [a != b for a, b in zip(before, masters.masters, strict=True)]
        lost[separate] = 1.0 - float(torch.cat([each.flatten() for each in changed]).float().mean())
    assert lost[True] == 0.0 and lost[False] > 0.9


def test_a_probe_watches_only_parameters_that_can_lose_updates() -> None:
    assert MasterWeights(list(problem().named_parameters())).probe_rounded() == []
    model = problem(torch.bfloat16)
    assert MasterWeights(list(model.named_parameters())).probe_rounded() == []
    probed = MasterWeights(list(model.named_parameters()), separate_masters=False).probe_rounded()
    assert [len(values) for values in probed] == [256, 128, 256, 3]


def moved(state: HostState, optimizer: torch.optim.Optimizer, masters: MasterWeights, device: torch.device) -> None:
    for master in masters.masters:
        assert master.device == device
        for value in optimizer.state[master].values():
            assert not value.ndim or value.device == device


@pytest.mark.gpu
@pytest.mark.parametrize("optim", ["adamw", "adamw_8bit"])
def test_between_updates_state_and_masters_are_in_host_memory(optim: str) -> None:
    gpu = torch.device("cuda", 0)
    found = []
    for offload in (False, True):
        model = problem(torch.bfloat16).to(gpu)
        masters = MasterWeights(list(model.named_parameters()))
        optimizer = make_optimizer(SDARConfig(learning_rate=1e-2, optim=optim), masters.named_masters())
        pairs = [(p, m) for (_, p), m in zip(masters.named, masters.masters, strict=True)]
        state = HostState(optimizer, pairs) if offload else None
        for _ in range(3):
            if state is not None:
                moved(state, optimizer, masters, CPU)
            scope = state.in_use() if state is not None else torch.no_grad()
            with scope:
                for master in masters.masters:
                    master.grad = torch.full_like(master, 0.1)
                optimizer.step()
                masters.publish()
        found.append([p.detach().cpu() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.gpu
def test_adamw_is_fused_on_a_gpu() -> None:
    assert of(problem().to("cuda")).param_groups[0]["fused"] is True
