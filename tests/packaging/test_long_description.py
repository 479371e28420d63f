"""What a package index shows: the README, whose links and pictures lead somewhere without the repository around it."""

from __future__ import annotations

import email
import re
import sys
import tarfile
from email.message import Message
from pathlib import Path

import pytest
from test_wheel import CLEAN, ROOT, call

pytest.importorskip("hatchling", reason="building needs the `build` dependency group: tox -e packaging")

REPOSITORY = "https://example.org/owner/name"
WORLDS = ROOT / "packages" / "sdar-envs"
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
KNOWN = {"REPOSITORY_URL": REPOSITORY}


def built_metadata(project: Path, out: Path, **environment: str) -> Message:
    """The metadata of the wheel that the build backend would make of a project."""
    out.mkdir()
    code = f"import hatchling.build; hatchling.build.prepare_metadata_for_build_wheel({str(out)!r})"
    result = call(sys.executable, "-c", code, cwd=project, **environment)
    assert result.returncode == 0, result.stderr
    (path,) = out.glob("*.dist-info/METADATA")
    return email.message_from_bytes(path.read_bytes())


def links(text: str) -> list[tuple[bool, str]]:
    """Whether it is a picture, and where it leads, of every link outside code."""
    outside = re.sub(r"^```.*?^```$|^ {4}[^\n]*$", "", text, flags=re.M | re.S)
    return [(picture == "!", target) for picture, target in LINK.findall(outside)]


def is_relative(target: str) -> bool:
    return not re.match(r"[a-z]+:|#", target)


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CLEAN, "REPOSITORY_URL", raising=False)


def description(metadata: Message) -> str:
    body = metadata.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode("utf-8")


def test_every_link_and_picture_of_the_readme_is_whole_where_the_repository_is_known(tmp_path: Path) -> None:
    metadata = built_metadata(ROOT, tmp_path / "out", **KNOWN)
    assert metadata["Description-Content-Type"] == "text/markdown"
    shown, written = links(description(metadata)), links((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(shown) == len(written) > 30 and any(picture for picture, _ in shown)
    version = metadata["Version"]
    for (picture, target), (was_picture, original) in zip(shown, written, strict=True):
        assert picture == was_picture
        if is_relative(original):
            kind = "raw" if picture else "blob"
            assert target == f"{REPOSITORY}/{kind}/v{version}/{original}"
            assert (ROOT / original.partition("#")[0]).exists()
        else:
            assert target == original
    assert f"Repository, {REPOSITORY}" in metadata.get_all("Project-URL")


def test_where_it_is_not_known_no_link_leads_nowhere_and_no_text_is_lost(tmp_path: Path) -> None:
    metadata = built_metadata(ROOT, tmp_path / "out")
    text = description(metadata)
    assert [target for _, target in links(text) if is_relative(target)] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for caption in re.findall(r"!\[([^\]]+)\]", readme):
        assert f"*{caption}*" in text
    plain = re.sub(r"[^\w]+", " ", LINK.sub(lambda found: found[0].partition("](")[0], text)).split()
    assert plain == re.sub(r"[^\w]+", " ", LINK.sub(lambda found: found[0].partition("](")[0], readme)).split()
    assert metadata.get_all("Project-URL") is None


def test_code_of_the_readme_is_shown_as_it_is(tmp_path: Path) -> None:
    text = description(built_metadata(ROOT, tmp_path / "out", **KNOWN))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"^```.*?^```$|^ {4}[^\n]*$", readme, re.M | re.S)
    assert len(code) > 5 and all(block in text for block in code)


def test_a_wheel_made_of_the_sdist_elsewhere_keeps_the_addresses(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="building needs the `build` dependency group: tox -e packaging")
    made = call(
        *(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", tmp_path / "dist", ROOT),
        cwd=tmp_path,
        **KNOWN,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (project,) = (tmp_path / "unpacked").iterdir()
    text = description(built_metadata(project, tmp_path / "out"))
    assert f"{REPOSITORY}/blob/" in text and [target for _, target in links(text) if is_relative(target)] == []


def test_the_readme_of_the_worlds_alone_has_whole_addresses_only(tmp_path: Path) -> None:
    metadata = built_metadata(WORLDS, tmp_path / "out", **KNOWN)
    text = description(metadata)
    assert text.strip() == (WORLDS / "README.md").read_text(encoding="utf-8").strip()
    assert links(text) and [target for _, target in links(text) if is_relative(target)] == []
    assert f"Repository, {REPOSITORY}" in metadata.get_all("Project-URL")


def test_a_page_that_names_a_figure_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "hatch_build", raising=False)
    from hatch_build import for_an_index

    page = "![a b](docs/i.svg) [`x`](docs/p.md#q) [w](https://e.org/) [here](#h)\n\n    [c](d)\n\n```\n[e](f)\n```\n"
    shown = for_an_index(page, "https://g/o", "v1")
    assert shown.splitlines()[0] == (
        "![a b](https://g/o/raw/v1/docs/i.svg) [`x`](https://g/o/blob/v1/docs/p.md#q) [w](https://e.org/) [here](#h)"
    )
    assert shown.splitlines()[1:] == page.splitlines()[1:]
    assert for_an_index(page, "", "v1").splitlines()[0] == "*a b* `x` [w](https://e.org/) [here](#h)"
