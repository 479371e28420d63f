"""Adapters on a model: what they change, what they leave alone, and that files bring them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import random_views, tiny_model

from trainers.engine.adapters import (
    AdapterError,
    adapted_layers,
    adapters_off,
    attach,
    attach_saved,
    base_identity,
    base_norm,
    base_state,
    change_norm,
    load_into,
    merge_in_place,
    merged_state,
    save_adapter,
    save_merged,
    state_digest,
)
from trainers.forward.passes import score_rows
from trainers.forward.root import PolicyModel

pytest.importorskip("peft")

KINDS = ("qwen2", "qwen3", "gpt2")


def adapted(kind: str = "qwen3", *, seed: int = 0, targets: tuple[str, ...] = ("all-linear",), rank: int = 4) -> Any:
    """A random model with adapters that change it."""
    model = tiny_model(kind)
    attach(model, rank=rank, alpha=8.0, targets=targets, seed=seed)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            second = layer.lora_B["default"].weight
            second.copy_(0.2 * torch.randn(second.shape, generator=draw))
    return model


def logprobs(model: Any) -> list[list[float]]:
    return score_rows(PolicyModel(model), random_views(5), temperature=1.0, pad_id=0, token_budget=100)


def largest(left: list[list[float]], right: list[list[float]]) -> float:
    return max(abs(a - b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_new_adapters_change_nothing_and_only_they_can_learn(kind: str) -> None:
    before = logprobs(tiny_model(kind))
    model = tiny_model(kind)
    names = attach(model, rank=4, alpha=8.0, targets=("all-linear",), seed=0)
    assert names and logprobs(model) == before
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_adapters_off_the_base_models_log_probs_come_back_to_the_last_bit(kind: str) -> None:
    base, model = logprobs(tiny_model(kind)), adapted(kind)
    assert largest(base, logprobs(model)) > 0.01
    with adapters_off(model):
        assert logprobs(model) == base
    assert largest(base, logprobs(model)) > 0.01
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in model.named_parameters())


def test_the_first_values_come_from_the_seed_and_the_layer_and_move_no_global_generator() -> None:
    state = torch.random.get_rng_state()
    same, again, other = tiny_model(), tiny_model(), tiny_model()
    torch.random.set_rng_state(state)
    for model, seed in ((same, 3), (again, 3), (other, 4)):
        attach(model, rank=4, alpha=8.0, targets=("q_proj",), seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    first, second, third = (
        [layer.lora_A["default"].weight.detach() for layer in adapted_layers(model).values()]
        for model in (same, again, other)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, third, strict=True))
    assert not torch.equal(first[0], first[1])  # two layers of one shape
    bound = 16**-0.5
    assert all(float(a.abs().max()) <= bound and float(a.abs().max()) > 0.8 * bound for a in first)


def test_targets_are_ends_of_names_and_an_unknown_one_is_refused_with_what_there_is() -> None:
    model = tiny_model()
    names = attach(model, rank=4, alpha=8.0, targets=("q_proj", "1.mlp.up_proj"), seed=0)
    assert names == ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"]
    with pytest.raises(AdapterError, match=r"whose name ends in c_attn: expected all-linear, or some of down_proj, "):
        attach(tiny_model(), rank=4, alpha=8.0, targets=("q_proj", "c_attn"), seed=0)
    with pytest.raises(AdapterError, match="adapters already"):
        attach(model, rank=4, alpha=8.0, targets=("q_proj",), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_give_the_adapters_log_probs(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = adapted(kind)
    wanted = logprobs(model)
    save_merged(model, tmp_path)
    assert logprobs(model) == wanted  # the export leaves the model as it is
    read = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert not adapted_layers(read) and largest(wanted, logprobs(read)) < 1e-5
    merged = merge_in_place(model)
    assert type(merged) is type(model) and not adapted_layers(merged) and largest(wanted, logprobs(merged)) < 1e-5
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_a_merge_in_sixteen_bits_is_rounded_once() -> None:
    model = adapted("qwen2").to(torch.bfloat16)
    layer = adapted_layers(model)["model.layers.0.mlp.up_proj"]
    first, second = layer.lora_A["default"].weight.double(), layer.lora_B["default"].weight.double()
    exact = layer.get_base_layer().weight.double() + 2.0 * second @ first
    found = merged_state(model)["model.layers.0.mlp.up_proj.weight"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.float().to(torch.bfloat16))


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "1.mlp.up_proj")])
def test_saved_adapters_come_back_to_the_last_bit_and_peft_reads_them(tmp_path: Path, targets: tuple[str, ...]) -> None:
    import peft

    base = tiny_model()
    model = adapted(targets=targets)
    save_adapter(model, tmp_path, base=base_identity(base, "somewhere"))
    fresh = tiny_model()
    attach_saved(fresh, tmp_path)
    assert list(adapted_layers(fresh)) == list(adapted_layers(model)) and logprobs(fresh) == logprobs(model)
    theirs = peft.PeftModel.from_pretrained(tiny_model(), tmp_path).get_base_model()
    assert largest(logprobs(theirs), logprobs(model)) < 1e-6
    attached = adapted(targets=targets, seed=5)
    load_into(attached, tmp_path)
    assert logprobs(attached) == logprobs(model)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8.0, "somewhere")


def test_adapters_of_another_model_are_refused(tmp_path: Path) -> None:
    model = adapted()
    save_adapter(model, tmp_path / "own", base=base_identity(tiny_model(), "somewhere"))
    with pytest.raises(AdapterError, match="were trained on another model: the weights of somewhere"):
        attach_saved(tiny_model(seed=1), tmp_path / "own")
    (tmp_path / "own" / "base_model.json").unlink()  # as peft itself writes a folder
    attach_saved(tiny_model(seed=1), tmp_path / "own")
    with pytest.raises(AdapterError, match="of another model"):
        attach_saved(tiny_model("gpt2"), tmp_path / "own")
    with pytest.raises(AdapterError, match=r"layers.0.mlp.down_proj.lora_A.weight is expected with shape \(2, 24\)"):
        load_into(adapted(rank=2), tmp_path / "own")
    with pytest.raises(AdapterError, match="is not there"):
        load_into(model, tmp_path)
    config = tmp_path / "own" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "use_dora": True}))
    with pytest.raises(AdapterError, match="expected plain LoRA"):
        attach_saved(tiny_model(), tmp_path / "own")
    with pytest.raises(AdapterError, match="expected a model with adapters"):
        save_adapter(tiny_model(), tmp_path / "none", base={"model": "x", "fingerprint": "y"})


def test_the_identity_of_a_base_model_does_not_depend_on_adapters() -> None:
    plain = state_digest(tiny_model().state_dict())
    assert state_digest(base_state(adapted().state_dict())) == plain
    assert state_digest(tiny_model(seed=1).state_dict()) != plain


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_the_change_is_that_of_the_products_themselves(kind: str) -> None:
    model = adapted(kind)
    merged, plain = merged_state(model), base_state(model.state_dict())
    names = [f"{name}.weight" for name in adapted_layers(model)]
    change = sum(float((merged[name] - plain[name]).double().square().sum()) for name in names)
    whole = sum(float(plain[name].double().square().sum()) for name in names)
    assert change_norm(model) == pytest.approx(change**0.5, rel=1e-4)
    assert base_norm(model) == pytest.approx(whole**0.5, rel=1e-6)
    fresh = tiny_model(kind)
    attach(fresh, rank=4, alpha=8.0, targets=("all-linear",), seed=0)
    assert change_norm(fresh) == 0.0
