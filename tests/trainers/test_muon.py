"""Muon in float32: its formula by hand, and PyTorch's own steps up to what bfloat16 rounds."""

from __future__ import annotations

import pytest
import torch
from random_models import tiny_model

from trainers.warm_start import behaviour_cloning
from trainers.warm_start.behaviour_cloning import CloningConfig
from trainers.warm_start.muon import Float32Muon, orthogonalized

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # PyTorch's defaults


def test_each_singular_value_goes_through_the_quintic_by_itself() -> None:
    """Of diag(3, 4), scaled by its norm 5: s <- a s + b s^3 + c s^5, here with numbers that are worked by hand."""
    once = orthogonalized(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), (2.0, -1.5, 0.5), 1, 1e-7)
    wanted = [2 * s - 1.5 * s**3 + 0.5 * s**5 for s in (0.6, 0.8)]  # 0.91488 and 0.99584
    assert once.diagonal().tolist() == pytest.approx(wanted, rel=1e-6) and float(once[0, 1]) == 0.0


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_after_five_steps_all_directions_are_about_equally_long_whatever_the_shape(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    made = orthogonalized(matrix, COEFFICIENTS, 5, 1e-7)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    lengths = torch.diagonal(u.T @ made @ v.T)
    assert made.shape == matrix.shape and bool(((lengths > 0.6) & (lengths < 1.3)).all())
    assert torch.allclose(u.T @ made @ v.T, torch.diag(lengths), atol=1e-4)  # directions stay where they were
    assert torch.allclose(orthogonalized(matrix.T.contiguous(), COEFFICIENTS, 5, 1e-7), made.T, atol=1e-4)


def test_a_gradient_of_zero_moves_nothing() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    parameter.grad = torch.zeros(3, 2)
    Float32Muon([parameter], lr=0.1, weight_decay=0.0).step()
    assert torch.equal(parameter.detach(), torch.ones(3, 2))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_steps_are_pytorchs_up_to_the_rounding_of_bfloat16(shape: tuple[int, int], nesterov: bool) -> None:
    """Momentum, learning rate by shape and weight decay included: three steps of the same gradients."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    gradients = [torch.randn(shape, generator=generator) for _ in range(3)]
    moved = []
    for kind in (torch.optim.Muon, Float32Muon):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = kind([parameter], lr=0.05, weight_decay=0.1, nesterov=nesterov)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        moved.append(parameter.detach() - start)
    assert float((moved[0] - moved[1]).norm() / moved[0].norm()) < 0.02


@pytest.mark.parametrize("native", [True, False])
def test_a_warm_start_takes_the_one_that_its_processor_is_fast_at(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behaviour_cloning, "_multiplies_bfloat16", lambda device: native)
    model = tiny_model()
    muon, adamw = CloningConfig().optimizers(model)
    assert type(muon) is (torch.optim.Muon if native else Float32Muon) and isinstance(adamw, torch.optim.AdamW)
    named = dict(model.named_parameters())
    matrices = {id(p) for name, p in named.items() if p.ndim == 2 and "embed" not in name}
    assert {id(p) for p in muon.param_groups[0]["params"]} == matrices and matrices
