"""Any auxiliary row of the methods table inside TRL's GRPO trainer, with per-turn texts that only the teacher reads.

TRL plays, rewards, and computes its own loss; what is added here is the teacher's reading of the rows it made, and the
method's term in the loss (or in the advantages). Four private methods of TRL 1.16 are overridden:

- `_generate` is where rows are still lists of ids, with the messages beside them;
- `_generate_and_score_completions` is where tensors can join a batch and follow its shuffling and splitting;
- `_get_per_token_logps_and_entropies` is where the live log-probs are, so that there is no second pass for them;
- `_compute_loss` is where the term is added.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.rendering import ChatRenderer
from agents.teacher import Teacher
from sdar_envs.bridges.trl import PlayedEpisode, TextEnvironment

from ..batch.outcome import EpisodeOutcome
from ..batch.token_batch import TokenBatch
from ..maths import losses
from ..methods import IterationPlan, Method, apply, get_method
from ..methods.apply import settle
from ..options import MethodOptions
from .privileged_rows import Tail, TeacherRow, answer_starts, answers, find_tail, teacher_row
from .trl_limits import check_method, check_processes, check_settings, check_version

try:
    import trl
    from trl import GRPOTrainer
except ImportError as missing:
    raise ImportError(
        f'training inside TRL needs trl, and there is no {missing.name}: pip install "sdar-gym[trl]"'
    ) from missing
check_version(trl.__version__)

# Names under which what is added travels through TRL's batches.
_TEACHER, _TAUGHT, _TURNS, _INVALID, _WEIGHTS = (
    f"privileged_{name}_BT" for name in ("logprobs", "taught", "turns", "invalid", "weights")
)
_EPISODES, _KEPT, _RETURNS = (f"privileged_{name}_B" for name in ("episodes", "kept", "returns"))


class PrivilegedGRPOTrainer(GRPOTrainer):
    """TRL's GRPO trainer with a method of this suite's table.

    With ``method="grpo"``, or once a method's schedule has reached 0, it is TRL's trainer: no teacher is read.

    Args:
        *args: As for `trl.GRPOTrainer`.
        method_options: The method, its numbers, and what the teacher is shown (`privilege`, `teacher_budget`).
        **kwargs: As for `trl.GRPOTrainer`; `environment_factory` is a class that
            `environment_for(..., teacher=True)` made.

    Raises:
        ImportError: Another release of TRL than the one that this was written for.
        ValueError: A method or a setting that cannot be used here; the message says why.
    """

    def __init__(self, *args: Any, method_options: MethodOptions | None = None, **kwargs: Any) -> None:
        self.method_options = method_options or MethodOptions()
        self.method: Method = get_method(self.method_options.method)
        check_method(self.method, self.method_options)
        super().__init__(*args, **kwargs)
        check_processes(self.method, self.accelerator.num_processes)
        check_settings(self.args)
        self._check_environments()
        self._plan = self._plan_at(0)
        self._statistics: dict[str, float] = {}
        self._rolled: tuple[list[list[int]], list[list[int]], list[list[int]] | None, list[Any]] | None = None
        self._live: tuple[Tensor, Tensor] | None = None
        self._renderer = ChatRenderer(self._tokenizer)
        self._teacher = Teacher(
            self._renderer,
            privilege=self.method_options.privilege,
            position="user_suffix",
            budget_tokens=self.method_options.teacher_budget,
        )
        self._tails = self._find_tails() if self.method.teacher_views else None

    def _check_environments(self) -> None:
        pools = (self._environment_pool or {}).values() if self.environment_factories is not None else ()
        made = [environment for pool in pools for environment in pool]
        wanted = bool(self.method.teacher_views)
        if not made or not all(isinstance(one, TextEnvironment) and (one.teacher or not wanted) for one in made):
            raise ValueError(
                "PrivilegedGRPOTrainer: environment_factory is expected to be a class made by "
                f"sdar_envs.bridges.trl.environment_for(..., teacher={wanted}), got "
                f"{', '.join(type(one).__name__ for one in made) or 'none'}"
            )
        if self._is_vlm or self.rollout_func is not None:
            raise ValueError(
                "PrivilegedGRPOTrainer: expected a model of text alone and no rollout_func, since the rows of others "
                "have not been tried"
            )

    def _find_tails(self) -> tuple[Tail, Tail]:
        """How the chat template ends a prompt, and what a tool returned."""

        def prompt(content: str) -> list[int]:
            chat = [{"role": "system", "content": "system"}, {"role": "user", "content": content}]
            ids: list[int] = self.processing_class.apply_chat_template(
                chat,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                chat_template=self.chat_template,
                **self.chat_template_kwargs,
            )
            return ids

        def result(content: str) -> list[int]:
            ids: list[int] = self._get_tool_suffix_ids([{"role": "tool", "name": "act", "content": content}])
            return ids

        control = set(self._tokenizer.added_tokens_decoder)
        return find_tail(prompt, self._tokenizer.decode, control), find_tail(result, self._tokenizer.decode, control)

    def _plan_at(self, step: int) -> IterationPlan:
        """The method at an iteration: one round of generation and the updates that are made of it."""
        method, options = self.method, self.method_options
        coefficient = method.coefficient(step, options)
        counts = coefficient != 0.0
        return IterationPlan(
            method=method,
            options=options,
            step=step,
            seed=self.args.seed,
            coefficient=coefficient,
            reads_teacher=bool(method.teacher_views) and counts,
            reads_vocabulary=False,
            reads_entropy=counts and "entropy" in method.needs,
            reads_reference=False,
            reads_plan_length=False,
        )

    # What TRL makes of a batch, and what joins it.

    def _generate(self, prompts: list[Any]) -> Any:
        found = super()._generate(prompts)
        self._rolled = found[:4]
        return found

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        updates = self.args.steps_per_generation * self.num_iterations / self.args.gradient_accumulation_steps
        self._plan = plan = self._plan_at(int(self.state.global_step / max(updates, 1)))
        if plan.method.injection == "none" or plan.coefficient == 0.0:
            return output
        with torch.no_grad():
            self._join(output, plan)
        return output

    def _join(self, output: dict[str, Any], plan: IterationPlan) -> None:
        """Add to a batch what the method reads, ``[B, T]`` and ``[B]``."""
        assert self._rolled is not None and self.environments is not None
        prompts, completions, masks, messages = self._rolled
        masks = masks or [[1] * len(ids) for ids in completions]
        episodes = [environment.episode for environment in self.environments]
        size, device = output["completion_ids"].shape, output["completion_ids"].device
        asked = [answers(chat, episode) for chat, episode in zip(messages, episodes, strict=True)]
        turns_BT = torch.zeros(size, dtype=torch.long)
        acted_BT = torch.zeros(size, dtype=torch.bool)
        invalid_BT = torch.zeros(size, dtype=torch.bool)
        for row, (mask, found) in enumerate(zip(masks, asked, strict=True)):
            starts = [*answer_starts(mask), len(mask)]
            for number, (state, understood) in enumerate(found):
                own = slice(starts[number], starts[number + 1])
                turns_BT[row, own], invalid_BT[row, own] = number, not understood
                acted_BT[row, own] = state is not None and not episodes[row].failed
        outcomes = self._outcomes(episodes, asked)
        keep = plan.method.keep
        kept = keep(outcomes, plan.options) if keep is not None else [not one.failed for one in outcomes]
        output |= {
            _TURNS: turns_BT.to(device),
            _INVALID: invalid_BT.to(device),
            _TAUGHT: acted_BT.to(device),
            _EPISODES: torch.arange(size[0], device=device),
            _KEPT: torch.tensor(list(kept), device=device),
            _RETURNS: torch.tensor([one.return_ for one in outcomes], dtype=torch.float64, device=device),
        }
        if plan.reads_teacher:
            output[_TEACHER], read_B = self._read(prompts, completions, masks, episodes, asked, size)
            output[_TAUGHT] = output[_TAUGHT] & read_B.to(device)[:, None]
        if plan.method.injection != "aux" or plan.method.statistics is not None or plan.method.timing == "iteration":
            self._settle(output, plan)

    def _outcomes(self, episodes: list[PlayedEpisode], asked: list[Any]) -> list[EpisodeOutcome]:
        return [
            EpisodeOutcome(
                episode_id=row,
                group_id=row // self.num_generations,
                return_=episode.return_,
                failed=episode.failed,
                success=episode.success,
                turns=len(found),
            )
            for row, (episode, found) in enumerate(zip(episodes, asked, strict=True))
        ]

    def _read(
        self,
        prompts: list[list[int]],
        completions: list[list[int]],
        masks: list[list[int]],
        episodes: list[PlayedEpisode],
        asked: list[Any],
        size: torch.Size,
    ) -> tuple[Tensor, Tensor]:
        """The teacher's log-probs at the places of the student's, and the rows that it has read whole."""
        assert self._tails is not None
        rows, read = [], []
        longest = self.model.config.max_position_embeddings
        for prompt, completion, mask, episode, found in zip(prompts, completions, masks, episodes, asked, strict=True):
            blocks = self._blocks(episode, found)
            row = teacher_row(prompt, completion, mask, blocks or {}, *self._tails)
            fits = blocks is not None and len(row) <= longest
            # A row without its context goes along unread, so that every process makes as many passes.
            rows.append(row if fits else teacher_row(prompt, completion, mask, {}, *self._tails))
            read.append(fits)
        return self._log_probs_of(rows, size), torch.tensor(read)

    def _blocks(self, episode: PlayedEpisode, found: list[Any]) -> dict[int, list[int]] | None:
        """The context in front of each answer, by its number; None where it is not known or over its budget."""
        assert self._tails is not None
        blocks: dict[int, list[int]] = {}
        for number, (state, _) in enumerate(found if self._teacher.every_turn else found[:1]):
            if state is None:
                continue
            decision = episode.decisions[state]
            text = self._teacher.episode_block(decision.privileged, decision.view)
            if text is None:
                return None
            gap = self._tails[min(number, 1)].gap
            ids = self._renderer.encode_text(("\n" if gap else "\n\n") + text + gap) if text else []
            if len(ids) > self.method_options.teacher_budget:
                return None
            blocks[number] = ids
        return blocks

    def _log_probs_of(self, rows: list[TeacherRow], size: torch.Size) -> Tensor:
        """T ``[B, T]`` of rows, at the places of the student's tokens."""
        device = self.accelerator.device
        front, behind = max(len(row.prompt_ids) for row in rows), max(len(row.completion_ids) for row in rows)
        ids = torch.full((len(rows), front + behind), self._tokenizer.pad_token_id)
        seen = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            own = slice(front - len(row.prompt_ids), front + len(row.completion_ids))
            ids[number, own] = torch.tensor(row.prompt_ids + row.completion_ids)
            seen[number, own] = 1
        logprobs, _, _ = self._get_per_token_logps_and_entropies(
            self.model, ids.to(device), seen.to(device), behind, batch_size=self.args.per_device_train_batch_size
        )
        placed = torch.zeros(size, dtype=logprobs.dtype, device=device)
        for number, row in enumerate(rows):
            placed[number, : len(row.places)] = logprobs[number, row.places]
        return placed

    def _settle(self, output: dict[str, Any], plan: IterationPlan) -> None:
        """What the method must know of all rows before the first update, and O where TRL would do without."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        seen = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        behaviour, entropies, _ = self._get_per_token_logps_and_entropies(
            self.model,
            ids,
            seen,
            output["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
            compute_entropy=True,
        )
        output.setdefault("old_per_token_logps", behaviour)
        batch = self._batch(output)
        batch.entropy_BT = entropies
        weights = settle(plan, batch)
        self._statistics = dict(batch.statistics)
        if weights is not None:
            output[_WEIGHTS] = weights

    # The loss.

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if torch.is_grad_enabled():
            self._live = found[:2]
        return found

    def _batch(self, inputs: dict[str, Any]) -> TokenBatch:
        """The tensors of a micro-batch as this suite names them; S, and O where it is S, are not known yet."""
        mask = inputs["completion_mask"].bool()
        if "tool_mask" in inputs:
            mask = mask & inputs["tool_mask"].bool()
        behaviour = inputs.get("old_per_token_logps")
        advantages = inputs["advantages"]
        batch = TokenBatch(
            mask_BT=mask,
            behaviour_BT=torch.zeros(mask.shape, device=mask.device) if behaviour is None else behaviour,
            advantages_BT=advantages[:, None].expand(mask.shape) if advantages.dim() == 1 else advantages,
            turn_ids_BT=inputs[_TURNS],
            episode_ids_B=inputs[_EPISODES],
            group_ids_B=inputs[_EPISODES] // self.num_generations,
            invalid_BT=inputs[_INVALID],
            kept_B=inputs[_KEPT],
            returns_B=inputs[_RETURNS],
            weights_BT=inputs.get(_WEIGHTS),
            statistics=self._statistics,
            step=self._plan.step,
            seed=self._plan.seed,
        )
        if _TEACHER in inputs:
            batch.teachers["teacher"] = inputs[_TEACHER]
            batch.teacher_mask_BT = mask & inputs[_TAUGHT]
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if _TURNS not in inputs:  # an evaluation, or a method that injects nothing now
            if self.method.pg_coef != 1.0:
                inputs = {**inputs, "advantages": self.method.pg_coef * inputs["advantages"]}
            loss: Tensor = super()._compute_loss(model, inputs)
            return loss
        plan, batch = self._plan, self._batch(inputs)
        auxiliary = plan.method.injection == "aux"
        # The clipped loss is homogeneous in A, so that a coefficient of it may stand there.
        advantages = batch.advantages_BT if auxiliary else apply(plan, batch).advantages_BT
        loss = super()._compute_loss(model, {**inputs, "advantages": plan.method.pg_coef * advantages})
        if not auxiliary:
            return loss
        assert self._live is not None
        batch.student_BT, batch.entropy_BT = self._live
        self._live = None
        if "old_per_token_logps" not in inputs:
            batch.behaviour_BT = batch.student_BT.detach()  # the policy that sampled, before its first update
        injected = apply(plan, batch)
        assert injected.extra_BT is not None and injected.weight_BT is not None and injected.signal_BT is not None
        self._log("signal", injected.signal_BT, batch.taught_BT)
        self._log("weight", injected.weight_BT, batch.taught_BT)
        # Divided as TRL divides its own loss: by the tokens of the whole step.
        normaliser = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        normaliser = normaliser * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        loss = loss + losses.select(batch.mask_BT, injected.extra_BT).sum() / normaliser
        return loss

    def _log(self, name: str, values_BT: Tensor, where_BT: Tensor) -> None:
        totals = torch.stack([losses.select(where_BT, values_BT).sum().float(), where_BT.sum().float()])
        total, count = self.accelerator.reduce(totals, reduction="sum").tolist()
        self._metrics["train"][f"distill/{name}"].append(total / max(count, 1.0))
