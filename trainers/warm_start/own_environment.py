"""A tiny model for any text environment: tokenizer and model from its own played episodes, cloned from a demonstrator.

For a world of this suite it is the model that ``sdar train`` would build; for any other environment it takes the same
path over episodes that are played here. The folder is an ordinary Hugging Face model, for ``--model``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.offered import empty_share
from sdar_envs.demonstrations import SCRIPTS, Demonstration
from sdar_envs.files import replaced_folder

from .demonstrations import Advance, Report, nothing, play_demonstrations
from .own_episodes import Demonstrator, PlayedEpisodes, load_demonstrator
from .stored import RECORD
from .tiny_build import BuiltModel, build_tiny, require_room, wording_policies
from .tiny_model import TinyModelConfig, save_model
from .until_measured import CloningSchedule, clone_for
from .warm_start import PROMPT_OPTIONS, WarmStartConfig, warm_start

if TYPE_CHECKING:
    from ..options import Options
    from ..rollout.environments import EnvironmentSource
    from ..rollout.making import Environment
    from ..rollout.policies import Policies, TeacherContext

# What is cloned in an environment that nobody has tuned a warm start for: a fixed number of steps, one measurement.
OWN_START = WarmStartConfig(demonstrations=1000, min_steps=300, decay_steps=100, gate_episodes=100)


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A tiny model on disk.

    Attributes:
        folder: What ``--model`` takes.
        parameters: How many it has.
        vocabulary: Tokens of its tokenizer.
        steps: Cloning steps; 0 where there was no demonstrator, and the parameters are random.
        demonstrator_success: Success rate of the demonstrations; with the privileged context where there is one.
        student_success: Measured on ``valid`` under the plain prompt; None where it was not cloned.
        teacher_success: The same under the privileged prompt; None where there is none, or it was not cloned.
    """

    folder: Path
    parameters: int
    vocabulary: int
    steps: int
    demonstrator_success: float
    student_success: float | None
    teacher_success: float | None


def make_tiny_model(
    args: Options,
    env_id: str | Callable[..., Environment],
    output_dir: str | Path,
    *,
    demonstrator: Demonstrator | str | None = None,
    teacher_context: TeacherContext | str | None = None,
    config: WarmStartConfig | None = None,
    cache_dir: Path | None = None,
    report: Report | None = None,
    advance: Advance | None = None,
) -> TinyModel:
    """Build a tokenizer and a small model from an environment's own text, and clone a demonstrator where there is one.

    Args:
        args: Seed, environment and prompt options of the runs that will follow, such as
            ``SDARConfig.preset("any-tiny")``, which is what a run of such a model gets outside this suite.
        env_id: A registered Gymnasium id (``module:id`` imports the module first), or a callable that makes an
            environment. It is played in this process.
        output_dir: The folder to write; a tiny model that is there already is replaced.
        demonstrator: A function of observation and `info` that returns an action, or ``module:function``; it gets
            the public part of `info` in demonstrations without a privileged context, and a NumPy generator where it
            has a parameter `rng`. None takes the world's own, where
            it is one of this suite; elsewhere the episodes are played at random and the parameters stay random.
        teacher_context: A user's own function from `info` to what the teacher is shown, or ``module:function``.
        config: What to clone; None is `OWN_START`, or `WarmStartConfig` with its bands where a world of this suite
            demonstrates itself.
        cache_dir: Where the warm models of such worlds are kept.
        report: Called with lines of progress.
        advance: Called with how far it is, often enough for a bar.

    Raises:
        FileExistsError: The folder holds something else.
        DemonstratorError: The demonstrator failed; the message says where.
        ValueError: There is no such function, or no prompt fits.
        WarmStartFailed: A world of this suite did not reach its bands.
    """
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import load_teacher_context

    folder = Path(output_dir)
    require_replaceable(folder)
    if isinstance(demonstrator, str):
        demonstrator = load_demonstrator(demonstrator)
    if isinstance(teacher_context, str):
        teacher_context = load_teacher_context(teacher_context)
    if demonstrator is None and isinstance(env_id, str) and env_id in SCRIPTS:
        made = warm_start(args, env_id, config=config, cache_dir=cache_dir, report=report, advance=advance)
        with replaced_folder(folder, keep_existing=False) as partial:
            shutil.copytree(made.model_dir, partial, dirs_exist_ok=True)
        return tiny_model_in(folder)
    source = EnvironmentSource(env_id, args.environment_kwargs, args.success_threshold, workers=0)
    try:
        built, facts = _made(
            args, source, demonstrator, teacher_context, config or OWN_START, report or nothing, advance or nothing
        )
    finally:
        source.close()
    with replaced_folder(folder, keep_existing=False) as partial:
        save_model(built.model, built.tokenizer, partial, **facts)
    return tiny_model_in(folder)


