"""Goals, pages, addresses, clickables and rewards are the original's, step by step.

How the goldens were derived: the original (princeton-nlp/WebShop at 64fa2a5c) ran in its text mode on the files that
`webshop_official.write` makes, with Flask 2.1.2, Beautiful Soup 4.11.1, thefuzz 0.19.0 and Lucene 8. Two
things were replaced: spaCy, whose model cannot be had from a package index, by "every word that begins with a letter
is a noun", and gym by an empty class. A script played episodes with searches, clicks and nonsense;
`webshop_goldens.json` holds its actions, and for every step a digest of the text, the rich text, the address, the
clickables and the search bar, besides all goals, prices, final rewards and their parts. The synthetic goals (`syn`) and
the human ones (`hum`) ran with the global random seeds that stand in the file. None of this suite's code took part.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import webshop_official
from page_reader import read_page

from sdar_envs.webshop.catalog import ProductCatalog
from sdar_envs.webshop.goals import Goal, SyntheticGoals, draw_prices, human_goals, shuffled
from sdar_envs.webshop.html import page_html
from sdar_envs.webshop.matching import _TITLE_WORD
from sdar_envs.webshop.pages import PageKind
from sdar_envs.webshop.records import read_human, read_product, read_synthetic
from sdar_envs.webshop.search import SearchIndex
from sdar_envs.webshop.session import Session
from sdar_envs.webshop.store import Store

GOLDENS: dict[str, Any] = json.loads(Path(__file__).with_name("webshop_goldens.json").read_text(encoding="utf-8"))


def every_word(title: str) -> frozenset[str]:
    """What stood in for spaCy when the goldens were made."""
    return frozenset(word.lower() for word in _TITLE_WORD.findall(title))


class Replayed:
    """The official fixture as this suite reads it, with the random seed of a golden."""

    def __init__(self, name: str) -> None:
        self.golden = GOLDENS[name]
        trouble: Counter[str] = Counter()
        entries = webshop_official.attributes()
        products = {}
        for item in webshop_official.items():
            product = read_product(item, entries.get(item["asin"]), trouble)
            if product is not None:
                products.setdefault(product.asin, product)
        catalog = ProductCatalog(products.values())
        rng = random.Random(self.golden["seed"])
        self.prices = draw_prices(catalog, rng)
        made: Sequence[Goal]
        if name == "syn":
            stems = {a: s for a in products if (s := read_synthetic(a, entries.get(a), trouble))}
            made = SyntheticGoals(catalog, stems, self.prices, rng)
        else:
            written = {a: read_human(a, entry, trouble) for a, entry in webshop_official.human().items()}
            made = human_goals(catalog, written, self.prices, rng)
        self.goals = [made[number] for number in shuffled(len(made))]
        index = SearchIndex.build((product.asin, product.document()) for product in catalog)
        show = self.golden["show_attributes"]
        self.store = Store(catalog, index, self.prices, show_attributes=show, title_tokens=every_word)

    def sessions(self) -> Iterator[tuple[Session, Goal, Any]]:
        """A fresh session for each recorded episode."""
        for episode in self.golden["episodes"]:
            goal = self.goals[episode[0]]

            def worth(asin: str, chosen: Any, goal: Goal = goal) -> float:
                return self.store.judge(asin, chosen, goal).reward

            yield Session(self.store, worth), goal, episode


@pytest.fixture(scope="module", params=["syn", "hum"])
def replayed(request: pytest.FixtureRequest) -> Replayed:
    return Replayed(request.param)


def digest(text: str, rich: str, url: str, clickables: list[str], bar: bool) -> str:
    return hashlib.sha256(json.dumps([text, rich, url, clickables, bar]).encode()).hexdigest()[:12]


def test_prices_and_goals_are_the_originals_in_its_order(replayed: Replayed):
    assert replayed.prices == replayed.golden["prices"]
    options = [[list(o) if isinstance(o, tuple) else o for o in goal.options] for goal in replayed.goals]
    assert [
        [g.asin, g.instruction, list(g.attributes), wanted, g.price_upper, round(g.weight, 12)]
        for g, wanted in zip(replayed.goals, options, strict=True)
    ] == replayed.golden["goals"]


def test_every_step_shows_what_the_original_shows(replayed: Replayed):
    steps = 0
    for session, goal, (_, name, script, reward, parts) in replayed.sessions():
        for action, expected in script:
            if action is not None:
                session.act(action)
            shown = session.page.rich_text(goal.instruction, session.chosen, session.visited)
            page, text = session.page, session.page.text(goal.instruction)
            got = digest(text, shown, session.url(name), list(page.clickables), page.has_search_bar)
            assert got == expected, f"after {action!r}: {text}"
            steps += 1
        assert (session.reward or 0) == reward
        assert (session.kind is PageKind.DONE) == (parts is not None)
        if parts is not None:
            judged = replayed.store.judge(session.asin, session.chosen, goal).parts()
            assert judged == pytest.approx(parts)
    assert steps == sum(len(episode[2]) for episode in replayed.golden["episodes"]) > 200


def test_what_beautiful_soup_finds_in_the_html_is_what_is_rendered_directly(replayed: Replayed):
    """On the first of the recorded steps; generated stores add 1,000 more in `test_webshop_env.py`."""
    steps = 0
    for session, goal, (_, _, script, _, _) in replayed.sessions():
        for action, _ in script[:4]:
            if action is not None:
                session.act(action)
            read = read_page(page_html(session, goal.instruction))
            assert read.text == session.page.text(goal.instruction)
            assert read.rich_text == session.page.rich_text(goal.instruction, session.chosen, session.visited)
            assert read.clickables == list(session.page.clickables)
            assert read.has_search_bar == session.page.has_search_bar
            assert read.page.kind is session.kind
            steps += 1
    assert steps > 70


ORIGINAL_ITEM_PAGE = """<!DOCTYPE html><html><head><title>x</title><script>var a = "Buy Now"</script></head><body>
<div id="instruction-text"><h4>Instruction:<br>a shirt</h4></div>
<form><button type="submit" class="btn btn-success">Back to Search</button></form>
<form><button type="submit" class="btn btn-primary">&lt; Prev</button></form>
<h4>color</h4>
<input type="radio" id="radio_color0" name="color" value="red" data-url="u"><label for="radio_color0">red</label>
<input type="radio" id="radio_color1" name="color" value="navy &amp; sky">
<label for="radio_color1">navy &amp; sky</label>
<h2>A Shirt</h2> <!-- a comment --> <h4 style="display:none">Price: $5.0</h4>
<button class="btn btn-lg purchase">Buy Now</button></body><style>p {}</style></html>"""


def test_html_of_the_original_reads_as_the_original_reads_it():
    url = 'http://127.0.0.1:3000/item_page/s/B0/shirt/1/{"color": "navy & sky"}'
    read = read_page(ORIGINAL_ITEM_PAGE, url)
    # The blanks around the comment are two texts of their own, as in the original.
    assert read.text == (
        "Instruction: [SEP] a shirt [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] red [SEP] navy & sky [SEP] "
        "A Shirt [SEP]  [SEP]  [SEP] Price: $5.0 [SEP] Buy Now"
    )
    assert read.clickables == ["back to search", "< prev", "buy now", "red", "navy & sky"]
    assert read.rich_text.startswith("You have clicked navy & sky.\nInstruction:\n")
    assert "  [clicked button] navy & sky [clicked button_]\n" in read.rich_text
    assert read.page.kind is PageKind.ITEM
