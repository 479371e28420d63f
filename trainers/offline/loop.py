"""The whole loop: act, keep what succeeded, was rewarded highly and was short, imitate it, and act again.

A round has three stages, each in a folder of its own: ``act`` (a run whose tokens are all logged), ``curated``, and
``imitate`` (a run on the curated episodes). A stage that is finished is not done again, and a run that was interrupted
goes on from its checkpoint, so the loop can be stopped anywhere.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json
from sdar_envs.files import write_file
from sdar_envs.randomness import counted_generator

from ..config import SDARConfig
from ..engine.checkpoint import CheckpointStore
from ..rollout.environments import EnvironmentSource
from ..rollout.making import Environment
from ..trainer import SDARTrainer
from .curate import curate
from .filters import Rules
from .stored import NothingKeptError, StoredEpisodesError, read_curated
from .supervised import METHOD, StoredEpisodes

STATE = "loop.json"
ACT, CURATED, IMITATE = "act", "curated", "imitate"
_NEVER = 10**9  # a run that only acts trains on nothing, which is no finding


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan:
    """What a loop does.

    Attributes:
        env_id: The environment: an id, or a callable that makes one.
        model: Where it begins: a folder or a name.
        config: Of all runs; ``max_steps`` iterations are played in a round, and seed and evaluation are the loop's.
        folder: Of the loop.
        rules: What is kept of a round.
        rounds: How many.
        epochs: Passes over what is kept.
        per_step: Episodes of an iteration when imitating; None for as many as are played in one.
        learns_while_acting: Whether the acting run learns by ``config.method``; otherwise it only plays.
        teacher_context: A user's own, as ``module:function``.
        trust_remote_code: Whether code that the model brings may run.
    """

    env_id: str | Callable[..., Environment]
    model: str
    config: SDARConfig
    folder: Path
    rules: Rules
    rounds: int
    epochs: float = 1.0
    per_step: int | None = None
    learns_while_acting: bool = False
    teacher_context: str | None = None
    trust_remote_code: bool = False

    def identity(self) -> dict[str, Any]:
        """What a loop that is gone on with must have in common with its beginning; it may get more rounds."""
        return {
            "env_id": EnvironmentSource(self.env_id).name,
            "model": self.model,
            "config": self.config.digest(),
            "max_steps": self.config.max_steps,
            "rules": self.rules.described(),
            "epochs": self.epochs,
            "per_step": self.per_step,
            "learns_while_acting": self.learns_while_acting,
        }


def run_loop(plan: LoopPlan, *, resume: bool = False, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Run all rounds; returns a record of each, as `loop.json` has them.

    Args:
        plan: What is done.
        resume: Whether an earlier part of the same loop may be in the folder.
        say: Told what begins.

    Raises:
        StoredEpisodesError: The folder holds another loop, or this one and `resume` is off.
        KeyboardInterrupt: Ctrl-C; what the present run has done is saved.
    """
    _claim(plan, resume)
    model, records = plan.model, []
    for number in range(1, plan.rounds + 1):
        record, model = _round(plan, number, model, say)
        records.append(record)
        _write(plan, records)
    return records


def _round(plan: LoopPlan, number: int, model: str, say: Callable[[str], None]) -> tuple[dict[str, Any], str]:
    """One round from `model`; returns its record and the model that it ends with."""
    folder = plan.folder / f"round-{number:02d}"
    say(f"round {number} of {plan.rounds}: act")
    acted = _run(plan, folder / ACT, model, acting_config(plan, number, folder / ACT))
    record: dict[str, Any] = {"round": number, "sampled_tokens": acted["tokens"], "train_success": _success(folder)}
    if plan.learns_while_acting:
        model = _newest(folder / ACT)
    say(f"round {number} of {plan.rounds}: keep")
    try:
        if not (folder / CURATED).is_dir():
            curate([folder / ACT], plan.rules, folder / CURATED)
    except NothingKeptError as error:
        say(f"{error}: the model stays as it is")
        return {**record, "kept": 0, "model": str(model), "before": None, "after": None}, model
    kept = read_curated(folder / CURATED)
    say(f"round {number} of {plan.rounds}: imitate {len(kept):,} episodes")
    source = StoredEpisodes(
        kept, plan.per_step or plan.config.tasks_per_step * plan.config.num_generations, plan.config.seed
    )
    imitated = _run(
        plan, folder / IMITATE, model, imitation_config(plan, number, folder / IMITATE, source), episodes=source
    )
    model = _newest(folder / IMITATE)
    rates = {when: (imitated.get(when) or {}).get("success_rate") for when in ("before", "after")}
    return {**record, "kept": len(kept), "model": model, **rates}, model