def require_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier tiny model.

    Raises:
        FileExistsError: It does.
    """
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something that is no tiny model: choose another --output-dir")


def tiny_model_in(folder: Path) -> TinyModel:
    """What the record in the folder of a tiny model says."""
    facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    rates = facts["demonstration_success"]
    return TinyModel(
        folder,
        parameters=facts["parameters"],
        vocabulary=facts["vocabulary"],
        steps=facts["steps"],
        demonstrator_success=rates["hinted"] or rates["unhinted"],
        student_success=facts["student_success"],
        teacher_success=facts["teacher_success"],
    )


def _made(
    args: Options,
    source: EnvironmentSource,
    demonstrator: Demonstrator | None,
    teacher_context: TeacherContext | None,
    config: WarmStartConfig,
    say: Report,
    advance: Advance,
) -> tuple[BuiltModel, dict[str, Any]]:
    """Play, build, and clone where there is a demonstrator; returns the model and the facts to keep beside it."""
    from ..evaluation.evaluation_set import make_evaluation_set
    from ..rollout.policies import another_privilege

    worded = wording_policies(args, source, (), teacher_context)
    require_room(source, worded, args.max_prompt_length)
    hinted_share = config.hinted_share
    if worded.privileged_policy is None:
        hinted_share = 0.0
        lacks = (
            f"shows a teacher nothing under privilege={args.privilege}"
            if source.has_privileged
            else ("has nothing privileged to read")
        )
        instead = f": {another_privilege(args, source)}" if source.offered_privileges else ""
        say(f"{source.name} {lacks}, so all demonstrations are under the plain prompt{instead}")
    episodes = PlayedEpisodes(source, demonstrator, max_turns=args.max_turns, seal_info=worded.seals_info)
    how = "" if demonstrator else " at random: there is no demonstrator"
    say(f"playing {config.demonstrations:,} episodes{how}")
    try:
        played = play_demonstrations(episodes, config.demonstrations, hinted_share, advance, seed=args.seed)
    finally:
        episodes.close()
    if warning := empty_contexts(args, source, worded, played):
        say(warning)
    built = build_tiny(args, source, episodes, played, worded, fitted(config.model, args), teacher_context)
    facts = {
        **built.facts(),
        "steps": 0,
        "student_success": None,
        "teacher_success": None,
        "seed": args.seed,
        "env_id": source.name,
        "env_kwargs": args.environment_kwargs,
        "prompt": {name: getattr(args, name) for name in PROMPT_OPTIONS},
    }
    if demonstrator is None:
        say("the parameters are random: pass a demonstrator for a model that can play")
        return built, facts
    cloner, row_tokens = built.cloner(config.cloning, seed=args.seed, advance=advance)
    evaluation_set = make_evaluation_set(
        source,
        split="valid",
        episodes=config.gate_episodes,
        max_turns=args.max_turns,
        temperature=args.eval_temperature,
    )
    # What a student should reach is not known here: cloning ends after its steps, and what is measured is told.
    schedule = CloningSchedule(config.min_steps, config.max_steps, config.gate_every, config.decay_steps)
    clone_for(cloner, schedule, say=say, advance=advance)
    student, teacher = built.success_rates(evaluation_set, advance)
    facts |= {
        "steps": cloner.steps,
        "student_success": student,
        "teacher_success": teacher,
        "gate_episodes": config.gate_episodes,
        "panel_hash": evaluation_set.hash,
        "tokens_per_demonstration": row_tokens,
    }
    return built, facts


def empty_contexts(args: Options, source: EnvironmentSource, worded: Policies, played: Sequence[Demonstration]) -> str:
    """A warning where the privileged context of (nearly) all demonstrations that should have one is empty; else ""."""
    from ..evaluation.health import NEARLY_ALL, empty_message
    from ..rollout.policies import another_privilege

    if worded.teacher is None or (args.privilege == "none" and not worded.seals_info):
        return ""
    hinted = ((each.views, each.privileged) for each in played if each.hinted)
    share = empty_share(worded.teacher, hinted)
    if share is None or share < NEARLY_ALL:
        return ""
    own = "the teacher_context function returned no text for them"
    return f"WARNING: {empty_message(share, args, own if worded.seals_info else another_privilege(args, source))}"


def fitted(size: TinyModelConfig, args: Options) -> TinyModelConfig:
    """The size with positions for the longest prompt and completion that the options allow."""
    wanted = args.max_prompt_length + args.teacher_budget + args.max_completion_length
    return replace(size, max_position_embeddings=max(size.max_position_embeddings, wanted))
