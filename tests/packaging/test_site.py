"""The documentation site: what its pages say is in the code, and what is made of the code says all of it.

`tox -e docs` builds the site, where every warning is an error. Here stands what no build would notice.
"""

from __future__ import annotations

import ast
import configparser
import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sdar_envs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CODE = ("sdar_envs", "agents", "trainers")
# Prefixes of what is not a metric although it has one's form: addresses and folders in texts.
NO_METRICS = ("application/", "assets/", "runs/", "sdar/", "studies/")


@pytest.fixture
def site_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the modules of docs/site_pages importable, as mkdocs does."""
    monkeypatch.syspath_prepend(str(DOCS))


@functools.cache
def texts_of_the_code(*packages: str) -> frozenset[str]:
    """Every text in the code; what an f-string puts in stands as a NUL."""
    found: set[str] = set()
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.add("".join(p.value if isinstance(p, ast.Constant) else "\0" for p in node.values))
    return frozenset(found)


def messages_of(page: str) -> list[str]:
    """The first cells, in code marks, of the tables under a head whose first column is `message`."""
    found = []
    for table in re.findall(r"^\| message \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.M):
        found += re.findall(r"^\| `([^`]+)` \|", table, re.M)
    return found


def is_said(message: str, texts: frozenset[str]) -> bool:
    """Whether one text of the code has all parts of a message in their order, what differs standing between them."""
    pattern = re.compile(r"[\s\S]*".join(re.escape(part.strip()) for part in message.split("...")))
    return any(pattern.search(" ".join(text.split())) for text in texts)


def test_every_message_of_the_troubleshooting_page_is_in_the_code() -> None:
    messages = messages_of((DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(messages) > 25
    texts = texts_of_the_code(*CODE)
    assert [message for message in messages if not is_said(message, texts)] == []


def test_a_message_that_nobody_says_would_be_noticed() -> None:
    page = "| message | what |\n|---|---|\n| `this is said by ... nobody` | nothing |\n"
    (message,) = messages_of(page)
    assert not is_said(message, texts_of_the_code("agents"))
    assert is_said(message, frozenset({"this is said\n  by \0 and nobody else"}))


def names_on_the_metrics_page() -> set[str]:
    """All names in the first column of the tables of docs/metrics.md."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    return {name for cell in re.findall(r"^\| (`[^|]*) \|", page, re.M) for name in re.findall(r"`([^`]+)`", cell)}


def metrics_in_the_code() -> Iterator[str]:
    """Texts of trainers that have the form of a metric's name, such as ``groups/flat``."""
    for text in texts_of_the_code("trainers"):
        if re.fullmatch(r"[a-z_]+/[a-z_0-9]*[a-z0-9]", text) and not text.startswith(NO_METRICS):
            yield text


def test_the_metrics_page_has_every_metric_of_the_code() -> None:
    listed = names_on_the_metrics_page()
    assert sorted(name for name in metrics_in_the_code() if name not in listed) == []


def test_the_metrics_page_has_no_metric_that_nobody_writes() -> None:
    texts = texts_of_the_code("trainers")
    known = texts | {f"{name}_privileged" for name in ("success", "return", "score")}
    # Evaluations write their fields under the name of each; names in capitals stand for what differs.
    fields = {"success_rate", "ci95_low", "ci95_high", "mean_score", "mean_turns", "invalid_action_rate"}
    known |= {f"{who}/{field}" for who in ("valid", "valid_privileged", "teacher") for field in fields}
    unknown = [
        name
        for name in names_on_the_metrics_page()
        if name not in known and re.sub(r"[A-Z]{2,}", "\0", name) not in texts
    ]
    assert unknown == []


def test_every_world_has_a_page_that_asks_for_its_block() -> None:
    yaml = pytest.importorskip("yaml")
    notes: dict[str, dict[str, Any]] = yaml.safe_load((DOCS / "data" / "worlds.yaml").read_text(encoding="utf-8"))
    assert list(notes) == list(sdar_envs.WORLDS)
    for env_id, note in notes.items():
        assert f"<!-- world {env_id} -->" in (DOCS / note["page"]).read_text(encoding="utf-8").splitlines()
        assert env_id.rpartition("-")[2] in note["history"], f"the history of {env_id} lacks its version"


def test_measured_scores_are_of_worlds_and_players_that_exist() -> None:
    scores = json.loads((DOCS / "data" / "world_scores.json").read_text(encoding="utf-8"))
    assert set(scores) == {env_id for env_id, entry in sdar_envs.WORLDS.items() if entry.players}
    for measured in (each for listed in scores.values() for each in listed):
        for name, player in measured["players"].items():
            assert 0 <= player["ci95"][0] <= player["success_rate"] <= player["ci95"][1] <= 1, name


def test_a_score_that_was_not_measured_says_so(site_pages: None) -> None:
    pytest.importorskip("yaml")
    from site_pages import worlds

    assert worlds.rate(None) == "not measured"
    assert "not measured" in worlds.score_tables("sdar/ALFWorld-v0")


def test_a_worlds_block_shows_both_sides_and_every_option(site_pages: None) -> None:
    pytest.importorskip("yaml")
    from site_pages import worlds

    block = worlds.block("sdar/Haggle-v0")
    assert "<p>only the teacher reads</p>" in block and 'gymnasium.make("sdar/Haggle-v0")' in block
    for name, _, _ in worlds.described("sdar/Haggle-v0").options:
        assert f"| `{name}` |" in block
    assert "a person | not measured" in block


def test_every_option_of_a_command_stands_on_its_page(site_pages: None) -> None:
    pytest.importorskip("yaml")
    from site_pages import commands

    from trainers.cli import COMMANDS, command_parser

    made = commands.pages()
    for name in COMMANDS:
        for action in command_parser(name)[0]._actions:
            if action.help != "==SUPPRESS==":
                assert all(flag in made[f"cli/{name}.md"] for flag in action.option_strings), name


def test_every_method_stands_on_the_page_of_its_family(site_pages: None) -> None:
    from site_pages import methods

    made = methods.pages()
    listed = json.loads(methods.FILE.read_text(encoding="utf-8"))
    assert {f"methods/{method['group'].replace(' ', '-')}.md" for method in listed} == set(made)
    for method in listed:
        assert f"## {method['name']}\n" in made[f"methods/{method['group'].replace(' ', '-')}.md"]


def test_modules_of_the_api_pages_exist(site_pages: None) -> None:
    from site_pages import api

    for _, _, modules in api.PAGES.values():
        for module in modules:
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), module


def test_links_of_the_repositorys_pages_lead_to_pages_of_the_site(site_pages: None) -> None:
    from site_pages import links

    home = links.from_the_root(
        "[a](docs/one-gpu.md#x) ![p](docs/images/p.svg) [c](CHANGELOG.md) [w](https://e.org/docs/)"
    )
    assert home == "[a](one-gpu.md#x) ![p](images/p.svg) [c](changelog.md) [w](https://e.org/docs/)"
    assert links.for_the_site("[c](../CONTRIBUTING.md#a-b)", "training.md") == "[c](contributing.md#a-b)"
    assert links.for_the_site("[c](../../README.md)", "cli/train.md") == "[c](../index.md)"
    fenced = "```\n[c](../CONTRIBUTING.md)\n```"
    assert links.for_the_site(fenced, "training.md") == fenced


def test_sections_between_the_marks_are_tabs_on_the_site(site_pages: None) -> None:
    from site_pages.tabs import in_tabs

    page = "a\n\n<!-- tabs -->\n\n### One\n\nx\n\n    y\n\n### Two\n\nz\n\n<!-- end of tabs -->\n\n### Three\n"
    assert in_tabs(page) == 'a\n\n=== "One"\n\n    x\n\n        y\n\n=== "Two"\n\n    z\n\n\n\n### Three\n'
    with pytest.raises(ValueError, match="in pairs"):
        in_tabs(page.replace("<!-- end of tabs -->", ""))
    with pytest.raises(ValueError, match="expected a heading of level 3"):
        in_tabs("<!-- tabs -->\nx\n<!-- end of tabs -->\n")


def test_the_exact_versions_can_be_had_from_the_site(site_pages: None) -> None:
    from site_pages import links, repository

    assert repository.files()["constraints.txt"] == (ROOT / "constraints.txt").read_bytes()
    assert "(../constraints.txt)" in (DOCS / "install.md").read_text(encoding="utf-8")
    assert links.for_the_site("[c](../constraints.txt)", "install.md") == "[c](constraints.txt)"
    assert links.from_the_root("[c](constraints.txt)") == "[c](constraints.txt)"


def test_every_example_can_be_read_and_downloaded_from_the_site(site_pages: None) -> None:
    from site_pages import links, repository

    served, made = repository.files(), repository.pages()
    paths = [path for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".ipynb")]
    assert len(paths) > 7
    for path in paths:
        page = made[f"examples/{path.stem}.md"]
        assert served[f"examples/{path.name}"] == path.read_bytes()
        assert "\n# " in page and f']({path.name}){{ .md-button download="{path.name}" }}' in page
        assert path.suffix == ".ipynb" or path.read_text(encoding="utf-8") in page
        assert f"]({path.stem}.md)" in made["examples/index.md"]
    assert links.for_the_site("[p](../examples/parcels.py)", "check.md") == "[p](examples/parcels.md)"
    assert links.from_the_root("[p](examples/parcels.py)") == "[p](examples/parcels.md)"


def test_commands_have_the_repositorys_address_where_it_is_known(site_pages: None) -> None:
    from site_pages.links import with_the_address

    command = 'pip install "sdar-gym @ git+ADDRESS"'
    assert command in (DOCS / "install.md").read_text(encoding="utf-8")
    assert with_the_address(command, None) == command
    assert with_the_address(command, "https://e.org/a/b") == 'pip install "sdar-gym @ git+https://e.org/a/b"'


def test_a_cell_of_a_table_holds_any_text(site_pages: None) -> None:
    from site_pages.tables import cell

    assert cell("a | b <c> *d*\n e") == "a \\| b &lt;c&gt; \\*d\\* e"
    assert cell("one ` tick") == "one ' tick"
    assert cell("see `a_b|c`") == "see `a_b\\|c`"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).as_posix()
        assert re.search(rf"[ :]{re.escape(name)}$", navigation, re.M), f"{name} is not in mkdocs.yml"


