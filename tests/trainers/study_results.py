"""Results of studies that nobody ran: what an arm did, written down, to test what is said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainers.study.plan_records import Arm, Hypothesis, Plan
from trainers.study.records import Study
from trainers.study.result_records import Cost, Count, CurvePoint, MeasuredTest, Result, TrainingPoint, Warm

N = 100  # tasks of every panel here
EPISODES = 10  # per iteration


def make_plan(arms: Sequence[str], seeds: int, hypotheses: Sequence[Hypothesis] = (), **changes: Any) -> Plan:
    plan = Plan(
        name="paper",
        env_id="sdar/Household-v0",
        preset=None,
        model=None,
        common={"max_steps": 4},
        warm_start={},
        seeded=(),
        arms=tuple(Arm(name, name, name) for name in arms),
        seeds=tuple(range(seeds)),
        budget=2,
        episodes_per_iteration=EPISODES,
        reference=arms[0],
        hypotheses=tuple(hypotheses),
    )
    return dataclasses.replace(plan, **changes)


def make_result(
    arm: str,
    seed: int,
    curve: Sequence[float],
    *,
    cpu: float = 1.0,
    tokens: int | None = None,
    test: str = "",
    claims: str = "",
    start: str = "",
    teacher: Sequence[float] = (),
    entropy: float = 0.5,
    weights: str = "",
    stale: Sequence[float] = (),
) -> Result:
    """An arm of a seed: success behind each iteration (the first is before training), and the test panel's outcomes."""

    def count(rate: float) -> Count:
        return Count(round(rate * N), N)

    points = [
        CurvePoint(
            iteration=step,
            episodes=step * EPISODES,
            cpu_seconds=step * cpu,
            overall=count(rate),
            fresh=Count(0, 0),
            stale=count(stale[step]) if stale else Count(0, 0),
            by_task_type={},
            teacher=count(teacher[step]) if teacher else None,
            tokens=None if tokens is None else step * tokens,
        )
        for step, rate in enumerate(curve)
    ]
    training = [
        TrainingPoint(step, step * EPISODES, step * cpu, {"success": rate, "sampling/entropy": entropy})
        for step, rate in enumerate(curve)
        if step
    ]

    def panel(outcomes: str) -> MeasuredTest | None:
        if not outcomes:
            return None
        marks = claims or "-" * len(outcomes)

        def of(kind: str) -> Count:
            own = [o for o, c in zip(outcomes, marks, strict=True) if c in kind and o != "-"]
            return Count(own.count("1"), len(own))

        return MeasuredTest(outcomes, marks, of("fs-"), of("f"), of("s"), {}, "panel")

    return Result(
        key=f"{arm}-{seed}",
        arm=arm,
        label=arm,
        method=arm,
        role="arm",
        coordinates={},
        seed=seed,
        env_id="sdar/Household-v0",
        config={},
        config_digest="",
        initial_weights=weights or f"weights-{seed}",
        warm=Warm("warm", 0.1, 0.5, 400),
        curve=tuple(points),
        training=tuple(training),
        means={},
        before=panel(start),
        after=panel(test),
        collapses=(),
        cost=Cost(cpu * (len(curve) - 1), 0, 0, 0),
        versions={},
    )


def make_study(plan: Plan, results: Sequence[Result]) -> Study:
    return Study(Path("nowhere"), plan, {}, tuple(results), (), None, None)
