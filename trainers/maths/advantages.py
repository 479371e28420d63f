"""Advantages: from episode returns to one number per sampled token. Pure numpy, no torch.

The unit of normalisation within a group (the episodes of one task) is an option. Either whole episodes: our default,
every episode counts once. Or rows: the official statistics, where an episode of many turns counts as many rows, which
pulls the baseline towards long episodes. In window mode a row is a turn; in transcript mode rows and episodes mostly
coincide.

`gigpo` adds an advantage per step, relative to other steps from the same state. `rae` needs no group: it compares with
a running mean of what the role has earned so far.

Rules for all estimators: equal scores give exactly 0; a group of one gives 0 (other code gives it its raw reward);
episodes whose environment broke are left out of the statistics and get 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdar_envs.choices import require_choice

from ..batch.outcome import EpisodeOutcome
from ..batch.row import SampledRow
from ..options import PolicyOptions
from .step_groups import step_returns

# Added to the standard deviation; verl's value (TRL uses 1e-4).
STD_EPSILON = 1e-6

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Advantages:
    """`per_token` is parallel to the rows, then to their loss tokens; counts are over groups with usable episodes.

    `metrics` are an estimator's own, for the log; `baselines` are the running means that the next iteration begins with
    (`rae`).
    """

    per_token: list[list[float]]
    groups: int
    flat_groups: int  # zero-variance groups: all scores equal, all advantages 0
    single_groups: int  # one usable member
    metrics: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)


def group_advantages(
    scores_X: Sequence[float] | Scores,
    groups_X: Sequence[Hashable],
    *,
    scale_rewards: str = "group",
    keep_X: Sequence[bool] | None = None,
    epsilon: float = STD_EPSILON,
) -> Scores:
    """Centre scores within their group, and divide by a standard deviation (n - 1 in the denominator) plus `epsilon`.

    Args:
        scores_X: Scores of members (episodes, rows, or steps).
        groups_X: Group of each member.
        scale_rewards: ``group`` divides by the group's deviation, ``batch`` by that of all kept scores (arXiv
            2508.08221), ``none`` only centres (Dr. GRPO, arXiv 2503.20783).
        keep_X: Members that count; the others get 0 and enter no statistic.
        epsilon: Added to the deviation.
    """
    require_choice("scale_rewards", scale_rewards, ("group", "batch", "none"), "group_advantages")
    scores = np.asarray(scores_X, dtype=np.float64)
    keep = np.ones(len(scores), dtype=bool) if keep_X is None else np.asarray(keep_X, dtype=bool)
    result = np.zeros(len(scores), dtype=np.float64)
    kept = scores[keep]
    batch_std = float(kept.std(ddof=1)) if len(kept) > 1 else 0.0
    for members in _members(groups_X, keep).values():
        own = scores[members]
        if _all_equal(own):
            continue
        centred = own - own.mean()
        if scale_rewards == "none":
            result[members] = centred
        else:
            std = float(own.std(ddof=1)) if scale_rewards == "group" else batch_std
            result[members] = centred / (std + epsilon)
    return result


def leave_one_out_advantages(
    scores_X: Sequence[float] | Scores, groups_X: Sequence[Hashable], *, keep_X: Sequence[bool] | None = None
) -> Scores:
    """Each score minus the mean of the others in its group (RLOO, arXiv 2402.14740); a group of one gives 0."""
    scores = np.asarray(scores_X, dtype=np.float64)
    keep = np.ones(len(scores), dtype=bool) if keep_X is None else np.asarray(keep_X, dtype=bool)
    result = np.zeros(len(scores), dtype=np.float64)
    for members in _members(groups_X, keep).values():
        own = scores[members]
        if not _all_equal(own):
            result[members] = (own - own.mean()) * (len(own) / (len(own) - 1))
    return result


def role_advantages(
    scores_X: Sequence[float] | Scores,
    roles_X: Sequence[str],
    baselines: Mapping[str, float],
    *,
    decay: float,
    keep_X: Sequence[bool] | None = None,
) -> tuple[Scores, dict[str, float]]:
    """Each score minus its role's running mean (role-conditioned advantage estimation, arXiv 2506.24119).

    Scores are taken in order: ``b <- decay b + (1 - decay) R`` and then ``A = R - b``, so that a game needs no second
    one to be compared with, and what one role earns is never held against another.

    Args:
        scores_X: Returns R.
        roles_X: Role of each.
        baselines: b by role before; 0 for a role that is not there.
        decay: How much of b stays.
        keep_X: Members that count; the others get 0 and move no baseline.

    Returns:
        A, and the baselines afterwards.
    """
    moved = dict(baselines)
    result = np.zeros(len(scores_X), dtype=np.float64)
    for index, (score, role) in enumerate(zip(scores_X, roles_X, strict=True)):
        if keep_X is None or keep_X[index]:
            moved[role] = decay * moved.get(role, 0.0) + (1.0 - decay) * float(score)
            result[index] = float(score) - moved[role]
    return result, moved


def _members(groups_X: Sequence[Hashable], keep: NDArray[np.bool_]) -> dict[Hashable, list[int]]:
    """Indices of the kept members of each group."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups_X):
        if keep[index]:
            members.setdefault(group, []).append(index)
    return members


