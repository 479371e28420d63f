"""Whose log-probs the ratio starts from in a run, and what is done where sampler and trainer differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, weights

from trainers.batch.row import WeighedRow
from trainers.config import SDARConfig
from trainers.scoring.old_logprobs import OldLogprobs


class Apart:
    """A sampler in front of the local one that reports other log-probs than it drew with, as another engine would."""

    def __init__(self, inner: Any, shift: float) -> None:
        self.inner = inner
        self.shift = shift

    def __getattr__(self, name: str) -> Any:
        if name in ("engine", "dtype"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def sample(self, requests: Any) -> Any:
        return [
            dataclasses.replace(
                sample,
                logprobs=tuple(value + self.shift * (-1) ** place for place, value in enumerate(sample.logprobs)),
            )
            for sample in self.inner.sample(requests)
        ]


class Local:
    """Says what a sampler computes with."""

    def __init__(self, engine: str = "transformers", dtype: str = "float32") -> None:
        self.engine = engine
        self.dtype = dtype


FLOAT, HALF = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("options", "sampler", "dtype", "expected"),
    [
        ({}, Local(), FLOAT, (False, False)),
        ({}, Local(dtype="bfloat16"), HALF, (True, True)),
        ({}, Local(), HALF, (True, True)),
        ({}, Local("vllm"), FLOAT, (True, True)),
        ({}, object(), FLOAT, (True, True)),
        ({"old_logprobs": "sampler"}, Local("vllm"), FLOAT, (False, False)),
        ({"old_logprobs": "trainer"}, Local(), FLOAT, (True, False)),
        ({"old_logprobs": "trainer"}, Local("vllm"), FLOAT, (True, True)),
        ({"importance_sampling_correction": True}, Local(), FLOAT, (True, True)),
        ({"importance_sampling_correction": False}, Local("vllm"), FLOAT, (True, False)),
    ],
)
def test_what_auto_means(
    options: dict[str, Any], sampler: Any, dtype: torch.dtype, expected: tuple[bool, bool]
) -> None:
    assert OldLogprobs.of(SDARConfig(**options), sampler, dtype) == OldLogprobs(*expected)


def test_a_correction_of_the_samplers_own_log_probs_is_refused() -> None:
    with pytest.raises(ValueError, match="expected old_logprobs=trainer"):
        SDARConfig(old_logprobs="sampler", importance_sampling_correction=True)


def iterate(
    folder: Path, *, shift: float | None = None, **options: Any
) -> tuple[Any, list[WeighedRow], dict[str, Any]]:
    """One iteration, with a sampler that is `shift` apart where one is given: trainer, updated rows, metrics."""
    trainer = make_trainer(folder, **{"method": "sdar", "beta": 0.02, **options})
    if shift is not None:
        inner = trainer.policies.sampler
        trainer = make_trainer(
            folder, trainer={"sampler": Apart(inner, shift)}, **{"method": "sdar", "beta": 0.02, **options}
        )
        inner.model = trainer.model
        inner._fast = None
    seen: list[WeighedRow] = []
    update = trainer.updater.update

    def watched(rows: Any, plan: Any) -> Any:
        seen.extend(rows)
        return update(rows, plan)

    trainer.updater.update = watched
    return trainer, seen, trainer.iteration()


def test_by_default_the_local_sampler_in_float32_is_believed_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    trainer, rows, metrics = iterate(tmp_path)
    assert trainer.scorer.old == OldLogprobs() and "seconds/old_logprobs" not in metrics
    assert not any(row.sampler_logprobs_T or row.correction_T for row in rows)
    assert 0.0 < metrics["sampling/logp_diff_max"] < 1e-4 and "sampling/ratio_max" not in metrics


def test_the_trainers_log_probs_of_the_same_model_lead_to_the_same_update(tmp_path: Path) -> None:
    plain, _, _ = iterate(tmp_path)
    trainer, rows, metrics = iterate(tmp_path, old_logprobs="trainer", importance_sampling_correction=True)
    assert all(row.sampler_logprobs_T and row.correction_T for row in rows)
    assert metrics["sampling/ratio_max"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["sampling/effective_share"] == pytest.approx(1.0, abs=1e-6) and metrics["seconds/old_logprobs"] > 0
    found, expected = weights(trainer), weights(plain)
    assert all(torch.allclose(found[name], expected[name], atol=2e-3) for name in expected)


def test_a_sampler_that_is_apart_is_noticed_weighed_and_reported(tmp_path: Path) -> None:
    trainer, rows, metrics = iterate(tmp_path, shift=0.5)
    assert trainer.scorer.old == OldLogprobs(True, True)
    for row in rows:
        differences = [o - m for o, m in zip(row.behaviour_logprobs_T, row.sampler_logprobs_T, strict=True)]
        assert {round(abs(each), 3) for each in differences} == {0.5}
        expected = [min(torch.tensor(each).exp().item(), 3.0) for each in differences]
        assert row.correction_T == pytest.approx(expected, rel=1e-4)
    assert metrics["sampling/logp_diff_mean"] == pytest.approx(0.5, abs=1e-3)
    assert metrics["sampling/ratio_max"] == pytest.approx(1.6487, abs=1e-3) and metrics["sampling/kl"] > 0.05
    assert metrics["policy/logprob_shift_max"] < 1e-4  # the ratio starts from the trainer's


@pytest.mark.parametrize(
    "options",
    [
        {"importance_sampling_mode": "token_mask", "importance_sampling_cap": 1.2},
        {"importance_sampling_cap": 1.2},
        {"importance_sampling_correction": False},
        {"old_logprobs": "sampler"},
    ],
)
def test_each_option_reaches_the_rows(tmp_path: Path, options: dict[str, Any]) -> None:
    _, rows, metrics = iterate(tmp_path, shift=0.5, **options)
    found = {round(value, 3) for row in rows for value in row.correction_T}
    small, cap = 0.607, options.get("importance_sampling_cap")
    if "old_logprobs" in options:
        assert not found and not any(row.sampler_logprobs_T for row in rows)
        assert metrics["sampling/logp_diff_mean"] == pytest.approx(0.5, abs=1e-3)
    elif cap is None:
        assert not found and all(row.sampler_logprobs_T for row in rows)
    else:
        assert found == {small, 0.0 if "importance_sampling_mode" in options else cap}
        assert metrics["sampling/capped_share"] > 0.3


def test_in_sixteen_bits_the_correction_is_on(tmp_path: Path) -> None:
    trainer, rows, metrics = iterate(tmp_path, bf16=True)
    assert trainer.scorer.old == OldLogprobs(True, True) and all(row.correction_T for row in rows)
    assert metrics["sampling/ratio_max"] > 1.001
