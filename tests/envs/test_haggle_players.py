"""The scripted players of Haggle, and the exact bounds that hold for any player against the usual opponent."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from sdar_envs.multiagent.haggle.bounds import best_response, informed, reference, reference_returns, uninformed
from sdar_envs.multiagent.haggle.game import Haggle
from sdar_envs.multiagent.haggle.players import PLAYERS, make_player
from sdar_envs.multiagent.haggle.regularities import regularities
from sdar_envs.multiagent.haggle.tables import OTHER, ROLES, SELLER, SHOPPER, SIZE_TABLES, SizeTable
from sdar_envs.multiagent.playing import play_game

# Own player -> share, success, deals of (shopper, seller) against the limiter over the first 2,016 training tasks of
# the small size, as docs/haggle.md has them.
PUBLISHED = {
    "random": ((0.34, 0.16, 0.69), (0.35, 0.16, 0.70)),
    "honest": ((0.00, 0.00, 1.00), (0.00, 0.00, 1.00)),
    "greedy": ((0.28, 0.30, 0.30), (0.31, 0.33, 0.33)),
    "ladder": ((0.48, 0.42, 0.55), (0.64, 0.61, 0.74)),
    "safe": ((0.66, 0.32, 1.00), (0.57, 0.21, 1.00)),
    "informed": ((0.95, 0.92, 0.97), (0.93, 0.91, 0.96)),
}
TASKS = 400


def known(size: str, role: str, world_seed: int = 0) -> list[str]:
    return [statement.compact_line() for statement in regularities(size, world_seed).statements(role)]


def played(name: str, role: str, *, size: str = "small", tasks: int = TASKS, first: int = 0) -> np.ndarray:
    """Share, success and deals per game of a player against the limiter."""
    game = Haggle(size=size)
    rows = []
    for task_id in game.task_ids("train")[first : first + tasks]:
        players = {role: make_player(name, known(size, role)), OTHER[role]: make_player("limiter")}
        share = play_game(game, task_id, players)[role]
        rows.append([share, share >= 0.8, game.price is not None])
    return np.array(rows, dtype=float)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("seat", [0, 1])
def test_scripted_players_get_what_the_page_says(name: str, seat: int):
    rows = played(name, ROLES[seat])
    # Half a hundredth of rounding, and four standard errors of 400 tasks against the page's 2,016.
    error = 0.005 + 4 * rows.std(axis=0) / TASKS**0.5
    assert (np.abs(rows.mean(axis=0) - PUBLISHED[name][seat]) <= error).all()


def test_the_exact_bounds_of_the_small_size():
    bounds = reference("small")
    assert bounds["uninformed"].share == pytest.approx(0.7419, abs=5e-5)
    assert bounds["informed"].share == pytest.approx(0.9349, abs=5e-5)
    assert bounds["uninformed"].acts == pytest.approx(7 / 6)


@pytest.mark.parametrize(
    ("patience", "shares"), [(0, (0.624, 0.916)), (1, (0.742, 0.935)), (2, (0.816, 0.948)), (99, (0.840, 0.965))]
)
def test_patience_makes_ignorance_cheap(patience: int, shares: tuple[float, float]):
    table = dataclasses.replace(SIZE_TABLES["small"], patience=patience)
    assert (uninformed(table).share, informed(table).share) == pytest.approx(shares, abs=5e-4)


def grid(patience: int, discount: float, offers: int) -> SizeTable:
    return dataclasses.replace(
        SIZE_TABLES["small"], floors=(0, 2), ceilings=(3, 5), patience=patience, discount=discount, offers=offers
    )


def brute_force(own: int, belief: list[float], table: SizeTable) -> float:
    """The best of all sequences of offers, each played against every limit."""
    best = 0.0
    for sequence in itertools.product(range(own + 1), repeat=table.offers):
        total = 0.0
        for limit, probability in enumerate(belief):
            for number, offer in enumerate(sequence):
                if offer >= limit:
                    total += probability * table.discount**number * (own - offer) / (own - limit)
                    break
                if limit - offer > table.patience:
                    break
        best = max(best, total)
    return best


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize("offers", [1, 2, 3])
@pytest.mark.parametrize("discount", [0.9, 0.5, 1.0])
def test_backward_induction_finds_the_best_of_all_sequences(patience: int, offers: int, discount: float):
    table = grid(patience, discount, offers)
    rng = np.random.default_rng(7)
    for own in (3, 4, 5):
        for belief in ([1 / 3] * 3, [0.85, 0.1, 0.05], rng.dirichlet([1, 1, 1]).tolist()):
            assert best_response(own, np.array(belief), table).share == pytest.approx(brute_force(own, belief, table))


def test_a_belief_without_mass_is_worth_nothing_and_one_without_doubt_everything():
    table = SIZE_TABLES["small"]
    assert best_response(9, np.zeros(13), table).share == 0.0
    sure = np.zeros(13)
    sure[4] = 1.0
    assert best_response(9, sure, table) == type(best_response(9, sure, table))(1.0, 1.0)


@pytest.mark.parametrize("role", ROLES)
def test_no_player_that_knows_nothing_beats_the_exact_bound_over_many_worlds(role: str):
    """In one world a script can be lucky: its guess may lie near most of the regularities; over worlds it is not."""
    game = {seed: Haggle(world_seed=seed) for seed in range(20)}
    bound = reference("small")["uninformed"].share
    for name in PLAYERS:
        if name in ("informed", "silent"):
            continue
        shares = [
            play_game(of, f"train:{number:06d}", {role: make_player(name), OTHER[role]: make_player("limiter")})[role]
            for of in game.values()
            for number in range(28)
        ]
        assert np.mean(shares) <= bound + 2 * np.std(shares) / len(shares) ** 0.5, name


def test_reports_are_given_the_bounds_of_the_game_that_was_played_and_none_of_another():
    known = reference_returns({"role": "both", "opponent": "limiter", "world_seed": 3})
    assert list(known.values()) == [reference("small")["uninformed"].share, reference("small")["informed"].share]
    others = [{"opponent": "greedy"}, {"patience": 2}, {"horizon": 3}, {"regularity": 0.5}, {"size": "huge"}]
    assert [reference_returns(options) for options in others] == [{}] * len(others)


@pytest.mark.slow
def test_in_the_full_size_knowledge_is_worth_twenty_points_and_its_owner_acts_twice():
    bounds = reference("full")
    assert bounds["uninformed"].share == pytest.approx(0.656, abs=1e-3)
    assert bounds["informed"].share == pytest.approx(0.901, abs=1e-3)
    assert bounds["informed"].acts == pytest.approx(2.27, abs=0.01)


def test_in_the_full_size_a_script_that_is_told_beats_the_bound_of_those_that_are_not():
    for role in ROLES:
        assert played("informed", role, size="full", tasks=120)[:, 0].mean() > 0.80


def test_the_limiter_takes_leaves_and_asks_by_its_limit_alone():
    game = Haggle()
    game.begin(next(t for t in game.task_ids("train") if game._bargain(t).opener == SHOPPER))
    floor = game.bargain.floor
    limiter = make_player("limiter")
    game.act(SHOPPER, f"offer {max(10, floor - 10)}")
    expected = "accept" if floor == 10 else "offer 120"
    assert limiter.act(game.view(SELLER)) == expected


def test_a_patience_of_ones_own_is_kept():
    game = Haggle()
    task = next(t for t in game.task_ids("train") if (b := game._bargain(t)).opener == SHOPPER and b.floor == 60)
    game.begin(task)
    game.act(SHOPPER, "offer 30")
    assert make_player("limiter").act(game.view(SELLER)) == "leave"
    assert make_player("limiter", patience=3).act(game.view(SELLER)) == "offer 120"


def test_only_the_informed_player_is_handed_statements():
    lines = known("small", SHOPPER)
    assert make_player("informed", lines).statements == tuple(lines)
    assert make_player("greedy", lines).statements == ()
    with pytest.raises(ValueError, match=r"unknown player 'limitter' for Haggle.*nearest is \"limiter\""):
        make_player("limitter")


@pytest.mark.parametrize("name", PLAYERS)
def test_players_repeat_themselves_and_forget_the_game_before(name: str):
    game = Haggle()
    fresh = [
        (
            play_game(game, t, {SHOPPER: make_player(name, known("small", SHOPPER)), SELLER: make_player("ladder")}),
            game.log,
        )
        for t in game.task_ids("valid")[:12]
    ]
    kept = {SHOPPER: make_player(name, known("small", SHOPPER)), SELLER: make_player("ladder")}
    assert [(play_game(game, t, kept), game.log) for t in game.task_ids("valid")[:12]] == fresh


def equilibrium(floor: int, ceiling: int, opener: int, *, offers: int, horizon: int) -> tuple[float, float]:
    """What shopper and seller get when both know everything, by backward induction over the small size's rules."""
    limits = (ceiling, floor)
    own_prices = [[p for p in range(10, 130, 10) if p <= ceiling], [p for p in range(10, 130, 10) if p >= floor]]

    @functools.cache
    def value(
        role: int, taken: tuple[int, int], made: tuple[int, int], standing: tuple[int, int]
    ) -> tuple[float, float]:
        if min(taken) >= horizon:
            return 0.0, 0.0
        other, later = 1 - role, _added(taken, role)
        found = [value(other, later, made, standing)]  # waiting
        price = standing[role]
        if price and (price <= limits[0] if role == 0 else price >= limits[1]):
            gain = 0.9 ** (made[other] - 1) / (ceiling - floor)
            found.insert(0, (gain * (ceiling - price), gain * (price - floor)))  # taken where nothing is better
        if made[role] < offers:
            for offered in own_prices[role]:
                shown = (standing[0], offered) if role == 0 else (offered, standing[1])
                found.append(value(other, later, _added(made, role), shown))
        return max(found, key=lambda gains: round(gains[role], 12))

    return value(opener, (0, 0), (0, 0), (0, 0))


def _added(counts: tuple[int, int], role: int) -> tuple[int, int]:
    return (counts[0] + 1, counts[1]) if role == 0 else (counts[0], counts[1] + 1)


@pytest.mark.parametrize(("floor", "ceiling"), [(10, 120), (30, 80), (60, 70)])
@pytest.mark.parametrize(("offers", "horizon"), [(1, 2), (3, 5)])
def test_who_knows_everything_and_opens_takes_everything_which_is_why_the_opener_is_drawn(
    floor: int, ceiling: int, offers: int, horizon: int
):
    """The opener has the last turn at which an offer can still be answered."""
    assert equilibrium(floor, ceiling, 0, offers=offers, horizon=horizon) == (1.0, 0.0)
    assert equilibrium(floor, ceiling, 1, offers=offers, horizon=horizon) == (0.0, 1.0)
