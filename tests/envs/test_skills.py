"""The skill bank says what it should to whom it should, and can be made wrong in a known way."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs import skills
from sdar_envs.skills import RETRIEVALS, SkillBank, SkillStatement, parse_skill_file

HOMES = ("fridge", "shelf", "drawer", "sink")


def home(key: str, value: str) -> SkillStatement:
    return SkillStatement(
        id=f"home:{key}",
        keys=(key,),
        field="home",
        value=value,
        text=f"The {key} is usually in the {{value}}.",
        compact_text=f"{key} in {{value}}",
        alternatives=tuple(place for place in HOMES if place != value),
    )


def tool(task_type: str, value: str, alternatives: tuple[str, ...] = ("sink",)) -> SkillStatement:
    return SkillStatement(
        f"tool:{task_type}", (task_type,), "tool", value, "Use the {value}.", "use {value}", alternatives
    )


TASKS = {"heat": "Warm it, then place it.", "cool": "Chill it.", "put": "Just place it."}
STATEMENTS = (home("apple", "fridge"), tool("heat", "microwave"), home("hat", "shelf"), tool("cool", "fridge"))
KEYWORDS = {"heat": ["hot", "warm up"], "cool": ["cold"]}


def bank(**kwargs: object) -> SkillBank:
    return SkillBank("Look before you act.", TASKS, STATEMENTS, keywords=KEYWORDS, **kwargs)  # type: ignore[arg-type]


def test_task_type_retrieval_gives_the_tasks_text_and_the_statements_of_the_asked_keys():
    found = bank().retrieve("task_type", task_type="heat", keys=["heat", "apple"])
    assert found == {
        "general": "Look before you act.",
        "task": "Warm it, then place it.",
        "lines": ["The apple is usually in the fridge.", "Use the microwave."],
        "compact_lines": ["apple in fridge", "use microwave"],
        "claim_ids": ["home:apple", "tool:heat"],
        "stale": [False, False],
    }


def test_keywords_match_whole_words_only():
    ask = bank().retrieve
    assert ask("keyword", task_type="put", keys=[], text="that photo is scolded")["claim_ids"] == []
    assert ask("keyword", task_type="put", keys=[], text="that photo is scolded")["task"] == ""
    found = ask("keyword", task_type="put", keys=[], text="Fetch a HOT hat, or warm\n up an apple.")
    assert found["task"] == TASKS["heat"]
    assert found["claim_ids"] == ["home:apple", "tool:heat", "home:hat"]


def test_several_keywords_bring_several_skills_in_the_banks_order():
    assert bank().retrieve("keyword", task_type="put", keys=[], text="cold, then hot")["task"] == (
        TASKS["heat"] + "\n\n" + TASKS["cool"]
    )


def test_a_task_type_without_keywords_is_called_by_its_own_name():
    assert bank().retrieve("keyword", task_type="heat", keys=[], text="put it there")["task"] == TASKS["put"]


def test_all_gives_the_whole_bank_and_none_gives_nothing():
    everything = bank().retrieve("all", task_type="heat", keys=[])
    assert everything["task"] == "\n\n".join(TASKS.values())
    assert everything["claim_ids"] == [statement.id for statement in STATEMENTS]
    nothing = bank().retrieve("none", task_type="heat", keys=["apple"])
    assert nothing == {"general": "", "task": "", "lines": [], "compact_lines": [], "claim_ids": [], "stale": []}


@given(st.integers(), st.sampled_from(sorted(TASKS)))
def test_wrong_retrieval_never_gives_the_right_skill_nor_a_true_statement(seed: int, task_type: str):
    found = bank().retrieve("wrong", task_type=task_type, keys=["apple", "hat"], seed_key=(seed,))
    assert found["task"] in TASKS.values()
    assert found["task"] != TASKS[task_type]
    truth = {statement.line() for statement in STATEMENTS}
    assert not truth & set(found["lines"])
    assert {"home:apple", "home:hat"} <= set(found["claim_ids"])
    assert all(found["stale"])


def test_wrong_retrieval_is_wrong_even_where_the_bank_is_stale():
    stale = bank(stale=1.0)
    for seed in range(30):
        found = stale.retrieve("wrong", task_type="put", keys=["apple"], seed_key=(seed,))
        assert found["lines"] != ["The apple is usually in the fridge."]


def test_wrong_retrieval_leaves_out_statements_that_have_no_wrong_value():
    only = SkillBank("", {"a": "A", "b": "B"}, [tool("a", "lamp", alternatives=())])
    assert only.retrieve("wrong", task_type="a", keys=["a"])["lines"] == []


def test_random_retrieval_is_counted_and_reaches_every_task_type():
    draws = [bank().retrieve("random", task_type="heat", keys=["apple"], seed_key=(i,)) for i in range(60)]
    assert draws == [bank().retrieve("random", task_type="heat", keys=["apple"], seed_key=(i,)) for i in range(60)]
    assert {draw["task"] for draw in draws} == set(TASKS.values())
    for draw in draws:  # one drawn key in place of the one asked, and the drawn task's own statements
        assert len([claim_id for claim_id in draw["claim_ids"] if claim_id.startswith("home:")]) == 1


def test_a_bank_of_one_task_type_has_no_other_skill_to_give():
    assert SkillBank("g", {"only": "text"}).retrieve("wrong", task_type="only", keys=[])["task"] == ""


def many_statements(count: int) -> list[SkillStatement]:
    return [
        statement
        for i in range(count)
        for statement in (
            home(f"k{i}", HOMES[i % 4]),
            dataclasses.replace(home(f"k{i}", HOMES[i % 3]), id=f"store:k{i}"),
        )
    ]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_stale_share_counts_keys_and_takes_all_statements_of_a_key(share: float, expected: int):
    stale = SkillBank("", {}, many_statements(20), stale=share, stale_seed=3)
    assert len(stale.stale_keys()) == expected
    for statement, truth in zip(stale.statements, many_statements(20), strict=True):
        assert statement.stale is (statement.keys[0] in stale.stale_keys())
        assert (statement.value != truth.value) is statement.stale
        assert statement.value in HOMES


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_a_larger_stale_share_contains_a_smaller_one(one: float, other: float, seed: int):
    low, high = sorted((one, other))
    keys = [set(SkillBank("", {}, many_statements(8), stale=s, stale_seed=seed).stale_keys()) for s in (low, high)]
    assert keys[0] <= keys[1]


def test_stale_keys_depend_on_the_stale_seed_alone():
    banks = [SkillBank("", {}, many_statements(20), stale=0.25, stale_seed=seed) for seed in (0, 0, 1)]
    assert banks[0].statements == banks[1].statements
    assert banks[0].stale_keys() != banks[2].stale_keys()


def test_keys_without_alternatives_never_become_stale():
    sure = tool("heat", "microwave", alternatives=())
    stale = SkillBank("", TASKS, [sure, home("apple", "fridge")], stale=1.0)
    assert stale.stale_keys() == ("apple",)
    assert stale.statements[0] == sure


def test_retrieval_reports_which_statements_are_stale():
    found = bank(stale=1.0).retrieve("task_type", task_type="heat", keys=["apple"])
    assert found["stale"] == [True, True]
    assert "fridge" not in found["lines"][0]
    assert found["lines"][1] == "Use the sink."


@pytest.mark.parametrize("strategy", RETRIEVALS)
def test_every_retrieval_is_fresh_plain_json(strategy: str):
    shared = bank()
    first, second = (shared.retrieve(strategy, task_type="heat", keys=["apple"], text="hot") for _ in range(2))
    assert json.loads(json.dumps(first)) == first == second
    first["lines"].append("scribble")
    assert shared.retrieve(strategy, task_type="heat", keys=["apple"], text="hot") == second


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown retrieval 'keywords'.*nearest is \"keyword\""):
        bank().retrieve("keywords", task_type="heat", keys=[])
    with pytest.raises(ValueError, match=r"unknown task type 'heet'.*nearest is \"heat\""):
        bank().retrieve("task_type", task_type="heet", keys=[])
    with pytest.raises(ValueError, match="unknown task type 'hot'"):
        SkillBank("", TASKS, keywords={"hot": ["hot"]})


def test_banks_that_could_not_work_are_refused():
    with pytest.raises(ValueError, match=r"stale in \[0, 1\], got 1.5"):
        SkillBank("", {}, stale=1.5)
    with pytest.raises(ValueError, match="'home:apple' twice"):
        SkillBank("", {}, [home("apple", "fridge")] * 2)
    with pytest.raises(ValueError, match="empty list"):
        SkillBank("", TASKS, keywords={"heat": []})
    with pytest.raises(ValueError, match="at least one key"):
        SkillStatement("c", (), "f", "v", "", "")
    with pytest.raises(ValueError, match=r"template of \{value\} alone"):
        SkillStatement("c", ("k",), "f", "v", "{other}", "")
    with pytest.raises(ValueError, match=r"compact_text needs \{value\}"):
        SkillStatement("c", ("k",), "f", "v", "{value}", "no place", ("w",))


def test_front_matter_holds_keywords_and_nothing_else():
    assert parse_skill_file("---\nkeywords: hot, warm up ,\n---\n\n# Heat\nText.\n", "heat.md") == (
        ("hot", "warm up"),
        "# Heat\nText.",
    )
    assert parse_skill_file("# Heat\n---\nText.", "heat.md") == ((), "# Heat\n---\nText.")
    assert parse_skill_file("", "empty.md") == ((), "")
    with pytest.raises(ValueError, match=r"heat.md: the front matter opened"):
        parse_skill_file("---\nkeywords: hot\n", "heat.md")
    with pytest.raises(ValueError, match=r"'keyword' for heat.md, line 2.*nearest is \"keywords\""):
        parse_skill_file("---\nkeyword: hot\n---\n", "heat.md")


def test_a_bank_is_read_from_a_folder_of_markdown(tmp_path, monkeypatch):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "general.md").write_text("Be careful.\n", encoding="utf-8")
    (folder / "heat.md").write_text("---\nkeywords: hot\n---\nWarm it.\n", encoding="utf-8")
    (folder / "cool.md").write_text("Chill it.\n", encoding="utf-8")
    monkeypatch.setattr(skills, "asset_path", lambda *parts: tmp_path.joinpath(*parts[1:]))
    read = SkillBank.from_assets("toy", [home("apple", "fridge")], stale=1.0)
    assert (read.general, read.tasks) == ("Be careful.", {"cool": "Chill it.", "heat": "Warm it."})
    assert read.retrieve("keyword", task_type="cool", keys=[], text="a hot one")["task"] == "Warm it."
    assert read.stale_keys() == ("apple",)


def test_a_missing_skill_folder_is_named():
    with pytest.raises(FileNotFoundError, match="skills/no-such-world"):
        SkillBank.from_assets("no-such-world")


@pytest.mark.parametrize("task_type", sorted(TASKS))
def test_a_named_skill_of_the_own_type_is_the_retrieval_by_task_type(task_type: str):
    keys = [task_type, "apple"]
    by_name = bank().named(task_type, task_type=task_type, keys=keys)
    assert by_name == bank().retrieve("task_type", task_type=task_type, keys=keys)


def test_another_types_skill_comes_with_its_own_statements_and_those_about_the_things():
    found = bank().named("cool", task_type="heat", keys=["heat", "apple"])
    assert found["task"] == TASKS["cool"]
    assert found["claim_ids"] == ["home:apple", "tool:cool"]
    with pytest.raises(ValueError, match='the nearest is "cool"'):
        bank().named("col", task_type="heat", keys=[])


@pytest.mark.parametrize("strategy", RETRIEVALS)
def test_an_empty_bank_gives_nothing_and_refuses_nothing(strategy: str) -> None:
    bank = SkillBank.empty()
    found = bank.retrieve(strategy, task_type="any", keys=["home/apple"], text="an apple", seed_key=("t",))
    assert not any(found[part] for part in ("general", "task", "lines", "compact_lines", "claim_ids", "stale"))
    assert (bank.statements, bank.stale_keys(), bank.tasks) == ((), (), {})
