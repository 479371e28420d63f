"""The student's and the teacher's prompt side by side: what each reads of the same tokens, and what it costs.

The prompts are built by the code that a run uses, with a script in the place of the model's sampler. The privileged
context is highlighted (in plain output between [[PRIVILEGED and ]]); only the teacher's side has one, and with
privileges joined by + there is a teacher's prompt for each. What stands where a model's answer would is a placeholder,
and marked as one ([[PLACEHOLDER and ]]).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..options.convert import merge
from .evaluate import OVERRIDES
from .flags import (
    add_config_flags,
    add_environment_argument,
    add_teacher_context_argument,
    add_trust_argument,
    chosen_environment,
    given_flags,
    read_pairs,
)
from .terminal import clean, make_console, one_line, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..config import SDARConfig
    from ..rollout.policies import TeacherContext
    from .inspection import Inspection, Segment

USAGE = "[ENV] [options]"
EPILOGUE = """examples:
  sdar inspect --env sdar/Household-v0 --privilege plan
  sdar inspect --env sdar/Household-v0 --method sdpo
  sdar inspect --model runs/house --turns 6
  sdar inspect --env sdar/Household-v0 --teacher-context my_module:my_context
  sdar inspect --model Qwen/Qwen2.5-3B-Instruct --context window --max-prompt-length 600"""

SIDE_BY_SIDE = 100  # columns from which on the two prompts stand beside each other; as many more per further teacher
_STYLES = {"PRIVILEGED": "bold black on yellow", "PLACEHOLDER": "dim italic", "": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar inspect``."""
    from ..config import SDARConfig

    add_environment_argument(parser)
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument(
        "--model", default="tiny", metavar="WHO",
        help="whose tokenizer and chat template: a run directory, a model path or name, tiny (built on the spot), or "
        "chatml (a plain ChatML view that counts bytes) [tiny]",
    )  # fmt: skip
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--task", metavar="ID", help="task id")
    which.add_argument("--index", type=int, metavar="N", default=0, help="the N-th task of the split [0]")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="show the prompt of this turn [3]")
    parser.add_argument(
        "--actions",
        nargs="+",
        action="extend",
        default=[],
        metavar="ACTION",
        help="what is done first; then the plan, else the admissible",
    )
    add_teacher_context_argument(parser)
    add_trust_argument(parser)
    add_config_flags(
        parser,
        SDARConfig,
        only=[*(name for name in OVERRIDES if name not in ("device", "bf16")), "retrieval", "method"],
    )


def run(options: argparse.Namespace) -> int:
    """Show both prompts."""
    from ..rollout.environments import EnvironmentSource
    from .inspected_writer import writes_for_teacher
    from .inspection import inspect_prompts, tokenizer_of
    from .players import environment_of, say_trust

    if options.turns < 1:
        raise ValueError(f"--turns expects at least 1, got {options.turns}")
    console = make_console()
    say_trust(console, options.trust_remote_code)
    given = read_pairs(options.env_kwargs, "--env-kwargs")
    env_id, _ = environment_of(options.model, chosen_environment(options), given)
    config = inspected_config(options.model, env_id, given_flags(options))
    source = EnvironmentSource(env_id, {**config.environment_kwargs, **given}, workers=0)
    tasks = source.task_ids(options.split)
    if options.task is None and not 0 <= options.index < len(tasks):
        raise ValueError(f"--index expects 0 to {len(tasks) - 1} for split {options.split!r}, got {options.index}")
    task_id = options.task or tasks[options.index]
    source.require_task(task_id)
    tokenizer = tokenizer_of(options.model, config, source, trust_remote_code=options.trust_remote_code)
    context = teacher_context_of(options.model, options.teacher_context)
    model = None
    if writes_for_teacher(config) and context is None:
        model = writing_model(options.model, options.trust_remote_code)
    inspection = inspect_prompts(
        source,
        tokenizer,
        config,
        options.split,
        task_id,
        options.turns,
        options.actions,
        teacher_context=context,
        model=model,
    )
    source.close()
    show_inspection(console, inspection, config, source.name, task_id)
    if options.model == "chatml":
        console.print("chatml counts bytes and cuts nothing by itself; --model PATH counts a model's own tokens")
    return 0


