"""A study of self-play: every policy meets opponents that do not learn, and the verdicts are about these games."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from short_runs import save_random_model

from trainers.report.write import write_report
from trainers.study.analysis import analyse
from trainers.study.endpoints import endpoint
from trainers.study.fixed_opponents import OWN
from trainers.study.plan import make_plan
from trainers.study.plan_records import Plan
from trainers.study.records import Study, load_study
from trainers.study.study_dir import prepare
from trainers.study.table_files import write_table
from trainers.study.worker import run_job

ROLES = ("shopper_0", "seller_0")
PLAYERS = ("limiter", "honest")


def content(model: Path) -> dict[str, Any]:
    return {
        "name": "games",
        "env_id": "sdar/Haggle-v0",
        "preset": "none",
        "model": str(model),
        "common": {
            "env_kwargs": {"role": "both"},
            "roles": ["both"],
            **{"max_steps": 2, "tasks_per_step": 2, "num_generations": 2, "num_mini_batches": 1, "eval_steps": 1},
            **{"eval_episodes": 4, "test_episodes": 4, "max_turns": 2, "max_completion_length": 6, "save_steps": 0},
            **{"max_prompt_length": 400, "context": "transcript", "prompt_style": "compact", "list_actions": False},
        },
        "budget": 1,
        "seeds": 1,
        "arms": [{"method": "vanilla", "key": "start"}, "grpo"],
        "opponents": {"players": list(PLAYERS), "episodes": 6},
        "hypotheses": [
            {
                "id": "G1",
                "statement": "Self-play helps.",
                "claims": [
                    {
                        "name": "success against the fixed opponents, grpo - start",
                        "terms": [
                            {"arm": "grpo", "endpoint": "fixed_success"},
                            {"arm": "start", "endpoint": "fixed_success", "weight": -1},
                        ],
                    }
                ],
            }
        ],
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("games")
    plan = make_plan(content(save_random_model(folder / "model")), "here")
    _, jobs = prepare(folder / "study", plan)
    for job in jobs.values():
        run_job(folder / "study", "jobs", job.key)
    return load_study(folder / "study")


def test_every_policy_meets_every_opponent_in_every_seat_and_itself(finished: Study) -> None:
    for result in finished.results:
        assert result.games is not None and result.games.split == "test"
        met = {(each.role, each.opponent) for each in result.games.meetings}
        assert met == {(role, name) for role in ROLES for name in (*PLAYERS, None)}
        for each in result.games.meetings:
            assert len(each.wins) == 6 and each.overall.n == 6 and each.overall.wins == each.wins.count("1")
            assert each.mean_return is not None and 0.0 <= each.mean_return <= each.joint + 1e-6
    first, second = (result.games for result in finished.results)
    assert first is not None and second is not None and first.set_hash == second.set_hash
    matrix = json.loads((finished.run_dir(finished.results[0]) / "crossplay.json").read_text())
    assert len(matrix["cells"]) == 2 * len(PLAYERS) + 1 and matrix["players"][0] == OWN
    assert matrix["exploitability"] == {}  # scripts have not met each other


def test_endpoints_are_means_over_seats_and_opponents(finished: Study) -> None:
    result = finished.results[0]
    assert result.games is not None
    others = [each for each in result.games.meetings if each.opponent is not None]
    by_hand = sum(each.overall.wins for each in others) / (6 * len(others))
    assert endpoint("fixed_success", result, 4.0) == pytest.approx(by_hand)
    own = [each for each in result.games.meetings if each.opponent is None]
    assert endpoint("self_success", result, 4.0) == pytest.approx(sum(each.overall.wins for each in own) / 12)
    assert endpoint("self_deals", result, 4.0) == pytest.approx(own[0].deals)


def test_a_game_counts_once_though_two_seats_learn_from_it(finished: Study) -> None:
    trained = next(result for result in finished.results if result.arm == "grpo")
    assert [point.episodes for point in trained.curve] == [0, 4, 8]


def test_verdicts_and_table_speak_of_these_games(finished: Study) -> None:
    table = analyse(finished)
    assert table.complete and [verdict.id for verdict in table.verdicts] == ["G1"]
    assert {"fixed_success", "fixed_return", "self_success"} <= {each.terms[0].endpoint for each in table.contrasts}
    assert all(row.endpoints["fixed_return"].n == 1 for row in table.arms)
    write_table(finished.path)
    lines = (finished.path / "games.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("arm,seed,role,opponent,wins,n") and len(lines) == 1 + 2 * len(ROLES) * 3
    assert "| fixed opponents |" in (finished.path / "report.md").read_text(encoding="utf-8")


def test_the_report_shows_who_earns_what_from_whom(finished: Study) -> None:
    written = write_report(finished.path, images=False)
    page, text = (path.read_text(encoding="utf-8") for path in written.files[:2])
    columns, rows = len(PLAYERS) + 1, len(finished.plan.arms)
    assert page.count('class="cell"') == len(ROLES) * columns * rows
    assert "As shopper" in page and "itself" in page and "deals with itself" in text
    result = finished.results[0]
    assert result.games is not None
    (meeting,) = (each for each in result.games.meetings if (each.role, each.opponent) == (ROLES[0], PLAYERS[0]))
    assert f"start: {meeting.mean_return:.3f} over 1 seeds" in page


def test_a_plan_without_opponents_has_none_of_this(finished: Study) -> None:
    plan = finished.plan
    without = make_plan({**content(Path(str(plan.model))), "opponents": None, "hypotheses": []}, "here")
    assert without.opponents is None
    _, jobs = prepare(finished.path.parent / "without", without)
    assert not {job.key for job in jobs.values()} & set(finished.jobs)
    with pytest.raises(ValueError, match=r"fixed_success is played against fixed opponents: name them"):
        make_plan({**content(Path(str(plan.model))), "opponents": None}, "here")


@pytest.mark.parametrize(
    ("opponents", "said"),
    [
        (["nobody"], "unknown player"),
        ([], "expected different players"),
        (["limiter", "limiter"], "expected different players"),
        ({"players": ["limiter"], "episodes": 0}, "episodes"),
        ({"players": ["limiter"], "split": "tset"}, "tset"),
        ({"players": ["limiter"], "seats": 2}, "unknown: seats"),
    ],
)
def test_opponents_that_cannot_be_met_are_refused_before_a_run(opponents: Any, said: str, finished: Study) -> None:
    with pytest.raises(ValueError, match=said):
        make_plan({**content(Path(str(finished.plan.model))), "opponents": opponents}, "here")


def test_opponents_need_a_game(finished: Study) -> None:
    def household() -> Plan:
        given = content(Path(str(finished.plan.model)))
        return make_plan({**given, "env_id": "sdar/Household-v0", "common": {"max_steps": 2}}, "here")

    with pytest.raises(ValueError, match=r"sdar/Household-v0 is none"):
        household()
