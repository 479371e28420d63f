"""Second readings of the sampled tokens: by the reference policy, and by the teacher behind its own prompt.

Both are forward passes without gradients, made only where a coefficient lets them matter. The teacher is the weights
that sampled: it reads before any update of the iteration.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .batch import Row
from .batching import collate
from .engine import Engine
from .logprobs import score_rows
from .methods import Method, needs_reference, needs_teacher, needs_vocabulary, prepare, signal_and_weight
from .rollout import Rollout
from .rows import Reader, read_teachers
from .teacher_views import combine_readings
from .vocabulary import read_distributions

if TYPE_CHECKING:
    from .config import SDARConfig

logger = logging.getLogger(__name__)


class Scorer:
    """Fills the rows' reference and teacher log-probs.

    Args:
        model: The live weights.
        reference: The frozen initial policy; None where its coefficient is 0.
        method: Row of the methods table.
        config: Temperature and batch options.
        engine: The machine's clock.
        pad_id: Any valid id.
        readers: A reader per reading of the method's teachers (`teacher_views`).
    """

    def __init__(
        self,
        model: Any,
        reference: Any | None,
        method: Method,
        config: SDARConfig,
        engine: Engine,
        pad_id: int,
        readers: Mapping[str, Reader],
    ) -> None:
        self.model = model
        self.reference = reference
        self.method = method
        self.config = config
        self.engine = engine
        self.pad_id = pad_id
        self.readers = readers
        self.for_update = True  # what only an update looks at is scored, too: the reference, whole distributions
        self._told = False  # that readings were left out; once is enough

    def at_temperature(self, temperature: float) -> Scorer:
        """The same scorer for rows of a panel, sampled at another temperature, which no update will learn from."""
        config = dataclasses.replace(self.config, temperature=temperature) if temperature > 0 else self.config
        parts = (self.model, self.reference, self.method, config, self.engine, self.pad_id, self.readers)
        scorer = Scorer(*parts)
        scorer.for_update = False
        return scorer

    def score(self, rows: Sequence[Row], rollouts: Sequence[Rollout], *, coef: float) -> dict[str, float]:
        """Score all rows of an iteration; returns figures and seconds."""
        figures: dict[str, float] = {}
        start = self.engine.clock()
        relaid = [row for row in rows if len(row) and not row.behaviour_logprobs_T]
        if relaid:  # behind another prompt than the one that was sampled behind: what these weights say there
            for row, logprobs in zip(relaid, self._pass(self.model, [row.student for row in relaid]), strict=True):
                row.behaviour_logprobs_T = logprobs
        if self.for_update and needs_reference(self.config):
            self._score_reference(rows)
        middle = self.engine.clock()
        if needs_teacher(self.method, coef):
            figures |= self._score_teachers(
                rows, rollouts, whole=self.for_update and needs_vocabulary(self.method, coef)
            )
        figures["seconds/reference"] = middle - start
        figures["seconds/teacher"] = self.engine.clock() - middle
        return figures

    def _score_reference(self, rows: Sequence[Row]) -> None:
        if self.reference is None:
            raise ValueError("the reference policy is wanted (beta is not 0) and was not kept")
        values = self._pass(self.reference, [row.student for row in rows])
        for row, logprobs in zip(rows, values, strict=True):
            row.reference_logprobs_T = logprobs

    def _score_teachers(self, rows: Sequence[Row], rollouts: Sequence[Rollout], *, whole: bool) -> dict[str, float]:
        reading = read_teachers(rows, rollouts, self.readers)
        for name in self.readers:
            read = [row for row in rows if name in row.teachers]
            views = [row.teachers[name] for row in read]
            if whole:
                values, distributions = read_distributions(self.model, views, self.config, pad_id=self.pad_id)
                for row, tokens in zip(read, distributions, strict=True):
                    row.teacher_tokens = tokens if len(row) else None
            else:
                values = self._pass(self.model, views)
            for row, logprobs in zip(read, values, strict=True):
                row.teacher_logprobs_T[name] = logprobs
        figures = combine_readings(rows, self.readers, self.config.teacher_combine)
        if reading.incomplete and not self._told:
            self._told = True
            logger.warning(
                "WARNING: %d of %d readings lack their privileged block, because it is over teacher_budget=%d tokens, "
                "or too long beside the prompt, or was not there: the teacher is silent about these rows. Raise "
                "teacher_budget or max_prompt_length, or show it less (privilege, retrieval); sdar inspect shows why",
                reading.incomplete,
                reading.incomplete + reading.read,
                self.config.teacher_budget,
            )
        return {**reading.metrics(), **figures}

    def _pass(self, model: Any, views: Sequence[Any]) -> list[list[float]]:
        return score_rows(
            model,
            views,
            temperature=self.config.temperature,
            pad_id=self.pad_id,
            token_budget=self.config.micro_batch_tokens,
            chunk=self.config.logprob_chunk,
        )

    def columns(self, rows: Sequence[Row], *, coef: float) -> dict[str, list[list[float]]]:
        """Numbers per sampled token for the log: behaviour, student, teacher, signal, weight, entropy.

        Rows that a view has not read, or that were left out of the update, have an empty list there; a method without a
        teacher has no teacher's column.
        """
        student = self._pass(self.model, [row.student for row in rows])
        columns = {
            "behaviour": [row.behaviour_logprobs_T for row in rows],
            "student": student,
            "entropy": [row.entropies_T for row in rows],
        }
        learned = [row for row in rows if row.kept or self.method.pg_coef != 0.0]
        read = [row for row in learned if all(view in row.teacher_logprobs_T for view in self.method.teacher_views)]
        if not read or self.method.injection == "none" or coef == 0.0:
            return columns
        if not any(row.weights_T or row.statistics for row in read):  # rows of a panel, which no update looks at
            prepare(self.method, read, self.config, coef=coef, step=0)
        batch = collate(read, teacher_views=self.method.teacher_views)
        batch.student_BT = batch.behaviour_BT
        signal, weight = signal_and_weight(self.method, batch, self.config)
        place = {id(row): index for index, row in enumerate(read)}

        def of_read(values: Sequence[Sequence[float]]) -> list[list[float]]:
            return [list(values[place[id(row)]][: len(row)]) if id(row) in place else [] for row in rows]

        if self.method.teacher_views:
            columns["teacher"] = of_read([row.teacher_logprobs_T[self.method.teacher_views[0]] for row in read])
        columns["signal"] = of_read(signal.tolist())
        columns["weight"] = of_read(weight.tolist())
        return columns