def writing_model(model: str, trust_remote_code: bool) -> Any:
    """The model that writes what its teacher reads; None for ``tiny`` and ``chatml``, which are tokenizers alone."""
    from ..engine.single import load_model
    from .players import is_run_directory, quiet_about_files, read_run

    if model in ("tiny", "chatml"):
        return None
    place = str(read_run(model).model_dir) if is_run_directory(model) else model
    quiet_about_files(place)
    return load_model(place, trust_remote_code=trust_remote_code)[0]


def inspected_config(model: str, env_id: str, overrides: dict[str, Any]) -> SDARConfig:
    """The configuration of a run directory, else of the preset for this kind of model.

    Options of an environment that the run did not have are left out.
    """
    from .players import is_run_directory, read_run
    from .setup import build_config, choose_preset

    if is_run_directory(model):
        run = read_run(model)
        values = run.config.to_dict()
        if run.env_id != env_id:
            values["env_kwargs"] = {}
        return build_config(merge(values, overrides))
    preset = choose_preset(None, env_id, None if model == "tiny" else model)
    # Limits are in a model's tokens; bytes are about four times as many.
    limits = {"max_prompt_length": 10**6, "teacher_budget": 10**6} if model == "chatml" else {}
    return build_config(merge(preset.config if preset else {}, limits, overrides))


def teacher_context_of(model: str, reference: str | None) -> TeacherContext | None:
    """The user's own teacher context: the one that was named, else the one that the run directory had.

    Raises:
        ValueError: There is no such function.
    """
    from .players import is_run_directory, read_run

    if reference is None and is_run_directory(model):
        reference = read_run(model).teacher_context
    if reference is None:
        return None
    from ..rollout.policies import load_teacher_context

    return load_teacher_context(reference)


def show_inspection(console: Console, found: Inspection, config: SDARConfig, env_id: str, task_id: str) -> None:
    """Print both prompts, the count of tokens, and what was cut."""
    from rich.text import Text

    shown = "+".join(config.privilege if one.name == "teacher" else one.name for one in found.teachers)
    privilege = shown or config.privilege
    console.print(f"{env_id}, task {one_line(task_id)}, turn {found.turns}; privilege {privilege}", style="bold")
    console.print(f"style {config.prompt_style}, context {config.context}, position {config.position}")
    console.print("PRIVILEGED TEXT IS SHOWN HERE, highlighted: the student never sees it\n", style="bold yellow")
    plain = not console.is_terminal

    def text_of(segments: Sequence[Segment]) -> Text:
        text = Text()
        for segment in segments:
            marked = "PRIVILEGED" if segment.privileged else "PLACEHOLDER" if segment.placeholder else ""
            if marked and plain:
                text.append(f"[[{marked} {clean(segment.text)}]]")
            else:
                text.append(clean(segment.text), style=_STYLES[marked])
        return text

    several = len(found.teachers) > 1
    named = [(f"teacher, {one.name}" if several else "teacher", one.segments) for one in found.teachers]
    sides = [("STUDENT", found.student), *((name.replace("teacher", "TEACHER"), shown) for name, shown in named)]
    if console.is_terminal and console.width >= SIDE_BY_SIDE * len(named) and named:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, expand=True, show_lines=False)
        for name, _ in sides:
            table.add_column(Text(name), ratio=1, overflow="fold")
        table.add_row(*(text_of(segments) for _, segments in sides))
        console.print(table)
    else:
        for name, segments in sides:
            console.print(f"----- {name} -----", style="bold")
            console.print(text_of(segments))
            console.print("")
    if found.asked:
        console.print("----- THE POLICY IS ASKED, before its teacher reads -----", style="bold")
        console.print(Text(clean(found.asked)))
        console.print("")
    columns = [name for name, _ in named] or ["teacher"]
    rows = [(name, str(student), *(map(str, teachers) if named else ["-"])) for name, student, teachers in found.parts]
    show_table(console, "", ("tokens", "student", *columns), rows)
    console.print("a placeholder stands where the model's answer would: the plan's action, written by no model")
    for note in found.notes:
        console.print(note, style="bold red" if note.split(":")[0].isupper() else "")