def acting_config(plan: LoopPlan, number: int, folder: Path) -> SDARConfig:
    """The configuration of a round's acting: other tasks and draws than any other round has, and no evaluation.

    The first task of the watched set is played all the same, since every run ends with an evaluation.
    """
    seed = int(counted_generator("loop", plan.config.seed, number).integers(2**31))
    changes: dict[str, Any] = {"output_dir": str(folder), "seed": seed, "log_tokens": "all"}
    changes |= {"eval_before": False, "eval_steps": 0, "eval_episodes": 1, "test_episodes": 0}
    if not plan.learns_while_acting:
        changes |= {"method": METHOD, "distill_coef": 0.0, "health_patience": _NEVER}
    return dataclasses.replace(plan.config, **changes)


def imitation_config(plan: LoopPlan, number: int, folder: Path, source: StoredEpisodes) -> SDARConfig:
    """The configuration of a round's imitation; evaluated before the first round, and after every one."""
    changes: dict[str, Any] = {"output_dir": str(folder), "method": METHOD, "distill_coef": None, "eval_steps": 0}
    changes |= {"max_steps": source.steps(plan.epochs), "eval_before": number == 1}
    return dataclasses.replace(plan.config, **changes)


def _run(
    plan: LoopPlan, folder: Path, model: str, config: SDARConfig, episodes: StoredEpisodes | None = None
) -> dict[str, Any]:
    """A run, or its summary where it is finished; one that has begun goes on."""
    if (folder / "summary.json").is_file():
        summary: dict[str, Any] = load_json(folder / "summary.json")
        return summary
    trainer = SDARTrainer(
        model,
        plan.env_id,
        config,
        teacher_context=plan.teacher_context,
        episodes=episodes,
        trust_remote_code=plan.trust_remote_code,
    )
    return trainer.train(resume_from_checkpoint=(folder / "run.json").is_file())


def _newest(folder: Path) -> str:
    """The newest checkpoint of a finished run."""
    found = CheckpointStore(folder / "checkpoints").newest()
    if found is None:
        raise StoredEpisodesError(f"{folder} is expected to have a checkpoint that verifies, and has none: remove it")
    return str(found.path)


def _success(folder: Path) -> float:
    """The success rate of a round's training episodes."""
    lines = [json.loads(line) for line in (folder / ACT / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = [float(line["success"]) for line in lines if "success" in line]
    return sum(rates) / max(len(rates), 1)


def _claim(plan: LoopPlan, resume: bool) -> None:
    """Refuse a folder that holds something else."""
    path = plan.folder / STATE
    if path.is_file():
        held = load_json(path)["identity"]
        own = json.loads(json.dumps(plan.identity()))
        different = sorted(key for key in {*held, *own} if held.get(key) != own.get(key))
        if different:
            raise StoredEpisodesError(
                f"{plan.folder} holds another loop; it differs in {', '.join(different)}: choose another --output-dir"
            )
        if not resume:
            raise StoredEpisodesError(
                f"{plan.folder} holds an earlier part of this loop: go on with it (--resume), or choose another "
                "--output-dir"
            )
        return
    if plan.folder.exists() and any(plan.folder.iterdir()):
        raise StoredEpisodesError(f"{plan.folder} is no loop and not empty: choose another --output-dir")
    _write(plan, [])


def _write(plan: LoopPlan, records: list[dict[str, Any]]) -> None:
    content = {"identity": plan.identity(), "rounds": records}
    write_file(plan.folder / STATE, json.dumps(content, indent=1) + "\n")
