"""Averaged and fixed parameter values, and the scope in which a model computes with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.engine.held_weights import AveragedWeights, HeldWeights


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    made = nn.Linear(3, 2)
    with torch.no_grad():
        for place, parameter in enumerate(made.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 7 + place)
    return made.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_the_scope_the_held_values_stand_and_afterwards_both_are_as_before(dtype: torch.dtype) -> None:
    model = layer(dtype)
    live = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    places = [parameter.data_ptr() for parameter in model.parameters()]
    held = HeldWeights(dict(model.named_parameters()), {name: value + 1 / 3 for name, value in live.items()})
    values = {name: value.clone() for name, value in held.values.items()}
    for _ in range(2):
        with pytest.raises(RuntimeError), held.scope():
            assert all(torch.equal(p, values[name].to(dtype)) for name, p in model.named_parameters())
            assert [parameter.data_ptr() for parameter in model.parameters()] == places
            raise RuntimeError
        assert all(torch.equal(parameter, live[name]) for name, parameter in model.named_parameters())
        assert all(torch.equal(held.values[name], values[name]) for name in values)


def test_values_are_copies_in_float32() -> None:
    model = layer(torch.bfloat16)
    held = HeldWeights(dict(model.named_parameters()))
    with torch.no_grad():
        model.weight.add_(1.0)
    assert all(value.dtype == torch.float32 for value in held.values.values())
    assert float(held.values["weight"][0, 0]) == 0.0


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_an_average_follows_the_formula(decay: float) -> None:
    model = layer()
    average = AveragedWeights(dict(model.named_parameters()), list(model.named_parameters()), decay)
    expected = {name: parameter.detach().double().clone() for name, parameter in model.named_parameters()}
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3)
        average.update()
        for name, parameter in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
    for name, value in average.values.items():
        torch.testing.assert_close(value.double(), expected[name], atol=1e-6, rtol=1e-6)


def test_the_average_of_sixteen_bit_parameters_is_that_of_their_masters() -> None:
    model = layer(torch.bfloat16)
    masters = {name: nn.Parameter(parameter.detach().float() + 1e-4) for name, parameter in model.named_parameters()}
    average = AveragedWeights(dict(model.named_parameters()), list(masters.items()), 0.5)
    with torch.no_grad():
        for master in masters.values():
            master.add_(2e-4)
    average.update()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(average.values[name], parameter.detach().float() + 2e-4, atol=1e-6, rtol=0)
