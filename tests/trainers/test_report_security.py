"""Nothing that a model, a world or a plan says becomes part of a report's markup, script or style."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from hostile_pages import AGENT_TEXTS, PAYLOADS
from made_up_run import SECRET, write_run
from made_up_study import make_up_study
from page_structure import Structure

from trainers.report.figure import Axis, Bar, BarPanel, Figure, Line, LinePanel
from trainers.report.markdown import escaped, render_markdown
from trainers.report.page import json_block, render_page
from trainers.report.plain_text import clean
from trainers.report.run_document import run_document
from trainers.report.run_records import read_run
from trainers.report.write import write_report
from trainers.run.directory import RunDirectoryError

TEXTS = (*PAYLOADS, *AGENT_TEXTS)


def run_page(folder: Path, text: str = "", **options: bool) -> str:
    run = write_run(folder, iterations=2, text=text, tasks=6, privileged=options.get("with_privileged", False))
    write_report(run, episodes=4, images=False, **options)
    return (run / "report.html").read_text(encoding="utf-8")


def study_page(folder: Path, text: str = "") -> str:
    make_up_study(folder, methods=("grpo", "sdar"), seeds=(0, 1), iterations=10, text=text)
    write_report(folder, episodes=4, images=False)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Structure:
    return Structure(run_page(tmp_path_factory.mktemp("run")))


def test_there_are_about_a_hundred_payloads_and_they_differ():
    assert len(set(TEXTS)) == len(PAYLOADS) + len(set(AGENT_TEXTS) - set(PAYLOADS)) >= 150


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda text: ascii(text)[:40])
def test_hostile_text_gives_the_elements_and_attributes_that_harmless_text_gives(
    payload: str, tmp_path: Path, harmless: Structure
):
    page = Structure(run_page(tmp_path / "run", payload, with_privileged=False))
    assert page.elements == harmless.elements
    assert page.comments == []
    assert page.blocks["script"] == harmless.blocks["script"]
    assert page.blocks["style"] == harmless.blocks["style"]
    # It is not lost either: the viewer is given it whole, cleaned of what would hide or reorder it.
    assert clean(payload + "You see shelf 1.") in page.data["texts"]
    assert " ".join(clean(payload + "made-up/World-v0").split()) in " ".join(page.text.split())


def test_names_and_statements_of_a_study_are_data_too(tmp_path: Path):
    plain = Structure(study_page(tmp_path / "plain"))
    page = Structure(study_page(tmp_path / "hostile", "".join(PAYLOADS[::7])))
    assert page.elements == plain.elements
    assert page.blocks["script"] == plain.blocks["script"]


def test_no_element_has_a_handler_a_style_or_an_address(harmless: Structure):
    names = {name for _, attributes in harmless.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("style", "src", "srcset", "action")]
    assert all(address.startswith("#") for address in harmless.values["a.href"])
    tags = {tag for tag, _ in harmless.elements}
    assert not tags & {"img", "iframe", "object", "embed", "link", "base", "video", "audio", "image", "use", "animate"}


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(harmless: Structure):
    (policy,) = [value for value in harmless.values["meta.content"] if "default-src" in value]

    def digest(block: str) -> str:
        return base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest(harmless.blocks['style'])}'",
        "script-src": f"'sha256-{digest(harmless.blocks['script'])}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert [tag for tag, _ in harmless.elements].count("style") == 1
    assert harmless.values["script.type"] == ["application/json"]


def test_a_page_without_episodes_runs_no_script(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2, tasks=6)
    write_report(run, episodes=0, images=False)
    page = Structure((run / "report.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.elements}
    assert any("script-src 'none'" in value for value in page.values["meta.content"])


def test_the_viewers_script_writes_text_nodes_only():
    from sdar_envs.assets import asset_text

    script = asset_text("report", "viewer.js")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|document\.write|eval\(|Function\(|"
        r"setAttribute\(\"(?:on|style|href|src)|\.src\b|\.href\b|fetch\(|XMLHttpRequest|WebSocket|import\(|setTimeout"
    )
    assert re.findall(forbidden, script) == []
    assert "textContent" in script


@pytest.mark.parametrize("payload", TEXTS, ids=lambda text: ascii(text)[:40])
def test_a_json_block_has_no_character_that_could_end_it(payload: str):
    block = str(json_block({payload: [payload]}))
    assert not set("<>&\u2028\u2029") & set(block)
    block.encode("ascii")
    assert json.loads(block) == {payload: [payload]}


@pytest.mark.parametrize("payload", TEXTS, ids=lambda text: ascii(text)[:40])
def test_markdown_shows_hostile_text_as_text(payload: str, tmp_path: Path):
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    line = f"before {escaped(payload)} after"
    for text in (line, f"- {line}", f"| {line} | x |\n| --- | --- |\n| {line} | y |"):
        found = Structure(parser.render(text))
        assert {tag for tag, _ in found.elements} <= {"p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
        if "|" not in text:
            assert found.text.split() == f"before {' '.join(clean(payload).split())} after".split()


def test_a_whole_markdown_report_keeps_its_structure(tmp_path: Path):
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")

    def tags(text: str) -> list[str]:
        document = run_document(read_run(write_run(tmp_path / str(len(text)), text=text)))
        return [tag for tag, _ in Structure(parser.render(render_markdown(document))).elements]

    plain = tags("")
    for payload in PAYLOADS[::11]:
        assert tags(payload) == plain


def test_labels_of_images_are_data_too(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from trainers.report.png import save_figures

    panels: list[LinePanel | BarPanel] = []
    for payload in ("$\\frac{1}{0}$ $", "\ud800\x00\x1b[2J", "{x} %s \\", "</svg><script>"):
        line = Line(payload, 1, ((0.0, 1.0), (1.0, 2.0)))
        panels.append(LinePanel(payload, Axis(payload), Axis(payload), (line,)))
        panels.append(BarPanel(payload, Axis(payload), (Bar(payload, 2, 1.0, 0.5, 1.5),)))
    (path,) = save_figures([Figure("hostile", "$\\frac$", "", tuple(panels))], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


# --- the privileged side ---


def test_privileged_text_is_in_a_report_only_when_asked_for_and_the_page_says_so(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2, privileged=True)
    write_report(run, images=False)
    for name in ("report.html", "report.md"):
        assert SECRET not in (run / name).read_text(encoding="utf-8")
    assert "PRIVILEGED" not in (run / "report.html").read_text(encoding="utf-8")
    write_report(run, images=False, with_privileged=True)
    page = Structure((run / "report.html").read_text(encoding="utf-8"))
    assert "This page shows PRIVILEGED text" in page.text
    assert any(SECRET in text for text in page.data["texts"])
    assert SECRET not in (run / "report.md").read_text(encoding="utf-8")


def test_privileged_text_that_was_not_logged_can_not_be_asked_for(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2)
    with pytest.raises(RunDirectoryError, match="log_privileged"):
        write_report(run, images=False, with_privileged=True)
    make_up_study(tmp_path / "study", methods=("grpo", "sdar"), seeds=(0,), iterations=10)
    with pytest.raises(RunDirectoryError, match="log_privileged"):
        write_report(tmp_path / "study", images=False, with_privileged=True)


def test_a_page_can_be_written_whatever_the_text(tmp_path: Path):
    # Lone surrogates have no UTF-8; they arrive as replacement marks.
    run = write_run(tmp_path / "run", iterations=2, text="\ud800")
    render_page(run_document(read_run(run))).encode("utf-8")
