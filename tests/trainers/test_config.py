"""SDARConfig: published defaults, strict conversion, errors that help, files that read back, a digest of the maths."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.config import SDARConfig


def test_defaults_have_the_published_form_of_the_method() -> None:
    config = SDARConfig()
    assert (config.learning_rate, config.epsilon, config.delta, config.beta) == (1e-6, 0.2, 3.0, 0.01)
    assert (config.kl_estimator, config.gate_beta, config.method) == ("k3", 5.0, "sdar")
    assert (config.tasks_per_step, config.num_generations) == (16, 8)
    assert (config.temperature, config.eval_temperature) == (1.0, 0.4)
    assert (config.invalid_action_penalty, config.context, config.history_length) == (0.1, "window", 2)
    assert config.entropy_coef == 0.0  # the shipped scripts add 0.001 silently; here it is said when it is wanted


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SDARConfig().beta = 1.0  # type: ignore[misc]


def test_a_float_that_yaml_reads_as_text_is_a_float(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 1e-6\nepsilon_high: none\nmax_steps: 1e2\nlist_actions: 'false'\n")
    config = SDARConfig.from_yaml(path)
    assert config.learning_rate == 1e-6
    assert config.epsilon_high is None
    assert config.max_steps == 100
    assert type(config.max_steps) is int
    assert config.list_actions is False


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate: expected float, got 'fast'"),
        ({"learning_rate": True}, "learning_rate: expected float, got True"),
        ({"learning_rate": float("nan")}, "learning_rate: expected float, got nan"),
        ({"max_steps": 1.5}, "max_steps: expected int, got 1.5"),
        ({"list_actions": 1}, "list_actions: expected bool, got 1"),
        ({"bf16": "maybe"}, "bf16: expected .*got 'maybe'"),
        ({"report_to": [1]}, "report_to: expected"),
        ({"env_kwargs": ["size"]}, "env_kwargs: expected"),
        ({"method": None}, "method: expected str, got None"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SDARConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: expected at least 0, got -1.0"),
        ({"temperature": 0}, "temperature: expected above 0, got 0"),
        ({"num_generations": 0}, "num_generations: expected at least 1, got 0"),
        ({"epsilon": 1.5}, "epsilon: expected at least 0 and at most 1, got 1.5"),
        ({"delta": 1.1}, r"delta: expected above 1 \+ the upper clip width = 1.2"),
        ({"delta": 3.0, "epsilon_high": 2.5}, "upper clip width = 3.5"),
        ({"method": "sdra"}, 'unknown method.*choose from.*the nearest is "sdar"'),
        ({"privilege": "skills"}, 'unknown privilege.*plan, next_action.*the nearest is "skill"'),
        ({"scale_rewards": "groups"}, "choose from group, batch, none"),
        ({"context": "windows"}, 'the nearest is "window"'),
        ({"advantage": "grop"}, 'the nearest is "grpo"'),
        ({"report_to": ("tensorbord",)}, "choose from tensorboard, wandb"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_accepted(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SDARConfig(**values)


def test_an_unknown_key_fails_and_names_the_nearest_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"learning_rate"'):
        SDARConfig.from_dict({"learning_rat": 1})
    path = tmp_path / "run.yaml"
    path.write_text("gate_bta: 3\n")
    with pytest.raises(ValueError, match=r'run.yaml.*the nearest is "gate_beta"'):
        SDARConfig.from_yaml(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "beta: [\n", "just words", "\x00"])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken.yaml: expected a YAML mapping"):
        SDARConfig.from_yaml(path)


def test_an_empty_file_means_the_defaults_and_overrides_win(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("")
    assert SDARConfig.from_yaml(path) == SDARConfig()
    path.write_text("beta: 0.5\n")
    assert SDARConfig.from_yaml(path, beta=0.25).beta == 0.25


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": st.floats(0, 1),
        "distill_coef": st.none() | st.floats(0, 10),
        "epsilon_high": st.none() | st.floats(0, 1),
        "env_kwargs": st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.booleans()),
        "report_to": st.lists(st.sampled_from(["tensorboard", "wandb"]), max_size=2).map(tuple),
        "bf16": st.sampled_from([True, False, "auto"]),
        "enable_thinking": st.none() | st.booleans(),
        "output_dir": st.text(max_size=12),
        "seed": st.integers(0, 2**40),
    },
)


@settings(max_examples=25, deadline=None)
@given(OPTIONS)
def test_what_is_written_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    config = SDARConfig(**values)
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    config.to_yaml(path)
    again = SDARConfig.from_yaml(path)
    assert again == config
    assert again.digest() == config.digest()


def test_the_digest_changes_with_the_maths_and_with_nothing_else() -> None:
    config = SDARConfig()
    for change in ({"beta": 0.2}, {"seed": 1}, {"env_kwargs": {"size": "small"}}, {"method": "grpo"}, {"delta": None}):
        assert dataclasses.replace(config, **change).digest() != config.digest(), change
    for change in ({"output_dir": "x"}, {"logging_steps": 5}, {"micro_batch_tokens": 64}, {"report_to": ("wandb",)}):
        assert dataclasses.replace(config, **change).digest() == config.digest(), change


def test_a_run_can_be_lengthened_only_where_the_learning_rate_does_not_depend_on_its_length() -> None:
    assert SDARConfig(max_steps=10).digest() == SDARConfig(max_steps=20).digest()
    short, long = (SDARConfig(max_steps=n, lr_scheduler_type="linear") for n in (10, 20))
    assert short.digest() != long.digest()


def test_the_digest_is_the_same_in_a_process_with_another_hash_seed() -> None:
    code = "from trainers.config import SDARConfig; print(SDARConfig(env_kwargs={'b': 1, 'a': 2}).digest())"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[2],
    )
    assert other.stdout.strip() == SDARConfig(env_kwargs={"a": 2, "b": 1}).digest()


def test_every_option_has_a_help_text_and_a_group() -> None:
    for option in dataclasses.fields(SDARConfig):
        assert option.metadata["help"]
        assert option.metadata["group"]


def test_importing_the_configuration_imports_no_torch() -> None:
    code = "import sys, trainers.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
