"""The generated store: its tables, its families, its requests and what is proved about them."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hash_seeds import printed_under_hash_seeds

from sdar_envs.skills import SkillBank
from sdar_envs.webshop.analysis import terms
from sdar_envs.webshop.generator import LONGEST_PLAN, generate
from sdar_envs.webshop.instructions import HUMAN, PHRASINGS
from sdar_envs.webshop.matching import base_color, similar
from sdar_envs.webshop.purchase import best_options
from sdar_envs.webshop.regularities import DepartmentRegularities, choices, regularities
from sdar_envs.webshop.reward import option_matches
from sdar_envs.webshop.shoppers import read_request
from sdar_envs.webshop.tasks import GeneratedTasks
from sdar_envs.webshop.taxonomy import SIZE_TABLES, SIZES, taxonomy

SPLITS = ("train", "valid", "test")
DEPARTMENTS = taxonomy().departments
EVERY = [department for size in SIZES for department in taxonomy(size).departments.values()]


def requests_of(generated):
    return [request for requests in generated.requests.values() for request in requests]


# The tables.


def test_no_two_attributes_of_a_department_are_similar():
    for department in EVERY:
        for one, other in itertools.combinations(department.attributes, 2):
            assert not similar(one, other), (department.name, one, other)


def test_no_two_option_values_of_a_product_can_be_taken_for_each_other():
    for department in EVERY:
        styles = [*taxonomy().styles, *taxonomy().basics]
        values = [f"{style} {part}" for style in styles for part in department.parts]
        values += [*department.sizes, *taxonomy().colors]
        for one, other in itertools.permutations(values, 2):
            assert not option_matches("", one, other), (department.name, one, other)
        assert all(base_color(value) == value for value in values if value not in taxonomy().colors)


def test_what_is_asked_for_stands_nowhere_by_accident():
    tables = taxonomy()
    wanted = {*tables.uses, *(m for d in EVERY for m in d.materials)}
    wanted |= {attribute for d in EVERY for attribute in d.attributes}
    others = {*tables.makers, *tables.models, *tables.praise, *tables.remarks, *tables.styles, *tables.basics}
    others |= {word for d in EVERY for word in (*d.types, *d.parts, *d.sizes)} | wanted
    others |= {"well made", "as shown", "good", "Good for", "Made of", "as I hoped", "It is all right", "Great"}
    for word in wanted:
        assert not [text for text in others if text != word and word in text.lower()], word


def test_kinds_of_things_belong_to_one_department_and_call_for_its_skill():
    kinds = [kind for department in DEPARTMENTS.values() for kind in department.types]
    assert len(kinds) == len(set(kinds)) == 42
    bank = SkillBank.from_assets("webshop")
    assert set(bank.tasks) == set(DEPARTMENTS)
    for number, request in enumerate(requests_of(generate("full", "train"))[::3]):
        for text in (request.goal(number % len(PHRASINGS)).instruction,):
            found = bank.retrieve("keyword", task_type="other", keys=(), text=text)
            assert found["task"] == bank.tasks[request.family.department.name], text


# Regularities.


def test_the_small_store_sells_a_part_of_the_full_one():
    for name, department in taxonomy("small").departments.items():
        assert set(department.types) < set(DEPARTMENTS[name].types)
        assert (department.materials, department.path) == (DEPARTMENTS[name].materials, DEPARTMENTS[name].path)


def test_regularities_are_drawn_per_department_and_all_of_them_occur():
    seen: dict[str, set[DepartmentRegularities]] = {}
    for seed in range(200):
        for name, regular in regularities("full", seed).by_department.items():
            seen.setdefault(name, set()).add(regular)
    for name, found in seen.items():
        # 3 * 3 * 2 * 2 regularities; 200 draws leave one out with probability 0.4 %.
        assert len(found) >= 34, name
        for field, values in choices(DEPARTMENTS[name]).items():
            assert {getattr(one, field) for one in found} == set(values)


def test_statements_state_the_regularities():
    drawn = regularities("full", 3)
    statements = {statement.id: statement for statement in drawn.statements()}
    assert len(statements) == 4 * len(DEPARTMENTS)
    for name, regular in drawn.by_department.items():
        assert statements[f"cue:{name}"].compact_line() == f"search by the {regular.cue}."
        assert regular.page in statements[f"page:{name}"].line()
        assert regular.part in statements[f"part:{name}"].line()
        assert statements[f"price:{name}"].value == regular.price
        assert all(statement.keys[0] == name for statement in statements.values() if statement.id.endswith(f":{name}"))


@pytest.mark.parametrize(("regularity", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.35, 0.65), (1.0, 1.0, 1.0)])
def test_families_obey_the_regularities_as_often_as_they_should(regularity: float, low: float, high: float):
    families = generate("small", "valid", regularity=regularity).families
    share = sum(family.regular for family in families) / len(families)
    assert low <= share <= high
    usual = regularities("small", 0).by_department
    assert all(family.regularities == usual[family.department.name] for family in families if family.regular)


def test_the_goods_do_what_the_regularities_say():
    for family in generate("full", "train", regularity=1.0).families:
        target, regular = family.target, family.regularities
        members = [p for p in family.products if family.cues.of(regular.cue) in p.title.lower()]
        lures = [p for p in family.products if p not in members]
        texts = {
            "description": lambda p: p.description,
            "features": lambda p: " ".join(p.bullets),
            "reviews": lambda p: " ".join(review.body for review in p.reviews),
        }
        for page, text in texts.items():
            assert (family.attribute in text(target).lower()) == (page == regular.page)
        within = sorted(p.pricing[0] for p in members if p.pricing[0] < target.pricing[0] + 40)
        assert target.pricing[0] == within[0 if regular.price == "cheapest" else -1]
        assert len(lures) == 5 and len(within) == 3
        assert family.part_value in target.options[regular.part]
        for lure in lures:
            everything = f"{lure.title} {lure.document()} {lure.bullets} {lure.attributes}".lower()
            assert family.cues.of(regular.cue) not in everything


# Stores.


@pytest.mark.parametrize("size", SIZES)
def test_splits_share_no_family_and_no_product_but_the_regularities(size: str):
    stores = {split: generate(size, split) for split in SPLITS}
    families = {split: {f.cues.family_id for f in stores[split].families} for split in SPLITS}
    products = {split: set(stores[split].catalog.asins) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not families[one] & families[other]
        assert not products[one] & products[other]
    assert all(family.cues.split == split for split in SPLITS for family in stores[split].families)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_test_panel_spans_a_hundred_families_and_hardly_a_proof_fails(size: str, seed: int):
    generated = generate(size, "test", world_seed=seed)
    source = GeneratedTasks(size, world_seed=seed, regularity=0.85, num_products=1000)
    assert len({source.task(task_id).cluster for task_id in source.ids("test")[:400]}) >= 100
    assert generated.unproved <= 0.1 * len(generated.families)
    assert len(generated.catalog) == 1000


def test_the_same_arguments_give_the_same_bytes_in_any_process():
    code = """