def test_the_page_on_installing_has_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "install.md").read_text(encoding="utf-8"), re.M)
    assert sorted(extras) == sorted(listed)


def spelt_otherwise(text: str) -> list[str]:
    """Installing an extra in any other form than `pip install "sdar-gym[web]"`."""
    one_form = r'pip install (?:--no-cache-dir )?"(?:sdar-(?:gym|envs|verifiers)|verifiers|\{name\})\['
    wrong = [each for each in re.findall(r"pip install [^\n]{0,40}?\[[^\n]{0,9}", text) if not re.match(one_form, each)]
    return wrong + re.findall(r"-e [\"']?\.\[[^\n]{0,20}", text)


def test_extras_are_spelt_one_way_and_exist() -> None:
    extras = {
        name: set(
            tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        )
        for name, folder in (
            ("sdar-gym", ROOT),
            ("sdar-envs", ROOT / "packages" / "sdar-envs"),
            ("sdar-verifiers", ROOT / "packages" / "sdar-verifiers"),
        )
    }
    places = [path for folder in (*CODE, "docs", "examples", "packages") for path in (ROOT / folder).rglob("*")]
    seen = 0
    for path in (*places, *ROOT.glob("*.md")):
        if path.suffix in (".py", ".md", ".ipynb"):
            text = path.read_text(encoding="utf-8").replace("\\", "")
            assert spelt_otherwise(text) == [], path
            for name, listed in re.findall(r"(sdar-gym|sdar-envs|sdar-verifiers)\[([\w,]+)\]", text):
                seen += 1
                assert set(listed.split(",")) <= extras[name], f"{path}: {name}[{listed}]"
    assert seen > 15
    for other in ("pip install 'sdar-gym[web]'", "pip install sdar-gym[web]", 'pip install -e ".[web]"'):
        assert spelt_otherwise(other), other


def test_the_build_counts_its_warnings() -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini")
    words = settings["testenv:docs"]["commands"].split()
    assert "--strict" in words and not {"--quiet", "-q"} & set(words)  # --quiet hides warnings from --strict


def test_nothing_of_the_site_is_loaded_from_elsewhere() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.search(r"^  font: false", settings, re.M)
    assert "extra_javascript" not in settings and not re.search(r"https?://", settings)
    assert "http" not in (DOCS / "stylesheets" / "site.css").read_text(encoding="utf-8")
