"""Log-probs of the sampled tokens that need no gradient: under the reference policy, and given the privileged prompt.

Both are computed only where their coefficient is not 0. The teacher may be the policy that sampled, so its pass comes
before any update of the iteration.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import torch

from agents.base import View
from agents.teacher import Teacher
from sdar_envs.privileged import Privileged

from ..batch.row import SampledRow, ScoredRow, WeighedRow, advanced
from ..batch.teacher_tokens import TeacherTokens
from ..batch.token_batch import collate
from ..engine.base import Engine, owns
from ..forward.distributions import read_distributions
from ..forward.passes import score_rows, score_views
from ..forward.root import PolicyModel
from ..forward.weights import PolicyWeights
from ..methods.apply import signal_and_weight, weigh
from ..methods.method import IterationPlan
from ..options import Options
from ..rollout.collect import Rollout
from ..rollout.hindsight import hindsight_of
from ..rollout.rows import Reader, ReadingMetrics, read_teachers
from ..rollout.teacher_views import combine_readings
from .old_logprobs import OldLogprobs, use_trainers

logger = logging.getLogger(__name__)


class Scorer:
    """Turns sampled rows into scored ones: reference and teacher log-probs.

    With several processes each reads the rows of its own groups, and all get the log-probs of all; whole distributions
    of the teacher stay where they were computed, since the same process learns from the row.

    Args:
        root: The live policy.
        reference: The frozen initial policy; None where its coefficient is 0.
        options: Temperature and batch options.
        engine: Its clock measures the passes.
        pad_id: Any valid id, for padding.
        readers: The teacher's readers, by the name of the reading (`rollout.teacher_views`).
        teacher: The parameters that read for the teacher; None for the live ones.
        old: What is done where sampler and trainer differ; None for nothing.
    """

    def __init__(
        self,
        root: PolicyModel,
        reference: PolicyModel | PolicyWeights | None,
        options: Options,
        engine: Engine,
        pad_id: int,
        readers: Mapping[str, Reader],
        teacher: PolicyWeights | None = None,
        old: OldLogprobs | None = None,
    ) -> None:
        self.root = root
        self.live = PolicyWeights(root)
        self.teacher = teacher or self.live
        self.reference = PolicyWeights(reference) if isinstance(reference, PolicyModel) else reference
        self.options = options
        self.engine = engine
        self.pad_id = pad_id
        self.readers = readers
        self.for_update = True  # also compute what only an update uses: the reference, whole distributions
        self.old = old or OldLogprobs()
        self._warned = False  # whether incomplete readings were reported

    def at_temperature(self, temperature: float) -> Scorer:
        """The same scorer for rows of an evaluation, sampled at another temperature, which no update learns from."""
        options = dataclasses.replace(self.options, temperature=temperature) if temperature > 0 else self.options
        scorer = Scorer(self.root, self.reference, options, self.engine, self.pad_id, self.readers, self.teacher)
        scorer.for_update = False
        return scorer

    def score(
        self, rows: Sequence[SampledRow], rollouts: Sequence[Rollout], plan: IterationPlan
    ) -> tuple[list[ScoredRow], dict[str, float]]:
        """Score rows of an iteration.

        Args:
            rows: The rows that are learned from (or logged).
            rollouts: Their episodes, by ``row.episode_id``.
            plan: The method at this iteration; says what is computed.

        Returns:
            The rows in their order, and metrics, among them the seconds per kind of pass.
        """
        start = self.engine.clock()
        scored, metrics = self._with_behaviour(rows)
        if "entropy" in plan.method.needs and plan.coefficient:
            scored = self._with_entropies(scored)
        behaviour = self.engine.clock()
        if self.for_update and plan.reads_reference:
            scored = self._score_reference(scored)
        middle = self.engine.clock()
        if plan.reads_teacher:
            scored, read = self._score_teachers(scored, rollouts, plan)
            metrics |= read
        if self.old.recomputed:
            metrics["seconds/old_logprobs"] = behaviour - start
            start = behaviour
        metrics["seconds/reference"] = middle - start
        metrics["seconds/teacher"] = self.engine.clock() - middle
        return scored, metrics

    def _with_behaviour(self, rows: Sequence[SampledRow]) -> tuple[list[ScoredRow], dict[str, float]]:
        """The rows with O, and how far sampler and trainer are apart where O is the trainer's.

        Rows given another prompt than they were sampled under get O from a pass given that prompt.
        """
        recompute = self.old.recomputed and self.for_update
        places = [at for at, row in enumerate(rows) if len(row) and (recompute or not row.behaviour_logprobs_T)]
        values = self._pass_of_all(self.live, [rows[at] for at in places]) if places else []
        found = dict(zip(places, values, strict=True))
        told = [at for at in places if rows[at].behaviour_logprobs_T]
        scored = [
            advanced(row, ScoredRow, behaviour_logprobs_T=found[at])
            if at in found and not row.behaviour_logprobs_T
            else advanced(row, ScoredRow)
            for at, row in enumerate(rows)
        ]
        if not told:
            return scored, {}
        changed, metrics = use_trainers(
            [scored[at] for at in told], [found[at] for at in told], self.options, corrected=self.old.corrected
        )
        for at, row in zip(told, changed, strict=True):
            scored[at] = row
        return scored, metrics

    def _with_entropies(self, rows: Sequence[ScoredRow]) -> list[ScoredRow]:
        """Rows whose sampler did not say entropies (a generation server) get them from a pass of the policy."""
        places = [at for at, row in enumerate(rows) if len(row) and not row.entropies_T]
        if not places:
            return list(rows)
        own = [at for at in places if owns(self.engine, rows[at].group_id)]
        found: dict[int, list[float]] = {}
        batches = self.root.cut([rows[at].student for at in own], self.options.micro_batch_tokens)
        for indices in self.root.in_step(batches):
            if not indices:
                with torch.no_grad():
                    self.root.idle_pass(self.pad_id)
                continue
            picked = [rows[own[index]] for index in indices]
            scored = score_views(
                self.root,
                [row.student for row in picked],
                temperature=self.options.temperature,
                pad_id=self.pad_id,
                chunk=self.options.logprob_chunk,
                grad=False,
                entropy=True,
            )
            assert scored.entropy_BT is not None
            for index, values in zip(indices, scored.entropy_BT.tolist(), strict=True):
                found[own[index]] = values[: len(rows[own[index]])]
        for of_rank in self.engine.gather(found):
            found |= of_rank
        return [advanced(row, ScoredRow, entropies_T=found[at]) if at in found else row for at, row in enumerate(rows)]

    def _score_reference(self, rows: Sequence[ScoredRow]) -> list[ScoredRow]:
        """The rows with R."""
        if self.reference is None:
            raise ValueError(
                "Scorer: beta is not 0, so a reference policy is expected, got none: pass reference=, or set beta to 0"
            )
        values = self._pass_of_all(self.reference, rows)
        return [
            advanced(row, ScoredRow, reference_logprobs_T=logprobs) for row, logprobs in zip(rows, values, strict=True)
        ]

    def _score_teachers(
        self, rows: Sequence[ScoredRow], rollouts: Sequence[Rollout], plan: IterationPlan
    ) -> tuple[list[ScoredRow], dict[str, float]]:
        """The rows with T for every reading and every view that readings make, and metrics of the readings."""
        # The rows of this process whose role is taught: views, log-probs by reading, and whole distributions where they
        # are compared.
        own = [
            place
            for place, row in enumerate(rows)
            if owns(self.engine, row.group_id) and self.options.teaches(rollouts[row.episode_id].episode.role)
        ]
        read, counts = read_teachers([rows[place] for place in own], rollouts, self.readers, self._told(rollouts))
        views: list[dict[str, View]] = [{} for _ in rows]
        logprobs: list[dict[str, Sequence[float]]] = [{} for _ in rows]
        tokens: list[TeacherTokens | None] = [None] * len(rows)
        for place, found in zip(own, read, strict=True):
            views[place] = found
        for name in self.readers:
            places = [place for place in own if name in views[place]]
            picked = [views[place][name] for place in places]
            if self.for_update and plan.reads_vocabulary:
                with self.teacher.scope():
                    values, distributions = read_distributions(
                        self.teacher.root,
                        picked,
                        self.options,
                        pad_id=self.pad_id,
                        borrowed=self.teacher is not self.live,
                    )
                for place, distribution in zip(places, distributions, strict=True):
                    tokens[place] = distribution if len(rows[place]) else None
            else:
                values = self._pass(self.teacher, picked)
            for place, value in zip(places, values, strict=True):
                logprobs[place][name] = value
        # Those of the other processes.
        reading = ReadingMetrics()
        for found_views, found_logprobs, found_counts in self.engine.gather(
            ({place: views[place] for place in own}, {place: logprobs[place] for place in own}, counts)
        ):
            reading.add(found_counts)
            for place, own_views in found_views.items():
                views[place], logprobs[place] = own_views, found_logprobs[place]
        # Several readings of one view become one teacher.
        behaviour = [row.behaviour_logprobs_T for row in rows]
        combined, agreement = combine_readings(logprobs, behaviour, self.readers, self.options.teacher_combine)
        self._warn(reading.incomplete, reading.read)
        scored = [
            advanced(
                row, ScoredRow, teachers=views[place], teacher_logprobs_T=combined[place], teacher_tokens=tokens[place]
            )
            for place, row in enumerate(rows)
        ]
        return scored, {**reading.metrics(), **agreement}

    def _told(self, rollouts: Sequence[Rollout]) -> dict[str, Sequence[Privileged | None]]:
        """What readers whose text is made of episodes are told of each; of episodes of an evaluation, nothing."""
        return {
            name: hindsight_of(rollouts, reader.privilege) if self.for_update else [None] * len(rollouts)
            for name, reader in self.readers.items()
            if isinstance(reader, Teacher) and reader.hindsight
        }

    def _warn(self, incomplete: int, read: int) -> None:
        """Report once that rows whose privileged context could not be read learn nothing from the teacher."""
        if not incomplete or self._warned or not self.engine.is_writer:
            return
        self._warned = True
        logger.warning(
            "WARNING: %d of %d readings lack their privileged context, because it is over teacher_budget=%d tokens, "
            "or too long beside the prompt, or was not there: these rows learn nothing from the teacher. Raise "
            "teacher_budget or max_prompt_length, or choose a shorter context (privilege, retrieval); sdar inspect "
            "shows why",
            incomplete,
            incomplete + read,
            self.options.teacher_budget,
        )

    def _pass_of_all(self, weights: PolicyWeights, rows: Sequence[SampledRow]) -> list[list[float]]:
        """The log-probs of all rows given the student's prompt; each process scores those of its own groups."""
        own = [place for place, row in enumerate(rows) if owns(self.engine, row.group_id)]
        values = self._pass(weights, [rows[place].student for place in own])
        scored: dict[int, list[float]] = {}
        for found in self.engine.gather(dict(zip(own, values, strict=True))):
            scored |= found
        return [scored[place] for place in range(len(rows))]

    def _pass(self, weights: PolicyWeights, views: Sequence[View]) -> list[list[float]]:
        with weights.scope():
            return score_rows(
                weights.root,
                views,
                temperature=self.options.temperature,
                pad_id=self.pad_id,
                token_budget=self.options.micro_batch_tokens,
                chunk=self.options.logprob_chunk,
            )

    def columns(self, rows: Sequence[SampledRow], plan: IterationPlan) -> dict[str, list[list[float]]]:
        """Numbers per sampled token for the log: behaviour, student, teacher, signal, weight, entropy.

        All processes call this, with the same rows.

        Args:
            rows: At any stage. A weighed row shows what it was weighed with; a scored one is weighed here.
            plan: The method at their iteration.

        Returns:
            Column -> row -> values in nats (signal and weight: in their own units). Rows that the teacher has not read,
            or that were left out of the update, have an empty list; a method without a teacher has no such column.
        """
        # Columns that every row has.
        method = plan.method
        student = self._pass_of_all(self.live, rows)
        columns = {
            "behaviour": [list(row.behaviour_logprobs_T) for row in rows],
            "student": student,
            "entropy": [list(row.entropies_T) for row in rows],
        }
        # Signal and weight, for rows that were learned from and that every wanted view has read.
        learned = [row for row in rows if isinstance(row, ScoredRow) and (row.kept or method.pg_coef != 0.0)]
        read = [row for row in learned if all(view in row.teacher_logprobs_T for view in method.teacher_views)]
        if not read or method.injection == "none" or plan.coefficient == 0.0:
            return columns
        weighed: Sequence[ScoredRow] = read
        if not all(isinstance(row, WeighedRow) for row in read):  # rows of an evaluation, which no update uses
            weighed = weigh(plan, read, None, mask_truncated=self.options.mask_truncated_completions)
        batch = collate(weighed, teacher_views=method.teacher_views)
        batch.student_BT = batch.behaviour_BT
        signal, weight = signal_and_weight(plan, batch)
        place = {row.index: at for at, row in enumerate(read)}

        def of_read(values: Sequence[Sequence[float]]) -> list[list[float]]:
            return [list(values[place[row.index]][: len(row)]) if row.index in place else [] for row in rows]

        if method.teacher_views:
            columns["teacher"] = of_read([row.teacher_logprobs_T[method.teacher_views[0]] for row in read])
        columns["signal"] = of_read(signal.tolist())
        columns["weight"] = of_read(weight.tolist())
        return columns
