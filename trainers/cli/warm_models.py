"""The warm start in front of a run: words of the command line, what can be refused at once, and progress on screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.convert import merge, nested
from .flags import read_pairs
from .terminal import duration, one_line, percent

if TYPE_CHECKING:
    from rich.console import Console

    from ..warm_start.stored import WarmStart
    from .setup import Setup

DEMONSTRATIONS = "demonstrations"


def read_warm_start(words: Sequence[str]) -> tuple[bool, dict[str, Any]]:
    """Whether the word `DEMONSTRATIONS` stands among the words of ``--warm-start``, and the options among them.

    Raises:
        ValueError: Another word without ``=``.
    """
    asked = DEMONSTRATIONS in words
    return asked, nested(read_pairs([word for word in words if word != DEMONSTRATIONS], "--warm-start"))


def tiny_positions(setup: Setup, pairs: dict[str, Any]) -> int:
    """The positions of the tiny model that options of its warm start describe, a preset's and those of a command.

    Raises:
        ValueError: An unknown key.
    """
    from ..warm_start.warm_start import warm_start_config

    return warm_start_config(merge(setup.warm_start, pairs), "--warm-start").model.max_position_embeddings


def require_demonstrations(setup: Setup, positions: int | None) -> None:
    """Refuse an environment from which a model cannot learn to play.

    Args:
        setup: Environment and configuration.
        positions: Of the embedded tiny model; None for a pretrained one.

    Raises:
        ValueError: The environment has no demonstrations, or plays a user's own data, which no demonstration is of; or
            lengths do not fit the tiny model.
    """
    from agents.chat import require_lengths
    from sdar_envs import world_entry
    from sdar_envs.demonstrations import SCRIPTS

    tiny = positions is not None
    if setup.env_id not in SCRIPTS:
        who = "the embedded tiny model" if tiny else "a warm start"
        make = f"make one of the environment's own text (sdar tiny --env {setup.env_id} --output-dir tiny/) and pass it"
        remedy = f"{make} as --model, or pass another --model" if tiny else "leave out --warm-start"
        raise ValueError(
            f"{who} learns to play from demonstrations, which {', '.join(SCRIPTS)} has and {setup.env_id} has not: "
            f"{remedy}"
        )
    if positions is not None:
        require_lengths(positions, setup.config.max_prompt_length, setup.config.max_completion_length)
    entry, kwargs = world_entry(setup.env_id), setup.config.environment_kwargs
    own = [name for name in (entry.data_options if entry else ()) if kwargs.get(name) is not None]
    if own:
        listed = ", ".join(f"env_kwargs.{name}" for name in own)
        why = (
            "the embedded tiny model learns to play in generated worlds and knows no words of others: pass --model, or "
            if tiny
            else "demonstrations are of generated worlds: warm the model up on one of those, pass the folder that it "
            "is kept in as --model, or "
        )
        raise ValueError(f"{why}leave out {listed}")


def warm_tiny_model(console: Console, setup: Setup, pairs: dict[str, Any], cache_dir: str | None) -> WarmStart:
    """The warm tiny model, from the cache where it was made before.

    Raises:
        WarmStartFailed: Student and privileged-prompt policy did not reach their bands.
        ValueError: An unknown key.
    """
    from ..warm_start.warm_start import warm_start, warm_start_config

    console.print("warm start: a tiny model from nothing, on imperfect demonstrations")
    with progress(console) as (report, advance):
        warm = warm_start(
            setup.config,
            setup.env_id,
            config=warm_start_config(merge(setup.warm_start, pairs), "--warm-start"),
            cache_dir=Path(cache_dir) if cache_dir else None,
            report=report,
            advance=advance,
        )
    _show(console, warm)
    return warm


def warm_pretrained_model(
    console: Console, setup: Setup, pairs: dict[str, Any], cache_dir: str | None, *, trust_remote_code: bool = False
) -> WarmStart:
    """The warm form of the model of a setup, from the cache where it was made before.

    Raises:
        WarmStartFailed: What was to be measured was not.
        ValueError: An unknown key.
    """
    from ..engine.single import load_model
    from ..presets import model_family
    from ..warm_start.pretrained_start import pretrained_start, pretrained_start_config

    config = pretrained_start_config(pairs, "--warm-start")
    console.print(f"warm start: {setup.model} learns the form of an answer from demonstrations")
    model, tokenizer = load_model(setup.model, trust_remote_code=trust_remote_code)
    with progress(console) as (report, advance):
        warm, facts = pretrained_start(
            setup.config,
            setup.env_id,
            model,
            tokenizer,
            family=model_family(setup.model),
            config=config,
            cache_dir=Path(cache_dir) if cache_dir else None,
            report=report,
            advance=advance,
        )
    if warm.cached:
        console.print(f"  reasoning in the demonstrations: {facts['reasoning']}")
    before, after = facts["before"]["malformed"], facts["after"]["malformed"]
    console.print(f"  malformed completions: {percent(before)} % before, {percent(after)} % after; {warm.model_dir}")
    _show(console, warm)
    return warm


@contextmanager
def progress(console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    """A bar with the time that is left, or a line every ten seconds; and what prints lines that stay."""
    from ..run.progress import StageBar

    with StageBar("warm start", quiet=console.quiet) as bar:

        def report(line: str) -> None:
            # Lines on a terminal with a bar go above it.
            show = bar.say if bar.shown and console.is_terminal else console.print
            show(f"  {one_line(line).removeprefix('warm start: ')}")

        yield report, bar.advance


def _show(console: Console, warm: WarmStart) -> None:
    """Where the warm model is from, and what was measured of it."""
    source = "from the cache" if warm.cached else f"{warm.steps} steps in {duration(warm.seconds)}"
    console.print(
        f"  {source}; measured on valid: student {percent(warm.student_success)} %, "
        f"privileged-prompt policy {percent(warm.teacher_success)} %"
    )
