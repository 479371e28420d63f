"""The logs of a run: metric lines, episodes, and further sinks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..batch.row import SampledRow
from ..evaluation.measured import Measured
from ..options import RunOptions
from ..rollout.collect import Rollout
from .directory import RunDirectory
from .episode_log import episode_record, privileged_record, token_arrays
from .provenance import Provenance
from .sinks import SINKS

Columns = Callable[[Sequence[SampledRow]], Mapping[str, Sequence[Sequence[float]]]]


class RunLog:
    """Writes a run's records.

    Args:
        directory: The open run directory.
        options: Seed, sinks, and whether privileged information is written.
        decode: Token id to text, for token arrays.
        provenance: What every line says about world and policy; None for nothing.
    """

    def __init__(
        self,
        directory: RunDirectory,
        options: RunOptions,
        decode: Callable[[int], str],
        provenance: Provenance | None = None,
    ) -> None:
        self.directory = directory
        self.provenance = provenance
        self.options = options
        self.decode = decode
        self.sinks = [SINKS[name](directory) for name in options.report_to if directory.written]

    def metrics(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Write one metric line; sinks get its numbers. A number that is not finite is null in the line."""
        numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))}
        unknown = {name: None for name, value in numbers.items() if not math.isfinite(value)}
        self.directory.metrics.write({"step": step, **metrics, **unknown})
        for sink in self.sinks:
            sink.log(step, numbers)

    def episodes(
        self,
        rollouts: Sequence[Rollout],
        *,
        iteration: int,
        phase: str,
        view: str = "plain",
        rows: Sequence[SampledRow] = (),
        columns: Columns | None = None,
    ) -> None:
        """Write one line per episode; those that `rows` belong to get token arrays.

        With ``log_tokens`` ``all`` every line holds its token ids besides, packed, and the messages of its turns.

        Args:
            rollouts: Episodes.
            iteration: Iterations done when they were played.
            phase: Why they were played.
            view: The prompt that they were acted under; under the privileged one nothing is logged token by token.
            rows: Rows to log token by token; their ``episode_id`` is the index in `rollouts`.
            columns: Computes the numbers per token of those rows.
        """
        arrays = self._arrays(rows if view == "plain" else (), columns)
        seed = self.options.seed
        where: dict[str, Any] = {"run": self.directory.path.name, "iteration": iteration, "phase": phase, "view": view}
        blocks = {} if self.provenance is None else self.provenance.blocks(phase=phase, iteration=iteration)
        packed = self.options.log_tokens == "all"
        for index, rollout in enumerate(rollouts):
            own = arrays.get(index)
            self.directory.episodes.write(
                episode_record(rollout, **where, seed=seed, tokens=own, blocks=blocks, packed=packed)
            )
            if self.directory.privileged is not None:
                self.directory.privileged.write(privileged_record(rollout, **where))

    def evaluation(
        self, measured: Measured, *, iteration: int, rows: Sequence[SampledRow] = (), columns: Columns | None = None
    ) -> None:
        """Write the episodes of all evaluations in `measured`, each under its name.

        Args:
            measured: The evaluations.
            iteration: Iterations done when they were played.
            rows: Rows of the student under the plain prompt to log token by token.
            columns: Computes the numbers per token of those rows.
        """
        for name, (view, evaluation) in measured.named().items():
            if name == "teacher" and measured.plays_its_teacher:
                continue
            self.episodes(
                evaluation.rollouts,
                iteration=iteration,
                phase=name,
                view=view,
                rows=rows if view == "plain" else (),
                columns=columns,
            )

    def _arrays(
        self, rows: Sequence[SampledRow], columns: Columns | None
    ) -> dict[int, dict[int, dict[str, list[Any]]]]:
        """Token arrays by episode and turn (`episode_log.token_arrays`)."""
        if not rows:
            return {}
        values = {} if columns is None else columns(rows)
        texts = {token: self.decode(token) for token in sorted({t for row in rows for t in row.student.sampled_ids()})}
        arrays = {}
        for episode_id in sorted({row.episode_id for row in rows}):
            own = [index for index, row in enumerate(rows) if row.episode_id == episode_id]
            picked = {name: [column[index] for index in own] for name, column in values.items()}
            arrays[episode_id] = token_arrays([rows[index] for index in own], texts, picked)
        return arrays

    def close(self) -> None:
        """Finish the sinks."""
        for sink in self.sinks:
            sink.close()