def _all_equal(scores: Scores) -> bool:
    # By comparison, not by deviation: the mean of equal floats may differ from them in the last bit.
    return bool(scores.max() == scores.min())


# (scores, groups, which members count), each per member -> advantages per member
Normalise = Callable[[Scores, Sequence[Hashable], Sequence[bool]], Scores]


def _per_token(
    rows: Sequence[SampledRow],
    outcomes: Mapping[int, EpisodeOutcome],
    options: PolicyOptions,
    normalise: Normalise,
    *,
    alone: bool = False,
) -> Advantages:
    """Score members, normalise them within groups, spread them over tokens, and place the invalid-action penalty.

    With `alone`, a group of one keeps what `normalise` gives it.
    """
    penalty = options.invalid_action_penalty
    by_row = options.advantage_unit == "row"
    at_baseline = options.invalid_action_placement == "baseline"
    # Scores of the members: a member is an episode or a row, and belongs to an episode.
    member_episodes = [row.episode_id for row in rows] if by_row else sorted({row.episode_id for row in rows})
    scores = np.array([outcomes[episode].return_ for episode in member_episodes], dtype=np.float64)
    keep = [not outcomes[episode].failed for episode in member_episodes]
    groups = [outcomes[episode].group_id for episode in member_episodes]
    place = {episode: index for index, episode in enumerate(member_episodes)}
    if at_baseline and penalty:
        for index, row in enumerate(rows):
            scores[index if by_row else place[row.episode_id]] -= penalty * len(_invalid_turns(row))

    # Normalised within groups.
    values = normalise(scores, groups, keep)
    kept = _members(groups, np.asarray(keep, dtype=bool))
    single = [members for members in kept.values() if len({member_episodes[m] for m in members}) == 1]
    for members in () if alone else single:
        # Rows of one episode are no siblings of each other: without another episode there is nothing to compare with.
        values[members] = 0.0

    # Spread over tokens; at the placement "token" the penalty is subtracted here.
    per_token: list[list[float]] = []
    for index, row in enumerate(rows):
        member = index if by_row else place[row.episode_id]
        if not keep[member]:
            per_token.append([0.0] * len(row))
            continue
        charge = 0.0 if at_baseline else penalty
        invalid = row.invalid_T or [False] * len(row)
        per_token.append([float(values[member]) - (charge if wrong else 0.0) for wrong in invalid])
    return Advantages(
        per_token,
        groups=len(kept),
        flat_groups=sum(_all_equal(scores[members]) for members in kept.values()),
        single_groups=len(single),
    )


def _invalid_turns(row: SampledRow) -> set[int]:
    """Turns of a row whose action was not understood."""
    return {turn for turn, wrong in zip(row.turn_ids_T, row.invalid_T, strict=False) if wrong}


def grpo(rows: Sequence[SampledRow], outcomes: Mapping[int, EpisodeOutcome], options: PolicyOptions) -> Advantages:
    """Group-normalised returns, by `advantage_unit` and `scale_rewards`."""

    def normalise(scores: Scores, groups: Sequence[Hashable], keep: Sequence[bool]) -> Scores:
        return group_advantages(scores, groups, scale_rewards=options.scale_rewards, keep_X=keep)

    return _per_token(rows, outcomes, options, normalise)


def rloo(rows: Sequence[SampledRow], outcomes: Mapping[int, EpisodeOutcome], options: PolicyOptions) -> Advantages:
    """Returns against the mean of the siblings."""

    def normalise(scores: Scores, groups: Sequence[Hashable], keep: Sequence[bool]) -> Scores:
        return leave_one_out_advantages(scores, groups, keep_X=keep)

    return _per_token(rows, outcomes, options, normalise)


