"""The report in a real browser: the viewer steps, filters and explains, and hostile text does nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="pip install playwright (the `browser` dependency group)")

from chromium import CONTRAST, MISSING, browser, executable, open_page
from hostile_pages import PAYLOADS, WORST
from made_up_run import SECRET, write_run
from made_up_study import make_up_study

from trainers.report.write import write_report

MINUS = "\N{MINUS SIGN}"
pytestmark = [pytest.mark.browser, pytest.mark.skipif(executable() is None, reason=MISSING)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    make_up_study(folder, methods=("grpo", "sdar"), seeds=(0, 1, 2), iterations=10, privileged=True)
    write_report(folder, images=False)
    return folder / "report.html"


def report_of(run: Path, **options: Any) -> Path:
    write_report(run, images=False, **options)
    return run / "report.html"


def choose(page: Any, name: str, label: str) -> None:
    page.locator(f"#viewer-filters select[name={name}]").select_option(label=label)


def count(page: Any) -> int:
    return int(page.inner_text("#viewer-count").split()[0])


# --- what it does ---


def test_the_page_opens_without_a_word_and_asks_for_nothing(chromium, study: Path):
    watched = open_page(chromium, study)
    assert watched.page.locator("#viewer").is_visible()
    assert watched.page.locator("svg").count() > 10
    assert watched.misdeeds == []


def test_arrow_keys_step_through_turns_and_episodes(chromium, study: Path):
    page = open_page(chromium, study).page
    page.locator("#viewer-turns button").first.click()

    def current(of: str) -> int:
        buttons = page.locator(f"#viewer-{of} button")
        states = buttons.evaluate_all("all => all.map((button) => button.getAttribute('aria-current'))")
        return int(states.index("true"))

    assert (current("list"), current("turns")) == (0, 0)
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert current("turns") == 2
    assert "turn 3 of 4" in page.inner_text("#viewer-turn")
    page.keyboard.press("ArrowLeft")
    assert current("turns") == 1
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    assert current("turns") == 3  # the last one, and no further
    page.locator("#viewer-back").click()
    assert current("turns") == 2
    page.locator("#viewer-on").click()
    assert current("turns") == 3
    page.keyboard.press("ArrowDown")
    assert (current("list"), current("turns")) == (1, 0)
    page.keyboard.press("ArrowUp")
    assert current("list") == 0


def test_keys_are_left_to_form_controls(chromium, study: Path):
    page = open_page(chromium, study).page
    select = page.locator("#viewer-filters select[name=type]")
    select.focus()
    page.keyboard.press("ArrowDown")
    assert select.input_value() != ""
    assert page.locator("#viewer-list button").first.get_attribute("aria-current") == "true"


def test_filters_keep_what_they_name_and_the_count_says_how_many(chromium, study: Path):
    page = open_page(chromium, study).page
    choose(page, "arm", "sdar")
    everything = count(page)
    won, lost = [], []
    for label, kept in (("won", won), ("lost", lost)):
        choose(page, "outcome", label)
        kept.append(count(page))
        marks = page.locator("#viewer-list button > span:first-child").all_inner_texts()
        assert set(marks) == {"✓" if label == "won" else "✕"}
        assert len(marks) == count(page)
    assert won[0] + lost[0] == everything
    choose(page, "outcome", "all")
    parts = []
    for label in ("a wrong statement", "statements hold"):
        choose(page, "claims", label)
        parts.append(count(page))
    assert sum(parts) == everything and min(parts) > 0
    choose(page, "claims", "all")
    choose(page, "type", "heat")
    assert all("heat" in text for text in page.locator("#viewer-list button").all_inner_texts())
    choose(page, "when", "test, before training")
    assert all("before training" in text for text in page.locator("#viewer-list button").all_inner_texts())
    assert 0 < count(page) < everything


def test_a_filter_that_nothing_passes_says_so(chromium, tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=1)
    page = open_page(chromium, report_of(run, episodes=1)).page
    outcome = page.locator("#viewer-list button > span:first-child").inner_text()
    choose(page, "outcome", "lost" if outcome == "✓" else "won")
    assert count(page) == 0
    assert "No episode" in page.inner_text("#viewer-head")


def test_claims_of_an_arm_without_a_teacher_are_known_from_the_study(chromium, study: Path):
    page = open_page(chromium, study).page
    choose(page, "arm", "grpo")
    choose(page, "when", "test, after iteration 10")
    choose(page, "claims", "a wrong statement")
    assert count(page) > 0


def test_the_signal_can_be_chosen_and_a_token_explains_itself(chromium, study: Path):
    page = open_page(chromium, study).page
    choose(page, "arm", "sdar")
    token = page.locator(".turn .tokens .token").nth(1)
    shades = []
    for label in ("weight (gate)", "signal", f"teacher {MINUS} student", "entropy", "student's log-probability"):
        choose(page, "signal", label)
        shades.append(token.evaluate("node => getComputedStyle(node).backgroundColor"))
    assert len(set(shades)) >= 3
    token.hover()
    tip = page.inner_text("#viewer-tip")
    for name in ("weight", "signal", f"teacher {MINUS} student", "student, log p", "teacher, log p", "entropy, nats"):
        assert name in tip
    page.mouse.move(5, 5)
    assert page.locator("#viewer-tip").is_hidden()
    page.locator(".turn details summary").click()
    assert page.locator(".turn table tbody tr").count() == 3


def test_an_arm_without_a_teacher_offers_no_teachers_signals(chromium, study: Path):
    page = open_page(chromium, study).page
    choose(page, "arm", "grpo")
    offered = page.locator("#viewer-filters select[name=signal] option").all_inner_texts()
    assert offered == ["entropy", "student's log-probability"]


def test_an_arm_is_shaded_by_its_weight_unless_the_reader_chose_something_else(chromium, study: Path):
    page = open_page(chromium, study).page
    signal = page.locator("#viewer-filters select[name=signal]")
    choose(page, "arm", "grpo")
    assert signal.input_value() == "entropy"
    choose(page, "arm", "sdar")
    assert signal.input_value() == "weight"
    choose(page, "signal", "entropy")
    for arm in ("grpo", "sdar"):
        choose(page, "arm", arm)
        assert signal.input_value() == "entropy"


def test_the_same_task_is_one_click_away_in_other_arms_and_before_training(chromium, study: Path):
    page = open_page(chromium, study).page
    title = page.inner_text("#viewer-head h3")
    others = page.locator("#viewer-head .siblings button")
    assert others.count() == 3  # two arms after training, and what both were before it
    assert sum("before" in said for said in others.all_inner_texts()) == 1
    others.nth(2).click()
    assert page.inner_text("#viewer-head h3") == title
    assert page.locator("#viewer-filters select[name=arm]").input_value() == "1"
    assert page.locator("#viewer-head .siblings button[aria-current=true]").count() == 1


def test_the_students_prompt_is_shown_and_the_teachers_side_only_when_asked_for(chromium, tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2, privileged=True)
    page = open_page(chromium, report_of(run)).page
    assert "user\nat shelf 0." in page.inner_text("#viewer-turn .prompt")
    assert page.locator(".known").count() == 0
    assert SECRET not in page.content()
    page = open_page(chromium, report_of(run, with_privileged=True)).page
    assert SECRET in page.inner_text("#viewer-turn .known")
    assert "PRIVILEGED" in page.inner_text("#episodes > .tone-warning")


def test_everything_but_the_viewer_works_without_script(chromium, study: Path):
    watched = open_page(chromium, study, java_script_enabled=False)
    assert watched.page.locator("#viewer").is_hidden()
    assert "needs script" in watched.page.inner_text("#episodes")
    box = watched.page.locator("#figure-curves svg").first.bounding_box()
    assert box is not None and box["width"] > 200 and box["height"] > 100


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_width_makes_the_page_scroll_sideways(chromium, study: Path, width: int):
    page = open_page(chromium, study, viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(chromium, study: Path, scheme: str):
    page = open_page(chromium, study, color_scheme=scheme).page
    for selector in ("body", ".lead", "svg .tick", "#viewer-list small", ".badges span", "td small"):
        ratio = page.evaluate(CONTRAST, selector)
        assert ratio >= 4.5, f"{selector} in {scheme}: {ratio:.2f}"


def test_a_long_episode_opens_at_once(chromium, tmp_path: Path):
    import json

    run = write_run(tmp_path / "run", iterations=1)
    lines = (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    record = json.loads(next(line for line in lines if '"phase": "test"' in line))
    record["turns"] = record["turns"] * 250
    (run / "episodes.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    page = open_page(chromium, report_of(run)).page
    assert page.locator("#viewer-turns button").count() == 1000
    page.locator("#viewer-turns button").last.click()
    assert "turn 1000 of 1000" in page.inner_text("#viewer-turn")


def write_game(folder: Path, roles: tuple[str, str], *, text: str = "") -> Path:
    """A run whose log is one game of two sides, who act in turns; the second speaks first."""
    import json

    run = write_run(folder, iterations=1, privileged=True)
    lines = (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    record = json.loads(next(line for line in lines if '"phase": "train"' in line))
    episodes, known = [], []
    for number, role in enumerate(roles):
        turns = [
            {**turn, "move": 2 * place + 1 - number, "observation": f"{text}seen by {role}", "messages": []}
            for place, turn in enumerate(record["turns"][:2])
        ]
        for place, turn in enumerate(turns):
            turn["messages"] = [{"role": "user", "content": f"{text}prompt {place} of {role}"}]
        own = {"role": role, "game": 0, "group": number, "instruction": f"{text}goal of {role}", "success": not number}
        episodes.append({**record, **own, "turns": turns})
        told = [{"hints": [f"{text}secret {place} of {role}"]} for place in range(2)]
        known.append({**{name: episodes[-1][name] for name in ("schema", "phase", "iteration", "group", "member")}})
        known[-1] |= {"task_id": record["task_id"], "turns": told}
    for name, records in (("episodes", episodes), ("privileged", known)):
        (run / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return run


def test_both_sides_of_a_game_are_one_episode_and_each_turn_has_its_own_sides_prompt_and_secret(chromium, tmp_path):
    run = write_game(tmp_path / "run", ("shopper_0", "seller_0"))
    watched = open_page(chromium, report_of(run, with_privileged=True))
    page = watched.page
    assert count(page) == 1 and page.locator("#viewer-turns button").count() == 4
    head = page.inner_text("#viewer-head")
    assert "goal of shopper_0" in head and "goal of seller_0" in head
    for place, (role, other) in enumerate([("seller", "shopper"), ("shopper", "seller")] * 2):
        page.locator("#viewer-turns button").nth(place).click()
        shown = page.inner_text("#viewer-turn")
        assert f"of the {role}" in shown and f"of the {other}" not in shown
        assert f"prompt {place // 2} of {role}_0" in shown and f"secret {place // 2} of {role}_0" in shown
        assert f"{other}_0" not in shown
    assert watched.misdeeds == []


@pytest.mark.parametrize("payload", WORST[:4], ids=lambda text: ascii(text)[:40])
def test_hostile_roles_and_words_of_games_do_nothing(chromium, payload: str, tmp_path: Path):
    run = write_game(tmp_path / "run", (f"{payload}_0", f"other{payload}_1"), text=payload)
    watched = open_page(chromium, report_of(run, with_privileged=True))
    visit_everything(watched.page)
    assert watched.misdeeds == [] and watched.page.locator(STRANGE).count() == 0


# --- what it does not do ---

STRANGE = "img, image, iframe, object, embed, video, audio, math, marquee, base, link, template, foreignObject, animate"
HANDLERS = """[...document.querySelectorAll("*")].flatMap((node) => [...node.attributes])
  .map((attribute) => attribute.name).filter((name) => /^on/i.test(name))"""


@pytest.mark.parametrize("payload", WORST, ids=lambda text: ascii(text)[:40])
def test_hostile_text_opens_no_dialog_asks_for_nothing_and_makes_no_element(chromium, payload: str, tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=1, text=payload, tasks=6, privileged=True)
    watched = open_page(chromium, report_of(run, with_privileged=True))
    visit_everything(watched.page)
    assert watched.misdeeds == []
    assert watched.page.evaluate("document.scripts.length") == 2
    assert watched.page.locator(STRANGE).count() == 0
    assert watched.page.evaluate(HANDLERS) == []
    if payload.isascii():
        assert payload in watched.page.inner_text("#viewer-turn")


def test_all_hostile_texts_at_once_do_nothing_either(chromium, tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=1, text="".join(PAYLOADS), tasks=6)
    watched = open_page(chromium, report_of(run, episodes=2))
    visit_everything(watched.page)
    assert watched.misdeeds == []


def visit_everything(page: Any) -> None:
    """Step through every turn of the first episodes, point at tokens, open all details."""
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    for episode in range(min(2, page.locator("#viewer-list button").count())):
        page.locator("#viewer-list button").nth(episode).click()
        for turn in range(page.locator("#viewer-turns button").count()):
            page.locator("#viewer-turns button").nth(turn).click()
        page.locator(".turn .tokens .token").first.dispatch_event("pointerenter")
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(50)  # for whatever would come late
