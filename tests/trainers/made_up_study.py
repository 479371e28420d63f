"""A study with MADE-UP numbers, for tests of what is done with studies: nothing in it was measured.

Curves rise by a formula plus counted noise, outcomes are drawn from the curve's end, and episodes say what a few lines
of code make them say. The numbers depend on the arguments alone. Never show any of them as a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from made_up_run import made_up_number, write_run

from sdar_envs.randomness import counted_generator
from trainers.study.plan_records import Arm, Claimed, Hypothesis, Plan, Term, Tuning
from trainers.study.records import Study, load_study, save_record
from trainers.study.result_records import (
    Collapse,
    Cost,
    Count,
    CurvePoint,
    MeasuredTest,
    Result,
    TrainingPoint,
    Trial,
    Tuned,
    TunedArm,
    Warm,
)

KINDS = ("clean", "cool", "heat", "light", "place", "two")
# How high an arm's made-up curve rises, and how fast (iterations).
GAINS = {"grpo": (0.26, 30.0), "opsd": (-0.05, 12.0), "grpo+opsd": (0.25, 27.0), "sdar": (0.33, 19.0)}
NAME = "MADE-UP numbers for tests"
PANEL, VALID, EVERY = 120, 60, 10


def make_up_study(
    folder: Path,
    *,
    methods: Sequence[str] = tuple(GAINS),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    iterations: int = 40,
    privileges: Sequence[str] = ("skill",),
    missing: Sequence[tuple[str, int]] = (),
    text: str = "",
    privileged: bool = False,
) -> Study:
    """Write a study's directory as `sdar study` leaves it, with made-up results; returns it as it is read back.

    Args:
        folder: Where to.
        methods: Arms; the first is the reference.
        seeds: Seeds.
        iterations: Of each run; B is half of them.
        privileges: Values of the axis ``privilege`` for arms with a teacher.
        missing: Arms and seeds that have not finished.
        text: Stands in front of names, statements, and every word that a model or a world says.
        privileged: Whether the runs logged the teacher's side.
    """
    arms = [arm for method in methods for arm in _arms(method, privileges, text)]
    plan = Plan(
        name=text + NAME,
        env_id=text + "made-up/World-v0",
        preset=None,
        model=None,
        common={"max_steps": iterations, "learning_rate": 7e-4, "privilege": "skill", "env_kwargs": {"stale": 0.25}},
        warm_start={"student_high": 0.35},
        seeded=("world_seed",),
        arms=tuple(arms),
        seeds=tuple(seeds),
        budget=iterations // 2,
        episodes_per_iteration=128,
        reference=methods[0],
        hypotheses=_hypotheses(methods, privileges, text),
        tuning=Tuning((100, 101), iterations // 2, {methods[0]: ({}, {"beta": 0.05})}),
        versions={"python": text + "0.0 (made up)", "commit": "0000000"},
        planned_at="2000-01-01T00:00:00+00:00",
        jobs={arm.key: {str(seed): _job_key(arm, seed) for seed in seeds} for arm in arms},
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_record(folder / "study.json", plan)
    for arm in arms:
        for seed in seeds:
            if (arm.key, seed) not in missing:
                key = _job_key(arm, seed)
                place = folder / "jobs" / key
                place.mkdir(parents=True, exist_ok=True)
                save_record(place / "result.json", _result(key, arm, seed, iterations))
                write_run(place / "run", arm.method, seed, iterations, text=text, privileged=privileged, tasks=PANEL)
    save_record(folder / "tuned.json", _tuned(methods[0], plan))
    return load_study(folder)


def _job_key(arm: Arm, seed: int) -> str:
    return f"{made_up_number(arm.key, seed):016x}"


def _arms(method: str, privileges: Sequence[str], text: str) -> list[Arm]:
    if method == "grpo" or len(privileges) == 1:
        return [Arm(key=method, label=text + method, method=method, overrides={"distill_coef": 0.3})]
    return [
        Arm(
            key=f"{method}[{value}]",
            label=f"{text}{method}, {value}",
            method=method,
            overrides={"privilege": value},
            coordinates={"privilege": value},
        )
        for value in privileges
    ]


def _hypotheses(methods: Sequence[str], privileges: Sequence[str], text: str) -> tuple[Hypothesis, ...]:
    if not {"grpo", "sdar"} <= set(methods) or len(privileges) > 1:
        return ()
    faster = Claimed(text + "sdar - grpo, area", (Term("sdar", "area"), Term("grpo", "area", -1.0)))
    stale = Claimed("sdar - grpo, stale claims", (Term("sdar", "test_stale"), Term("grpo", "test_stale", -1.0)))
    found = [Hypothesis("H1", text + "The made-up SDAR learns faster than the made-up GRPO.", (faster,), (stale,))]
    if "opsd" in methods:
        fails = Claimed("opsd - its start", (Term("opsd", "valid_2B"), Term("opsd", "start", -1.0)), "less", 0.0)
        found.append(Hypothesis("H3", "Distillation without reinforcement learning fails.", (fails,)))
    return tuple(found)


def _result(key: str, arm: Arm, seed: int, iterations: int) -> Result:
    generator = counted_generator("made-up result", arm.key, seed)
    world = float(counted_generator("made-up world", seed).normal(0.0, 0.03))
    gain, pace = GAINS.get(arm.method, (0.28, 24.0))
    if arm.coordinates.get("privilege") == "wrong_skill":
        gain *= 0.6
    per_iteration = 1.0 + 0.2 * (arm.method != "grpo")

    def rate(step: float) -> float:
        return min(max(0.16 + world + gain * (1 - math.exp(-step / pace)), 0.02), 0.95)

    def count(chance: float, episodes: int) -> Count:
        return Count(int(generator.binomial(episodes, min(max(chance, 0.0), 1.0))), episodes)

    curve = []
    for step in range(0, iterations + 1, EVERY):
        fresh, stale = count(rate(step) + 0.03, VALID * 3 // 4), count(rate(step) - 0.06, VALID // 4)
        overall = Count(fresh.wins + stale.wins, fresh.n + stale.n)
        kinds = {kind: count(rate(step), VALID // len(KINDS)) for kind in KINDS}
        teacher = None if arm.method == "grpo" else count(0.6 - 0.001 * step, VALID)
        seconds = round(step * per_iteration * float(generator.uniform(0.95, 1.05)), 3)
        curve.append(CurvePoint(step, step * 128, seconds, overall, fresh, stale, kinds, teacher))
    steps = range(1, iterations + 1)
    return Result(
        key=key,
        arm=arm.key,
        label=arm.label,
        method=arm.method,
        role=arm.role,
        coordinates=dict(arm.coordinates),
        seed=seed,
        env_id="made-up/World-v0",
        config={"learning_rate": 7e-4},
        config_digest=f"{made_up_number('digest', arm.key):064x}",
        initial_weights=f"{made_up_number('weights', seed):064x}",
        warm=Warm(f"{made_up_number('warm', seed):016x}", 0.16 + world, 0.6, 400),
        curve=tuple(curve),
        training=tuple(_training(arm.method, step, per_iteration, rate(step), generator) for step in steps),
        means={"success": 0.2},
        before=_panel(rate(0), seed, generator),
        after=_panel(rate(iterations), seed, generator),
        collapses=(Collapse("success", EVERY, 0.07, 0.08),) if gain < 0 else (),
        cost=Cost(iterations * per_iteration, iterations * 4000, iterations * 2, 0),
        versions={"python": "0.0 (made up)"},
    )


def _training(method: str, step: int, seconds: float, rate: float, generator: np.random.Generator) -> TrainingPoint:
    def noisy(value: float, share: float = 0.03) -> float:
        return float(f"{value * (1 + share * generator.normal()):.5g}")

    figures: dict[str, float | None] = {
        "success": noisy(rate * 0.7, 0.1),
        "sampling/entropy": noisy(0.57 - 0.15 * (1 - math.exp(-step / 15))),
        "kl": noisy(0.0015 * step),
        "invalid_action_share": noisy(0.12, 0.1),
    }
    if method != "grpo":
        figures |= {
            "distill/weight": noisy(0.5 if "opsd" in method else 0.47, 0.004),
            "distill/weight_over_half": noisy(0.4),
            "distill/signal": noisy(-0.13, 0.2),
            "distill/signal_negative": noisy(0.5),
            "distill/weight_rejected": noisy(0.42, 0.01),
            "distill/share_read": 1.0,
        }
    return TrainingPoint(step, step * 128, round(step * seconds, 3), figures)


def _panel(rate: float, seed: int, generator: np.random.Generator) -> MeasuredTest:
    claims = "".join("s" if task % 4 == 3 else "f" for task in range(PANEL))
    outcomes = "".join("1" if generator.random() < rate - 0.08 * (claim == "s") else "0" for claim in claims)

    def count(kept: Sequence[int]) -> Count:
        return Count(sum(outcomes[task] == "1" for task in kept), len(kept))

    return MeasuredTest(
        outcomes=outcomes,
        claims=claims,
        overall=count(range(PANEL)),
        fresh=count([task for task in range(PANEL) if claims[task] == "f"]),
        stale=count([task for task in range(PANEL) if claims[task] == "s"]),
        by_task_type={kind: count(range(place, PANEL, len(KINDS))) for place, kind in enumerate(KINDS)},
        panel_hash=f"{made_up_number('panel', seed):064x}",
    )


def _tuned(arm: str, plan: Plan) -> Tuned:
    assert plan.tuning is not None
    trials = tuple(
        Trial(overrides, 0.2 + 0.01 * number, {"100": 0.2, "101": 0.2 + 0.02 * number}, ("made-up", "made-up"))
        for number, overrides in enumerate(plan.tuning.configurations[arm])
    )
    return Tuned(plan.tuning.iterations, plan.tuning.seeds, {arm: TunedArm(trials[-1].overrides, trials)})
