"""Reading domains, problems and grammars: what is understood, what is refused, and that nothing is executed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.household.engine import household_rules
from sdar_envs.household.grammar import (
    TASK_MARK,
    Entity,
    GrammarError,
    Text,
    extract_task,
    read_expression,
    read_grammar,
    read_nodes,
    read_query,
    substitute_task,
)
from sdar_envs.household.pddl import (
    And,
    Atom,
    Exists,
    Not,
    Or,
    PDDLError,
    read_condition,
    read_domain,
    read_typed_names,
    write_condition,
)
from sdar_envs.household.pddl import (
    read_expression as read_list,
)
from sdar_envs.household.problem import parse_problem

LAMP = {"o": Entity("lamp_1", "lamp 1", "object")}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("o.indefinite + ' ' + o.name", "a lamp 1"),
        ("o.name or o.id", "lamp 1"),
        ("'' or o.id", "lamp_1"),
        ("o.name and o.type", "object"),
        ("o.definite", "the"),
        ("o", LAMP["o"]),
    ],
)
def test_expressions_of_the_whitelist_have_their_value(expression: str, value: object):
    assert read_expression(expression).evaluate(LAMP) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "o.__class__",
        "o.name.upper()",
        "o.name * 1000000000",
        "[x for x in ()]",
        "lambda: 0",
        "o.name if o else o.id",
        "f'{o}'",
        "1",
        "o.name[0]",
        "",
        "(" * 150 + ")" * 150,
        "o.name + " * 60 + "o.name",
        "x := o",
        "\x00",
    ],
)
def test_any_other_expression_is_refused_when_the_file_is_read(expression: str):
    with pytest.raises(GrammarError):
        read_expression(expression)


@given(st.text(max_size=60))
def test_no_expression_text_does_anything_but_compile_or_be_refused(text: str):
    with contextlib.suppress(GrammarError):
        read_expression(text)


@given(st.text(alphabet='ab{}[]#|"<>;\t\n /r.name', max_size=40))
def test_any_right_hand_side_is_read_or_refused(text: str):
    try:
        nodes = read_nodes(text)
    except GrammarError:
        return
    assert all(not isinstance(node, Text) or node.text for node in nodes)


@pytest.mark.parametrize(
    ("text", "literal"),
    [("\n  Hello", "Hello"), ("a\tb", "a\tb"), ("one; two", "one"), ('"quoted" rest', "quoted rest"), ("", "")],
)
def test_literals_are_read_as_textworld_reads_them(text: str, literal: str):
    assert "".join(node.text for node in read_nodes(text) if isinstance(node, Text)) == literal


def test_a_query_has_typed_placeholders_and_the_name_as_default_type():
    query = read_query("in(o:object, r:receptacle) & not_open(r:receptacle) & raining() & at(l')")
    assert query.atoms == (
        ("in", (("o", "object"), ("r", "receptacle"))),
        ("not_open", (("r", "receptacle"),)),
        ("raining", ()),
        ("at", (("l'", "l"),)),
    )
    assert query.predicates == {"in", "not_open", "raining", "at"}


@pytest.mark.parametrize("query", ["", "in(o", "in o", "p(a b)", "p(a:)", "p(a) | q(b)", "p(a) &"])
def test_a_malformed_query_is_refused(query: str):
    with pytest.raises(GrammarError):
        read_query(query)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('action look { template :: "look"; }', "template and a feedback"),
        ('action look { colour :: "red"; }', "'colour'"),
        ('grammar :: """{"a": """;', "JSON"),
        ('grammar :: """[]""";', "JSON object"),
        ('grammar :: """{"a": [{"text": "x"}]}""";', "'rhs'"),
        ('grammar :: """{"a": [{"rhs": "{o.mro()}"}]}""";', "rule 'a'"),
        ('grammar :: """{"a": [{"rhs": "x", "condition": "p("}]}""";', "query"),
        ("grammar ::", "the end of the file"),
        ("rubbish", "'rubbish'"),
        ("%", "line 1"),
    ],
)
def test_a_malformed_grammar_says_what_was_expected(text: str, complaint: str):
    with pytest.raises(GrammarError, match=complaint):
        read_grammar(text)


def test_the_task_sentence_goes_into_the_mark_and_comes_out_again():
    source = household_rules()[1].source
    filled = substitute_task(source, "put a hot apple in fridge")
    assert "Your task is to: put a hot apple in fridge." in filled
    assert extract_task(filled) == (source, "put a hot apple in fridge")
    assert extract_task(source) == (source, "")


@pytest.mark.parametrize("sentence", ["", "a;b", 'say "x"', "a|b", "{x}", "a\nb", "#list_empty#", "a\\n"])
def test_a_sentence_that_a_grammar_cannot_hold_is_refused(sentence: str):
    with pytest.raises(GrammarError):
        substitute_task(f"x {TASK_MARK}", sentence)


# PDDL.


def test_conditions_are_read_and_written_back():
    text = "(exists (?r - receptacle ?o - object) (and (in ?o ?r) (or (hot ?o) (not (= ?o ?r)))))"
    condition = read_condition(read_list(text, "here"), "here")
    assert condition == Exists(
        (("?r", "receptacle"), ("?o", "object")),
        And((Atom("in", ("?o", "?r")), Or((Atom("hot", ("?o",)), Not(Atom("=", ("?o", "?r"))))))),
    )
    assert read_condition(read_list(write_condition(condition), "here"), "here") == condition


def test_an_implication_is_a_choice():
    assert read_condition(["imply", ["p"], ["q"]], "here") == Or((Not(Atom("p", ())), Atom("q", ())))


def test_a_comma_belongs_to_the_type_it_follows():
    assert read_typed_names(["?l", "-", "location,", "?r", "-", "receptacle"], "here") == (
        ("?l", "location,"),
        ("?r", "receptacle"),
    )


DOMAIN = "(define (domain d) (:predicates (p ?x)) {section})"


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("(:action a :parameters () :precondition (forall (?x - object) (p ?x)) :effect (p a))", "'forall'"),
        ("(:action a :parameters () :effect (forall (?x - object) (p ?x)))", "'forall' in effects"),
        ("(:derived (q ?x) (p ?x))", ":derived"),
        ("(:durative-action a)", ":durative-action"),
        ("(:action a :parameters (?x) :effect (q ?x))", "undeclared predicate 'q'"),
        ("(:action a :parameters (?x) :effect (p ?y))", "no parameter"),
        ("(:action a :parameters (?x) :precondition (p ?x ?x) :effect (p ?x))", "1 arguments"),
        ("(:action a :parameters (?x - (either b c)) :effect (p ?x))", "flat list"),
        ("(:action a :cost 3)", ":parameters"),
        ("(:types a - b b - a)", "its own ancestor"),
        ("(:types a -)", "a type after"),
        ("stray", "section"),
    ],
)
def test_a_domain_that_is_not_played_says_which_construct_it_is(section: str, complaint: str):
    with pytest.raises(PDDLError, match=complaint):
        read_domain(DOMAIN.format(section=section))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("(define (problem p)", "missing at the end"),
        ("(define (problem p)))", r"unexpected '\)'"),
        ("(" * 100 + ")" * 100, "nested"),
        ("(define (problem p) (:domain d) (:init))", ":goal"),
        ("(define (problem p) (:domain d) (:goal (p \u00e9)))", "ASCII"),
        ("(define (problem p) (:domain d) (:goal (when (p) (q))))", "'when'"),
        ("(define (problem p) (:domain d) (:constraints (q)) (:goal (p)))", ":constraints"),
        ("(define (problem p) (:domain d) (:objects a - b a - c) (:goal (p)))", "declared as b and as c"),
        ("", "one expression"),
        ("(problem p)", "define"),
    ],
)
def test_a_malformed_problem_says_what_was_expected(text: str, complaint: str):
    with pytest.raises(PDDLError, match=complaint):
        parse_problem(text)


def test_comments_and_numbers_have_no_part_in_a_problem():
    problem = parse_problem(
        "(define (problem P) ; a comment with ) and \u00e9\n (:domain d) (:objects A - t)"
        " (:init (= (total-cost) 0) (P A) (p a) (not (q a))) (:goal (p a)))"
    )
    assert problem.init == (("p", "a"),)
    assert problem.objects == {"a": "t"}
    assert parse_problem(problem.to_pddl()).init == problem.init


def test_a_condition_over_an_undeclared_variable_is_refused_when_it_is_compiled():
    from sdar_envs.household.joins import clauses

    with pytest.raises(PDDLError, match=r"\?y"):
        clauses(Atom("p", ("?y",)), {"?x": "object"}, {"object": ""}, "here")
    with pytest.raises(PDDLError, match="negated 'exists'"):
        clauses(Not(Exists((("?x", "object"),), Atom("p", ("?x",)))), {}, {"object": ""}, "here")
    twenty = And(tuple(Or((Atom("p", (str(i),)), Atom("q", (str(i),)))) for i in range(20)))
    with pytest.raises(PDDLError, match="alternatives"):
        clauses(twenty, {}, {"object": ""}, "here")
