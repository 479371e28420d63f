"""From rows to padded tensors, and from lists of rows to mini-batches and micro-batches.

Padding is on the right and never enters a sum; it adds no rows. Micro-batches are cut by padded tokens after sorting by
length. That changes only the speed of a step, because losses are divided by the tokens of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sdar_envs.randomness import counted_generator

from .row import SampledRow, ScoredRow, WeighedRow
from .transfer import to_device

_Row = TypeVar("_Row")


@dataclass(slots=True)
class TokenBatch:
    """Everything a method may look at, per loss token: ``[B, T]``, padded on the right, outside ``mask_BT`` zero.

    Attributes:
        mask_BT: The loss tokens.
        behaviour_BT: O, log-probs under the policy that sampled.
        advantages_BT: A.
        turn_ids_BT: Number of the token's turn in its episode.
        episode_ids_B: The row's episode.
        group_ids_B: The row's group.
        invalid_BT: Tokens of actions that the environment did not understand.
        kept_B: Rows that the injection may learn from (`Method.keep`).
        returns_B: Return of the row's episode.
        student_BT: S, with gradient; None until the forward pass is done.
        reference_BT: R, log-probs under the reference policy; None where it is not scored.
        teachers: T, by view.
        teacher_mask_BT: Loss tokens that every wanted view has read; None where no view is wanted.
        entropy_BT: The student's entropy in nats: live when the forward pass computed it, else the sampler's.
        weights_BT: Token weights that are fixed for the whole iteration (`methods.apply.weigh`).
        divergence_BT: Live divergence between the student's and the teacher's whole next-token distributions.
        progress_BT: Progress of the token's turn along the plan (`maths.plan_progress`).
        correction_BT: Importance weights of the tokens (`maths.importance`); None where all are 1.
        statistics: Numbers over the whole iteration (`methods.apply.weigh`).
        step: The iteration; with `seed` the key of counted draws.
        seed: Of the run.
    """

    mask_BT: Tensor
    behaviour_BT: Tensor
    advantages_BT: Tensor
    turn_ids_BT: Tensor
    episode_ids_B: Tensor
    group_ids_B: Tensor
    invalid_BT: Tensor
    kept_B: Tensor
    returns_B: Tensor
    student_BT: Tensor | None = None
    reference_BT: Tensor | None = None
    teachers: dict[str, Tensor] = field(default_factory=dict)
    teacher_mask_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    weights_BT: Tensor | None = None
    divergence_BT: Tensor | None = None
    progress_BT: Tensor | None = None
    correction_BT: Tensor | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    seed: int = 0

    @property
    def tokens(self) -> int:
        """The number of loss tokens."""
        return int(self.mask_BT.sum())

    @property
    def taught_BT(self) -> Tensor:
        """The tokens that a method's weight is defined on: loss tokens that every wanted teacher has read."""
        return self.mask_BT if self.teacher_mask_BT is None else self.teacher_mask_BT

    def live_student(self) -> Tensor:
        """S, which must have been computed.

        Raises:
            ValueError: The forward pass has not been done.
        """
        if self.student_BT is None:
            raise ValueError("TokenBatch.student_BT is empty: score the rows first (forward.passes.score_views)")
        return self.student_BT


