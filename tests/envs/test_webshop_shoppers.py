"""Scripted players and demonstrations of the store: what they read, what they reach, and that guesses are even."""

from __future__ import annotations

import pytest

from sdar_envs.demonstrations import DEMONSTRATION_WORLDS, demonstrate, script_of
from sdar_envs.webshop.demonstrator import ASTRAY
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.shoppers import FirstHit, RandomShopper, Shopper, read_request, read_results, shop
from sdar_envs.webshop.taxonomy import SIZES

KWARGS = {"size": "small"}


def play(index: int, *, hinted: bool):
    return demonstrate(script_of("sdar/WebShop-v0"), KWARGS, key=("test", index), hinted=hinted)


@pytest.fixture(scope="module")
def plays():
    return {hinted: [play(index, hinted=hinted) for index in range(240)] for hinted in (True, False)}


def test_a_request_is_read_and_anything_else_is_refused():
    wanted = read_request(
        "i want a retro wool rug for yoga, and it should be fade proof, in pink, and price lower than 50.00 dollars"
    )
    assert (wanted.kind, wanted.use, wanted.material, wanted.style) == ("rug", "yoga", "wool", "retro")
    assert (wanted.attribute, wanted.extra, wanted.bound) == ("fade proof", "pink", 50.0)
    with pytest.raises(ValueError, match="phrasings"):
        read_request("sell me something")


def test_results_are_read_as_they_are_listed():
    head = "Back to Search [SEP] Page 1 (Total results: 2) [SEP] Next >"
    text = f"{head} [SEP] B01 [SEP] rug [SEP] $2.5 [SEP] B02 [SEP] mat [SEP] $3.0"
    assert [(one.asin, one.title, one.price) for one in read_results(text)] == [
        ("B01", "rug", 2.5),
        ("B02", "mat", 3.0),
    ]
    assert read_results("Page 9 (Total results: 0) [SEP] Next >") == []


@pytest.mark.parametrize("size", SIZES)
def test_players_rank_as_they_should(size: str):
    env = WebShopEnv(size=size, split="test")
    tasks = env.task_ids()[:120]
    scores = {"random": 0.0, "first hit": 0.0, "guessing": 0.0}
    wins = dict.fromkeys(scores, 0)
    for task_id in tasks:
        for name, player in (
            ("random", RandomShopper((task_id,))),
            ("first hit", FirstHit()),
            ("guessing", Shopper((), (task_id,))),
        ):
            score = shop(env, task_id, player)
            scores[name] += score / len(tasks)
            wins[name] += score == 1.0
    assert wins["random"] == wins["first hit"] == 0 < wins["guessing"] < 0.4 * len(tasks)
    assert scores["random"] < 0.15 < 0.5 < scores["first hit"] < 0.9


def test_there_are_no_demonstrations_of_official_stores():
    with pytest.raises(ValueError, match=r"generated store, got data_dir.*--model"):
        demonstrate(script_of("sdar/WebShop-v0"), {"data_dir": "webshop/data"}, key=("test", 0), hinted=True)


def test_the_same_key_gives_the_same_demonstration_and_another_key_another():
    assert play(3, hinted=True) == play(3, hinted=True)
    assert len({play(index, hinted=True).views[0].observation for index in range(8)}) > 1


def test_hinted_demonstrations_succeed_more_often_and_neither_kind_always(plays):
    rates = {hinted: sum(one.success for one in plays[hinted]) / 240 for hinted in plays}
    assert 0.05 < rates[False] < 0.4 < 0.7 < rates[True] < 1.0


def test_unhinted_demonstrations_guess_evenly(plays):
    """The first search is by the word that counts no more often than one time in three."""
    by_the_cue = searches = 0
    for demonstration in plays[False]:
        wanted = read_request(demonstration.views[0].instruction)
        lines = demonstration.privileged[0].reveal()["skills"]["compact_lines"]
        cue = lines[0].removeprefix("search by the ").removesuffix(".")
        searches += 1
        by_the_cue += demonstration.actions[0] == f"search[{wanted.cue(cue)} {wanted.kind}]"
    assert abs(by_the_cue - searches / 3) < 4 * (searches * 2 / 9) ** 0.5


def test_hinted_demonstrations_follow_the_lines_but_for_detours(plays):
    followed = 0
    for demonstration in plays[True]:
        wanted = read_request(demonstration.views[0].instruction)
        lines = demonstration.privileged[0].reveal()["skills"]["compact_lines"]
        cue = lines[0].removeprefix("search by the ").removesuffix(".")
        followed += demonstration.actions[0] == f"search[{wanted.cue(cue)} {wanted.kind}]"
    assert followed > (1 - 2 * ASTRAY) * len(plays[True])


def test_every_action_of_a_demonstration_is_understood(plays):
    for demonstration in (*plays[True], *plays[False]):
        for view in demonstration.views:
            assert view.is_action_valid


def test_demonstrations_come_from_many_worlds_that_nobody_trains_in(plays):
    assert min(DEMONSTRATION_WORLDS) >= 1_000_000
    lines = {tuple(one.privileged[0].reveal()["skills"]["compact_lines"]) for one in plays[True]}
    assert len(lines) > 20
