"""Mutants of important lines: each breaks one promise, and the tests named beside it must notice.

The list is our own, since a mutation tool would spend its hours on messages and defaults. A line stands here when its
break would make results wrong without any error: formulas, the wiring between them, counted randomness, the information
barrier, checkpoints. `original` occurs exactly once in its file (a test of the ordinary suite holds that).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken line: in `file`, `original` is replaced by `broken`; `tests` are what pytest is given."""

    name: str
    file: str
    original: str
    broken: str
    tests: tuple[str, ...]


def _mutant(name: str, file: str, original: str, broken: str, *tests: str) -> Mutant:
    return Mutant(name, file, original, broken, tests)


LOSSES = "trainers/maths/losses.py"
SIGNALS = "trainers/maths/signals.py"
ADVANTAGES = "trainers/maths/advantages.py"
APPLY = "trainers/methods/apply.py"
METHOD = "trainers/methods/method.py"
OBJECTIVE = "trainers/methods/objective.py"
UPDATER = "trainers/engine/updater.py"
OPTIMIZERS = "trainers/engine/optimizers.py"
ADAPTERS = "trainers/engine/adapters.py"
HELD = "trainers/engine/held_weights.py"
IMPORTANCE = "trainers/maths/importance.py"
SCORER = "trainers/scoring/scorer.py"
ITERATION = "trainers/iteration.py"
DRAWS = "agents/sampling/draws.py"

T = "tests/trainers/"
LOSS_TESTS = (T + "test_losses.py",)
METHOD_TESTS = (T + "test_methods.py", T + "test_methods_core.py", T + "test_objective.py")
IMPORTANCE_TESTS = (T + "test_importance.py",)
ADAPTER_TESTS = (T + "test_adapters.py",)
LORA_RUNS = ("tests/integration/test_lora_runs.py",)
TEACHERS = ("tests/integration/test_teacher_weights.py",)
OLD_LOGPROBS = ("tests/integration/test_old_logprobs.py",)
MEMORY_OPTIONS = ("tests/integration/test_memory_options.py",)
VLLM = "agents/sampling/vllm/"
SERVER_TESTS = ("tests/agents/test_vllm_sampler.py",)
SERVER_RUNS = ("tests/integration/test_generation_server.py",)
WIRING = ("tests/integration/test_wiring.py", "tests/integration/test_trainer.py")

CURATE = (T + "test_curate.py",)
SFT = ("tests/integration/test_sft.py",)

