"""A preset's coefficient is SDAR's; every other method gets what that means at its own scale."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdar_envs import WORLDS
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.options.option import option
from trainers.presets import (
    load_preset,
    model_family,
    preset_config,
    preset_for,
    preset_names,
    read_preset,
    scaled_coefficient,
)

# What runs, warm models and studies were keyed by before options were added: an option that comes later must not change
# the digest of a configuration that does not use it.
RECORDED_DIGESTS = {
    "": "6bb93e6022802e13a9b9fb3beb9914b83534ea0d3ac954bfee2c49c712c411ee",
    "household-tiny": "66710d7970b0063053f999ef8c30e60fa0277dab1c8ab7b23396a94955f504f1",
    "searchqa-tiny": "73ca966876e753d36906239146d450530fd0e8dfd54bb1389ddf30f2485941b4",
    "webshop-tiny": "e038691d25795295d32fbae15ae7eec3a3a3321aed1003e68e26f38bdb70e4dd",
}


@pytest.mark.parametrize("name", preset_names())
def test_a_presets_coefficient_reaches_its_own_method_as_it_is_written(name: str) -> None:
    preset = load_preset(name)
    assert preset_config(preset).get("distill_coef") == preset.config.get("distill_coef")


def test_terms_of_sdars_order_are_scaled_by_as_much_and_all_others_keep_their_published_coefficient() -> None:
    # By hand, from the published 0.01, 0.01, 0.001 and the preset's 0.3: thirty times each.
    assert [scaled_coefficient(0.3, METHODS[name]) for name in ("sdar", "opsd", "skill-sd")] == [0.3, 0.3, 0.03]
    for kept in ("rlsd", "rft", "grpo+rft", "context-distillation", "opsd-full", "agent-opsd", "opid", "grpo"):
        assert scaled_coefficient(0.3, METHODS[kept]) is None, kept


def test_a_preset_does_not_overwrite_the_coefficient_of_a_method_that_it_is_not_for() -> None:
    assert "distill_coef" not in preset_config(load_preset("household-tiny"), "rlsd")
    assert preset_config(load_preset("household-tiny"), "skill-sd")["distill_coef"] == 0.03


def test_without_a_preset_there_is_nothing_to_scale() -> None:
    assert preset_config(None, "sdar") == {}


@pytest.mark.parametrize("name", RECORDED_DIGESTS)
def test_the_defaults_and_the_tiny_presets_compute_what_they_always_did(name: str) -> None:
    config = SDARConfig.from_dict(preset_config(load_preset(name) if name else None))
    assert config.digest() == RECORDED_DIGESTS[name]


def test_an_option_that_came_later_is_in_the_digest_only_away_from_its_default() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Longer(SDARConfig):
        later: float | None = option(None, "an option that came later", group="method", omit_at_default=True)
        other: int = option(3, "one that always counts", group="method")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Counted(SDARConfig):
        other: int = option(3, "one that always counts", group="method")

    assert Longer().digest() == Counted().digest() != SDARConfig().digest()
    assert Longer(later=2.0).digest() != Longer().digest()


# --- thinking: the chat template's switch, and what the prompt asks for ---


@pytest.mark.parametrize("env_id", ["sdar/Household-v0", "sdar/WebShop-v0"])
@pytest.mark.parametrize(("family", "switch"), [("qwen", None), ("qwen3", False)])
def test_presets_for_large_models_ask_for_thinking_and_switch_only_qwen3s_template(
    env_id: str, family: str, switch: bool | None
) -> None:
    preset = preset_for(family, env_id)
    assert preset is not None
    config = SDARConfig.from_dict(preset_config(preset))
    assert (config.enable_thinking, config.ask_for_thinking) == (switch, True)


@pytest.mark.parametrize("env_id", [entry.env_id for entry in WORLDS.values() if "qwen3" in entry.presets])
def test_the_preset_for_qwen3_differs_from_that_for_qwen2_5_in_the_switch_alone(env_id: str) -> None:
    plain, qwen3 = preset_for("qwen", env_id), preset_for("qwen3", env_id)
    assert plain is not None and qwen3 is not None
    assert dict(qwen3.config) == {**plain.config, "enable_thinking": False}


def test_the_family_of_a_model_is_read_from_its_configuration_or_else_from_its_name(tmp_path: Path) -> None:
    def folder(name: str, **files: object) -> Path:
        path = tmp_path / name
        path.mkdir()
        for file, content in files.items():
            (path / f"{file}.json").write_text(json.dumps(content))
        return path

    assert model_family(None) == "tiny"
    assert model_family(folder("warm", warm_start={}, config={"model_type": "qwen3"})) == "tiny"
    assert model_family(folder("a", config={"model_type": "qwen3"})) == "qwen3"
    assert model_family(str(folder("b", config={"model_type": "qwen3_moe"}))) == "qwen3"
    assert model_family(folder("Qwen3-like", config={"model_type": "llama"})) == "qwen"
    assert model_family(folder("c", config=[])) == "qwen"
    assert [model_family(name) for name in ("Qwen/Qwen3-1.7B", "Qwen/Qwen2.5-3B-Instruct", "gpt2")] == [
        "qwen3", "qwen", "qwen",
    ]  # fmt: skip
    assert model_family(SimpleNamespace(config=SimpleNamespace(model_type="qwen3"))) == "qwen3"
    assert model_family(object()) == "qwen"


def test_a_preset_with_a_base_holds_the_bases_options_and_its_own_over_them(tmp_path: Path) -> None:
    head = "summary: s\nfamily: qwen\nenv_id: sdar/Household-v0\n"
    (tmp_path / "first.yaml").write_text(f"{head}config:\n  seed: 1\n  beta: 0.5\n  env_kwargs: {{size: full, a: 1}}\n")
    (tmp_path / "second.yaml").write_text(f"{head}base: first\nconfig:\n  beta: 0.25\n  env_kwargs: {{a: 2}}\n")
    assert read_preset(tmp_path / "second.yaml").config == {
        "seed": 1, "beta": 0.25, "env_kwargs": {"size": "full", "a": 2},
    }  # fmt: skip


def test_a_warm_start_of_a_base_is_kept_and_its_values_can_be_replaced(tmp_path: Path) -> None:
    head = "summary: s\nfamily: tiny\nenv_id: sdar/Pair-v0\n"
    (tmp_path / "first.yaml").write_text(
        f"{head}config: {{}}\nwarm_start: {{student_high: 0.55, model.hidden_size: 64}}\n"
    )
    (tmp_path / "second.yaml").write_text(f"{head}base: first\nconfig: {{}}\nwarm_start: {{student_high: 0.4}}\n")
    assert read_preset(tmp_path / "second.yaml").warm_start == {"student_high": 0.4, "model": {"hidden_size": 64}}
