"""From a plan to its jobs: what each run is configured with, and the key that says what its result depends on.

The key is a hash of everything that can move a result: environment and the version of its world, every option that is
not a default, seed, warm start (whose own key names the versions of torch and its kin), and the jobs it takes values
from. Names are not in it: two arms that compute the same share a job. Options that only say where files go or how often
are not in it either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import SDARConfig
from ..options.convert import merge
from ..rollout.environments import EnvironmentSource
from .plain_json import encode
from .plan_records import FORMAT, Arm, Job, Plan, StudyError
from .result_records import Tuned

if TYPE_CHECKING:
    from ..options import Options

# Options that move no result.
SILENT = frozenset(
    {
        *("output_dir", "save_steps", "save_total_limit", "report_to"),
        *("log_privileged", "log_tokens", "logging_steps", "device"),
    }
)
# What the warm start reads as the study does in common, whatever an arm changes: the teacher's side. Arms of a seed
# that differ in it alone begin with the same weights. Whether a hint is followed is measured with a bank whose
# statements are all true, whatever share of them is corrupted in the study: which ones they are would decide whether a
# base counts as warm.
TEACHER_OPTIONS = ("privilege", "position", "teacher_budget", "retrieval", "teacher_combine")
TEACHER_ENV_KWARGS = ("stale", "stale_seed", "retrieval")


def jobs_of(plan: Plan, tuned: Tuned | None = None, *, read_models: bool = False) -> dict[tuple[str, int], Job]:
    """The job of every arm and seed.

    Args:
        plan: Arms, seeds, common options.
        tuned: What the tuning chose; None takes the plan's own tuned values.
        read_models: Tell the user's models from others by their content (`model_fingerprint`), not by name alone. It
            reads every weight, so that a plan which is only looked at does without.

    Raises:
        StudyError: An arm's options are refused; the message names the arm.
    """
    maker = _Maker(plan, tuned, read_models)
    return {(arm.key, seed): maker.job(arm, seed) for arm in plan.arms for seed in plan.seeds_of(arm)}


def effective_overrides(plan: Plan, arm: Arm, tuned: Tuned | None) -> dict[str, Any]:
    """An arm's options over the study's common ones: its defaults, then the tuned values, then what it is set to."""
    return merge(arm.defaults, _tuned_values(plan, arm, tuned) or {}, arm.overrides)


def tuned_as(plan: Plan, arm: Arm, tuned: Tuned | None) -> str | None:
    """Whose tuned values an arm runs with; None for documented defaults, so also before anything was tuned."""
    return None if _tuned_values(plan, arm, tuned) is None else arm.tuned


def _tuned_values(plan: Plan, arm: Arm, tuned: Tuned | None) -> Mapping[str, Any] | None:
    if arm.tuned is None:
        return None
    found = None if tuned is None else tuned.arms.get(arm.tuned)
    return plan.tuned.get(arm.tuned) if found is None else found.overrides


def given_options(config: SDARConfig) -> dict[str, Any]:
    """The options that differ from the defaults: an option that a later version adds changes no key."""
    defaults = default_options()
    return {key: value for key, value in config.to_dict().items() if value != defaults[key]}


@cache
def default_options() -> dict[str, Any]:
    """The options of a run that sets none."""
    return SDARConfig().to_dict()


class _Maker:
    def __init__(self, plan: Plan, tuned: Tuned | None, read_models: bool) -> None:
        self.plan = plan
        self.tuned = tuned
        self.read_models = read_models
        self._models: dict[str, str] = {}
        self._made: dict[tuple[str, int], Job] = {}
        self._versions: dict[str, str] = {}
        self._warm_keys: dict[str, str] = {}

    def job(self, arm: Arm, seed: int) -> Job:
        if (arm.key, seed) not in self._made:
            try:
                self._made[arm.key, seed] = self._make(arm, seed)
            except (ValueError, TypeError) as error:
                raise StudyError(f"arm {arm.key!r}, seed {seed}: {error}") from error
        return self._made[arm.key, seed]

    def _make(self, arm: Arm, seed: int) -> Job:
        plan = self.plan
        overrides = effective_overrides(plan, arm, self.tuned)
        config = given_options(self._config(merge(plan.common, overrides, {"method": arm.method}), seed))
        if config.get("logging_steps", 1) != 1:
            raise ValueError(
                f"logging_steps: a study reads the line of every iteration, so 1, got {config['logging_steps']}"
            )
        version = self._version(config)
        warm_config: dict[str, Any] = {}
        warm_options: dict[str, Any] = {}
        warm_key = None
        model = plan.model if arm.model is None else arm.model
        model_key = None if model is None else self._model_key(model)
        if model is None or merge(plan.warm_start, arm.warm_start):
            warm_options = merge(plan.warm_start, arm.warm_start)
            warm = self._config(merge(plan.common, _shared(overrides), {"method": "grpo"}), seed)
            own = {key: value for key, value in warm.env_kwargs.items() if key not in TEACHER_ENV_KWARGS}
            warm = dataclasses.replace(warm, env_kwargs=own)
            warm_config = given_options(warm)
            text = json.dumps([model_key, warm_config, warm_options], sort_keys=True)
            if text not in self._warm_keys:
                self._warm_keys[text] = warm_key_of(model_key, warm, plan.env_id, warm_options)
            warm_key = self._warm_keys[text]
        depends = {name: self.job(plan.arm(name), seed).key for name in sorted({d.arm for d in arm.derived.values()})}
        parts = {
            "format": FORMAT,
            "env_id": plan.env_id,
            "world_version": version,
            "config": {key: value for key, value in config.items() if key not in SILENT},
            "model": model_key,
            "warm_start": warm_key,
            "derived": {name: [depends[d.arm], d.figure] for name, d in sorted(arm.derived.items())},
        }
        if plan.opponents is not None:  # a job of a study without has the key that it always had
            parts["opponents"] = encode(plan.opponents)
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return Job(
            key=hashlib.sha256(text.encode()).hexdigest()[:16],
            arm=arm,
            seed=seed,
            env_id=plan.env_id,
            world_version=version,
            config=config,
            model=model,
            warm_config=warm_config,
            warm_start=warm_options,
            warm_key=warm_key,
            depends=depends,
            opponents=plan.opponents,
        )

    def _model_key(self, model: str) -> str:
        if model not in self._models:
            self._models[model] = model_fingerprint(model) if self.read_models else model
        return self._models[model]

    def _config(self, options: Mapping[str, Any], seed: int) -> SDARConfig:
        own = {"seed": seed, "env_kwargs": dict.fromkeys(self.plan.seeded, seed)}
        return SDARConfig.from_dict(merge(own, options, {"seed": seed}))

    def _version(self, config: Mapping[str, Any]) -> str:
        """The world's version for these keyword arguments, asked once for those that differ in their seeds alone."""
        kwargs = SDARConfig.from_dict(config).environment_kwargs
        text = json.dumps({k: v for k, v in kwargs.items() if k not in self.plan.seeded}, sort_keys=True)
        if text not in self._versions:
            source = EnvironmentSource(self.plan.env_id, kwargs)
            try:
                self._versions[text] = source.world_version
            finally:
                source.close()
        return self._versions[text]