MUTANTS: tuple[Mutant, ...] = (
    # --- stored episodes ---
    _mutant(
        "curating keeps episodes of evaluations",
        "trainers/offline/filters.py",
        'if episode.phase != "train":',
        'if episode.phase == "valid":',
        *CURATE,
    ),
    _mutant(
        "a curated turn carries what a teacher computed",
        "trainers/offline/stored.py",
        '"reward", "messages")',
        '"reward", "messages", "tokens")',
        *CURATE,
    ),
    _mutant(
        "the longest of a task's episodes are kept",
        "trainers/offline/filters.py",
        "episodes[at].turns, at))",
        "-episodes[at].turns, at))",
        *CURATE,
    ),
    _mutant(
        "tokens of stored episodes count as sampled",
        ITERATION,
        'metrics["tokens/stored"] = metrics.pop("tokens/sampled")',
        'metrics["tokens/stored"] = metrics["tokens/sampled"]',
        *SFT,
    ),
    _mutant(
        "a pass over stored episodes repeats the order of the first",
        "trainers/offline/supervised.py",
        'counted_generator("stored episodes", self.seed, number)',
        'counted_generator("stored episodes", self.seed)',
        *SFT,
    ),
    # --- successors, and texts of the iteration's own episodes ---
    _mutant(
        "hindsight: an episode's own success is shown to its teacher",
        "trainers/rollout/hindsight.py",
        "if own != number]",
        "if own >= 0]",
        T + "test_hindsight.py",
    ),
    _mutant(
        "hindsight: texts are made of the episodes of an evaluation",
        SCORER,
        "hindsight_of(rollouts, reader.privilege) if self.for_update else [None] * len(rollouts)",
        "hindsight_of(rollouts, reader.privilege)",
        "tests/integration/test_hindsight_runs.py",
    ),
    _mutant(
        "reflection: a text that is of no use is told to the teacher",
        "trainers/rollout/reflecting.py",
        'answers[place] = "" if flaw else text',
        "answers[place] = text",
        T + "test_reflecting.py",
    ),
    _mutant(
        "reflection: the draws of two iterations are the same",
        "trainers/rollout/reflecting.py",
        "(*rollout.task.draw, NOTE, step),",
        "(*rollout.task.draw, NOTE),",
        T + "test_reflecting.py",
    ),
    _mutant(
        "reflection: the policy is told what only a planner knows",
        "trainers/rollout/reflecting.py",
        'rollout.episode, self.options.reflection_reads == "verdict"',
        "rollout.episode, True",
        T + "test_reflecting.py",
    ),
    _mutant(
        "reflection: a guide is made for groups with one outcome",
        "trainers/rollout/reflecting.py",
        "if len({rollouts[number].episode.success for number in group}) == 2]",
        "if len(group) > 1]",
        T + "test_reflecting.py",
    ),
    _mutant(
        "reflection: its tokens are not counted in the run's",
        "trainers/run/summary.py",
        'kinds = ("tokens/sampled", "tokens/replaced", "tokens/reflection")',
        'kinds = ("tokens/sampled", "tokens/replaced")',
        "tests/integration/test_reflection_runs.py",
    ),
    _mutant(
        "GSPO: the ratio of a row is the product of its tokens' and no mean",
        LOSSES,
        "difference.sum(-1, keepdim=True) / mask_BT.sum(-1, keepdim=True).clamp(min=1)",
        "difference.sum(-1, keepdim=True)",
        T + "test_sequence_ratio.py",
    ),
    _mutant(
        "rlrt: the reversed signal acts on failures too",
        "trainers/methods/multipliers.py",
        "torch.where(batch.kept_B[:, None], ratio_BT, torch.ones_like(ratio_BT))",
        "ratio_BT",
        T + "test_methods_multipliers.py",
    ),
    _mutant(
        "grsd: groups share one scale",
        "trainers/methods/multipliers.py",
        "mean_within(signal_K.abs(), group_K)",
        "mean_within(signal_K.abs(), torch.zeros_like(group_K))",
        T + "test_methods_multipliers.py",
    ),
    _mutant(
        "divergence: the shares of student and teacher in the target are exchanged",
        "trainers/maths/divergences.py",
        "(1.0 - share) * student_NV.detach() + share * teacher_NV.detach()",
        "share * student_NV.detach() + (1.0 - share) * teacher_NV.detach()",
        T + "test_divergences.py",
    ),
    _mutant(
        "mentions: what the student has read counts as a mention",
        "trainers/evaluation/diversity.py",
        "secret - set().union(*(_runs(text, words) for text in read))",
        "secret",
        T + "test_diversity.py",
    ),
    # --- worlds of several roles ---
    _mutant(
        "haggle: the discount counts the offers of the side whose offer is taken",
        "sdar_envs/multiagent/haggle/game.py",
        "return self.table.discount ** (self.offers_made[proposer] - 1)",
        "return self.table.discount ** (self.offers_made[OTHER[proposer]] - 1)",
        "tests/envs/test_haggle_game.py",
    ),
    _mutant(
        "haggle: talk holds no quotation mark of its own",
        "sdar_envs/multiagent/haggle/game.py",
        "words=quotable(words)",
        "words=words",
        "tests/envs/test_haggle_game.py",
    ),
    _mutant(
        "pair: what is a robot's own is not carried over",
        "sdar_envs/multiagent/pair/house.py",
        "other.restore(shared_facts(self.games[role].snapshot()) | own_facts(other.snapshot()))",
        "other.restore(self.games[role].snapshot())",
        "tests/envs/test_pair_game.py",
    ),
    _mutant(
        "pair: the home is that of what the wish names, and not of what is wanted",
        "sdar_envs/multiagent/pair/game.py",
        "keys = [*keys, *stated]",
        "keys = [*keys, self._playing[0].target]",
        "tests/envs/test_pair_game.py",
    ),
    _mutant(
        "seat: what the others give before the next own turn is added up",
        "sdar_envs/multiagent/role.py",
        "gained += game.rewards[self.seat]",
        "gained = game.rewards[self.seat]",
        "tests/envs/test_multiagent_core.py",
    ),
    # --- formulas of the loss ---
    _mutant(
        "clip: lower bound",
        LOSSES,
        "torch.clamp(ratio, 1.0 - epsilon, 1.0 + high)",
        "torch.clamp(ratio, 1.0 - high, 1.0 + high)",
        *LOSS_TESTS,
    ),
    _mutant(
        "clip: pessimistic maximum",
        LOSSES,
        "loss = torch.maximum(free, bounded)",
        "loss = torch.minimum(free, bounded)",
        *LOSS_TESTS,
    ),
    _mutant(
        "dual clip only for negative advantages",
        LOSSES,
        "dual = (advantages < 0) & (loss > ceiling)",
        "dual = loss > ceiling",
        *LOSS_TESTS,
    ),
    _mutant(
        "advantages are detached",
        LOSSES,
        "advantages = select(mask_BT, advantages_BT.detach())",
        "advantages = select(mask_BT, advantages_BT)",
        *LOSS_TESTS,
        *METHOD_TESTS,
    ),
    _mutant(
        "k3 estimator",
        LOSSES,
        "value = bounded_exp(-difference) + difference - 1.0",
        "value = bounded_exp(difference) - difference - 1.0",
        *LOSS_TESTS,
    ),
    _mutant("k2 estimator", LOSSES, "value = 0.5 * difference.square()", "value = difference.square()", *LOSS_TESTS),
    _mutant(
        "global mean divides by the step's tokens",
        LOSSES,
        "return select(mask_BT, values_BT).sum() / max(float(denominator), 1.0)",
        "return select(mask_BT, values_BT).sum() / max(float(mask_BT.sum()), 1.0)",
        *LOSS_TESTS,
        T + "test_objective.py",
    ),
    # --- signals and weights ---
    _mutant(
        "gap: teacher minus student",
        SIGNALS,
        "return teacher_BT.detach() - student_BT.detach()",
        "return student_BT.detach() - teacher_BT.detach()",
        T + "test_signals.py",
        *METHOD_TESTS,
    ),
    _mutant(
        "gate is detached",
        SIGNALS,
        "return torch.sigmoid(beta * signal_BT.detach())",
        "return torch.sigmoid(beta * signal_BT)",
        T + "test_signals.py",
        *METHOD_TESTS,
    ),
    _mutant(
        "forward KL weight",
        SIGNALS,
        "weight = bounded_exp(gap_BT.detach()) - 1.0",
        "weight = bounded_exp(gap_BT.detach())",
        T + "test_signals.py",
    ),
    _mutant(
        "sign of the advantage in RLSD",
        SIGNALS,
        "bounded_exp(sign * gap_BT.detach())",
        "bounded_exp(gap_BT.detach())",
        T + "test_signals.py",
    ),
    _mutant(
        "mixture of teachers",
        SIGNALS,
        "return torch.logsumexp(teachers_VBT, dim=0) - math.log(teachers_VBT.shape[0])",
        "return torch.logsumexp(teachers_VBT, dim=0)",
        T + "test_signals.py",
        T + "test_teacher_views.py",
    ),
    # --- advantages ---
    _mutant(
        "sample standard deviation",
        ADVANTAGES,
        'std = float(own.std(ddof=1)) if scale_rewards == "group" else batch_std',
        'std = float(own.std(ddof=0)) if scale_rewards == "group" else batch_std',
        T + "test_advantages.py",
    ),
    _mutant(
        "leave one out",
        ADVANTAGES,
        "(own - own.mean()) * (len(own) / (len(own) - 1))",
        "(own - own.mean())",
        T + "test_advantages.py",
    ),
    _mutant(
        "broken episodes leave the statistics",
        ADVANTAGES,
        "keep = [not outcomes[episode].failed for episode in member_episodes]",
        "keep = [True for episode in member_episodes]",
        T + "test_advantages.py",
    ),
    _mutant(
        "penalty for invalid actions",
        ADVANTAGES,
        "charge = 0.0 if at_baseline else penalty",
        "charge = 0.0",
        T + "test_advantages.py",
    ),
    _mutant(
        "a group of one has no advantage",
        ADVANTAGES,
        "        values[members] = 0.0\n",
        "        pass\n",
        T + "test_advantages.py",
    ),
    _mutant(
        "GiGPO compares steps of one group",
        ADVANTAGES,
        "states += [(row.group_id, anchor) for anchor in row.anchor_ids]",
        "states += [(0, anchor) for anchor in row.anchor_ids]",
        T + "test_gigpo.py",
    ),
    _mutant(
        "discount of step returns",
        "trainers/maths/step_groups.py",
        "returns[k] += gamma * returns[k + 1]",
        "returns[k] += returns[k + 1]",
        T + "test_gigpo.py",
    ),
    _mutant(
        "shaping telescopes",
        "trainers/maths/plan_progress.py",
        "return [after - before for before, after in pairwise(potentials_K1)]",
        "return [after for before, after in pairwise(potentials_K1)]",
        T + "test_plan_progress.py",
    ),
    # --- methods ---
    _mutant(
        "auxiliary term holds the coefficient",
        APPLY,
        "injected.extra_BT = coef * losses.weighted_score(batch.live_student(), weight, where)",
        "injected.extra_BT = losses.weighted_score(batch.live_student(), weight, where)",
        *METHOD_TESTS,
    ),
    _mutant(
        "multiplier keeps the rest of the advantage",
        APPLY,
        "factor = torch.where(where, (1.0 - coef) + coef * weight, 1.0)",
        "factor = torch.where(where, coef * weight, 1.0)",
        *METHOD_TESTS,
    ),
    _mutant(
        "unread tokens keep their advantage",
        APPLY,
        "factor = torch.where(where, (1.0 - coef) + coef * weight, 1.0)",
        "factor = (1.0 - coef) + coef * weight",
        *METHOD_TESTS,
    ),
    _mutant(
        "weights of an iteration are taken with O",
        APPLY,
        "batch.student_BT = batch.behaviour_BT",
        "batch.student_BT = torch.zeros_like(batch.behaviour_BT)",
        T + "test_methods_successors.py",
        T + "test_methods_core.py",
    ),
    _mutant(
        "weights of an iteration reach the update",
        APPLY,
        'if method.timing == "iteration" and batch.weights_BT is not None:',
        'if method.timing == "never" and batch.weights_BT is not None:',
        T + "test_methods_core.py",
        T + "test_methods_successors.py",
    ),
    _mutant(
        "schedule of the coefficient",
        METHOD,
        "return base * self.schedule_for(options)(step)",
        "return base",
        T + "test_methods_core.py",
        T + "test_methods.py",
    ),
    _mutant(
        "a coefficient of 0 asks no teacher",
        METHOD,
        'teacher = bool(method.teacher_views) and method.injection != "none" and counts',
        'teacher = bool(method.teacher_views) and method.injection != "none"',
        *METHOD_TESTS,
        T + "test_off_switches.py",
    ),
    _mutant(
        "the reference is read where the KL counts",
        METHOD,
        "reads_reference=options.beta != 0.0",
        "reads_reference=False",
        T + "test_methods.py",
        T + "test_objective.py",
    ),
    _mutant(
        "KL in the loss",
        OBJECTIVE,
        "total = total + options.beta * losses.global_mean(sampled(kl), mask, denominator)",
        "total = total + losses.global_mean(sampled(kl), mask, denominator)",
        T + "test_objective.py",
    ),
    _mutant(
        "KL in the advantage",
        OBJECTIVE,
        "advantages = advantages - options.beta * (batch.behaviour_BT - batch.reference_BT)",
        "advantages = advantages + options.beta * (batch.behaviour_BT - batch.reference_BT)",
        T + "test_methods.py",
    ),
    _mutant(
        "entropy is a bonus",
        OBJECTIVE,
        "total = total - options.entropy_coef * losses.global_mean(batch.entropy_BT, mask, denominator)",
        "total = total + options.entropy_coef * losses.global_mean(batch.entropy_BT, mask, denominator)",
        T + "test_methods.py",
    ),
    _mutant(
        "clones at most so many per task",
        "trainers/methods/filters.py",
        "flags[index] = left[group] >= 0",
        "flags[index] = True",
        T + "test_selection.py",
        T + "test_methods_information.py",
    ),
    # --- rows and batches ---
    _mutant(
        "a row ends where the prompt does not continue",
        "trainers/rollout/rows.py",
        "if not tokens.continues:",
        "if row is None:",
        T + "test_rows.py",
    ),
    _mutant(
        "loss positions of a later turn",
        "trainers/rollout/rows.py",
        "self.loss_positions.extend(range(len(self.ids), len(self.ids) + count))",
        "self.loss_positions.extend(range(len(self.ids) - 1, len(self.ids) + count - 1))",
        T + "test_rows.py",
    ),
    _mutant(
        "the teacher scores what was sampled",
        "trainers/rollout/rows.py",
        "if reading.view.sampled_ids() != sampled:",
        "if False:",
        T + "test_rows.py",
    ),
    _mutant(
        "truncated rows leave the loss",
        "trainers/batch/token_batch.py",
        "return not (mask_truncated and row.truncated)",
        "return True",
        T + "test_token_batch.py",
        T + "test_updater.py",
    ),
    _mutant(
        "tokens that were not read are outside the teacher's mask",
        "trainers/batch/token_batch.py",
        "batch.teacher_mask_BT = mask & read_B[:, None]",
        "batch.teacher_mask_BT = mask",
        *METHOD_TESTS,
    ),
    _mutant(
        "micro-batches hold every row once",
        "trainers/batch/token_batch.py",
        "wanted <= token_budget",
        "wanted <= token_budget + lengths[index]",
        T + "test_token_batch.py",
    ),
    # --- forward passes ---
    _mutant(
        "the state before a token predicts it",
        "trainers/forward/logprobs.py",
        "hidden_BLH.reshape(-1, hidden_BLH.shape[-1])[flat - 1]",
        "hidden_BLH.reshape(-1, hidden_BLH.shape[-1])[flat]",
        T + "test_logprobs.py",
    ),
    _mutant(
        "logits are divided by the temperature",
        "trainers/forward/logprobs.py",
        "logits_NV = logits_NV / temperature",
        "logits_NV = logits_NV * temperature",
        T + "test_logprobs.py",
    ),
    _mutant(
        "log-probs of the kept teacher at the temperature",
        "trainers/forward/distributions.py",
        "torch.log_softmax(head(hidden_NH[part]).float() / temperature, -1)",
        "torch.log_softmax(head(hidden_NH[part]).float(), -1)",
        T + "test_distributions.py",
    ),
    _mutant(
        "a row reads the keys and values of its own prompt",
        "trainers/forward/shared_prompts.py",
        "rows = torch.tensor(divided.prompt_of_row)",
        "rows = torch.tensor(divided.prompt_of_row) * 0",
        T + "test_shared_prompts.py",
    ),
    _mutant(
        "the rest of a row has the positions that follow its prompt",
        "trainers/forward/shared_prompts.py",
        "lengths_U[rows][:, None] + torch",
        "lengths_U[rows][:, None] * 0 + torch",
        T + "test_shared_prompts.py",
    ),
    _mutant(
        "padding of a shorter prompt is not seen",
        "trainers/forward/shared_prompts.py",
        "None if bool(real_UP.all()) else to_device(seen_BL.long(), device)",
        "None",
        T + "test_shared_prompts.py",
    ),
    # --- the wiring of an iteration ---
    _mutant(
        "the learning-rate schedule reaches the optimiser",
        OPTIMIZERS,
        '            group["lr"] = rate\n',
        "            pass\n",
        *WIRING,
    ),
    _mutant(
        "warm-up of the learning rate",
        UPDATER,
        "return rate * (step + 1) / options.warmup_steps",
        "return rate",
        T + "test_updater.py",
    ),
    _mutant(
        "the pass is in the key of mini-batches",
        UPDATER,
        "key=(plan.seed, plan.step, repeat)",
        "key=(plan.seed, plan.step, 0)",
        *WIRING,
    ),
    _mutant(
        "gradients are clipped",
        UPDATER,
        "norm = self.engine.clip(self.masters.masters, self.options.max_grad_norm)",
        'norm = self.engine.clip(self.masters.masters, float("inf"))',
        T + "test_updater.py",
    ),
    _mutant(
        "a non-finite gradient changes nothing",
        UPDATER,
        "        if math.isfinite(norm):\n            with step_scope",
        "        if True:\n            with step_scope",
        T + "test_updater.py",
    ),
    _mutant(
        "the denominator is the whole step's",
        UPDATER,
        "tokens = self.engine.sum_over_ranks(loss_tokens(rows, mask_truncated=mask_truncated))",
        "tokens = self.engine.sum_over_ranks(1.0)",
        T + "test_updater.py",
        T + "test_backbone.py",
    ),
    _mutant(
        "the reference policy scores the reference",
        SCORER,
        "values = self._pass_of_all(self.reference, rows)",
        "values = self._pass_of_all(self.live, rows)",
        *WIRING,
    ),
    _mutant(
        "the teacher reads its own prompt",
        SCORER,
        "picked = [views[place][name] for place in places]",
        "picked = [rows[place].student for place in places]",
        *WIRING,
        "tests/integration/test_method_runs.py",
    ),
    _mutant(
        "the sampler is told of new parameters",
        ITERATION,
        "        self.policies.sampler.sync_weights(engine.sampling_model(self.updater.root), plan.step + 1)\n",
        "",
        "tests/integration/test_sampler_handed_in.py",
    ),
    _mutant(
        "the coefficient is that of the iteration",
        ITERATION,
        "self.method.at(state.step, self.args)\n        clock",
        "self.method.at(0, self.args)\n        clock",
        "tests/integration/test_method_runs.py",
        *WIRING,
    ),
    _mutant(
        "resume brings back the optimiser",
        "trainers/run/run_state.py",
        "    load_optimizer_state(updater.optimizer, named, checkpoint",
        "    (lambda *_: None)(updater.optimizer, named, checkpoint",
        "tests/integration/test_resume.py",
    ),
    _mutant(
        "a changed checkpoint is refused",
        "trainers/engine/checkpoint.py",
        'if _sha256(folder / name) != expected["sha256"]:',
        "if False:",
        T + "test_checkpoint.py",
    ),
    # --- tasks, sampling, evaluation ---
    _mutant(
        "the turn is in the key of a sampling draw",
        "agents/chat.py",
        '(*view.draw, "sample", view.turn)',
        '(*view.draw, "sample")',
        *WIRING,
    ),
    _mutant(
        "the member is in the key of an episode",
        "trainers/rollout/tasks.py",
        'TaskDraw(task, ("train", seed, step, group, member), group, member)',
        'TaskDraw(task, ("train", seed, step, group), group, member)',
        *WIRING,
        T + "test_rollout.py",
    ),
    _mutant(
        "inverse CDF",
        DRAWS,
        "targets = uniforms.clamp(max=_UNDER) * sums[:, -1]",
        "targets = (1 - uniforms).clamp(max=_UNDER) * sums[:, -1]",
        "tests/agents/test_sampler.py",
    ),
    _mutant(
        "sampled log-probs are at the temperature",
        DRAWS,
        "log_softmax(logits.float() / temperatures[:, None], dim=-1)",
        "log_softmax(logits.float(), dim=-1)",
        "tests/agents/test_sampler.py",
    ),
    _mutant(
        "valid_unseen means test",
        "sdar_envs/core.py",
        '"valid_unseen": "test"',
        '"valid_unseen": "valid"',
        "tests/integration/test_wiring.py",
    ),
    _mutant(
        "Wilson's centre",
        "trainers/evaluation/intervals.py",
        "centre = (rate + z * z / (2 * episodes)) / scale",
        "centre = rate",
        T + "test_intervals.py",
    ),
    _mutant(
        "clusters widen an interval",
        "trainers/evaluation/intervals.py",
        "residuals[cluster] = residuals.get(cluster, 0.0) + outcome - mean",
        "residuals[cluster, len(residuals)] = outcome - mean",
        T + "test_intervals.py",
    ),
    _mutant(
        "broken episodes are in no rate",
        "trainers/evaluation/evaluate.py",
        "played = [episode for episode in episodes if not episode.failed]",
        "played = list(episodes)",
        T + "test_evaluation.py",
    ),
    _mutant(
        "an evaluation set that was changed is refused",
        "trainers/evaluation/evaluation_set.py",
        "if stated != content_hash(content):",
        "if False:",
        T + "test_evaluation.py",
    ),
    _mutant(
        "the digest holds what changes the maths",
        "trainers/options/joined.py",
        'if option.metadata["maths"]',
        'if not option.metadata["maths"]',
        T + "test_config.py",
    ),
    _mutant(
        "an option that came later is in the digest away from its default",
        "trainers/options/joined.py",
        'option.metadata["omit_at_default"] and getattr(self, option.name) == option.default',
        'option.metadata["omit_at_default"]',
        T + "test_presets.py",
    ),
    _mutant(
        "thinking is asked for where the option says so",
        "agents/chat.py",
        "if ask_for_thinking is None else ask_for_thinking",
        "if ask_for_thinking is None else enable_thinking is not False",
        T + "test_policies.py",
    ),
    # --- sampler against trainer ---
    _mutant(
        "importance weights: the trainer's probability over the sampler's",
        IMPORTANCE,
        "difference = select(mask_BT, trainer_BT) - select(mask_BT, sampler_BT)",
        "difference = select(mask_BT, sampler_BT) - select(mask_BT, trainer_BT)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "importance weights: a sequence is the sum over its tokens",
        IMPORTANCE,
        "difference = difference.sum(-1, keepdim=True)",
        "difference = difference.mean(-1, keepdim=True)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "importance weights: truncation and masking",
        IMPORTANCE,
        'if action == "truncate" else torch.zeros_like(ratio)',
        "if True else torch.zeros_like(ratio)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "importance weights: 1 outside the mask",
        IMPORTANCE,
        "Correction(torch.where(mask_BT, weights, 1.0), ratio, capped)",
        "Correction(torch.where(mask_BT, weights, 0.0), ratio, capped)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "importance weights reach the policy gradient",
        OBJECTIVE,
        "losses.global_mean(sampled(plan.method.pg_coef * policy.loss_BT), mask, denominator)",
        "losses.global_mean(plan.method.pg_coef * policy.loss_BT, mask, denominator)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "importance weights reach the auxiliary term",
        OBJECTIVE,
        'if plan.method.injection == "divergence" else sampled(injected.extra_BT)',
        "if True else sampled(injected.extra_BT)",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "the difference of sampler and trainer is reported before the cap",
        IMPORTANCE,
        "ratios = correction.ratio_BT[mask_BT].double()",
        "ratios = correction.weights_BT[mask_BT].double()",
        *IMPORTANCE_TESTS,
    ),
    _mutant(
        "the correction is on where sampler and trainer differ",
        "trainers/scoring/old_logprobs.py",
        "return cls(recomputed, recomputed and not alike)",
        "return cls(recomputed, False)",
        *OLD_LOGPROBS,
    ),
    _mutant(
        "rows keep what the sampler said",
        "trainers/scoring/old_logprobs.py",
        "sampler_logprobs_T=row.behaviour_logprobs_T,",
        "sampler_logprobs_T=list(trainers[place]),",
        *OLD_LOGPROBS,
    ),
    # --- adapters, and what a teacher reads with ---
    _mutant(
        "a merge scales the product",
        ADAPTERS,
        "change = layer.scaling[_NAME] * (second @ first)",
        "change = second @ first",
        *ADAPTER_TESTS,
    ),
    _mutant(
        "adapters start from the seed",
        ADAPTERS,
        'counted_generator("lora", seed, name)',
        'counted_generator("lora", 0, name)',
        *ADAPTER_TESTS,
    ),
    _mutant(
        "the size of the change scales the product",
        ADAPTERS,
        "change += float(inner.clamp(min=0.0)) * layer.scaling[_NAME] ** 2",
        "change += float(inner.clamp(min=0.0)) * layer.scaling[_NAME]",
        *ADAPTER_TESTS,
    ),
    _mutant(
        "adapters come back on after a reading without them",
        ADAPTERS,
        "            layer.enable_adapters(True)",
        "            layer.enable_adapters(False)",
        *ADAPTER_TESTS,
    ),
    _mutant(
        "the reference reads with the adapters off",
        "trainers/engine/policies.py",
        "return PolicyWeights(root, partial(adapters_off, root.language_model))",
        "return PolicyWeights(root)",
        *LORA_RUNS,
    ),
    _mutant(
        "adapters have a learning rate of their own",
        "trainers/options/optimiser.py",
        "adapter_rate(LEARNING_RATE) if adapters else LEARNING_RATE",
        "LEARNING_RATE",
        *LORA_RUNS,
    ),
    _mutant(
        "a resume loads the adapters",
        "trainers/run/run_state.py",
        "        load_into(model, checkpoint.path)",
        "        pass",
        *LORA_RUNS,
    ),
    _mutant(
        "an average keeps its share and takes the rest",
        HELD,
        "1.0 - self.decay)",
        "self.decay)",
        T + "test_held_weights.py",
    ),
    _mutant(
        "the average goes on after every iteration",
        UPDATER,
        "            self.average.update()",
        "            pass",
        *TEACHERS,
    ),
    _mutant(
        "a resume loads the average",
        "trainers/run/run_state.py",
        'updater.average.load(load_file(checkpoint.path / f"{AVERAGE}.safetensors"))',
        "pass",
        *TEACHERS,
    ),
    _mutant(
        "the teacher's parameters read for the teacher",
        SCORER,
        "values = self._pass(self.teacher, picked)",
        "values = self._pass(self.live, picked)",
        *TEACHERS,
    ),
    # --- what trades memory for something else ---
    _mutant(
        "masters are left out only where that was asked for",
        UPDATER,
        'separate_masters=options.master_weights != "none"',
        "separate_masters=False",
        *MEMORY_OPTIONS,
    ),
    _mutant(
        "optimiser state rests in host memory",
        OPTIMIZERS,
        "            self._move(to_host=True)",
        "            self._move(to_host=False)",
        *MEMORY_OPTIONS,
    ),
    _mutant(
        "tokens of a pass that somebody chose are kept",
        "trainers/engine/single.py",
        ' or parameters <= LARGE_ON_CPU or options.was_given("micro_batch_tokens")',
        " or parameters <= LARGE_ON_CPU",
        *MEMORY_OPTIONS,
    ),
    _mutant(
        "freed blocks go back only where memory is scarce",
        "trainers/engine/single.py",
        'if self.device.type == "cpu" and memory_is_scarce(parameters, host_bytes()):',
        'if self.device.type == "cpu":',
        "tests/trainers/test_memory.py",
    ),
    _mutant(
        "the weights of an engine on the CPU lie by input",
        "trainers/engine/single.py",
        "            lay_out_for_few_rows(model)\n",
        "            pass\n",
        "tests/trainers/test_weight_layout.py",
    ),
    _mutant(
        "a weight shared with the embedding lies by token",
        "trainers/engine/weight_layout.py",
        "and id(module.weight) not in embedded",
        "",
        "tests/trainers/test_weight_layout.py",
    ),
    # --- the generation server ---
    _mutant(
        "samples are handed out after the server has said what it holds",
        VLLM + "sampler.py",
        'why = "it does not know them" if samples is None else self.difference()',
        'why = "it does not know them" if samples is None else None',
        *SERVER_TESTS,
    ),
    _mutant(
        "what was drawn before weights were sent again is drawn again",
        VLLM + "stream.py",
        "if answer is None or answer.sending != self._sampler.sending:",
        "if answer is None:",
        *SERVER_TESTS,
    ),
    _mutant(
        "every member of a group has a seed of its own",
        VLLM + "protocol.py",
        'counted_generator("generation server", *draw)',
        'counted_generator("generation server", draw[0])',
        *SERVER_TESTS,
    ),
    _mutant(
        "keys and values of older weights are forgotten",
        VLLM + "weights.py",
        "        empty_prefix_cache(self._client)\n",
        "",
        *SERVER_TESTS,
    ),
    _mutant(
        "the server is asked once more before an iteration learns",
        ITERATION,
        "        generation_server.confirm(self.policies.sampler)\n",
        "",
        *SERVER_RUNS,
    ),
    _mutant(
        "an entropy that a server does not say is no number",
        "trainers/rollout/rows.py",
        "() if any(map(math.isnan, self.entropies_T)) else self.entropies_T",
        "self.entropies_T",
        *SERVER_RUNS,
    ),
    # --- environments that break ---
    _mutant(
        "a replay that differs is no replay",
        "trainers/rollout/workers/slots.py",
        "            if digest != episode.digests[turn]:",
        "            if False:",
        T + "test_workers.py",
    ),
    _mutant(
        "what a lost worker held is replayed",
        "trainers/rollout/workers/slots.py",
        "if episode.generation != self._pool.generation(episode.worker):",
        "if False:",
        T + "test_workers.py",
    ),
    _mutant(
        "answers to what was given up are nobody's",
        "trainers/rollout/workers/slots.py",
        "if self._episodes.get(slot) is not episode:",
        "if self._episodes.get(slot) is None:",
        T + "test_workers.py",
    ),
    _mutant(
        "a reward is a finite number",
        "trainers/rollout/replies.py",
        "    if not math.isfinite(number):",
        "    if False:",
        T + "test_replies.py",
    ),
    _mutant(
        "a failed episode stays failed though its environment had called it a success",
        "trainers/rollout/running.py",
        " and reason is not StopReason.FAILED",
        "",
        T + "test_rollout.py",
        T + "test_replies.py",
    ),
    _mutant(
        "a free slot is filled at once",
        "trainers/rollout/asynchronous.py",
        "            release([slot])\n        begin(slot)",
        "            release([slot])\n        if not beginning and not acting:\n            begin(slot)",
        T + "test_asynchronous.py",
    ),
    _mutant(
        "what is deterministic is collected in lockstep",
        "trainers/rollout/opening.py",
        "return on_gpu or not sampler.exact_draws",
        "return True",
        T + "test_asynchronous.py",
    ),
    # --- pretrained models ---
    _mutant(
        "a demonstrator without hints gets the public part of info alone",
        "trainers/warm_start/own_episodes.py",
        "shown = dict(info) if hinted else",
        "shown = dict(info) if True else",
        "tests/integration/test_tiny_for_any_environment.py",
    ),
    _mutant(
        "weights of another hash are refused",
        "trainers/warm_start/packaged_weights.py",
        "    if digest.hexdigest() != model.sha256:",
        "    if False:",
        "tests/integration/test_cli_packaged_models.py",
    ),
    _mutant(
        "demonstrations that fail are not cloned",
        "trainers/warm_start/demonstrations.py",
        "            if played_once.success or not successful:",
        "            if True:",
        T + "test_pretrained_start.py",
    ),
    _mutant(
        "micro-batches of a cloning step share its denominator",
        "trainers/warm_start/behaviour_cloning.py",
        "        total = sum(totals[1:], start=totals[0])",
        "        total = totals[0]",
        T + "test_pretrained_start.py",
    ),
    _mutant(
        "a warm start wants few malformed completions",
        "trainers/warm_start/pretrained_start.py",
        "            self.malformed <= config.malformed_high / share",
        "            True",
        T + "test_pretrained_start.py",
    ),
    _mutant(
        "a reason quotes a line that speaks of the action",
        "trainers/warm_start/demonstrations.py",
        'if lines and common[best] else ""',
        'if lines else ""',
        T + "test_pretrained_start.py",
    ),
    # --- the information barrier ---
    _mutant(
        "privileged knowledge has no text form",
        "sdar_envs/privileged.py",
        '    def __repr__(self) -> str:\n        return "<privileged>"',
        "    def __repr__(self) -> str:\n        return repr(self._fields)",
        "tests/envs/test_information_barrier.py",
    ),
    _mutant(
        "an agent is handed the privileged side only when it declares that",
        "trainers/rollout/collect.py",
        "if agent.reads_privileged else agent.act(views)",
        "if True else agent.act(views)",
        T + "test_rollout.py",
    ),
    _mutant(
        "a context over its budget is no complete reading",
        "agents/teacher.py",
        "complete = known and fits and max(sizes) <= self.budget_tokens",
        "complete = known and fits",
        "tests/agents/test_teacher.py",
    ),
)
