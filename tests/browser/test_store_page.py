"""The served store in a real browser: a purchase by hand, and pages that ask nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("playwright", reason="pip install playwright (the `browser` dependency group)")
pytest.importorskip("uvicorn", reason='serving needs the extra: pip install "sdar-gym[web]"')

from chromium import CONTRAST, MISSING, browser, executable, open_site

import sdar_envs  # noqa: F401  # registers the ids
from trainers.run.directory import read_json_lines

pytestmark = [pytest.mark.browser, pytest.mark.skipif(executable() is None, reason=MISSING)]

TASK = "valid:000000"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """A running server's address; every visit has the same task."""
    command = [sys.executable, "-m", "trainers", "serve-store", "--port", "0", "--task", TASK, *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found, "the server said something else than its address"
        yield found[0]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "episodes.jsonl"


@pytest.fixture(scope="module")
def store(record: Path) -> Iterator[str]:
    with serving("--record", str(record)) as address:
        yield address


@pytest.fixture(scope="module")
def teachers_store() -> Iterator[str]:
    with serving("--show-privileged", "--no-record") as address:
        yield address


@pytest.fixture(scope="module")
def plan() -> list[str]:
    env = gym.make("sdar/WebShop-v0", split="valid")
    actions: list[str] = env.reset(options={"task_id": TASK})[1]["privileged"]["plan"]
    assert len(actions) >= 4
    return actions


def press(page: Any, name: str) -> None:
    """Press what has this name, whatever the case: a card of the results, an option, or a button."""
    exact = re.compile(rf"^\s*{re.escape(name)}\s*$", re.IGNORECASE)
    with page.expect_navigation():
        page.locator("main").get_by_role("button", name=exact).click()


def submit(page: Any) -> None:
    """Press Enter where the focus is, and wait for the page that comes."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def search(page: Any, query: str) -> None:
    page.wait_for_function("document.activeElement.id === 'search_input'")  # nobody types before they see the page
    page.get_by_label("Search", exact=True).fill(query)
    submit(page)


def follow(page: Any, plan: list[str]) -> None:
    """Do by hand what a plan says."""
    for action in plan:
        name, _, rest = action.partition("[")
        if name == "search":
            search(page, rest.removesuffix("]"))
        else:
            press(page, rest.removesuffix("]"))


def begin(page: Any) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Take an errand").click()


@pytest.mark.parametrize("script", [True, False], ids=["script on", "script off"])
def test_a_person_searches_opens_chooses_buys_and_reads_the_score(
    chromium, store: str, plan, record: Path, script: bool
):
    watched = open_site(chromium, store, java_script_enabled=script)
    page = watched.page
    begin(page)
    assert "Step 1 of 15" in page.inner_text(".bar")
    follow(page, plan[:-1])
    assert f"Step {len(plan)} of 15" in page.inner_text(".bar")
    chosen = [action.removeprefix("click[").removesuffix("]") for action in plan[2:-1]]
    assert page.locator('[aria-pressed="true"]').evaluate_all("all => all.map((one) => one.value)") == chosen
    press(page, "Buy Now")
    assert page.inner_text("#reward pre") == "1.0"
    assert "1.00 of 1" in " ".join(page.inner_text(".after .score").split())
    assert "what was wanted" in page.inner_text(".after")
    assert watched.misdeeds == []
    last = read_json_lines(record)[-1]
    assert [turn["action"] for turn in last["turns"]] == plan
    with page.expect_navigation():
        page.get_by_role("button", name="Next errand").click()
    assert page.get_by_label("Search", exact=True).is_visible()


def test_pages_of_a_product_are_read_and_left_with_the_options_kept(chromium, store: str, plan):
    watched = open_site(chromium, store)
    page = watched.page
    begin(page)
    follow(page, plan[:3])
    for name in ("Description", "Features", "Reviews"):
        press(page, name)
        assert page.locator("article").is_visible()
        press(page, "< Prev")
    assert page.locator('[aria-pressed="true"]').count() == 1
    press(page, "< Prev")
    assert page.locator("[data-visited]").count() == 1
    press(page, "Next >")
    assert "Page 2" in page.inner_text("h3")
    assert watched.misdeeds == []


def test_back_in_the_browser_and_pressing_again_plays_nothing(chromium, store: str, plan):
    watched = open_site(chromium, store)
    page = watched.page
    begin(page)
    follow(page, plan[:2])
    title = page.inner_text(".product-title")
    page.go_back()
    page.go_back()
    if page.get_by_label("Search", exact=True).count():  # the browser's copy of the first page
        search(page, "lamp")
        assert "nothing was done" in page.inner_text(".notice")
    assert page.inner_text(".product-title") == title
    assert "Step 3 of 15" in page.inner_text(".bar")


def test_two_windows_are_two_errands(chromium, store: str, plan):
    one, other = (open_site(chromium, store).page for _ in range(2))
    begin(one)
    begin(other)
    follow(one, plan)
    assert other.get_by_label("Search", exact=True).is_visible()
    other.reload()
    assert "Step 1 of 15" in other.inner_text(".bar")


def test_the_keyboard_alone_reaches_the_purchase(chromium, store: str, plan):
    page = open_site(chromium, store).page
    begin(page)
    page.wait_for_function("document.activeElement.id === 'search_input'")  # it has the focus unasked
    page.keyboard.type(plan[0].removeprefix("search[").removesuffix("]"))
    submit(page)
    for action in plan[1:]:
        name = action.removeprefix("click[").removesuffix("]")
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = (
                "() => { const at = document.activeElement; return (at.innerText || at.value || '').toLowerCase(); }"
            )
            if page.evaluate(focused).strip() == name:
                break
        else:
            raise AssertionError(f"{name} is not reached with Tab")
        submit(page)
    assert page.inner_text("#reward pre") == "1.0"


def test_the_panel_shows_both_sides_and_says_which_is_which(chromium, teachers_store: str, plan):
    watched = open_site(chromium, teachers_store, viewport={"width": 1440, "height": 900})
    page = watched.page
    assert "The teacher's side is shown" in page.inner_text("main")
    begin(page)
    assert "[SEP]" in page.inner_text(".observation")
    known = page.inner_text(".privileged")
    assert "PRIVILEGED" in known and "no student ever sees this" in known
    assert page.locator(".plan code").all_inner_texts() == plan
    follow(page, plan[:1])
    assert page.locator(".plan code").all_inner_texts() == plan[1:]
    for line in page.locator(".panel li:visible").all():
        assert line.bounding_box()["width"] > 250  # laid out as a line of the panel, not as something of the shop
    shop, panel = page.locator("main").bounding_box(), page.locator(".panel").bounding_box()
    assert panel["x"] >= shop["x"] + shop["width"]  # beside the page, where there is room
    assert watched.misdeeds == []


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_width_makes_a_page_scroll_sideways(chromium, store: str, teachers_store: str, plan, width: int):
    for address in (store, teachers_store):
        page = open_site(chromium, address, viewport={"width": width, "height": 800}).page
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0
        begin(page)
        for action in plan:
            follow(page, [action])
            assert page.evaluate(overflow) <= 0, action


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(chromium, teachers_store: str, plan, scheme: str):
    page = open_site(chromium, teachers_store, color_scheme=scheme).page

    def check(*selectors: str) -> None:
        for selector in selectors:
            ratio = page.evaluate(CONTRAST, selector)
            assert ratio >= 4.5, f"{selector} in {scheme}: {ratio:.2f}"

    check("body", ".lead", ".label", ".btn-main")
    begin(page)
    follow(page, plan[:1])
    check("#instruction-text h4", ".steps", ".product-title", ".open", ".results main h3", ".btn-plain", ".observation")
    check(".privileged h2", ".privileged dt", ".panel h3", "summary")
    follow(page, plan[1:3])
    check(".options h4", '.values input[aria-pressed="true"]', '.values input[aria-pressed="false"]', ".btn-buy")
    follow(page, plan[3:])
    check("#reward", ".after .score small", ".after p")
