"""Options that take several values add up where they are repeated, in every command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from sdar_envs import __main__ as bare
from sdar_envs.command_line import Parser
from trainers.cli import COMMANDS, command_parser, main


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from parsers(own)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_with_several_values_adds_up_when_it_is_repeated(command: str) -> None:
    for parser in parsers(command_parser(command)[0]):
        for action in parser._actions:
            if action.option_strings and action.nargs in ("+", "*"):
                assert isinstance(action, argparse._ExtendAction), (parser.prog, action.option_strings)


def test_the_commands_of_the_worlds_alone_are_among_those_of_sdar() -> None:
    named = {f"sdar_envs.commands.{module}" for module, _ in bare.COMMANDS.values()}
    assert named <= {module for module, _ in COMMANDS.values()}


def test_check_runs_both_checks_that_two_flags_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--env-kwargs", "size=small", "--episodes", "1", "--only", "plays", "--only", "text"]
    assert main(["check", "sdar/Haggle-v0", *words[2:]]) == 0
    assert "2 held" in capsys.readouterr().out
    parser = Parser()
    COMMANDS_CHECK.add_arguments(parser)
    given = parser.parse_args(["x", "--env-kwargs", "a=1", "--env-kwargs", "b=2", "--skip", "text", "--skip", "plays"])
    assert given.env_kwargs == ["a=1", "b=2"] and given.skip == ["text", "plays"]
    assert parser.parse_args(["x"]).skip == []  # the default is nobody's list


COMMANDS_CHECK = command_parser("check")[1]
