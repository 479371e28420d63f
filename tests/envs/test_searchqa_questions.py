"""Questions of generated worlds: unique, not to be guessed, and found by searching in the planned way only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hash_seeds import printed_under_hash_seeds

pytest.importorskip("faiss")

from sdar_envs.randomness import counted_generator
from sdar_envs.searchqa import tables
from sdar_envs.searchqa.answers import exact_match, normalise
from sdar_envs.searchqa.generator import PROVED_TOPK, draw_world
from sdar_envs.searchqa.library import Library, open_library
from sdar_envs.searchqa.questions import GREATEST, LEAST, Form, Question, evidence, make_question, solve
from sdar_envs.searchqa.tasks import SPLIT_SIZES, draw_question, task_ids
from sdar_envs.searchqa.world import Fact, World

TOPK = {"full": 3, "small": 1}
SIZES = pytest.mark.parametrize("size", tables.SIZES)


pytestmark = pytest.mark.usefixtures("own_cache")


def library(size: str, split: str = "train", seed: int = 0) -> Library:
    return open_library(size, split, seed, 0.85)


def questions(size: str, split: str, count: int, seed: int = 0) -> list[Question]:
    world = library(size, split, seed).world
    return [draw_question(world, index, topk=TOPK[size], searches=5) for index in range(count)]


# Solving.


def toy_world() -> World:
    """Three cities and a mayor, by hand."""
    world = draw_world("small", "train", 0, 1.0)
    cities = world.of_type["city"][:3]
    person = world.of_type["person"][0]
    entities = {i: replace(world.entities[i], byname="", filed_as=world.entities[i].name) for i in (*cities, person)}
    facts = [
        Fact(city, "charter", f"era {n}", (f"era {n}", str(n)), None, n, "franchise", "register", 0, "q", 0)
        for city, n in zip(cities, (4, 9, 9), strict=True)
    ]
    name = entities[person].name
    facts.append(Fact(cities[0], "mayor", name, (name,), person, None, "reeve", "register", 0, "q", 0))
    facts.append(Fact(person, "birthplace", "x", ("x",), cities[0], None, "cradle", "register", 0, "q", 0))
    facts.append(Fact(person, "occupation", "baker", ("baker",), None, None, "craft", "register", 0, "q", 0))
    kept = tuple(entities.get(entity.id, entity) for entity in world.entities)
    return replace(world, entities=kept, facts=tuple(facts))


def test_a_form_is_solved_on_the_facts():
    world = toy_world()
    first, second, third = world.of_type["city"][:3]
    assert solve(world, Form((first,), ("charter",))) == [("era 4", "4")]
    assert solve(world, Form((first,), ("mayor", "occupation"))) == [("baker",)]
    assert solve(world, Form((first, second, third), ("charter",), LEAST)) == [(world.entities[first].name,)]


def test_a_tie_has_two_answers_and_makes_no_question():
    world = toy_world()
    cities = world.of_type["city"][:3]
    form = Form(cities, ("charter",), GREATEST)
    assert len(solve(world, form)) == 2
    rng = counted_generator("test")
    assert make_question(world, form, rng, topk=3, searches=5) is None
    # Two equal values that do not decide are refused as well.
    assert make_question(world, replace(form, superlative=LEAST), rng, topk=3, searches=5) is None
    assert make_question(world, replace(form, starts=cities[:2]), rng, topk=3, searches=5) is not None


def test_a_chain_that_comes_back_or_breaks_off_makes_no_question():
    world = toy_world()
    city, other = world.of_type["city"][:2]
    person = world.of_type["person"][0]
    assert evidence(world, Form((city,), ("mayor", "birthplace"))) is None
    assert solve(world, Form((other,), ("mayor",))) == []
    assert solve(world, Form((person,), ("birthplace", "mayor"))) == []


def test_a_fact_that_cannot_be_found_and_a_plan_that_is_too_long_make_no_question():
    world = toy_world()
    city = world.of_type["city"][0]
    rng = counted_generator("test")
    form = Form((city,), ("mayor", "occupation"))
    assert make_question(world, form, rng, topk=3, searches=2) is not None
    assert make_question(world, form, rng, topk=3, searches=1) is None
    for rank, topk in ((-1, 3), (2, 2)):
        hidden = replace(world, facts=tuple(replace(f, rank=rank) if f.relation == "mayor" else f for f in world.facts))
        assert make_question(hidden, form, rng, topk=topk, searches=5) is None


# What is drawn.


@SIZES
def test_every_question_has_one_answer_which_it_does_not_give_away(size: str):
    world = library(size).world
    for question in questions(size, "train", 120):
        assert solve(world, question.form) == [question.answers]
        asked = f" {normalise(question.text)} "
        named = any(f" {normalise(answer)} " in asked for answer in question.answers)
        assert named == (question.form.task_type == "compare")


@SIZES
def test_task_types_come_in_turn_and_hops_and_candidates_are_as_many_as_the_size_says(size: str):
    drawn = questions(size, "valid", 160)
    assert [q.form.task_type for q in drawn] == [tables.TASK_TYPES[i % 4] for i in range(160)]
    table = tables.SIZE_TABLES[size]
    hops = {len(q.form.path) for q in drawn if q.form.task_type == "multi_hop"}
    arities = {len(q.form.starts) for q in drawn if q.form.task_type == "compare"}
    assert hops == set(range(table.hops[0], table.hops[1] + 1))
    assert arities == set(range(table.arity[0], table.arity[1] + 1)) and min(arities) >= 3
    assert max(len(q.steps) for q in drawn) <= table.searches


def test_questions_about_things_filed_under_by_names_take_one_search_more():
    world = library("full").world
    longer = 0
    for question in questions("full", "train", 200):
        facts = evidence(world, question.form)
        assert facts is not None
        filed = sum(world.entities[f.subject].filed_as != world.entities[f.subject].name for f in facts)
        assert len(question.steps) == len(facts) + filed
        longer += filed > 0
    assert longer > 20


def test_splits_are_enumerable_with_task_types_in_turn():
    assert [len(task_ids(split)) for split in SPLIT_SIZES] == [100_000, 2_000, 2_000]
    assert task_ids("test", "compare")[:2] == ["test:000002", "test:000006"]


def test_more_than_there_is_to_ask_is_refused():
    with pytest.raises(ValueError, match="allow more turns"):
        draw_question(library("small").world, 2, topk=1, searches=2)


DRAWN = """
from sdar_envs.searchqa.library import open_library
from sdar_envs.searchqa.tasks import draw_question
world = open_library("small", "valid", 5, 0.85).world
for index in range(40):
    question = draw_question(world, index, topk=1, searches=3)
    print(question.text, question.answers, [step.query for step in question.steps])
