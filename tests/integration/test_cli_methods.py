"""`sdar methods`: the table in a terminal, in a pipe, as JSON and as Markdown, and one row whole."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console
from small_runs import make_trainer, weights

from trainers.cli import main
from trainers.cli.methods import fitted, formula, markdown, show_all, show_one
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.methods.method import GROUPS, Method

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def terminal(width: int) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, highlight=False
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_table_fits_its_terminal_with_every_row_in_its_group(width: int) -> None:
    console = terminal(width)
    show_all(console)
    lines = text_of(console).splitlines()
    assert max(map(len, lines)) <= width
    assert all(sum(line.split()[:1] == [name] for line in lines) == 1 for name in METHODS)
    groups = [line for line in lines if line in GROUPS]
    assert groups == [group for group in GROUPS if any(method.group == group for method in METHODS.values())]
    assert ("fidelity" in lines[0]) == (width >= 115)
    assert ("source" in lines[0]) == (width >= 190)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_one_row_is_shown_whole_with_its_gradient_source_and_options(name: str) -> None:
    console = terminal(80)
    show_one(console, METHODS[name])
    text = text_of(console)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    method = METHODS[name]
    for part in (method.summary, method.gradient, method.source, method.note, *method.options):
        assert " ".join(part.split()) in words
    assert method.fidelity in words and method.group in words


def test_a_pipe_gets_a_line_per_method_with_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(METHODS) + 1
    assert lines[0].split()[:2] == ["method", "group"] and lines[0].split()[-1] == "source"


def test_json_has_every_field_of_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(METHODS)
    fields = {field.name for field in dataclasses.fields(Method)}
    assert all(fields <= row.keys() for row in rows)
    rlsd = next(row for row in rows if row["name"] == "rlsd")
    assert (rlsd["coef"], rlsd["schedule"], rlsd["signal_formula"]) == (0.5, "to 0 at 100", "T - O")
    assert main(["methods", "sdar", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weight_formula"] == "sigmoid(beta x)"


def test_an_unknown_method_is_a_mistake_that_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "sdar-centered"]) == 2
    assert 'the nearest is "sdar-centred"' in capsys.readouterr().err


def test_a_formula_is_what_stands_before_the_colon_or_the_name() -> None:
    def my_own_signal() -> None:
        """Says something, at length."""

    assert formula(METHODS["sdar"].weight) == "sigmoid(beta x)"
    assert formula(my_own_signal) == "my own signal"
    assert formula(None) == "-"


def test_words_give_way_before_formulas() -> None:
    natural = {"method": 20, "weight w": 20, "schedule": 20}
    assert fitted(natural, 64) == natural
    assert fitted(natural, 58) == {"method": 20, "weight w": 20, "schedule": 14}
    assert fitted(natural, 50) == {"method": 20, "weight w": 16, "schedule": 10}


def test_options_that_rows_name_exist() -> None:
    known = {field.name for field in dataclasses.fields(SDARConfig)}
    for method in METHODS.values():
        assert set(method.options) <= known, method.name


def test_the_page_has_the_table_as_it_is() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8"), (
        "docs/methods.md: put the output of `sdar methods --markdown` in place of the table"
    )


def test_the_method_of_the_page_is_short_and_trains(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(block.splitlines()) < 25
    known = set(METHODS)
    try:
        exec(compile(block, str(PAGE), "exec"), {})
        (added,) = set(METHODS) - known
        grpo, own = (trained(tmp_path, method) for method in ("grpo", added))
        assert own[1]["distill/weight"] > 0
        assert any(not torch.equal(own[0][name], grpo[0][name]) for name in grpo[0])
        assert formula(METHODS[added].weight) == "max(x, 0)"
    finally:
        for name in set(METHODS) - known:
            del METHODS[name]


def trained(folder: Path, method: str) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weights and figures of one iteration on a toy world, with a random tiny model."""
    trainer = make_trainer(folder, method=method, beta=0.0, distill_coef=0.5)
    figures = trainer.iteration()
    return weights(trainer), figures


def test_the_sites_data_are_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    stored = Path(__file__).resolve().parents[2] / "docs" / "data" / "methods.json"
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(stored.read_text(encoding="utf-8")), (
        "the table of methods has changed: sdar methods --json > docs/data/methods.json"
    )
