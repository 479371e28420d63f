"""A preset's coefficient is SDAR's; every other method gets what that means at its own scale."""

from __future__ import annotations

import pytest

from trainers.methods import METHODS
from trainers.presets import load_preset, preset_config, preset_names, scaled_coefficient


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
