"""Option groups: everything about an option stands in its field, and a group checks its own values wherever it is."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import Any

import pytest

from trainers import options as groups_module
from trainers.config import SDARConfig
from trainers.options import (
    AdapterOptions,
    EvaluationOptions,
    MachineOptions,
    MethodOptions,
    OptimiserOptions,
    Options,
    PolicyOptions,
    RolloutOptions,
    RunOptions,
    SeatOptions,
    ServerOptions,
)
from trainers.options.option import OptionGroup, Range, options_of
from trainers.options.reading import Condition

GROUPS: tuple[type[OptionGroup], ...] = (
    MethodOptions,
    PolicyOptions,
    OptimiserOptions,
    AdapterOptions,
    RolloutOptions,
    SeatOptions,
    ServerOptions,
    EvaluationOptions,
    MachineOptions,
    RunOptions,
)
# A return may be any number, and so may the one that counts as success.
UNBOUNDED = {"success_threshold"}
# Names that stand in tables of other rooms, names that are composed, and places.
FREE_TEXT = {"teacher_weights", "method", "privilege", "advantage", "device", "output_dir", "vllm_url", "vllm_folder"}


def kinds(name: str) -> set[Any]:
    """What an option may be, without None."""
    hint = typing.get_type_hints(Options)[name]
    return set(typing.get_args(hint) or (hint,)) - {type(None)}


RANGED = [(group, name) for group in GROUPS for name, each in options_of(group).items() if each.metadata["range"]]
WORDED = [(group, name) for group in GROUPS for name, each in options_of(group).items() if each.metadata["choices"]]


def beyond(name: str, accepted: Range) -> list[float]:
    """Numbers just outside of a range, of the option's type."""
    step = 1 if int in kinds(name) else 0.5
    below = accepted.low if accepted.above else accepted.low - step
    found = [below] if math.isinf(accepted.high) else [below, accepted.high + step]
    return [int(value) if int in kinds(name) else value for value in found]


def test_every_number_has_a_range_or_is_unbounded_on_purpose() -> None:
    numbers = {name for name in options_of(Options) if kinds(name) & {int, float}}
    assert {name for name in numbers if options_of(Options)[name].metadata["range"] is None} == UNBOUNDED
    assert {name for _, name in RANGED} == numbers - UNBOUNDED


def test_every_word_has_its_choices_or_is_free_on_purpose() -> None:
    words = {name for name in options_of(Options) if kinds(name) == {str}}
    assert {name for _, name in WORDED} == words - FREE_TEXT and words >= FREE_TEXT


def test_every_option_says_everything_about_itself_in_its_field() -> None:
    for name, each in options_of(SDARConfig).items():
        assert set(each.metadata) == {"help", "group", "range", "choices", "maths", "read", "omit_at_default"}, name
        assert each.metadata["help"] and each.metadata["group"], name
        assert all(isinstance(condition, Condition) for condition in each.metadata["read"]), name


def test_the_groups_are_all_options_once_and_a_heading_is_a_group() -> None:
    exported = {each for each in vars(groups_module).values() if isinstance(each, type)} - {Options}
    assert exported == set(GROUPS)
    names = [name for group in GROUPS for name in options_of(group)]
    assert len(names) == len(set(names)) and set(names) == options_of(Options).keys() == options_of(SDARConfig).keys()
    headings = [{each.metadata["group"] for each in options_of(group).values()} for group in GROUPS]
    assert all(len(own) == 1 for own in headings) and len(set.union(*headings)) == len(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_can_be_made_alone_and_has_the_defaults_of_the_whole(group: type[OptionGroup]) -> None:
    alone, whole = group(), SDARConfig()
    for name in options_of(group):
        assert getattr(alone, name) == getattr(whole, name)
    assert isinstance(whole, group)  # a formula that takes the group takes the configuration
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(alone, next(iter(options_of(group))), None)


@pytest.mark.parametrize(("group", "name"), RANGED)
def test_a_number_out_of_range_is_refused_by_the_group_alone_and_by_the_whole(
    group: type[OptionGroup], name: str
) -> None:
    accepted = options_of(group)[name].metadata["range"]
    for owner in (group, SDARConfig):
        for value in beyond(name, accepted):
            message = rf"^{owner.__name__}\.{name}: expected {re.escape(str(accepted))}, got {re.escape(repr(value))}$"
            with pytest.raises(ValueError, match=message):
                owner(**{name: value})


@pytest.mark.parametrize(("group", "name"), WORDED)
def test_a_word_that_is_no_choice_is_refused_by_the_group_alone_and_by_the_whole(
    group: type[OptionGroup], name: str
) -> None:
    for owner in (group, SDARConfig):
        with pytest.raises(ValueError, match=rf"{owner.__name__}.*{name}.*nonsense|{name}.*nonsense.*{owner.__name__}"):
            owner(**{name: "nonsense"})


@pytest.mark.parametrize("group", GROUPS)
def test_a_value_of_another_type_is_refused_by_the_group_of_its_own_name(group: type[OptionGroup]) -> None:
    for name in options_of(group):
        with pytest.raises(TypeError, match=rf"^{group.__name__}\.{name}: expected .*, got <object"):
            group(**{name: object()})


def test_what_does_not_go_together_is_refused_by_the_group_that_knows_it() -> None:
    with pytest.raises(ValueError, match=r"PolicyOptions\.delta: expected above 1 \+ the upper clip width = 1\.5"):
        PolicyOptions(epsilon_high=0.5, delta=1.2)
    with pytest.raises(ValueError, match=r"MethodOptions\.divergence_alpha: expected between 0 and 1 for a JSD, got 1"):
        MethodOptions(divergence="jsd", divergence_alpha=1.0)
    with pytest.raises(ValueError, match="privilege"):
        MethodOptions(privilege="skill+skill")


def test_none_is_accepted_where_it_means_something_and_is_in_no_range() -> None:
    for name in options_of(Options):
        hint = typing.get_type_hints(Options)[name]
        if type(None) in typing.get_args(hint):
            assert getattr(SDARConfig(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("accepted", "inside", "outside", "words"),
    [
        (Range(0.0), [0.0, 1e9], [-1e-9], "at least 0"),
        (Range(0.0, 1.0), [0.0, 0.5, 1.0], [-0.1, 1.1], "at least 0 and at most 1"),
        (Range(1.0, above=True), [1.1], [1.0, 0.9], "above 1"),
        (Range(0.0, 1.0, above=True), [0.1, 1.0], [0.0, 1.1], "above 0 and at most 1"),
    ],
)
def test_a_range_says_what_it_holds(accepted: Range, inside: list[float], outside: list[float], words: str) -> None:
    assert all(value in accepted for value in inside) and not any(value in accepted for value in outside)
    assert str(accepted) == words