"""


def test_a_question_is_the_same_in_every_process_and_in_any_order():
    world = library("small", "valid", 5).world
    printed = printed_under_hash_seeds(DRAWN).splitlines()
    for index in reversed(range(40)):
        question = draw_question(world, index, topk=1, searches=3)
        assert printed[index] == f"{question.text} {question.answers} {[step.query for step in question.steps]}"


# Not to be guessed.


def shape(question: Question) -> tuple[object, ...]:
    return (question.form.path, question.form.superlative)


@SIZES
def test_the_commonest_answer_of_training_wins_at_most_one_in_twenty(size: str):
    """A closed-book baseline that knows, for every relation, the commonest answer of training.

    A small world has some fifteen things of a kind, so one coincidence shows: several worlds are asked there.
    """
    wins: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for seed in range(1 if size == "full" else 4):
        seen: dict[tuple[object, ...], Counter[str]] = {}
        for question in questions(size, "train", 1_000 if size == "full" else 500, seed):
            seen.setdefault(shape(question), Counter())[normalise(question.answers[0])] += 1
        for question in questions(size, "test", 600 if size == "full" else 300, seed):
            guess = seen.get(shape(question), Counter({"": 1})).most_common(1)[0][0]
            wins[question.form.task_type] += int(exact_match(guess, question.answers))
            asked[question.form.task_type] += 1
    assert all(wins[kind] / asked[kind] <= 0.05 for kind in tables.TASK_TYPES if kind != "compare"), (wins, asked)


@SIZES
def test_guessing_among_candidates_is_reported_as_chance(size: str):
    drawn = [q for q in questions(size, "test", 400) if q.form.task_type == "compare"]
    chance = sum(q.chance for q in drawn) / len(drawn)
    first = sum(exact_match(q.text.partition(": ")[2].split(",")[0], q.answers) for q in drawn) / len(drawn)
    assert 0.25 <= chance <= 1 / 3 and abs(first - chance) < 0.15
    assert all(q.chance == 0 for q in questions(size, "test", 40) if q.form.task_type != "compare")


@SIZES
def test_the_question_as_a_query_does_not_lead_to_the_answer_of_a_chain_or_a_comparison(size: str):
    shelf = library(size, "test")
    drawn = [q for q in questions(size, "test", 400) if len(q.steps) > 1]
    found = shelf.retriever.search([q.text for q in drawn], 3)
    for kind in ("multi_hop", "compare"):
        hits = [
            ({hit.passage.id for hit in hits}, q)
            for q, hits in zip(drawn, found, strict=True)
            if q.form.task_type == kind
        ]
        whole = sum(all(step.fact.passage in ids for step in q.steps) for ids, q in hits)
        assert whole / len(hits) <= (0.0 if kind == "multi_hop" else 0.01)
        if kind == "multi_hop":
            assert sum(q.steps[-1].fact.passage in ids for ids, q in hits) / len(hits) <= 0.05


# To be found.


@SIZES
def test_nearly_every_fact_is_found_by_a_planned_search(size: str):
    ranks = Counter(fact.rank for fact in library(size).world.facts)
    assert ranks[0] / sum(ranks.values()) > 0.85 and ranks[-1] / sum(ranks.values()) < 0.03


def test_the_default_encoder_finds_the_passage_of_a_plain_query_among_the_first_three_at_four_thousand_passages():
    recalls = []
    for split in ("train", "test"):
        shelf = library("full", split)
        world = shelf.world
        assert 3_500 < len(world.passages) < 5_500
        facts = [fact for fact in world.facts if fact.relation != "byname"]
        queries = [f"{world.entities[f.subject].filed_as} {f.term} {f.kind}" for f in facts]
        found = shelf.retriever.search(queries, 3)
        hit = [f.passage in {h.passage.id for h in hits} for f, hits in zip(facts, found, strict=True)]
        recalls.append(sum(hit) / len(hit))
    assert min(recalls) >= 0.95, recalls


@SIZES
def test_a_planned_search_finds_its_passage_at_the_rank_that_was_proved(size: str):
    shelf = library(size, "test")
    facts = [fact for fact in shelf.world.facts if fact.rank >= 0][::5]
    for fact, hits in zip(facts, shelf.retriever.search([f.query for f in facts], PROVED_TOPK), strict=True):
        assert hits[fact.rank].passage.id == fact.passage


def test_knowing_the_regularities_pays():
    """The share of facts that one search finds, worded as the regularities say and otherwise."""
    shelf = library("full")
    world = shelf.world
    usual = {f.relation: (f.term, f.kind) for f in world.facts}
    for relation in usual:  # the regularity is what most facts do
        counts = Counter((f.term, f.kind) for f in world.facts if f.relation == relation)
        usual[relation] = counts.most_common(1)[0][0]
    facts = [fact for fact in world.facts if fact.relation != "byname"][::3]

    def share(wordings: list[tuple[str, str]]) -> float:
        queries = [f"{world.entities[f.subject].filed_as} {t} {k}" for f, (t, k) in zip(facts, wordings, strict=True)]
        found = shelf.retriever.search(queries, 3)
        return sum(f.passage in {h.passage.id for h in hits} for f, hits in zip(facts, found, strict=True)) / len(facts)

    rng = counted_generator("guess")
    guessed = [
        (tables.RELATIONS[f.relation].terms[int(rng.integers(4))], tables.KINDS[int(rng.integers(8))]) for f in facts
    ]
    assert share([usual[f.relation] for f in facts]) > share(guessed) + 0.3


# Kept.


def test_a_library_is_made_once_and_read_again_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sdar_envs.searchqa import library as module

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = open_library("small", "valid", 77, 0.85)
    monkeypatch.setattr(module, "_open", type(module._open)())
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("it is in the cache folder"))
    again = open_library("small", "valid", 77, 0.85)
    assert again.world == made.world and again is not made
    queries = [fact.query for fact in made.world.facts if fact.query][:40]
    assert again.retriever.search(queries, 3) == made.retriever.search(queries, 3)


@pytest.mark.parametrize("damaged", ["world.json", "passages.jsonl", "encoder.json", "index.faiss"])
@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
def test_a_damaged_library_is_made_again(
    damaged: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from sdar_envs.searchqa import library as module

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_open", type(module._open)())
    made = open_library("small", "valid", 78, 0.85)
    file = made.folder / damaged
    whole = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if how == "cut" else b"")
    monkeypatch.setattr(module, "_open", type(module._open)())
    assert open_library("small", "valid", 78, 0.85).world == made.world
    assert "made anew" in caplog.text and file.read_bytes() == whole
    assert not list(made.folder.parent.glob(".partial*"))


def test_a_folder_that_cannot_be_written_to_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert open_library("small", "valid", 79, 0.85).world.facts


RACE = """
import sys
from sdar_envs.searchqa.library import open_library
print(open_library("small", "valid", 80, 0.85).retriever.name)
"""


def test_processes_that_need_a_world_at_once_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os
    import subprocess
    import sys

    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", RACE], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=120)[0] for process in running}
    assert len(said) == 1 and all(process.returncode == 0 for process in running)
    folder = tmp_path / "sdar-gym" / "searchqa" / "worlds"
    assert sum(path.is_dir() for path in folder.iterdir()) == 1
