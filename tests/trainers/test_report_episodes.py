"""Which episodes a report shows, by rule and the same every time, and what of them its viewer is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_run import write_run
from page_structure import Structure

from trainers.report.episodes import Place, choose, load_episodes, spread_over
from trainers.report.viewer_data import ViewedArm, scales, viewer_data
from trainers.report.write import write_report

# --- which episodes ---


def place(number: int, phase: str, iteration: int, *, tokens: bool = True) -> Place:
    return Place(number, phase, iteration, number, 0, f"{phase}:{number % 100}", tokens)


LOG = [
    *(place(i, "test", 0, tokens=False) for i in range(100)),
    *(place(i, "train", i // 8, tokens=i % 8 < 2) for i in range(160)),
    *(place(i, "valid", 20, tokens=False) for i in range(50)),
    *(place(i, "test", 20, tokens=i < 64) for i in range(100)),
]


def test_half_of_the_episodes_are_the_last_panels_first_tasks_with_tokens():
    chosen = choose(LOG, 48)
    last = [p for p in chosen if p.phase == "test" and p.iteration == 20]
    assert [p.task_id for p in last] == [f"test:{i}" for i in range(24)]
    before = [p for p in chosen if p.phase == "test" and p.iteration == 0]
    assert [p.task_id for p in before] == [f"test:{i}" for i in range(8)]
    train = [p for p in chosen if p.phase == "train"]
    assert len(train) == 16 and all(p.has_tokens for p in train)
    assert (train[0].iteration, train[-1].iteration) == (0, 19)


@given(st.integers(0, 400))
def test_as_many_are_chosen_as_asked_for_and_there_are_and_none_twice(count: int):
    chosen = choose(LOG, count)
    assert len(chosen) == len(set(chosen)) <= count
    useful = 100 + 100 + 40  # the last panel, its tasks before training, training episodes with tokens
    assert len(chosen) == min(count, useful)
    assert choose(LOG, count) == chosen


def test_a_log_of_one_kind_gives_what_it_has():
    assert len(choose([p for p in LOG if p.phase == "train"], 30)) == 30
    only_end = [p for p in LOG if p.iteration == 20 and p.phase == "test"]
    assert len(choose(only_end, 30)) == 30
    assert choose([], 30) == []


def test_spread_over_takes_the_first_and_the_last():
    places = LOG[:10]
    assert spread_over(places, 3) == [places[0], places[4], places[9]]
    assert spread_over(places, 20) == places
    assert spread_over(places, 1) == places[:1] and spread_over(places, 0) == []


def test_episodes_whose_text_was_withheld_are_not_shown(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2)
    records = [json.loads(line) for line in (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record["phase"] == "train":
            for turn in record["turns"]:
                turn |= {"observation": None, "completion": None, "action": None}
    (run / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    assert {record["phase"] for record in load_episodes(run, 96)} == {"test"}


def side(number: int, game: int, role: int, *, tokens: bool = True) -> Place:
    return Place(number, "train", game // 10, 2 * game + role, 0, f"train:{game}", tokens, game=game)


def test_a_game_is_taken_with_all_its_sides():
    log = [side(2 * game + role, game, role, tokens=game % 10 < 2) for game in range(40) for role in range(2)]
    chosen = choose(log, 4)
    assert [(place.game, place.group % 2) for place in chosen] == [
        (game, role) for game in (0, 10, 21, 31) for role in range(2)
    ]


# --- what the viewer is given ---


def test_numbers_and_texts_arrive_as_they_were_logged(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=2)
    (record,) = load_episodes(run, 1)
    data = viewer_data([ViewedArm("sdar", 1, "a note", [record])])
    (episode,) = data["episodes"]
    turn, logged = episode["turns"][0], record["turns"][0]
    texts = data["texts"]
    assert [texts[number] for number in turn["t"]] == logged["tokens"]["text"]
    assert texts[turn["o"]] == logged["observation"] and texts[turn["c"]] == logged["completion"]
    assert [[role, texts[number]] for role, number in turn["m"]] == [["user", "at shelf 0."]]
    for name in ("behaviour", "student", "teacher", "signal", "weight", "entropy"):
        assert turn[name] == pytest.approx(logged["tokens"][name], abs=0.0005)
    assert (episode["success"], episode["type"], episode["claims"]) == (record["success"], record["task_type"], "true")
    assert "k" not in turn and data["privileged"] is False


def game(*moves: tuple[str, str]) -> list[dict[str, object]]:
    """The records of a game: the acts of its roles in the order of play, logged side by side."""
    roles = ("shopper_0", "seller_0")
    return [
        {
            "phase": "train", "iteration": 3, "group": number, "member": 0, "task_id": "train:7", "task_type": "boots",
            "role": role, "game": 5, "instruction": f"you are the {role}", "success": role == "seller_0",
            "score": 0.9 * number, "stop_reason": "terminated", "claim_ids": [f"claim of {role}"], "stale": [],
            "turns": [
                {"move": place, "observation": f"seen by {role}", "completion": said, "action": said, "parse": "ok",
                 "valid": True, "reward": 0.0, "messages": [{"role": "user", "content": f"prompt of {role}, {place}"}]}
                for place, (who, said) in enumerate(moves)
                if who == role
            ],
        }
        for number, role in enumerate(roles)
    ]  # fmt: skip


def test_the_sides_of_a_game_are_one_in_the_order_of_play_and_keep_what_is_their_own():
    records = game(("seller_0", "offer 90"), ("shopper_0", "offer 40"), ("seller_0", "accept"))
    known = [[{"hints": [f"secret of {record['role']}, {n}"]} for n in range(2)] for record in records]
    data = viewer_data([ViewedArm("sdar", 1, "", records, known)])
    (episode,) = data["episodes"]
    texts = data["texts"]
    told = [
        (episode["sides"][turn["s"]]["role"], texts[turn["a"]], texts[turn["m"][0][1]], texts[turn["k"][0][1]])
        for turn in episode["turns"]
    ]
    assert told == [
        ("seller_0", "offer 90", "prompt of seller_0, 0", "secret of seller_0, 0"),
        ("shopper_0", "offer 40", "prompt of shopper_0, 1", "secret of shopper_0, 0"),
        ("seller_0", "accept", "prompt of seller_0, 2", "secret of seller_0, 1"),
    ]
    assert [(each["role"], each["success"], each["score"]) for each in episode["sides"]] == [
        ("shopper_0", False, 0.0),
        ("seller_0", True, 0.9),
    ]
    assert [texts[each["claim_ids"][0]] for each in episode["sides"]] == ["claim of shopper_0", "claim of seller_0"]
    assert episode["success"]  # somebody won


def test_a_game_of_which_one_side_was_logged_is_shown_as_that_side():
    shopper, _ = game(("shopper_0", "offer 40"))
    (episode,) = viewer_data([ViewedArm("sdar", 1, "", [shopper])])["episodes"]
    assert [each["role"] for each in episode["sides"]] == ["shopper_0"] and len(episode["turns"]) == 1


def test_games_of_different_iterations_are_not_mixed():
    first, second = game(("shopper_0", "offer 40")), game(("shopper_0", "offer 50"))
    for record in second:
        record["iteration"] = 4
    assert len(viewer_data([ViewedArm("sdar", 1, "", [*first, *second])])["episodes"]) == 2


def test_the_data_keep_their_limit_and_what_is_left_out_is_counted(tmp_path: Path):
    run = write_run(tmp_path / "run", iterations=10)
    episodes = load_episodes(run, 60)
    arms = [ViewedArm("one", 0, "", episodes), ViewedArm("two", 1, "", episodes)]
    whole = viewer_data(arms)
    assert whole["left_out"] == 0 and len(whole["episodes"]) == 2 * len(episodes)
    small = viewer_data(arms, limit=40_000)
    assert len(json.dumps(small, separators=(",", ":"))) < 42_000
    assert small["left_out"] == 2 * len(episodes) - len(small["episodes"]) > 0
    assert {episode["arm"] for episode in small["episodes"]} == {0, 1}
    numbers = [number for e in small["episodes"] for turn in e["turns"] for number in turn.get("t", [turn["o"]])]
    assert max(numbers) < len(small["texts"])


def test_a_page_says_how_many_episodes_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_run(tmp_path / "run", iterations=4)
    monkeypatch.setattr("trainers.report.viewer_data.BYTES", 20_000)
    write_report(run, images=False)
    page = Structure((run / "report.html").read_text(encoding="utf-8"))
    assert f"{page.data['left_out']} of them are left out" in page.text


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.1, 0.5, 0.99], [0.0, 0.5, 1.0]),  # a gate
        ([0.8, 1.0, 1.2], [0.8, 1.0, 1.2]),  # a factor
        ([-2.0, 0.5, 1.0], [-2.0, 0.0, 2.0]),  # a push
    ],
)
def test_the_shading_of_a_weight_is_neutral_where_the_weight_is(values: list[float], scale: list[float]):
    found = scales([{"turns": [{"weight": values}]}])["weight"]
    assert found == pytest.approx(scale)


def test_one_extreme_token_does_not_set_the_scale():
    values = [0.1 * number for number in range(100)] + [50.0]
    assert scales([{"turns": [{"entropy": values}]}])["entropy"][2] < 10.0
