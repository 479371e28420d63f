"""From a file or from flags to a `Plan`: which arms, along which axes, with which seeds.

A plan is a YAML mapping; `sdar study` builds the same mapping out of its flags. Axes multiply arms: every arm is run at
every value, except that an arm which reads nothing privileged is not repeated along axes that only a teacher feels. A
point of an axis sets options of the runs, of the warm start (``warm_start.``), the size of the tiny model among them
(``warm_start.model.``), or another pretrained model (``model``).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs.assets import asset_path
from sdar_envs.choices import require_choice, require_number, unknown_choice

from ..options.convert import merge, nested, read_yaml
from ..presets import load_preset, preset_of, scaled_coefficient
from .endpoints import ENDPOINTS
from .fixed_opponents import seats_of
from .plain_json import DamagedFileError, decode
from .plan_records import Arm, Claimed, Derived, FixedOpponents, Hypothesis, Plan, StudyError, Tuning

if TYPE_CHECKING:
    from ..config import SDARConfig

DEFAULT_METHODS = ("grpo", "opsd", "grpo+opsd", "rlsd", "skill-sd", "sdar")
DEFAULT_SEEDS = 5
# Keyword arguments of an environment that take the seed, where it has them.
SEEDED = ("world_seed", "stale_seed")
# What only a teacher feels: the student of a method without one does not change along these axes.
TEACHER_SIDE = (
    *("privilege", "position", "retrieval", "teacher_budget", "teacher_combine"),
    *("distill_coef", "gate_beta", "gate_constant"),
)
# Where an axis has a name shorter than its option's.
AXES = {"stale": "env_kwargs.stale", "privilege": "privilege", "retrieval": "retrieval"}
# What a study changes in a preset: a curve of thirteen points, one thread on one core, and a share of skill statements
# that are wrong.
STUDY_OPTIONS: dict[str, Any] = {
    "eval_steps": 5,
    "save_steps": 10,
    "save_total_limit": 2,
    "device": "cpu",
    "bf16": False,
}
STUDY_STALE = 0.25

_KEYS = (
    *("name", "env_id", "preset", "model", "common", "warm_start", "seeded", "seeds", "budget", "reference"),
    *("arms", "axes", "hypotheses", "tuning", "tuned", "opponents"),
)
_ARM_KEYS = ("method", "key", "label", "set", "warm_start", "model", "role", "derive", "tuned", "seeds", "axes")


def plan_names() -> list[str]:
    """The plans that come with the suite."""
    return sorted(path.stem for path in asset_path("studies").glob("*.yaml"))


def read_plan(name_or_path: str) -> Plan:
    """A plan by the name of one that comes with the suite, or from a YAML file.

    Raises:
        StudyError: There is none of that name, or it does not hold what a plan holds.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        try:
            require_choice("plan", name_or_path, plan_names(), "assets/studies")
        except ValueError as error:
            raise StudyError(f"{error}; a file is named with its ending, .yaml") from None
        path = asset_path("studies", f"{name_or_path}.yaml")
    try:
        return make_plan(read_yaml(path), str(path))
    except ValueError as error:
        raise StudyError(f"{error}") from None