def gigpo(rows: Sequence[SampledRow], outcomes: Mapping[int, EpisodeOutcome], options: PolicyOptions) -> Advantages:
    """Group-in-group advantages (GiGPO, arXiv 2505.10978): ``A = A^E + omega A^S``.

    ``A^E`` is `grpo`. ``A^S`` compares steps of a group that saw the same observation, by their returns discounted with
    ``gigpo_gamma`` from there on, and is normalised as ``scale_rewards`` says (``group`` is the published
    ``mean_std_norm``, ``none`` its ``mean_norm``); a state that is seen once gives 0. ``omega`` is ``gigpo_weight``; at
    0 the result is that of `grpo`. With the penalty at the ``baseline``, a step that was not understood is charged in
    its own step return only.

    Raises:
        ValueError: A row does not list its turns, or lacks their anchors or rewards.
    """
    episodes = grpo(rows, outcomes, options)
    if options.gigpo_weight == 0.0:
        return episodes
    # A^S: one score per step, normalised within the group's steps from the same state.
    returns = step_returns(rows, options.gigpo_gamma)
    charge = options.invalid_action_penalty if options.invalid_action_placement == "baseline" else 0.0
    scores: list[float] = []
    states: list[tuple[int, str]] = []
    keep: list[bool] = []
    for row, values in zip(rows, returns, strict=True):
        invalid = _invalid_turns(row)
        scores += [value - charge * (turn in invalid) for turn, value in zip(row.row_turns, values, strict=True)]
        states += [(row.group_id, anchor) for anchor in row.anchor_ids]
        keep += [not outcomes[row.episode_id].failed] * len(row.row_turns)
    steps = iter(group_advantages(scores, states, scale_rewards=options.scale_rewards, keep_X=keep).tolist())
    # A^E + omega A^S, spread over the tokens of each step.
    per_token: list[list[float]] = []
    for row, values in zip(rows, episodes.per_token, strict=True):
        of_turn = {turn: options.gigpo_weight * next(steps) for turn in row.row_turns}
        per_token.append([value + of_turn[turn] for value, turn in zip(values, row.turn_ids_T, strict=True)])
    # The share of steps whose state another step of the group shares.
    sizes = [len(members) for members in _members(states, np.asarray(keep, dtype=bool)).values()]
    shared = sum(size for size in sizes if size > 1) / max(sum(sizes), 1)
    return dataclasses.replace(episodes, per_token=per_token, metrics={"groups/shared_states": shared})


def rae(
    rows: Sequence[SampledRow],
    outcomes: Mapping[int, EpisodeOutcome],
    options: PolicyOptions,
    baselines: Mapping[str, float] | None = None,
) -> Advantages:
    """Returns against a running mean per role (`role_advantages`), for games that are played once per task."""
    role_of_group = {outcome.group_id: outcome.role for outcome in outcomes.values()}
    moved: dict[str, float] = {}

    def normalise(scores: Scores, groups: Sequence[Hashable], keep: Sequence[bool]) -> Scores:
        roles = [role_of_group[int(str(group))] for group in groups]
        values, after = role_advantages(
            scores, roles, baselines or {}, decay=options.role_baseline_decay, keep_X=list(keep)
        )
        moved.update(after)
        return values

    result = _per_token(rows, outcomes, options, normalise, alone=True)
    metrics = {f"baseline/{role or 'all'}": value for role, value in moved.items()}
    return dataclasses.replace(result, baselines=moved, metrics=metrics)


AdvantageFunction = Callable[[Sequence[SampledRow], Mapping[int, EpisodeOutcome], PolicyOptions], Advantages]
ADVANTAGES: dict[str, AdvantageFunction] = {"grpo": grpo, "rloo": rloo, "gigpo": gigpo, "rae": rae}


def compute_advantages(
    rows: Sequence[SampledRow],
    outcomes: Sequence[EpisodeOutcome],
    options: PolicyOptions,
    name: str | None = None,
    baselines: Mapping[str, float] | None = None,
) -> Advantages:
    """Compute advantages with the estimator `name` (the configuration's by default).

    Args:
        rows: Rows of an iteration; ``turn_ids_T`` and ``invalid_T`` place the invalid-action penalty.
        outcomes: One per episode that has a row.
        options: Estimator, unit, scale and penalty.
        name: Key of `ADVANTAGES`.
        baselines: What `rae` has learned of each role in the iterations before.

    Returns:
        The advantages, per loss token of each row, and how many groups had zero variance or one member.

    Raises:
        ValueError: The estimator is unknown, or an episode has no outcome.
    """
    chosen = require_choice("advantage", name or options.advantage, ADVANTAGES, "compute_advantages")
    by_id = {outcome.episode_id: outcome for outcome in outcomes}
    missing = sorted({row.episode_id for row in rows} - by_id.keys())
    if missing:
        raise ValueError(f"compute_advantages: expected an outcome for every episode, got none for {missing[:5]}")
    if chosen == "rae":
        return rae(rows, by_id, options, baselines)
    return ADVANTAGES[chosen](rows, by_id, options)
