"""The audit: each simulation by hand where it can be, its figures on the page, and the command."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from official_data import official_folder

from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.goals import index_splits, shuffled
from sdar_envs.webshop.official_tasks import OfficialTasks
from trainers.cli import main
from trainers.referee.audit import (
    contaminated_split,
    duplicate_games,
    finished_episodes,
    left_truncation,
    moving_sets,
    prices_per_worker,
    products_in_train,
    single_member_groups,
    step_statistics,
)
from trainers.referee.audit.catalogue import ITEMS, item, measured, to_json
from trainers.referee.audit.item import Figure

PAGE = Path(__file__).parents[2] / "docs" / "protocol-audit.md"
# Those that take seconds are measured once, by the test of the page.
QUICK = [name for name in ITEMS if name not in ("one-seed", "moving-sets", "contaminated-split", "left-truncation")]


# --- splits and sets ---


def test_orders_of_two_workers_put_other_goals_at_a_position_and_one_order_for_all_does_not() -> None:
    first, second = (contaminated_split.worker_order(1000, seed) for seed in (1, 2))
    assert sorted(first) == sorted(second) == list(range(1000)) and first != second
    # Of the first worker's 100 held-out goals about 90 are in the second's training range; with one order none is.
    assert 80 <= len(set(first[:100]) & contaminated_split.training_range([second], 100)) <= 99
    assert not set(first[:100]) & contaminated_split.training_range([first, first], 100)


def test_what_a_run_draws_is_of_its_training_range_and_what_a_validation_plays_is_held_out() -> None:
    orders = [contaminated_split.worker_order(60, seed) for seed in range(4)]
    generator = counted_generator("draws")
    assert contaminated_split.trained_on(orders, 20, 30, generator) <= contaminated_split.training_range(orders, 20)
    played = contaminated_split.validation_set(orders, 20, generator)
    assert all(goal in order[:20] for goal, order in zip(played, orders, strict=True))


def test_128_draws_of_134_games_are_83_games() -> None:
    drawn = [len(set(duplicate_games.first_games(134, 128, counted_generator(i)).tolist())) for i in range(60)]
    assert np.mean(drawn) == pytest.approx(134 * (1 - (133 / 134) ** 128), abs=1.5)


def test_a_still_set_takes_the_tasks_out_of_the_difference_between_two_validations() -> None:
    between, within = moving_sets.BETWEEN_TASKS, 0.16 - moving_sets.BETWEEN_TASKS
    for moving, variance in ((True, between + within), (False, within)):
        rates = moving_sets.curves(moving, 3000, counted_generator("still", int(moving)), validations=2)
        assert (rates[:, 0] - rates[:, 1]).std() == pytest.approx(math.sqrt(2 * variance / 128), rel=0.06)
        assert rates.mean() == pytest.approx(0.8, abs=0.003)


def test_two_bounds_of_one_price_differ_in_eleven_of_eighteen_pairs() -> None:
    # The larger of two of four candidates: the 2nd, 3rd, 4th with probability 1/6, 2/6, 3/6.
    drawn = np.array([prices_per_worker.bounds([37.5] * 2000, seed) for seed in (1, 2)])
    assert Counter(drawn.ravel().tolist()).keys() == {50.0, 60.0, 70.0}
    assert (drawn[0] != drawn[1]).mean() == pytest.approx(1 - (1 + 4 + 9) / 36, abs=0.04)


def test_sisters_of_test_goals_are_in_train_by_position_and_never_by_product() -> None:
    products = ["A", "A", "B", "C", "C", "C"]
    found = products_in_train.shared(products, {"train": [1, 3], "test": [0, 2, 4, 5]})
    assert found == pytest.approx((75.0, 200 / 3))
    of_goals, of_products = products_in_train.shared(
        [f"B{number % 97:09d}" for number in range(2000)],
        products_in_train.split_by_product([f"B{number % 97:09d}" for number in range(2000)]),
    )
    assert (of_goals, of_products) == (0.0, 0.0)
    counts = products_in_train.goals_per_product(counted_generator("counts"))
    assert counts.sum() == 6910 and counts.min() >= 1 and len(counts) == 433


@pytest.mark.official
def test_real_goals_split_by_position_have_sisters_in_train() -> None:
    tasks = OfficialTasks(official_folder("webshop"), goals="synthetic")
    products = [tasks.goal(number).asin for number in range(len(tasks))]
    of_goals, of_products = products_in_train.shared(products, dict(index_splits(len(tasks))))
    assert of_goals == pytest.approx(100 * 192 / 198) and of_products == pytest.approx(100 * 45 / 51)
    assert products_in_train.shared(products, products_in_train.split_by_product(products)) == (0.0, 0.0)
    # What the simulation of the whole layout takes from them.
    logs = np.log(list(Counter(products).values()))
    assert len(logs) == 130 and logs.mean() == pytest.approx(products_in_train.LOG_MEAN, abs=1e-3)
    assert logs.std() == pytest.approx(products_in_train.LOG_DEVIATION, abs=1e-3)


@pytest.mark.official
def test_real_goals_have_another_bound_on_another_worker() -> None:
    tasks = OfficialTasks(official_folder("webshop"), goals="synthetic")
    prices = [tasks.store.prices[asin] for asin in dict.fromkeys(tasks.goal(i).asin for i in range(len(tasks)))]
    drawn = np.array([prices_per_worker.bounds(prices, seed) for seed in range(40)])
    assert np.mean([(drawn[i] != drawn[i + 1]).mean() for i in range(0, 40, 2)]) == pytest.approx(22 / 36, abs=0.05)


# --- training ---


def test_a_win_of_3_turns_against_a_loss_of_15_by_hand() -> None:
    # Rows: three of 10, fifteen of 0; mean 5/3, deviation sqrt(18 * (1/6)(5/6) * 100 / 17).
    deviation = math.sqrt(18 * (1 / 6) * (5 / 6) * 100 / 17)
    win, loss = step_statistics.pair_of_advantages((3, 15))
    assert win == pytest.approx((10 - 5 / 3) / deviation, abs=1e-5) and round(win, 2) == 2.17
    assert loss == pytest.approx(-(5 / 3) / deviation, abs=1e-5) and round(loss, 2) == -0.43


def test_a_lone_win_keeps_its_raw_reward_in_the_published_form_and_gives_nothing_here() -> None:
    assert single_member_groups.raw_when_alone([10.0]) == [pytest.approx(10.0, abs=1e-4)]
    advantage, times = single_member_groups.measure(0)
    assert advantage.fixed == times.fixed == 0.0
    assert times.published == pytest.approx(10 / 2.474, abs=5e-3)


def test_turns_that_are_thrown_away_by_hand() -> None:
    # Two batches of two: 10 + 50 used of 100, 5 + 5 used of 10.
    assert finished_episodes.sampled_turns(np.array([[10, 50], [5, 5]])) == pytest.approx(110 / 70)


@pytest.mark.parametrize(("prompt", "expected"), [(0, 0.0), (100, 0.0), (150, 0.5), (200, 1.0), (500, 1.0)])
def test_the_privileged_text_goes_first(prompt: int, expected: float) -> None:
    assert left_truncation.lost(prompt, 100, 200) == expected


# --- figures, page, command ---


@pytest.mark.parametrize("name", QUICK)
def test_figures_are_a_function_of_the_key(name: str) -> None:
    assert item(name).measure(3) == item(name).measure(3)


def test_the_page_has_every_item_its_figures_and_its_threads() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for found, figures in measured(ITEMS, 0):
        assert f"## {found.name}\n" in page, found.name
        section = re.split(r"\n## ", page.split(f"## {found.name}\n", 1)[1])[0]
        for figure in figures:
            assert row_of(figure) in section, f"{found.name}: expected the row {row_of(figure)!r}"
        for thread in found.threads:
            assert f"({thread.url})" in section, thread.url


def row_of(figure: Figure) -> str:
    """A figure as the page's tables have it."""
    from trainers.cli.audit import shown

    return f"| {figure.name} | {shown(figure.published)} | {shown(figure.fixed)} | {figure.unit} |"


def test_every_item_names_threads_by_an_address_and_is_plain_values() -> None:
    for name, found in ITEMS.items():
        assert found.threads and all(
            re.fullmatch(r"https://github.com/\S+/\d+", thread.url) for thread in found.threads
        )
        content = to_json(found, ())
        assert json.loads(json.dumps(content)) == content | {"threads": list(content["threads"])}, name


def test_one_item_is_printed_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    assert main(["audit", "step-statistics", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "advantage of a win in 3 turns" in shown and "2.17" in shown and "Instead:" in shown
    assert "https://github.com/microsoft/agent-lightning/pull/462" in shown
    (written,) = json.loads(file.read_text(encoding="utf-8"))["items"]
    assert written["name"] == "step-statistics" and len(written["figures"]) == 3


def test_an_unknown_item_leads_to_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "one-sed"]) == 2
    assert 'the nearest is "one-seed"' in capsys.readouterr().err


def test_the_order_that_all_processes_share_is_the_originals() -> None:
    assert shuffled(5) == contaminated_split.worker_order(5, 233)
