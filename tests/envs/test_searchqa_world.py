"""The generated world below the environment: names, regularities, history, passages. Nothing here searches."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hash_seeds import printed_under_hash_seeds
from history_checks import contradictions

from sdar_envs.core import SPLITS
from sdar_envs.randomness import counted_generator
from sdar_envs.searchqa import small, tables
from sdar_envs.searchqa.answers import normalise
from sdar_envs.searchqa.encoder import tokens_of
from sdar_envs.searchqa.generator import draw_world, label_of
from sdar_envs.searchqa.history import Historian
from sdar_envs.searchqa.names import NamePool, small_names
from sdar_envs.searchqa.passages import state
from sdar_envs.searchqa.regularities import BY_BYNAME, regularities
from sdar_envs.searchqa.version import world_version
from sdar_envs.searchqa.world import Fact, World

WORLDS = {(size, split): draw_world(size, split, 0, 0.85) for size in tables.SIZES for split in SPLITS}
EVERY = pytest.mark.parametrize("world", WORLDS.values(), ids=[" ".join(key) for key in WORLDS])


def names_in(world: World) -> set[str]:
    return {name for entity in world.entities for name in (entity.name, entity.byname) if name}


# Names.


@pytest.mark.parametrize("size", tables.SIZES)
def test_no_name_of_one_split_occurs_in_another(size: str):
    names = [names_in(WORLDS[size, split]) for split in SPLITS]
    assert all(not (one & other) for i, one in enumerate(names) for other in names[:i])
    if size == "full":  # not even a word of a name, apart from the nouns that titles are made of
        shared = set(tokens_of(" ".join([*tables.TITLE_NOUNS, *tables.ORGANISATIONS, "the a of in and word"])))
        words = [{w for name in found for w in tokens_of(name)} - shared for found in names]
        assert all(not (one & other) for i, one in enumerate(words) for other in words[:i])


@EVERY
def test_every_name_is_one_entitys_alone_in_normal_form_too(world: World):
    names = [name for entity in world.entities for name in (entity.name, entity.byname) if name]
    assert len({normalise(name) for name in names}) == len(names)


def test_small_names_are_a_fixed_list_a_third_for_each_split_and_no_word_of_the_wording():
    lists = [small_names(split) for split in SPLITS]
    assert len({name for listed in lists for name in listed}) == sum(map(len, lists)) == 3 * len(lists[0])
    assert not {name for listed in lists for name in listed} & tables.small_words()
    for split, listed in zip(SPLITS, lists, strict=True):
        assert names_in(WORLDS["small", split]) <= set(listed)


def test_a_pool_that_is_used_up_says_so():
    pool = NamePool("small", "test", counted_generator("pool"))
    with pytest.raises(ValueError, match="no unused name left in split 'test'"):
        for _ in range(2_000):
            pool.word()


# Words.


@pytest.mark.parametrize("size", tables.SIZES)
def test_no_term_is_a_word_of_questions_of_filler_of_values_or_of_another_relation(size: str):
    relations = [tables.relation_of(size, name) for name in tables.stated_relations(size)]
    terms = [term for relation in relations for term in relation.terms]
    assert len(set(terms)) == len(terms)
    wordings = [w for r in relations for w in (r.name, *r.questions, *r.phrases, *(r.superlatives or ()))]
    values = [value for r in relations if r.object == "word" for value in tables.values_of(size, r.name)]
    silent = [small.DECOY] if size == "small" else [*tables.FILLER, *tables.DECOYS]
    pairs = [name for split in SPLITS for name in small_names(split)] if size == "small" else []
    other = set(tokens_of(" ".join([*wordings, *values, *tables.KINDS, *silent, *pairs, *tables.ENTITY_TYPES])))
    # By-names are called so in questions and statements alike; no question asks for one.
    assert set(terms) & other <= {"byname"}


@pytest.mark.parametrize("size", tables.SIZES)
def test_there_are_values_enough_that_the_commonest_is_rare(size: str):
    words = [
        tables.values_of(size, name) for name in tables.SIZE_RELATIONS[size] if tables.RELATIONS[name].object == "word"
    ]
    assert words and all(len(set(values)) == len(values) >= 24 for values in words)
    assert len({value for values in words for value in values}) == sum(map(len, words))


# Regularities.


def test_a_regularity_is_a_function_of_the_world_seed_and_of_its_own_relation():
    usual = [regularities("full", seed) for seed in range(40)]
    assert usual[3] == regularities("full", 3)
    for name in ("mayor", "byname"):
        assert len({one.terms[name] for one in usual}) == len(tables.relation_of("full", name).terms)
        assert len({one.kinds[name] for one in usual}) == len(tables.KINDS)
    assert len({one.bynames for one in usual}) > 5 and all(len(one.bynames) == 2 for one in usual)


@pytest.mark.parametrize("regularity", [0.0, 0.85, 1.0])
def test_facts_obey_the_regularities_as_often_as_the_world_says(regularity: float):
    world = draw_world("full", "train", 3, regularity)
    usual = regularities("full", 3)
    for usually in (
        [fact.term == usual.terms[fact.relation] for fact in world.facts],
        [fact.kind == usual.kinds[fact.relation] for fact in world.facts],
        [(entity.filed_as != entity.name) == (entity.type in usual.bynames) for entity in world.entities],
    ):
        share = sum(usually) / len(usually)
        if regularity in (0.0, 1.0):
            assert share == regularity
        else:
            deviation = (regularity * (1 - regularity) / len(usually)) ** 0.5
            assert abs(share - regularity) < 4 * deviation


@pytest.mark.parametrize("size", tables.SIZES)
def test_statements_state_the_regularities(size: str):
    usual = regularities(size, 1)
    statements = {statement.id: statement for statement in usual.statements()}
    types = tables.SIZE_TABLES[size].entities if usual.bynames else ()
    assert len(statements) == 2 * len(tables.stated_relations(size)) + len(types)
    for name in tables.stated_relations(size):
        assert (
            usual.terms[name] in statements[f"term:{name}"].line()
            and usual.kinds[name] in statements[f"kind:{name}"].line()
        )
        assert statements[f"term:{name}"].keys[0] == name == statements[f"kind:{name}"].keys[0]
    for kind in types:
        assert (statements[f"filing:{kind}"].value == BY_BYNAME) == (kind in usual.bynames)


# History.


def history_of(size: str, seed: int) -> Historian:
    return Historian(size, "train", regularities(size, seed), 0.85, counted_generator("test", size, seed))


@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_in_a_history_contradicts_anything_in_time(size: str, seed: int):
    history = history_of(size, seed).draw()
    assert contradictions(history, size) == []
    assert {fact.relation for fact in history.facts} == set(tables.stated_relations(size))


@pytest.mark.parametrize("relation", ["mentor", "mayor", "founder", "creator", "publisher", "spouse", "capital"])
def test_the_check_sees_an_impossible_fact(relation: str):
    history = history_of("full", 0).draw()
    place = next(i for i, fact in enumerate(history.facts) if fact.relation == relation)
    fact = history.facts[place]
    kind = tables.RELATIONS[relation].object
    others = [entity.id for entity in history.entities if entity.type == kind and entity.id != fact.object]
    found: list[str] = []
    while not found and others:
        history.facts[place] = replace(fact, object=others.pop())
        found = [line for line in contradictions(history, "full") if relation in line]
    assert found


@EVERY
def test_the_world_is_closed_and_its_relations_are_functions(world: World):
    assert len({fact.key for fact in world.facts}) == len(world.facts)
    for fact in world.facts:
        relation = tables.relation_of(world.size, fact.relation)
        if fact.object is not None:
            other = world.entities[fact.object]
            assert other.type == relation.object and fact.forms == tuple(n for n in (other.name, other.byname) if n)
        assert (fact.object is None) == (not relation.entity_valued)
        assert fact.forms[0] == fact.text and all(normalise(form) for form in fact.forms)


# Passages.


def statements(world: World, passage_text: str, label: str) -> set[tuple[str, str, str]]:
    """Every (relation, term, value) that a passage states of `label`, read back from its sentences."""
    found = set()
    relations = [tables.relation_of(world.size, name) for name in tables.stated_relations(world.size)]
    terms = {term: relation for relation in relations for term in relation.terms}
    for sentence in re.split(r"(?<=\.) ", passage_text):
        for term in set(tokens_of(sentence)) & set(terms):
            relation = terms[term]
            for template in relation.sentences:
                for value in ("VALUE", "aVALUE"):  # "a" and "an" are worded apart
                    pattern = re.escape(state(template, label, value, term)).replace(value, "(.+)")
                    if match := re.fullmatch(pattern, sentence):
                        found.add((relation.name, term, match[1]))
    return found


@EVERY
def test_every_fact_is_stated_in_its_passage_and_nothing_else_is_stated_anywhere(world: World):
    for passage in world.passages[:: 31 if world.size == "full" else 3]:
        facts = world.stated.get(passage.id, ())
        label = label_of(world.entities[facts[0].subject], facts[0].relation) if facts else passage.title.split(" (")[0]
        assert statements(world, passage.text, label) == {(f.relation, f.term, f.text) for f in facts}, passage


@EVERY
def test_a_fact_stands_in_the_kind_of_source_that_it_names(world: World):
    for fact in world.facts:
        title = world.passages[fact.passage].title
        label = label_of(world.entities[fact.subject], fact.relation)
        assert title == (f"{label} {fact.kind}" if world.size == "small" else f"{label} ({fact.kind})")


@pytest.mark.parametrize("split", SPLITS)
def test_an_entity_filed_under_its_byname_is_not_stated_anything_of_under_its_name(split: str):
    world = WORLDS["full", split]
    filed = [entity for entity in world.entities if entity.filed_as != entity.name]
    assert filed
    for entity in filed[:20]:
        own = [fact for fact in world.facts if fact.subject == entity.id]
        under_name = [f.relation for f in own if world.passages[f.passage].title.startswith(entity.name)]
        assert under_name == ["byname"]


@pytest.mark.parametrize("split", SPLITS)
def test_nobody_in_the_small_world_has_a_second_name(split: str):
    world = WORLDS["small", split]
    assert all(entity.byname == "" and entity.filed_as == entity.name for entity in world.entities)


def test_sizes_are_what_the_encoder_and_tiny_models_were_measured_with():
    full, small = WORLDS["full", "train"], WORLDS["small", "train"]
    assert 3_500 < len(full.passages) < 5_500
    assert len(small.passages) == 8 * len(small.entities) == 880
    assert max(len(tokens_of(passage.contents)) for passage in small.passages) <= 40


@EVERY
def test_contents_are_search_r1s(world: World):
    for passage in world.passages:
        assert re.fullmatch(r'"[^"\n]+"\n[^\n]+', passage.contents)
        assert passage.contents == f'"{passage.title}"\n{passage.text}'


# Reproducing.

DIGEST = """
import hashlib, json
from sdar_envs.searchqa.generator import draw_world
from sdar_envs.searchqa.version import world_version
world = draw_world("small", "valid", 5, 0.85)
texts = [passage.contents for passage in world.passages]
print(hashlib.sha256(json.dumps([world.to_json(), texts]).encode()).hexdigest())
print(world_version("small"))
"""


def test_a_world_and_its_version_are_the_same_in_every_process():
    _, version = printed_under_hash_seeds(DIGEST).split()
    assert version == world_version("small") != world_version("full")


def test_a_world_survives_json():
    world = WORLDS["small", "valid"]
    twin = World.from_json(world.to_json(), world.passages)
    assert twin == world and isinstance(twin.facts[0], Fact)


def test_seeds_and_splits_make_different_worlds():
    texts = {tuple(p.contents for p in draw_world("small", s, seed, 0.85).passages) for s in SPLITS for seed in (0, 1)}
    assert len(texts) == 6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("medium", "train", 0, 0.85), "medium"), (("full", "trian", 0, 0.85), "trian"), (("full", "train", 0, 2), "2")],
)
def test_an_impossible_world_is_refused_by_name(arguments: tuple[str, str, int, float], named: str):
    with pytest.raises(ValueError, match=named):
        draw_world(*arguments)


# The version.


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("small", "DECOY", "{X} had no {term}."),
        ("tables", "KINDS", tuple(reversed(tables.KINDS))),
        ("answers", "_ARTICLES", re.compile(r"\b(?:a|the)\b")),
        ("wording", "MAX_PASSAGE", 5),
        ("rewards", "STRUCTURE", 0.3),
        ("episodes", "RULES", {}),
    ],
)
def test_the_version_changes_with_what_is_said_found_or_paid(
    module: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
):
    import importlib

    before = world_version("small")
    monkeypatch.setattr(importlib.import_module(f"sdar_envs.searchqa.{module}"), name, value)
    regularities.cache_clear()
    try:
        assert world_version.__wrapped__("small") != before
    finally:
        monkeypatch.undo()
        regularities.cache_clear()
