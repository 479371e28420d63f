"""The command line's own behaviour: help without torch, layers of configuration, errors that name the remedy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sdar_envs import WORLDS
from trainers.cli import COMMANDS, main
from trainers.cli.flags import read_pairs, read_scalar
from trainers.cli.setup import add_setup_arguments, resolve_setup
from trainers.cli.terminal import clean, one_line
from trainers.config import SDARConfig
from trainers.options.convert import merge, nested
from trainers.presets import ANY, load_preset, preset_for, preset_names, read_preset


def resolve(*words: str):
    from trainers.cli import Parser

    parser = Parser(prog="sdar train")
    add_setup_arguments(parser)
    return resolve_setup(parser.parse_args(list(words)))


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_is_shown_without_importing_torch_or_a_world(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from trainers.cli import main\n"
        f"status = main({words!r})\n"
        "heavy = {'torch', 'transformers', 'textworld', 'faiss', 'rich', 'prompt_toolkit'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy), 'STATUS', status)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY [] STATUS 0" in done.stdout
    assert "sdar" in done.stdout


def test_every_option_of_the_configuration_has_a_flag_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    import dataclasses

    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(SDARConfig):
        assert "--" + field.name.replace("_", "-") in shown
        assert field.metadata["help"][:20] in shown


def test_python_dash_m_trainers_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "trainers", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: sdar COMMAND")


def test_without_a_command_the_overview_is_shown_and_the_status_says_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["trian"], '"train"'),
        (["train", "--learnig-rate", "1e-3"], "--learning-rate"),
        (["train", "--set", "learning_rat=1e-3"], '"learning_rate"'),
        (["train", "--method", "sdra"], '"sdar"'),
        (["train", "--preset", "household-tny"], '"household-tiny"'),
        (["train", "--privilege", "hint"], '"hints"'),
        (["train", "--env-kwargs", "sise=small"], '"size"'),
        (["play", "--env-kwargs", "world_sed=1"], '"world_seed"'),
        (["eval", "--agent", "expert", "--env-kwargs", "stal=1"], '"stale"'),
        (["inspect", "--env-kwargs", "sise=small"], '"size"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_unknown_name_ends_in_one_line_that_names_the_nearest(
    words: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert nearest in error


def test_what_the_command_line_asks_for_is_known_apart_from_files_and_presets(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gate_constant: 0.4\n")
    setup = resolve("--config", str(path), "--set", "gate_beta=3", "--method", "rlsd")
    assert set(setup.given) == {"gate_beta", "method"}


def test_an_unknown_key_in_a_file_names_the_file_and_the_nearest(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rat: 1e-3\n")
    assert main(["train", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert "mine.yaml" in error
    assert '"learning_rate"' in error


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--learning-rate", "fast"],
        ["train", "--learning-rate", "-1"],
        ["train", "--env-kwargs", "small"],
        ["train", "--config", "no/such/file.yaml"],
        ["train", "--preset", "household-tiny", "--env", "CartPole-v1"],
        ["eval"],
        ["eval", "no/such/run"],
        ["eval", "--agent", "exprt"],
        ["play", "--agent", "expert", "--episodes", "0"],
        ["train", "--model", "no/such/model"],
        ["inspect", "--model", "/no/such/model"],
        ["inspect", "--task", "valid:99999999", "--model", "chatml"],
        ["play", "--agent", "expert", "--task", "vaild:000001"],
        ["play", "--agent", "expert", "--env", "sdar/Household-v0", "--split", "tset"],
        ["envs", "--env", "sdar/Houshold-v0"],
        ["play", "--env", "CartPole-v1"],
        ["play", "--env", "no_such_module:Env-v0"],
        ["train", "--env", "CartPole-v1"],
    ],
    ids=" ".join,
)
def test_a_mistake_of_the_caller_is_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("sdar ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        main(["train", "--learning-rate", "-1", "--debug"])


def test_flags_win_over_the_file_which_wins_over_the_preset_which_wins_over_defaults(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rate: 2e-4\nbeta: 0.5\nenv_kwargs:\n  regularity: 0.9\n")
    setup = resolve("--config", str(path), "--set", "beta=0.25", "env_kwargs.world_seed=3", "--learning-rate", "3e-4")
    preset = load_preset("household-tiny")
    assert setup.preset == "household-tiny"
    assert setup.config.learning_rate == 3e-4
    assert setup.config.beta == 0.25
    assert setup.config.epsilon_high == preset.config["epsilon_high"]
    assert setup.config.max_consecutive_skips == SDARConfig().max_consecutive_skips
    assert setup.config.env_kwargs == {"size": "small", "regularity": 0.9, "world_seed": 3}


def test_without_a_model_the_tiny_preset_is_chosen_and_with_one_the_qwen_preset() -> None:
    assert resolve("--env", "sdar/Household-v0").preset == "household-tiny"
    assert resolve("--env", "sdar/Household-v0", "--model", "Qwen/Qwen2.5-3B-Instruct").preset == "household-qwen"
    assert resolve("--env", "sdar/Household-v0", "--model", "Qwen/Qwen3-1.7B").preset == "household-qwen3"
    assert resolve("--preset", "none").preset is None


def test_a_model_directory_that_a_warm_start_wrote_takes_the_tiny_preset(tmp_path) -> None:
    (tmp_path / "warm_start.json").write_text("{}")
    assert resolve("--model", str(tmp_path)).preset == "household-tiny"


def test_the_configuration_that_a_run_writes_is_a_file_that_gives_the_same_run(tmp_path) -> None:
    first = resolve("--seed", "7", "--env-kwargs", "size=small", "regularity=0.7")
    first.config.to_yaml(tmp_path / "config.yaml")
    again = resolve("--preset", "none", "--config", str(tmp_path / "config.yaml"))
    assert again.config == first.config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_gives_a_valid_configuration(name: str) -> None:
    preset = load_preset(name)
    config = SDARConfig.from_dict(preset.config)
    # A preset for a card is chosen by its name alone, all others by environment and model.
    if preset.env_id != ANY and name not in WORLDS[preset.env_id].machine_presets:
        assert preset_for(preset.family, preset.env_id) == preset
    assert config.method == "sdar"
    assert preset.summary


def test_a_preset_with_an_unknown_key_is_refused_with_the_nearest(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("summary: s\nfamily: tiny\nenv_id: sdar/Household-v0\nconfig:\n  gate_bet: 1\n")
    with pytest.raises(ValueError, match="gate_beta"):
        read_preset(path)


def test_a_number_with_an_exponent_and_no_dot_is_a_number() -> None:
    assert read_scalar("7e-4") == 7e-4
    assert read_scalar("-1E3") == -1000.0
    assert read_scalar("small") == "small"
    assert read_pairs(["a=1", "b=x=y", "c=null"], "--set") == {"a": 1, "b": "x=y", "c": None}


def test_layers_merge_mappings_key_by_key_and_replace_everything_else() -> None:
    assert merge({"a": 1, "k": {"x": 1, "y": 2}}, {"k": {"y": 3}}, {"a": 2}) == {"a": 2, "k": {"x": 1, "y": 3}}
    assert nested({"k.x": 1, "k.y": 2, "a": 3}) == {"k": {"x": 1, "y": 2}, "a": 3}


@pytest.mark.parametrize("unsafe", ["\x1b", "\x00", "\x07", "\x9b", "\x7f", "\u202e", "\u2066", "\u200f", "\ud800"])
def test_nothing_that_a_terminal_acts_on_survives_cleaning(unsafe: str) -> None:
    assert clean(f"a{unsafe}[31mb\n") == "a\N{REPLACEMENT CHARACTER}[31mb\n"


def test_ordinary_text_of_any_language_is_left_alone() -> None:
    text = "You open the Kühlschrank 1.\n\tIn it: 苹果, تفاحة."
    assert clean(text) == text
    assert one_line(text) == "You open the Kühlschrank 1. In it: 苹果, تفاحة."


def test_a_preset_says_how_its_tiny_model_is_warmed_up_and_the_command_line_has_the_last_word(monkeypatch) -> None:
    # A cook reads the task itself, so that it wins more without being told than the usual band allows.
    from io import StringIO
    from types import SimpleNamespace

    from rich.console import Console

    from trainers.cli.warm_models import warm_tiny_model
    from trainers.warm_start import warm_start as module

    asked = []

    def warmed(*_: object, config: module.WarmStartConfig, **__: object) -> object:
        asked.append(config)
        return SimpleNamespace(from_cache=True, path="warm", record={"student": 0.4, "teacher": 0.8, "step": 1})

    monkeypatch.setattr(module, "warm_start", warmed)
    monkeypatch.setattr("trainers.cli.warm_models._show", lambda *_: None)
    for words, pairs in ((["--env", "sdar/Pair-v0"], {}), (["--env", "sdar/Pair-v0"], {"student_high": 0.2})):
        warm_tiny_model(Console(file=StringIO()), resolve(*words), pairs, None)
    warm_tiny_model(Console(file=StringIO()), resolve("--env", "sdar/Household-v0"), {}, None)
    assert [config.student_high for config in asked] == [0.55, 0.2, module.WarmStartConfig().student_high]


def test_a_preset_for_other_models_has_no_warm_start_of_a_tiny_one(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("summary: own\nfamily: qwen\nenv_id: sdar/Pair-v0\nconfig: {}\nwarm_start: {student_high: 0.5}\n")
    with pytest.raises(ValueError, match="expected a mapping under warm_start, in a preset of the family tiny alone"):
        read_preset(path)
