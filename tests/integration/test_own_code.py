"""A user's own methods and teacher contexts by ``module:name``, from a file in the current folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_agents import ParityEnv, ParityWorld
from small_runs import make_trainer

from sdar_envs.references import import_own
from trainers.methods import METHODS, get_method
from trainers.run.directory import RunDirectoryError, read_json_lines

OWN_METHODS = """
import dataclasses

from trainers.methods import METHODS, register

register(dataclasses.replace(METHODS["grpo"], name="own-halved-grpo", pg_coef=0.5))
plainly = dataclasses.replace(METHODS["grpo"], name="held by a variable", pg_coef=0.25)
steps = 7
_hidden = 8
"""

OWN_CONTEXT = """
asked = []


def tell_the_word(info):
    asked.append(info)
    return "the word is red"


def tell_another(info):
    return "the word is blue"


no_function = "the word is red"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: on no import path, and afterwards as if nothing had been imported from it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(folder))])
    methods, modules = dict(METHODS), set(sys.modules)
    yield folder
    METHODS.clear()
    METHODS.update(methods)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


# Methods.


def test_a_method_is_found_by_the_name_that_its_module_registers(project: Path) -> None:
    (project / "own_methods_a.py").write_text(OWN_METHODS)
    method = get_method("own_methods_a:own-halved-grpo")
    assert method.name == "own-halved-grpo" and method.pg_coef == 0.5
    # A second look finds the module imported and the name in the table; by then the name alone will do.
    assert get_method("own_methods_a:own-halved-grpo") is method is get_method("own-halved-grpo")


def test_a_method_is_found_by_the_variable_that_holds_it(project: Path) -> None:
    (project / "own_methods_b.py").write_text(OWN_METHODS)
    method = get_method("own_methods_b:plainly")
    assert method.pg_coef == 0.25 and "held by a variable" not in METHODS


def test_a_method_of_a_package_in_the_current_folder_is_found(project: Path) -> None:
    (project / "own_package_a").mkdir()
    (project / "own_package_a" / "__init__.py").touch()
    (project / "own_package_a" / "inner.py").write_text(OWN_METHODS)
    assert get_method("own_package_a.inner:own-halved-grpo").pg_coef == 0.5


def test_a_run_trains_with_a_method_of_the_users_own(project: Path, tmp_path: Path) -> None:
    (project / "own_methods_c.py").write_text(OWN_METHODS)
    trainer = make_trainer(tmp_path, ParityEnv, method="own_methods_c:own-halved-grpo", max_steps=1)
    assert trainer.method.pg_coef == 0.5
    assert trainer.train()["updates"] == 1


def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_for(project: Path) -> None:
    with pytest.raises(
        ValueError, match=r"importable module 'own_nowhere'.*installed packages.*current folder"
    ) as error:
        get_method("own_nowhere:grpo")
    assert str(project) in str(error.value)


def test_a_name_that_is_not_there_is_told_with_the_nearest(project: Path) -> None:
    (project / "own_methods_d.py").write_text(OWN_METHODS)
    with pytest.raises(ValueError, match=r"method 'own-halved-grop'.*own_methods_d") as error:
        get_method("own_methods_d:own-halved-grop")
    assert 'the nearest is "own-halved-grpo"' in str(error.value)
    assert "plainly" in str(error.value) and "_hidden" not in str(error.value)


def test_what_is_no_method_is_refused(project: Path) -> None:
    (project / "own_methods_e.py").write_text(OWN_METHODS)
    with pytest.raises(ValueError, match=r"'own_methods_e:steps'.*trainers\.methods\.Method, got int"):
        get_method("own_methods_e:steps")


@pytest.mark.parametrize("reference", [":grpo", "own_methods:", ":"])
def test_half_a_reference_is_refused_with_the_form_that_is_expected(reference: str) -> None:
    with pytest.raises(ValueError, match="expected module:name, such as my_module:my_method"):
        get_method(reference)