import hashlib
from sdar_envs.webshop.generator import generate
for size in ("small", "full"):
    made = generate(size, "valid", world_seed=5, num_products=300)
    requests = [request for some in made.requests.values() for request in some]
    parts = [repr(p) for p in made.catalog] + [r.goal(n).instruction for r in requests for n in range(16)]
    print(hashlib.sha256("\\n".join(parts).encode()).hexdigest())
"""
    assert len(printed_under_hash_seeds(code).split()) == 2


def test_another_seed_makes_another_store_and_another_size_too():
    first = [product.title for product in generate("small", "train", num_products=100).catalog]
    assert first != [p.title for p in generate("small", "train", num_products=100, world_seed=1).catalog]
    assert generate("small", "train", num_products=100) is generate("small", "train", num_products=100)


# Proofs, repeated here without the shortcuts of the build.


@pytest.mark.parametrize("size", SIZES)
def test_buying_the_target_with_its_options_scores_one_and_nothing_else_in_the_store_does(size: str):
    generated = generate(size, "test", world_seed=1)
    store = generated.store
    for request in requests_of(generated)[::9]:
        goal = request.goal(0)
        scores = {p.asin: store.judge(p.asin, best_options(p, goal), goal).reward for p in generated.catalog}
        assert [asin for asin, score in scores.items() if score == 1.0] == [goal.asin]


@pytest.mark.parametrize("size", SIZES)
def test_buying_the_first_hit_of_the_whole_request_fails_in_every_wording(size: str):
    generated = generate(size, "valid", world_seed=2)
    store = generated.store
    for request in requests_of(generated):
        for phrasing in range(len(PHRASINGS)):
            goal = request.goal(phrasing)
            first = store.hits(goal.instruction.lower())[0]
            bought = store.judge(first, best_options(store.product(first), goal), goal)
            assert bought.reward < 1.0, goal.instruction


@pytest.mark.parametrize("size", SIZES)
def test_words_of_the_phrasings_stand_in_no_product(size: str):
    store = generate(size, "train").store
    own = set(terms("a pair of {thing} for, and price lower than 40.00 dollars"))
    for phrasing in PHRASINGS:
        own |= set(terms(re.sub(r"\{\w+\}", " ", phrasing)))
    assert not own & store.index.vocabulary.keys()


@pytest.mark.parametrize("size", SIZES)
def test_plans_are_short_and_searches_by_the_regular_cue_list_the_target_first(size: str):
    generated = generate(size, "test")
    for request in requests_of(generated):
        family, page_size = request.family, SIZE_TABLES[size].page_size
        assert request.query == f"{family.cues.of(family.regularities.cue)} {family.cues.kind}"
        assert request.rank // page_size == 0
        assert 1 + 1 + len(request.goal(0).options) + 1 <= LONGEST_PLAN
        # A search by a word that does not count shows lures, and in the small store nothing else.
        for name in {"use", "material", "style"} - {family.regularities.cue}:
            hits = generated.store.hits(f"{family.cues.of(name)} {family.cues.kind}")
            assert family.target.asin not in hits[:3]


def test_bounds_are_above_every_lookalike_and_within_four_tens():
    for request in requests_of(generate("full", "train", world_seed=4)):
        price = request.family.target.pricing[0]
        assert all(bound > price and bound % 10 == 0 and bound <= price + 40 for bound in request.bounds)


# Requests.


def test_there_are_sixteen_phrasings_and_half_of_them_speak_as_people_do():
    assert len(PHRASINGS) == len(set(PHRASINGS)) == 16
    assert all(PHRASINGS[n] == PHRASINGS[n].lower() for n in HUMAN)
    request = next(r for r in requests_of(generate("full", "train")) if r.extra)
    texts = [request.goal(n).instruction for n in range(16)]
    assert len(set(texts)) == 16
    for text in texts:
        said = read_request(text)
        cues = request.family.cues
        assert (said.kind, said.use, said.material, said.style) == (cues.kind, cues.use, cues.material, cues.style)
        assert said.attribute == request.family.attribute
        assert said.extra == request.extra[1]


@pytest.mark.parametrize("size", SIZES)
def test_task_ids_run_through_departments_and_repeat_no_request(size: str):
    source = GeneratedTasks(size, world_seed=0, regularity=0.85, num_products=1000)
    for split in SPLITS:
        ids = source.ids(split)
        assert len(ids) >= 1_400
        types = [source.task(task_id).task_type for task_id in ids[:14]]
        assert types == list(DEPARTMENTS) * 2
        texts = {source.task(task_id).goal.instruction for task_id in ids[:600]}
        assert len(texts) == 600
        assert ids[-1] in ids and f"{split}:999999" not in ids and "x" not in ids
    only = source.ids("train", "footwear")
    assert {source.task(task_id).task_type for task_id in only[:50]} == {"footwear"}


def test_an_unknown_number_is_refused_with_the_count():
    source = GeneratedTasks("small", world_seed=0, regularity=0.85, num_products=100)
    with pytest.raises(ValueError, match="numbered from 0"):
        source.task("test:999999")


@pytest.mark.parametrize("count", [0, 1, 3, 8, 30])
def test_tiny_catalogues_are_stores_too(count: int):
    generated = generate("full", "train", num_products=count)
    assert len(generated.catalog) == count
    for request in requests_of(generated):
        assert request.family.target.asin in generated.catalog.asins
    assert generated.store.hits("shirt") or count < 8


def test_products_are_plain_data():
    for size in SIZES:
        for product in generate(size, "train", num_products=50).catalog:
            assert re.fullmatch("B0[0-9A-Z]{8}", product.asin)
            assert json.dumps([product.title, product.description, list(product.bullets), dict(product.options)])
            assert product.title and product.description and product.bullets and product.reviews and product.options
            assert product.pricing[0] > 0 and len(product.price_label) <= 7
            assert len(product.product_category.split("\u203a")) == 3