def _shared(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """An arm's options as far as its warm start follows them: not those of the teacher's side."""
    kept = {key: value for key, value in overrides.items() if key not in TEACHER_OPTIONS}
    if isinstance(kept.get("env_kwargs"), Mapping):
        kept["env_kwargs"] = {k: v for k, v in kept["env_kwargs"].items() if k not in TEACHER_ENV_KWARGS}
    return kept


def warm_key_of(model_key: str | None, args: Options, env_id: str, options: Mapping[str, Any]) -> str:
    """The key of a warm start: everything that its weights depend on.

    Args:
        model_key: The pretrained model that it begins with; None for the embedded tiny model.
        args: Seed, prompts and world that it is made with.
        env_id: The environment.
        options: Of the warm start, those that are not its defaults.

    Raises:
        ValueError: An option that there is not.
    """
    from ..warm_start.pretrained_start import planned_key, pretrained_start_config
    from ..warm_start.warm_start import cache_key, warm_start_config

    if model_key is None:
        return cache_key(args, env_id, warm_start_config(options, "warm_start"))
    return planned_key(args, env_id, model_key, pretrained_start_config(options, "warm_start"))


def model_fingerprint(model: str) -> str:
    """A local model's configuration and weights as a hash; a name of the hub as it is."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def with_jobs(plan: Plan, jobs: Mapping[tuple[str, int], Job]) -> Plan:
    """The plan with the keys of its jobs."""
    table: dict[str, dict[str, str]] = {}
    for (arm, seed), job in jobs.items():
        table.setdefault(arm, {})[str(seed)] = job.key
    return dataclasses.replace(plan, jobs=table)
