"""SDARConfig: everything a training run is configured with, and how it is read from and written to YAML.

Names are TRL's where the meaning is TRL's. Defaults are the published settings for large models on ALFWorld (arXiv
2605.15155 and its code); presets change them for other worlds and for tiny models. This file imports no torch.
It is long because an option stands in one place, with its range and its line of help.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.prompts import CONTEXTS, STYLES, WHEN_FULL
from agents.teacher import POSITIONS, PRIVILEGES, split_privilege
from sdar_envs.choices import require_choice, unknown_choice
from sdar_envs.skills import RETRIEVALS

from .options import convert, read_yaml

if TYPE_CHECKING:
    from .method import Method

AUTO = "auto"
DIVERGENCES = ("reverse_kl", "forward_kl", "jsd")  # formulas in `divergences`, which imports torch


def _about(text: str, *, group: str, maths: bool = True, choices: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"help": text, "group": group, "maths": maths, "choices": choices}


def _option(default: Any, text: str, *, group: str, maths: bool = True, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field with its help text, its group in ``--help``, and whether it changes the maths of a run."""
    metadata = _about(text, group=group, maths=maths, choices=choices)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SDARConfig:
    """Configuration of a run. Frozen; `dataclasses.replace` makes a changed copy, validated again.

    `delta` is the dual clip: with a negative advantage the ratio counts as `delta` at most, as in TRL's two-sided
    clipping. `distill_coef` None takes the method's published coefficient.

    Raises:
        ValueError: A value is out of range or not among its choices; the message says which values are accepted.
        TypeError: A value has the wrong type.
    """

    # --- method ---
    method: str = _option("sdar", "row of the methods table", group="method")
    distill_coef: float | None = _option(
        None, "coefficient of the method's teacher term; none takes the published one", group="method"
    )
    distill_decay: int | None = _option(
        None,
        "iterations over which that coefficient falls linearly to 0; 0 keeps it, none takes the method's schedule",
        group="method",
    )
    gate_beta: float = _option(5.0, "sharpness of the sigmoid gate", group="method")
    gate_constant: float = _option(
        0.5, "weight of every token in constant-gate: the mean gate of the run it is paired with", group="method"
    )
    soft_or_scale: str = _option(
        "raw",
        "entropy and gap in the soft-OR gate: as they are, or each scaled to [0, 1] over the iteration",
        group="method",
        choices=("raw", "batch"),
    )
    weight_clip: float = _option(
        0.2, "half-width of the band around 1 for weights that multiply the advantage", group="method"
    )
    weight_limit: float | None = _option(
        10.0, "largest weight of the sampled forward KL, exp(gap) - 1; none is off", group="method"
    )
    divergence: str = _option(
        "reverse_kl",
        "divergence of whole next-token distributions: KL(student, teacher), KL(teacher, student), or between",
        group="method",
        choices=DIVERGENCES,
    )
    divergence_alpha: float = _option(0.5, "the teacher's share in the mixture of the generalised JSD", group="method")
    divergence_top_k: int = _option(
        0, "the teacher's most likely next tokens that are kept, the rest in one; 0 keeps all", group="method"
    )
    keep_per_task: int = _option(
        4, "episodes of one task that are cloned at most: the best of those that succeeded", group="method"
    )
    shaping_lambda: float = _option(
        0.0, "how far a turn is credited with later changes of the plan's length", group="method"
    )
    privilege: str = _option(
        "skill",
        f"what the teacher is shown ({', '.join(PRIVILEGES)}), or several joined by +, each a reading of its own",
        group="method",
    )
    teacher_combine: str = _option(
        "mean",
        "how joined privileges become one teacher: mean probability, the highest, or where all agree in sign",
        group="method",
        choices=("mean", "max", "agreement"),
    )
    position: str = _option("auto", "where the privileged block stands", group="method", choices=POSITIONS)
    retrieval: str = _option(
        "task_type",
        "how skills are retrieved; ucb learns while training which skill of the bank the teacher is told",
        group="method",
        choices=(*RETRIEVALS, "ucb"),
    )
    ucb_c: float = _option(math.sqrt(2.0), "what uncertainty is worth to retrieval=ucb", group="method")
    ucb_reward: str = _option(
        "success",
        "what retrieval=ucb rewards a skill by: success of the episodes, or the gap of what was rewarded",
        group="method",
        choices=("success", "gap"),
    )
    teacher_budget: int = _option(2048, "tokens of the privileged block at most", group="method")

    # --- policy optimisation ---
    advantage: str = _option("grpo", "advantage estimator: grpo, rloo or gigpo", group="policy")
    advantage_unit: str = _option(
        "trajectory",
        "what a group's statistics run over: episodes, or rows (the official statistics)",
        group="policy",
        choices=("trajectory", "row"),
    )
    scale_rewards: str = _option(
        "group", "standard deviation that advantages are divided by", group="policy", choices=("group", "batch", "none")
    )
    gigpo_gamma: float = _option(0.95, "discount of the returns that gigpo compares steps by", group="policy")
    gigpo_weight: float = _option(1.0, "weight of gigpo's step advantages beside those of episodes", group="policy")
    gigpo_similarity: float = _option(
        1.0, "how alike two observations must be to count as one state in gigpo; 1 is equal", group="policy"
    )
    loss_type: str = _option(
        "dapo",
        "what sums over tokens are divided by: the step's loss tokens, or (dr_grpo) what it could have had at most, a "
        "constant",
        group="policy",
        choices=("dapo", "dr_grpo"),
    )
    dynamic_sampling: int = _option(
        0,
        "how often, per iteration, groups whose returns are all equal give way to groups of further tasks; 0 is off",
        group="policy",
    )
    epsilon: float = _option(0.2, "clip width below the ratio 1 (and above, without epsilon_high)", group="policy")
    epsilon_high: float | None = _option(None, "clip width above the ratio 1", group="policy")
    delta: float | None = _option(3.0, "dual clip: largest ratio for negative advantages; none is off", group="policy")
    beta: float = _option(0.01, "coefficient of the KL to the initial policy", group="policy")
    kl_estimator: str = _option("k3", "estimator of that KL", group="policy", choices=("k1", "k2", "k3"))
    kl_placement: str = _option(
        "loss", "KL as a term of the loss, or as k1 in the advantage", group="policy", choices=("loss", "advantage")
    )
    use_bias_correction_kl: bool = _option(False, "multiply the KL term by the live ratio", group="policy")
    entropy_coef: float = _option(0.0, "coefficient of the entropy bonus", group="policy")
    invalid_action_penalty: float = _option(0.1, "what an action that was not understood costs", group="policy")
    invalid_action_placement: str = _option(
        "token",
        "token: subtracted from the advantage of that turn's tokens; baseline: from the score, before group "
        "statistics (the official placement)",
        group="policy",
        choices=("token", "baseline"),
    )
    mask_truncated_completions: bool = _option(False, "leave truncated rows out of the loss", group="policy")

    # --- optimiser ---
    learning_rate: float = _option(1e-6, "learning rate", group="optimiser")
    lr_scheduler_type: str = _option(
        "constant", "learning rate after the warm-up", group="optimiser", choices=("constant", "linear")
    )
    warmup_steps: int = _option(0, "iterations of linear warm-up", group="optimiser")
    weight_decay: float = _option(0.01, "decoupled weight decay", group="optimiser")
    max_grad_norm: float = _option(1.0, "gradient norm is clipped to this", group="optimiser")
    optim: str = _option("adamw", "optimiser", group="optimiser", choices=("adamw", "sgd"))
    adam_beta1: float = _option(0.9, "AdamW beta1", group="optimiser")
    adam_beta2: float = _option(0.999, "AdamW beta2", group="optimiser")
    adam_epsilon: float = _option(1e-8, "AdamW epsilon", group="optimiser")
    num_mini_batches: int = _option(1, "optimiser steps per pass over an iteration's rows", group="optimiser")
    mini_batch_rows: int | None = _option(
        None, "rows per optimiser step, instead of num_mini_batches", group="optimiser"
    )
    num_iterations: int = _option(1, "passes over an iteration's rows", group="optimiser")
    max_consecutive_skips: int = _option(
        5, "stop after this many non-finite updates in a row", group="optimiser", maths=False
    )
    max_skipped_share: float = _option(
        0.01, "stop when this share of updates was skipped", group="optimiser", maths=False
    )

    # --- rollout ---
    max_steps: int = _option(150, "training iterations", group="rollout")
    tasks_per_step: int = _option(16, "tasks per iteration", group="rollout")
    num_generations: int = _option(8, "episodes per task: the group", group="rollout")
    max_turns: int = _option(50, "turns per episode at most", group="rollout")
    temperature: float = _option(1.0, "sampling temperature, in all log-probs too", group="rollout")
    max_completion_length: int = _option(512, "tokens per completion at most", group="rollout")
    max_prompt_length: int = _option(2048, "tokens of the student's prompt at most", group="rollout")
    context: str = _option(
        "window",
        "a fresh prompt per turn with the last turns, or one growing chat",
        group="rollout",
        choices=CONTEXTS,
    )
    history_length: int = _option(2, "turns in a window", group="rollout")
    prompt_style: str = _option("paper", "prompt templates", group="rollout", choices=STYLES)
    list_actions: bool = _option(True, "list the admissible actions in the prompt", group="rollout")
    enable_thinking: bool | None = _option(None, "thinking switch of the chat template", group="rollout")
    append_history: bool = _option(
        False,
        "where a chat template rewrites earlier turns: keep them as sampled, in one row, instead of a row per turn",
        group="rollout",
    )
    when_full: str = _option(
        "new_row",
        "what a transcript that outgrows max_prompt_length does: go on behind a shortened history, or stop",
        group="rollout",
        choices=WHEN_FULL,
    )
    sampler_batch: int | None = _option(None, "episodes sampled together; none is all of an iteration", group="rollout")
    success_threshold: float | None = _option(
        None,
        "return that counts as success where info has no success; none is the registered one, else 1",
        group="rollout",
    )
    env_kwargs: dict[str, Any] = field(
        default_factory=dict, metadata=_about("keyword arguments of the environment", group="rollout")
    )

    # --- evaluation ---
    eval_steps: int = _option(5, "iterations between evaluations; 0 is never", group="evaluation", maths=False)
    eval_episodes: int = _option(128, "episodes per evaluation", group="evaluation", maths=False)
    test_episodes: int = _option(
        400, "episodes on the test split, before and after; 0 is never", group="evaluation", maths=False
    )
    eval_temperature: float = _option(0.4, "sampling temperature in evaluation", group="evaluation", maths=False)
    eval_split: str = _option(
        "valid", "split that is watched in training", group="evaluation", maths=False, choices=("valid", "test")
    )
    teacher_health_floor: float = _option(
        0.5, "warn when the hinted teacher falls below this share of its start", group="evaluation", maths=False
    )
    stop_on_teacher_collapse: bool = _option(False, "and stop the run then", group="evaluation")

    # --- machine ---
    micro_batch_tokens: int = _option(
        16384, "padded tokens per forward pass; changes speed and memory only", group="machine", maths=False
    )
    divergence_memory_gb: float = _option(
        4.0, "host memory for the teacher's next-token distributions at most", group="machine", maths=False
    )
    logprob_chunk: int = _option(1024, "loss tokens per chunk of the LM head; 0 is off", group="machine", maths=False)
    gradient_checkpointing: bool | Literal["auto"] = _option(
        AUTO, "recompute activations; auto: on a GPU", group="machine", maths=False
    )
    bf16: bool | Literal["auto"] = _option(AUTO, "bfloat16 weights and activations; auto: on a GPU", group="machine")
    device: str = _option(AUTO, "auto, cpu, cuda, cuda:0, ...", group="machine", maths=False)

    # --- run ---
    output_dir: str = _option("runs/sdar", "run directory", group="run", maths=False)
    seed: int = _option(0, "key of all random draws", group="run")
    logging_steps: int = _option(1, "iterations between metric lines", group="run", maths=False)
    save_steps: int = _option(50, "iterations between checkpoints; 0 is only the last", group="run", maths=False)
    save_total_limit: int | None = _option(3, "checkpoints kept; none keeps all", group="run", maths=False)
    report_to: tuple[str, ...] = _option((), "further sinks for metrics: tensorboard, wandb", group="run", maths=False)
    log_privileged: bool = _option(False, "write the teacher's side to its own file", group="run", maths=False)

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for option in fields(self):
            value = convert(getattr(self, option.name), hints[option.name], f"SDARConfig.{option.name}")
            object.__setattr__(self, option.name, value)
            if option.metadata["choices"]:
                require_choice(option.name, value, option.metadata["choices"], "SDARConfig")
        split_privilege(self.privilege)
        _check_ranges(self)
        # These tables live in files that import torch; a configuration that is made is about to be used with them.
        from .advantages import ADVANTAGES
        from .methods import METHODS
        from .run_log import SINKS

        require_choice("method", self.method, METHODS, "SDARConfig")
        require_choice("advantage", self.advantage, ADVANTAGES, "SDARConfig")
        _check_reward(self, METHODS[self.method])
        object.__setattr__(self, "report_to", tuple(name for name in self.report_to if name != "none"))
        for name in self.report_to:
            require_choice("report_to", name, SINKS, "SDARConfig")

    @property
    def environment_kwargs(self) -> dict[str, Any]:
        """What environments are made with: `env_kwargs`, and `retrieval` where it is not the environments' own default.

        The environment asks its skill bank, so that everyone reads the same skills for an episode. With ``ucb`` it
        knows of nothing: what was learned while training is no part of a world.
        """
        asks = {} if self.retrieval in ("task_type", "ucb") else {"retrieval": self.retrieval}
        return {**asks, **self.env_kwargs}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "SDARConfig") -> SDARConfig:
        """Build a configuration from plain values, converting text such as ``"1e-6"`` to the field's type.

        Raises:
            ValueError: A key is unknown; the message names the nearest one. Or as for the constructor.
        """
        known = [option.name for option in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_choice("key", key, known, where)
        return cls(**dict(values))

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> SDARConfig:
        """Read a YAML mapping of options; `overrides` win over the file.

        Raises:
            ValueError: The file is not a mapping, is not YAML, or names an unknown key.
        """
        return cls.from_dict({**read_yaml(path), **overrides}, where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """All options as plain JSON values."""
        values = dataclasses.asdict(self)
        values["report_to"] = list(self.report_to)
        return values

    def to_yaml(self, path: str | Path) -> None:
        """Write all options, readable by `from_yaml`."""
        import yaml

        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    def digest(self) -> str:
        """SHA-256 over the options that change what a run computes.

        Output, logging and speed are left out, and so is the number of iterations where the learning rate does not
        depend on it, so that a finished run can be lengthened.
        """
        values = self.to_dict()
        counted = {option.name: values[option.name] for option in fields(self) if option.metadata["maths"]}
        if self.lr_scheduler_type == "constant":
            del counted["max_steps"]
        text = json.dumps(counted, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def _check_reward(config: SDARConfig, method: Method) -> None:
    """Refuse what acts through advantages alone where a method learns without them."""
    if method.pg_coef != 0.0 or method.injection == "none":
        return
    where = f"method {config.method!r} has no policy gradient"
    if config.kl_placement == "advantage" and config.beta != 0.0:
        raise ValueError(
            f"SDARConfig.kl_placement: {where}, so beta={config.beta:g} in the advantage would hold nothing: expected "
            "kl_placement=loss, or beta=0"
        )
    if config.dynamic_sampling:
        raise ValueError(
            f"SDARConfig.dynamic_sampling: {where}, so groups of equal returns teach it as much as others, successes "
            f"most of all: expected 0, got {config.dynamic_sampling}"
        )


# Inclusive lower bound, inclusive upper bound, and whether the lower bound itself is refused.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "distill_coef": (0.0, math.inf, False),
    "distill_decay": (0, math.inf, False),
    "gate_beta": (0.0, math.inf, False),
    "gate_constant": (0.0, 1.0, False),
    "weight_clip": (0.0, 1.0, False),
    "weight_limit": (0.0, math.inf, True),
    "divergence_alpha": (0.0, 1.0, False),
    "divergence_top_k": (0, math.inf, False),
    "divergence_memory_gb": (0.0, math.inf, True),
    "keep_per_task": (1, math.inf, False),
    "shaping_lambda": (0.0, 1.0, False),
    "ucb_c": (0.0, math.inf, False),
    "teacher_budget": (1, math.inf, False),
    "gigpo_gamma": (0.0, 1.0, False),
    "gigpo_weight": (0.0, math.inf, False),
    "gigpo_similarity": (0.0, 1.0, True),
    "dynamic_sampling": (0, math.inf, False),
    "epsilon": (0.0, 1.0, False),
    "epsilon_high": (0.0, math.inf, False),
    "delta": (1.0, math.inf, True),
    "beta": (0.0, math.inf, False),
    "entropy_coef": (0.0, math.inf, False),
    "invalid_action_penalty": (0.0, math.inf, False),
    "learning_rate": (0.0, math.inf, False),
    "warmup_steps": (0, math.inf, False),
    "weight_decay": (0.0, math.inf, False),
    "max_grad_norm": (0.0, math.inf, True),
    "adam_beta1": (0.0, 1.0, False),
    "adam_beta2": (0.0, 1.0, False),
    "adam_epsilon": (0.0, math.inf, True),
    "num_mini_batches": (1, math.inf, False),
    "mini_batch_rows": (1, math.inf, False),
    "num_iterations": (1, math.inf, False),
    "max_consecutive_skips": (1, math.inf, False),
    "max_skipped_share": (0.0, 1.0, False),
    "max_steps": (0, math.inf, False),
    "tasks_per_step": (1, math.inf, False),
    "num_generations": (1, math.inf, False),
    "max_turns": (1, math.inf, False),
    "temperature": (0.0, math.inf, True),
    "max_completion_length": (1, math.inf, False),
    "max_prompt_length": (1, math.inf, False),
    "history_length": (0, math.inf, False),
    "sampler_batch": (1, math.inf, False),
    "eval_steps": (0, math.inf, False),
    "eval_episodes": (1, math.inf, False),
    "test_episodes": (0, math.inf, False),
    "eval_temperature": (0.0, math.inf, False),
    "teacher_health_floor": (0.0, 1.0, False),
    "micro_batch_tokens": (1, math.inf, False),
    "logprob_chunk": (0, math.inf, False),
    "seed": (0, math.inf, False),
    "logging_steps": (1, math.inf, False),
    "save_steps": (0, math.inf, False),
    "save_total_limit": (1, math.inf, False),
}


def _check_ranges(config: SDARConfig) -> None:
    for name, (low, high, open_below) in _RANGES.items():
        value = getattr(config, name)
        if value is None:
            continue
        if value < low or value > high or (open_below and value == low):
            bound = f"above {low:g}" if open_below else f"at least {low:g}"
            upper = "" if math.isinf(high) else f" and at most {high:g}"
            raise ValueError(f"SDARConfig.{name}: expected {bound}{upper}, got {value!r}")
    if config.divergence == "jsd" and not 0.0 < config.divergence_alpha < 1.0:
        raise ValueError(
            f"SDARConfig.divergence_alpha: expected between 0 and 1 for a JSD, got {config.divergence_alpha:g}; at the "
            "ends it is 0 for any two distributions: choose divergence=forward_kl (towards 0) or reverse_kl (towards 1)"
        )
    if config.delta is not None:
        upper_width = config.epsilon if config.epsilon_high is None else config.epsilon_high
        if config.delta <= 1.0 + upper_width:
            raise ValueError(
                f"SDARConfig.delta: expected above 1 + the upper clip width = {1.0 + upper_width:g}, "
                f"got {config.delta:g}; the dual clip bounds what the clip leaves free (none switches it off)"
            )