def pad_rows(
    sequences: Sequence[Sequence[float]], width: int, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Tensor:
    """Stack sequences of unequal length into ``[B, width]``, zeros on the right."""
    padded = np.zeros((len(sequences), width), dtype=np.float64 if dtype.is_floating_point else np.int64)
    for index, sequence in enumerate(sequences):
        padded[index, : len(sequence)] = sequence
    return to_device(torch.as_tensor(padded).to(dtype), torch.device(device))


def contributes(row: SampledRow, mask_truncated: bool) -> bool:
    """Whether a row's tokens are loss tokens (TRL's ``mask_truncated_completions`` leaves truncated rows out)."""
    return not (mask_truncated and row.truncated)


def loss_tokens(rows: Sequence[SampledRow], *, mask_truncated: bool = False) -> int:
    """The denominator of an optimiser step: loss tokens of all its rows (add over ranks before use)."""
    return sum(len(row) for row in rows if contributes(row, mask_truncated))


def collate(
    rows: Sequence[ScoredRow],
    *,
    device: torch.device | str = "cpu",
    teacher_views: Sequence[str] = (),
    mask_truncated: bool = False,
) -> TokenBatch:
    """Pad the per-token fields of `rows`.

    Args:
        rows: At least one row, all of one stage. Rows that are scored and not yet weighed have advantages of 0.
        device: Where the tensors go.
        teacher_views: The views that a method reads. A row that lacks one of them is outside ``teacher_mask_BT``: only
            its reward is learned from, not the teacher.
        mask_truncated: Leave truncated rows out of the mask.

    Raises:
        ValueError: A per-token field is not parallel to the row's loss positions.
    """
    if not rows:
        raise ValueError("collate: expected at least one row, got none")
    width = max(len(row) for row in rows)

    def stack(name: str, get: Callable[[ScoredRow], Sequence[float]], dtype: torch.dtype, empty_ok: bool) -> Tensor:
        sequences = [get(row) for row in rows]
        for row, sequence in zip(rows, sequences, strict=True):
            if len(sequence) != len(row) and not (empty_ok and len(sequence) == 0):
                raise ValueError(
                    f"{name} of episode {row.episode_id}: expected {len(row)} values, one per loss position, "
                    f"got {len(sequence)}"
                )
        return pad_rows(sequences, width, dtype, device)

    # What every row has.
    lengths = [len(row) if contributes(row, mask_truncated) else 0 for row in rows]
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    where = torch.device(device)
    mask = to_device(mask, where)
    batch = TokenBatch(
        mask_BT=mask,
        behaviour_BT=stack("behaviour_logprobs_T", lambda r: r.behaviour_logprobs_T, torch.float32, False),
        advantages_BT=stack("advantages_T", _advantages, torch.float32, True),
        turn_ids_BT=stack("turn_ids_T", lambda r: r.turn_ids_T, torch.long, True),
        episode_ids_B=torch.tensor([row.episode_id for row in rows]),
        group_ids_B=torch.tensor([row.group_id for row in rows]),
        invalid_BT=stack("invalid_T", lambda r: r.invalid_T, torch.bool, True),
        kept_B=to_device(torch.tensor([row.kept for row in rows]), where),
        returns_B=torch.tensor([row.return_ for row in rows], dtype=torch.float64),
    )
    # What only some runs or stages have.
    if all(row.reference_logprobs_T is not None for row in rows):
        batch.reference_BT = stack("reference_logprobs_T", lambda r: r.reference_logprobs_T or (), torch.float32, False)
    if any(row.entropies_T for row in rows):
        batch.entropy_BT = stack("entropies_T", lambda r: r.entropies_T, torch.float32, True)
    if any(row.progress_T for row in rows):
        batch.progress_BT = stack("progress_T", lambda r: r.progress_T, torch.float32, True)
    if any(row.correction_T for row in rows):
        # Rows that were given another prompt than they were sampled under have none, and count as they are.
        batch.correction_BT = stack("correction_T", lambda r: r.correction_T or [1.0] * len(r), torch.float32, True)
    weighed = [row for row in rows if isinstance(row, WeighedRow)]
    if weighed:
        batch.statistics, batch.step, batch.seed = weighed[0].statistics, weighed[0].step, weighed[0].seed
        if any(row.weights_T for row in weighed):
            batch.weights_BT = stack("weights_T", _weights, torch.float32, True)
    # The teacher's log-probs, and the mask of tokens that all wanted views have read.
    if teacher_views:
        read = [all(len(row.teacher_logprobs_T.get(view, ())) == len(row) for view in teacher_views) for row in rows]
        read_B = to_device(torch.tensor(read), where)
        batch.teacher_mask_BT = mask & read_B[:, None]
        for view in teacher_views:
            values = [row.teacher_logprobs_T.get(view, []) for row in rows]
            batch.teachers[view] = pad_rows(values, width, torch.float32, device)
    return batch


def _advantages(row: ScoredRow) -> Sequence[float]:
    return row.advantages_T if isinstance(row, WeighedRow) else ()


def _weights(row: ScoredRow) -> Sequence[float]:
    return (row.weights_T or ()) if isinstance(row, WeighedRow) else ()


def micro_batches(
    lengths: Sequence[int], token_budget: int, *, packed: bool = False, together: Sequence[Hashable] = ()
) -> list[list[int]]:
    """Cut indices into micro-batches of at most `token_budget` tokens, padding included, longest first.

    A sequence that is longer than the budget is a micro-batch of its own. Every index occurs exactly once; ties keep
    their order.

    Args:
        lengths: Tokens per sequence, prompt included.
        token_budget: Largest ``rows x longest row`` of a micro-batch.
        packed: Rows stand one after another without padding: the budget is for the sum of their lengths.
        together: A key per sequence. Sequences of one key follow one another, the key with the longest sequence first;
            none keeps to the lengths alone.
    """
    if token_budget < 1:
        raise ValueError(f"token_budget: expected at least 1, got {token_budget}")
    keys = together or [None] * len(lengths)
    longest: dict[Hashable, int] = {}
    for key, length in zip(keys, lengths, strict=True):
        longest[key] = max(length, longest.get(key, 0))
    place = {key: at for at, key in enumerate(longest)}
    order = [(-longest[key], place[key], -length) for key, length in zip(keys, lengths, strict=True)]
    batches: list[list[int]] = []
    tokens = widest = 0  # of the last micro-batch: its tokens, and its longest row
    for index in sorted(range(len(lengths)), key=order.__getitem__):
        wider = max(widest, lengths[index])
        wanted = tokens + lengths[index] if packed else wider * (len(batches[-1]) + 1 if batches else 1)
        if batches and wanted <= token_budget:
            batches[-1].append(index)
            tokens, widest = wanted, wider
        else:
            batches.append([index])
            tokens = widest = lengths[index]
    return batches


def mini_batches(rows: Sequence[_Row], count: int, *, key: tuple[int | str, ...] | None = None) -> list[list[_Row]]:
    """Cut rows into `count` mini-batches, one optimiser step each; never an empty one.

    Args:
        rows: The rows of an iteration.
        count: Wanted mini-batches; fewer come back when there are fewer rows.
        key: Key of the counted shuffle. None keeps the order and cuts it into contiguous parts.
    """
    if count < 1:
        raise ValueError(f"mini-batches: expected at least 1, got {count}")
    order = list(range(len(rows)))
    if key is not None:
        order = [int(i) for i in counted_generator("mini_batches", *key).permutation(len(rows))]
    parts = np.array_split(np.asarray(order, dtype=np.int64), min(count, max(len(rows), 1)))
    return [[rows[int(i)] for i in part] for part in parts if len(part)]