def test_an_import_that_fails_inside_a_users_module_is_not_hidden(project: Path) -> None:
    (project / "own_methods_f.py").write_text("import own_absent_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="own_absent_dependency"):
        get_method("own_methods_f:anything")


# The import path.


def test_the_folder_comes_last_on_the_path_and_only_for_a_module_that_lies_in_it(project: Path) -> None:
    before = list(sys.path)
    with pytest.raises(ValueError):
        import_own("own_nowhere")
    assert sys.path == before
    (project / "own_module_a.py").write_text("value = 1\n")
    assert import_own("own_module_a").value == 1
    assert sys.path == [*before, str(project)]
    (project / "own_module_b.py").write_text("value = 2\n")
    assert import_own("own_module_b").value == 2
    assert sys.path == [*before, str(project)]  # once


@pytest.mark.parametrize("imported_before", [False, True])
def test_the_folder_never_stands_in_for_an_installed_package(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported_before: bool
) -> None:
    installed = tmp_path / "site"
    (installed / "own_installed").mkdir(parents=True)
    (installed / "own_installed" / "__init__.py").write_text("origin = 'installed'\n")
    (project / "own_installed").mkdir()
    (project / "own_installed" / "__init__.py").write_text("origin = 'folder'\n")
    monkeypatch.syspath_prepend(str(installed))
    if imported_before:
        __import__("own_installed")
    before = list(sys.path)
    assert import_own("own_installed").origin == "installed"
    assert sys.path == before


def test_a_file_named_like_a_real_dependency_does_not_bring_the_folder_onto_the_path(project: Path) -> None:
    (project / "gymnasium.py").write_text("raise AssertionError\n")
    (project / "json.py").write_text("raise AssertionError\n")
    before = list(sys.path)
    assert import_own("gymnasium").__file__ != str(project / "gymnasium.py")
    assert import_own("json") is json
    assert sys.path == before


# A teacher context.


def identity(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())
    return read


def test_a_referenced_teacher_context_teaches_where_the_environment_tells_nothing(
    project: Path, tmp_path: Path
) -> None:
    (project / "own_context_a.py").write_text(OWN_CONTEXT)
    reference = "own_context_a:tell_the_word"
    trainer = make_trainer(tmp_path, ParityEnv, method="sdar", trainer={"teacher_context": reference})
    summary = trainer.train()
    assert sys.modules["own_context_a"].asked
    last = read_json_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert 0.0 < last["distill/weight"] < 1.0 and last["distill/share_read"] == 1.0
    assert summary["teacher"]["after"] is not None
    assert identity(tmp_path)["teacher_context"] == reference


def test_a_referenced_teacher_context_is_the_function_itself_to_the_last_figure(project: Path, tmp_path: Path) -> None:
    (project / "own_context_b.py").write_text(OWN_CONTEXT)
    function = import_own("own_context_b").tell_the_word
    losses = []
    for context in ("own_context_b:tell_the_word", function):
        trainer = make_trainer(tmp_path, ParityEnv, method="sdar", trainer={"teacher_context": context})
        losses.append(trainer.iteration()["loss"])
    assert losses[0] == losses[1]


def test_a_run_goes_on_under_the_same_reference_and_under_no_other(project: Path, tmp_path: Path) -> None:
    (project / "own_context_c.py").write_text(OWN_CONTEXT)

    def trainer(name: str, steps: int) -> Any:
        context = {"teacher_context": f"own_context_c:{name}"}
        return make_trainer(tmp_path, ParityEnv, method="sdar", max_steps=steps, trainer=context)

    trainer("tell_the_word", 1).train()
    with pytest.raises(RunDirectoryError, match="differs in teacher_context"):
        trainer("tell_another", 2).train(resume_from_checkpoint=True)
    assert trainer("tell_the_word", 2).train(resume_from_checkpoint=True)["steps"] == 2


def test_a_run_without_a_reference_names_none(tmp_path: Path) -> None:
    make_trainer(tmp_path, ParityWorld, method="sdar", max_steps=1).train()
    assert "teacher_context" not in identity(tmp_path)


def test_a_reference_that_holds_no_function_is_refused_before_the_run(project: Path, tmp_path: Path) -> None:
    (project / "own_context_d.py").write_text(OWN_CONTEXT)
    for name, expected in (
        ("no_function", "expected a function from info to text, got 'the word is red'"),
        ("tell_the_wrd", 'the nearest is "tell_the_word"'),
    ):
        with pytest.raises(ValueError, match=expected):
            make_trainer(tmp_path, ParityEnv, method="sdar", trainer={"teacher_context": f"own_context_d:{name}"})
    assert not (tmp_path / "run").exists()
