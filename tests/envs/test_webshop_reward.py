"""The reward is the original's formula: its own unit-test examples, its quirks, and its parts by hand.

The table of option quirks was derived by running the original's own `get_option_reward` (with thefuzz 0.19.0) on
its rows.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.webshop.catalog import Product, Review
from sdar_envs.webshop.goals import Goal
from sdar_envs.webshop.matching import COLORS, base_color, similar, title_nouns
from sdar_envs.webshop.reward import judge, match_type, option_matches

MARK = "\u203a"
CORD = "BRST AC Power Cord Outlet Socket Cable Plug Lead for Panasonic SC-HT830V DVD/VCR Combo Home Theater System"
SHIRT = Product(
    asin="B0",
    title="Navy Cotton Shirt for Men",
    description="Made for travel.",
    bullets=("easy care", "Quick Dry"),
    query="shirts",
    product_category=f"Clothing {MARK} Men {MARK} Shirts",
    options={"color": ("navy", "red"), "size": ("large", "small")},
    attributes=("long sleeve",),
)
WANTED = Goal(
    asin="B0",
    instruction="a shirt",
    attributes=("long sleeve", "quick dry"),
    options=("navy", "large"),
    price_upper=40.0,
    name=SHIRT.title,
    query="shirts",
    product_category=SHIRT.product_category,
)


def test_the_target_with_all_options_scores_exactly_one():
    bought = judge(SHIRT, 40.0, {"color": "navy", "size": "large"}, WANTED)
    assert bought.reward == 1.0
    # "quick dry" stands in a bullet, "long sleeve" among the attributes: 2 + 2 + 1 of five.
    assert bought.parts() == {
        "r_type": 1.0,
        "query_match": True,
        "category_match": True,
        "title_score": 1.0,
        "r_att": 1.0,
        "w_att": 0.4,
        "r_option": 1.0,
        "w_option": 0.4,
        "r_price": True,
        "w_price": 0.2,
    }


@pytest.mark.parametrize(
    ("chosen", "price", "reward"),
    [({}, 40.0, 3 / 5), ({"color": "navy"}, 40.0, 4 / 5), ({"color": "red", "size": "large"}, 40.01, 3 / 5)],
)
def test_each_part_weighs_the_same(chosen: dict[str, str], price: float, reward: float):
    assert judge(SHIRT, price, chosen, WANTED).reward == pytest.approx(reward)


# The figures of the original's own unit tests (there with spaCy's nouns) against ours: the thresholds that matter, 0,
# 0.1 and 0.2, lie on the same sides.
@pytest.mark.parametrize(
    ("wanted", "bought", "theirs"),
    [
        (
            "Mens D.O.N. Issue 2 Gca Basketball Sneakers Shoes Casual - Off White",
            "PEAK High Top Mens Basketball Shoes Lou Williams Streetball Master Breathable Non Slip Outdoor Sneakers",
            0.333,
        ),
        (
            "Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K Ultra HD Soundbar Home Theater "
            "System Subwoofer",
            CORD,
            0.3,
        ),
        (
            "Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K Ultra HD Soundbar",
            CORD,
            0.15,
        ),
        (
            "Rusticware 921ORB Kitchen and Bath Cabinet Knob",
            "Minkissy 2pcs Stainless Steel Eyebrow Tweezers Blackhead Acne Remover Portable Makeup Tweezers (Silver)",
            0.0,
        ),
    ],
)
def test_title_scores_are_near_those_with_a_tagger(wanted: str, bought: str, theirs: float):
    goal = dataclasses.replace(WANTED, name=wanted, query="Query 2", product_category="d")
    score = match_type(Product("B1", bought, query="Query 1", product_category="a"), goal).title_score
    assert score == pytest.approx(theirs, abs=0.04)
    assert [score > edge for edge in (0.0, 0.1, 0.2)] == [theirs > edge for edge in (0.0, 0.1, 0.2)]


def test_a_title_score_is_divided_by_all_nouns_and_not_by_the_different_ones():
    goal = dataclasses.replace(WANTED, name="Hat Box Hat Box Hat")
    assert match_type(Product("B1", "Box for a Hat"), goal).title_score == 2 / 5
    assert match_type(Product("B1", goal.name), goal).title_score == 2 / 5
    assert match_type(Product("B1", "Hat Hat Hat"), goal).title_score == 1 / 5


@pytest.mark.parametrize(
    ("title", "query", "path", "r_type"),
    [
        (SHIRT.title, "other", "x", 1.0),  # the title alone
        ("Shirt", "other", "x", 1.0),  # one noun of four
        ("Unrelated Lamp", "shirts", SHIRT.product_category, 0.0),  # no noun shared overrides query and category
    ],
)
def test_the_kind_of_thing_is_judged_by_query_category_and_title(title: str, query: str, path: str, r_type: float):
    assert match_type(Product("B1", title, query=query, product_category=path), WANTED).r_type == r_type


def test_little_of_the_title_shared_counts_a_half_or_a_tenth():
    goal = dataclasses.replace(WANTED, name=" ".join(f"noun{'abcdefghijklmnopqrst'[n]}" for n in range(20)))
    for shared, r_type in ((1, 0.1), (2, 0.5), (4, 0.5), (5, 1.0)):
        title = " ".join(goal.name.split()[:shared])
        assert match_type(Product("B1", title, query="other"), goal).r_type == r_type


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f"a {MARK} b {MARK} c", f"b {MARK} c {MARK} a", True),
        (f"a {MARK} b {MARK} c", f"d {MARK} e {MARK} f", False),
        (f"a {MARK} b {MARK} c", f"a {MARK} d {MARK} b", True),
        (f"a {MARK} b {MARK} c", f"a {MARK} a {MARK} d", False),
        ("", "", False),
    ],
)
def test_two_distinct_segments_make_a_shared_category(one: str, other: str, same: bool):
    goal = dataclasses.replace(WANTED, product_category=one)
    assert match_type(dataclasses.replace(SHIRT, product_category=other), goal).category_match is same


@pytest.mark.parametrize(
    ("bought", "wanted", "met"),
    [
        ("x-large", "large", True),
        ("large", "x-large", True),
        ("xx-large", "x-large", True),
        ("8", "8.5", True),
        ("10.5", "10", True),
        ("queen", "queen size", True),
        ("pack of 2", "pack of 3", True),
        ("16 ounce (pack of 6)", "12 ounce (pack of 6)", True),
        ("powder snow", "cool powder snow", True),
        ("dark grey", "dark green", True),
        ("light blue", "navy blue", True),
        ("standard", "tan", True),
        ("small", "large", False),
        ("28", "30", False),
        ("6 count", "12 count", False),
        ("", "large", False),
        ("\u2122", "\xae", False),
        # Pairs of group and value, as synthetic goals have them: the group's name is compared too.
        ("x-large", ("size", "large"), False),
        ("x-large", ("size", "xx-large"), False),
        ("large", ("size", "x-large"), True),
        ("large", ("size", "xx-large"), True),
        ("8", ("size", "8.5"), True),
        ("color", ("color", "anything"), True),
        ("navy", ("color", "navy"), True),
        ("navy blue", ("color", "navy blue"), True),
        ("small", ("size", "large"), False),
        ("red wine", ("color", "wine"), False),
    ],
)
def test_options_are_compared_as_the_original_does_quirks_included(bought: str, wanted: str, met: bool):
    assert option_matches("any group", bought, wanted) is met


def test_strict_options_are_equal_and_in_their_group():
    assert option_matches("size", "large", "large", strict=True)
    assert not option_matches("size", "x-large", "large", strict=True)
    assert option_matches("size", "large", ("size", "large"), strict=True)
    assert not option_matches("fit", "large", ("size", "large"), strict=True)
    wanted = dataclasses.replace(WANTED, options=(("color", "navy"), ("size", "large")))
    assert judge(SHIRT, 1, {"color": "navy", "size": "large"}, wanted, strict_options=True).reward == 1.0


def test_one_bought_value_may_meet_several_wants():
    wanted = dataclasses.replace(WANTED, options=("large", "x-large"))
    assert judge(SHIRT, 1, {"size": "large"}, wanted).options_met == (True, True)


def test_colours_are_found_inside_words_first_in_the_list_first():
    assert base_color("standard") == "tan"
    assert base_color("blue denim") == "blue"
    assert base_color("striped") == "striped"
    assert len(COLORS) == len(set(COLORS)) == 102
    assert base_color("") == ""


@given(st.text(max_size=20), st.text(max_size=20))
def test_fuzzy_matching_is_symmetric_and_never_raises(one: str, other: str):
    assert similar(one, other) == similar(other, one)


def test_a_goal_without_attributes_or_options_still_has_a_price():
    bare = dataclasses.replace(WANTED, attributes=(), options=())
    assert judge(SHIRT, 50, {}, bare).reward == 0.0
    assert judge(SHIRT, 40, {}, bare).parts() == {
        "r_type": 1.0,
        "query_match": True,
        "category_match": True,
        "title_score": 1.0,
        "r_price": True,
        "w_price": 1.0,
    }


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_nothing_can_meet_is_refused(bound: float):
    with pytest.raises(ValueError, match="price_upper"):
        dataclasses.replace(WANTED, price_upper=bound)


def test_titles_without_nouns_count_a_fifth():
    goal = dataclasses.replace(WANTED, name="The 2 of 3")
    assert match_type(SHIRT, goal).title_score == 0.2
    assert title_nouns("Soft 4K Waterproof iPhone Case for Women Case") == ("iphone", "case", "women", "case")


def test_labels_are_written_as_the_original_writes_them():
    assert Product("B0", "").price_label == "$100.0"
    assert Product("B0", "", pricing=(12.5,)).price_label == "$12.5"
    assert Product("B0", "", pricing=(10.0, 20.99)).price_label == "$10.0 to $20.99"
    assert Product("B0", "").rating == "N.A."
    assert Product("B0", "", reviews=(Review("a", 4, ""), Review("b", 5, ""))).rating == "4.5"