def make_plan(content: Mapping[str, Any], where: str) -> Plan:
    """A plan from plain values; presets are resolved, axes multiplied, every option checked.

    Raises:
        ValueError: An unknown key (the nearest is named), or a value that no run accepts.
    """
    _check_keys(content, _KEYS, where)
    if "env_id" not in content:
        raise ValueError(f"{where}: expected the key 'env_id', which is missing")
    env_id, model = str(content["env_id"]), content.get("model")
    preset = _preset(content, env_id, model) or {}
    coef = preset.pop("distill_coef", None)
    coef = None if "distill_coef" in (content.get("common") or {}) else coef
    common = merge(preset, STUDY_OPTIONS, nested(content.get("common") or {}))
    common = {key: value for key, value in common.items() if key not in ("method", "output_dir", "seed")}
    seeds = _seeds(content.get("seeds", DEFAULT_SEEDS), where)
    tuning = content.get("tuning")
    tuning = None if tuning is None else _decoded(Tuning, _tuning(tuning, where), f"{where}: tuning")
    tuned = {str(name): nested(values) for name, values in (content.get("tuned") or {}).items()}
    tunable = {*tuned, *(tuning.configurations if tuning else ())}
    axes = content.get("axes") or {}
    words = content.get("arms") or list(DEFAULT_METHODS)
    arms = [arm for word in words for arm in _arms(word, axes, tunable, coef, where)]
    from ..config import SDARConfig

    hypotheses = (
        _hypotheses(content["hypotheses"] or [], where)
        if "hypotheses" in content
        else standard_hypotheses([arm.key for arm in arms])
    )
    base = SDARConfig.from_dict(common, where=f"{where}: common")
    budget = int(content.get("budget", max(base.max_steps // 2, 1)))
    plan = Plan(
        name=str(content.get("name", "study")),
        env_id=env_id,
        preset=_preset_name(content, env_id, model),
        model=None if model is None else str(model),
        common=common,
        warm_start=_warm_start(content, env_id, model),
        seeded=_seeded(content.get("seeded"), env_id, base.env_kwargs),
        arms=tuple(arms),
        seeds=seeds,
        budget=budget,
        episodes_per_iteration=base.tasks_per_step * base.num_generations,
        reference=str(content.get("reference") or _reference(arms)),
        hypotheses=hypotheses,
        tuning=tuning,
        tuned=tuned,
        opponents=_opponents(content.get("opponents"), env_id, base, where),
    )
    _check(plan, where)
    return plan


def standard_hypotheses(arms: Sequence[str]) -> tuple[Hypothesis, ...]:
    """Those of the published study whose arms are all there: what a plan without hypotheses of its own asks."""
    path = asset_path("studies", "household.yaml")
    found = []
    for hypothesis in _hypotheses(read_yaml(path)["hypotheses"], str(path)):
        if all(_has(claim, arms) for claim in hypothesis.claims):
            secondary = tuple(claim for claim in hypothesis.secondary if _has(claim, arms))
            found.append(dataclasses.replace(hypothesis, secondary=secondary))
    return tuple(found)


def _has(claim: Claimed, arms: Sequence[str]) -> bool:
    return all(name in arms for term in claim.terms for name in (term.arm, term.reference) if name is not None)


def _hypotheses(value: Any, where: str) -> tuple[Hypothesis, ...]:
    found: tuple[Hypothesis, ...] = _decoded(tuple[Hypothesis, ...], value, f"{where}: hypotheses")
    return found


def _check(plan: Plan, where: str) -> None:
    """What cannot work is said before anything runs."""
    keys = [arm.key for arm in plan.arms]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(
                f"{where}: expected arms with different keys, got {key!r} twice: give one a key of its own"
            )
    require_choice("reference", plan.reference, keys, where)
    for arm in plan.arms:
        if arm.model is not None and plan.model is None:
            raise ValueError(
                f"{where}: arm {arm.key} has the model {arm.model}, and the study has none of its own: name one, "
                "model, that arms without a model have"
            )
        for option, derived in arm.derived.items():
            require_choice(f"arm that {arm.key} derives {option} from", derived.arm, keys, where)
            lacking = set(plan.seeds_of(arm)) - set(plan.seeds_of(plan.arm(derived.arm)))
            if lacking or plan.arm(derived.arm).derived:
                raise ValueError(
                    f"{where}: {arm.key} derives {option} from {derived.arm}, which must have its seeds and "
                    f"derive nothing itself; seeds that it lacks: {sorted(lacking) or 'none'}"
                )
    for hypothesis in plan.hypotheses:
        for claim in (*hypothesis.claims, *hypothesis.secondary):
            require_choice("direction", claim.direction, ("greater", "less"), f"{where}: {hypothesis.id}")
            for term in claim.terms:
                place = f"{where}: {hypothesis.id}, {claim.name}"
                require_choice("arm", term.arm, keys, place)
                require_choice("endpoint", term.endpoint, ENDPOINTS, place)
                if ENDPOINTS[term.endpoint].of_games and plan.opponents is None:
                    raise ValueError(
                        f"{place}: {term.endpoint} is played against fixed opponents: name them, opponents"
                    )
                if ENDPOINTS[term.endpoint].bounded_by is not None and term.reference is None:
                    raise ValueError(
                        f"{place}: {term.endpoint} is bounded by another run: name its arm, reference: ARM"
                    )
                if term.reference is not None:
                    require_choice("arm", term.reference, keys, place)


def _arms(word: Any, axes: Mapping[str, Any], tunable: Iterable[str], coef: float | None, where: str) -> list[Arm]:
    """One entry of `arms`, multiplied by the study's axes and its own."""
    from ..methods import get_method

    entry: Mapping[str, Any] = {"method": word} if isinstance(word, str) else word
    if not isinstance(entry, Mapping) or "method" not in entry:
        raise ValueError(f"{where}: an arm is expected to be a method's name or a mapping with 'method', got {word!r}")
    _check_keys(entry, _ARM_KEYS, f"{where}: arm {entry.get('key', entry['method'])}")
    method = get_method(str(entry["method"]))
    reads = bool(method.teacher_views) or method.student_view == "privileged" or "privileged" in method.needs
    crossed = {axis: _points(axis, values) for axis, values in {**axes, **(entry.get("axes") or {})}.items()}
    crossed = {axis: points for axis, points in crossed.items() if reads or not _of_the_teacher(points)}
    overrides = nested(entry.get("set") or {})
    name = str(entry.get("key", method.name))
    tuned = entry.get("tuned", method.name if method.name in tunable else None)
    seeds = entry.get("seeds")
    scaled = scaled_coefficient(coef, method)
    defaults = {} if scaled is None else {"distill_coef": scaled}
    arms = []
    for point in itertools.product(*(points.items() for points in crossed.values())):
        coordinates = {axis: value for axis, (value, _) in zip(crossed, point, strict=True)}
        placed = merge(*(nested(options) for _, options in point))
        warm = nested(placed.pop("warm_start", {}))
        model = placed.pop("model", entry.get("model"))
        where_it_stands = ",".join(f"{axis.rpartition('.')[2]}={value}" for axis, value in coordinates.items())
        suffix = f"[{where_it_stands}]" if coordinates else ""
        label = str(entry.get("label", name))
        arms.append(
            Arm(
                key=name + suffix,
                label=label + (f" ({where_it_stands.replace(',', ', ')})" if coordinates else ""),
                method=str(entry["method"]),  # as it was named: a job's process must find a user's own, too
                defaults=defaults,
                overrides=merge(overrides, placed),
                warm_start=merge(nested(entry.get("warm_start") or {}), warm),
                coordinates=coordinates,
                role=require_choice("role", str(entry.get("role", "arm")), ("arm", "control"), where),
                derived={
                    str(option): Derived(str(source["arm"]) + suffix * bool(source.get("same_point")), source["figure"])
                    for option, source in (entry.get("derive") or {}).items()
                },
                tuned=None if tuned is None else str(tuned),
                seeds=None if seeds is None else _seeds(seeds, where),
                model=None if model is None else str(model),
            )
        )
    return arms


def _points(axis: str, values: Any) -> dict[Any, dict[str, Any]]:
    """What each point of an axis sets: a list has values of the axis' own option, a mapping has named points."""
    if isinstance(values, Mapping):
        return {str(name): dict(options or {}) for name, options in values.items()}
    listed = list(values) if isinstance(values, (list, tuple)) else [values]
    if not listed:
        raise ValueError(f"axis {axis!r} expects at least one value, got none")
    return {value: {AXES.get(axis, axis): value} for value in listed}


def _of_the_teacher(points: Mapping[Any, Mapping[str, Any]]) -> bool:
    """Whether an axis is felt by a teacher alone; one that only names where an arm stands is felt by all."""
    set_here = [option for options in points.values() for option in options]
    return bool(set_here) and all(option in TEACHER_SIDE for option in set_here)


def _reference(arms: Sequence[Arm]) -> str:
    plain = [arm.key for arm in arms if arm.method == "grpo"]
    return plain[0] if plain else arms[0].key


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    """``5`` is 0 to 4; a list is itself."""
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(seeds, (list, tuple)) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"{where}: seeds are expected to be a number, or different numbers from 0 on, got {value!r}")
    return tuple(seeds)


def _seeded(value: Any, env_id: str, env_kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Given, or what the environment takes of `SEEDED` and the plan does not fix."""
    if value is not None:
        return tuple(str(name) for name in value)
    from ..rollout.environments import EnvironmentSource

    source = EnvironmentSource(env_id, env_kwargs)
    takes = source.options
    source.close()
    return tuple(name for name in SEEDED if name in takes and name not in env_kwargs)


def _opponents(value: Any, env_id: str, config: SDARConfig, where: str) -> FixedOpponents | None:
    """Whom trained policies meet: a list of scripted players, or a mapping with more than that."""
    if value is None:
        return None
    listed = {"players": value} if isinstance(value, list) else value
    found: FixedOpponents = _decoded(FixedOpponents, listed, f"{where}: opponents")
    if not found.players or len(set(found.players)) < len(found.players):
        raise ValueError(f"{where}: opponents: expected different players, got {list(found.players)}")
    for name in ("episodes", "together"):
        require_number(name, getattr(found, name), f"{where}: opponents", low=1, whole=True)
    from ..rollout.environments import EnvironmentSource
    from ..rollout.seats import seat_env

    source = EnvironmentSource(env_id, config.environment_kwargs)
    try:
        env = seat_env(source)
        for name in found.players:
            seats_of(env, name)
        env.task_ids(found.split)
    finally:
        source.close()
    return found


def _preset_name(content: Mapping[str, Any], env_id: str, model: Any) -> str | None:
    named = content.get("preset")
    if named == "none":
        return None
    if named is not None:
        return load_preset(str(named)).name
    found = preset_of(model or None, env_id)
    return None if found is None else found.name


def _warm_start(content: Mapping[str, Any], env_id: str, model: Any) -> dict[str, Any]:
    """What the plan says of the tiny model's warm start, over what its preset says."""
    name = _preset_name(content, env_id, model)
    preset = {} if name is None or model is not None else load_preset(name).warm_start
    return merge(preset, nested(content.get("warm_start") or {}))


def _preset(content: Mapping[str, Any], env_id: str, model: Any) -> dict[str, Any] | None:
    name = _preset_name(content, env_id, model)
    return None if name is None else dict(load_preset(name).config)


def _tuning(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: tuning is expected to be a mapping, got {content!r}")
    found = dict(content)
    found["configurations"] = {
        str(name): [nested(configuration) for configuration in configurations]
        for name, configurations in (content.get("configurations") or {}).items()
    }
    counts = {name: len(configurations) for name, configurations in found["configurations"].items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{where}: fair tuning gives every arm as many configurations, got {counts}")
    return found


def _decoded(wanted: Any, value: Any, where: str) -> Any:
    try:
        return decode(wanted, value, where)
    except DamagedFileError as error:
        raise ValueError(str(error)) from None


def _check_keys(content: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise unknown_choice("key", str(key), known, where)
