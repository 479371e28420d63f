"""Whose log-probs the ratio of the policy gradient starts from: the sampler's, or the trainer's for the same tokens.

Where both compute alike, the sampler's are the trainer's, and nothing is computed twice. Where they do not, because the
sampler is another engine or computes in another precision, or because 16 bits round by the shape of a batch, the
trainer scores the sampled tokens once, before the first update, and the difference is weighed by importance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agents.sampling.base import LOCAL_ENGINE, Sampler, engine_of

from ..batch.row import ScoredRow, advanced
from ..batch.token_batch import pad_rows
from ..maths.importance import importance_correction, mismatch
from ..options import PolicyOptions
from ..options.option import AUTO


@dataclass(frozen=True, slots=True)
class OldLogprobs:
    """What a run does about the difference of sampler and trainer.

    Attributes:
        recomputed: The trainer scores sampled tokens before the first update, and O is what it finds.
        corrected: Tokens are weighed by importance.
    """

    recomputed: bool = False
    corrected: bool = False

    @classmethod
    def of(cls, options: PolicyOptions, sampler: Sampler, dtype: torch.dtype) -> OldLogprobs:
        """Resolve ``auto``: on, unless the local sampler and the trainer both compute in float32.

        Args:
            options: ``old_logprobs`` and ``importance_sampling_correction``.
            sampler: Says its engine and precision; one that does not is taken for another engine.
            dtype: The trainer's precision.
        """
        alike = engine_of(sampler) == (LOCAL_ENGINE, "float32") and dtype == torch.float32
        recomputed = not alike if options.old_logprobs == AUTO else options.old_logprobs == "trainer"
        if options.importance_sampling_correction == AUTO:
            return cls(recomputed, recomputed and not alike)
        corrected = bool(options.importance_sampling_correction)
        return cls(recomputed or corrected, corrected)


def use_trainers(
    rows: Sequence[ScoredRow], trainers: Sequence[Sequence[float]], options: PolicyOptions, *, corrected: bool
) -> tuple[list[ScoredRow], dict[str, float]]:
    """The rows with the trainer's O in the place of the sampler's, and how far the two were apart.

    Args:
        rows: With the sampler's log-probs as O.
        trainers: The trainer's, per row.
        options: Mode and cap.
        corrected: Whether the rows get importance weights.
    """
    width = max((len(row) for row in rows), default=0)
    lengths = torch.tensor([len(row) for row in rows])
    mask_BT = torch.arange(width)[None, :] < lengths[:, None]
    found_BT = pad_rows(trainers, width, torch.float64)
    told_BT = pad_rows([row.behaviour_logprobs_T for row in rows], width, torch.float64)
    correction = importance_correction(
        found_BT, told_BT, mask_BT, mode=options.importance_sampling_mode, cap=options.importance_sampling_cap
    )
    weights = correction.weights_BT.tolist()
    changed = [
        advanced(
            row,
            ScoredRow,
            behaviour_logprobs_T=list(trainers[place]),
            sampler_logprobs_T=row.behaviour_logprobs_T,
            correction_T=weights[place][: len(row)] if corrected else (),
        )
        for place, row in enumerate(rows)
    ]
    return changed, mismatch(found_BT, told_BT, mask_BT, correction)
