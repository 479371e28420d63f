"""From played episodes to a tiny model: the agents that word them, the tokenizer, the parameters, the cloning rows.

One path for the worlds of this suite (`warm_start`), for anybody's environment (`own_environment`), and for what
`sdar inspect` counts tokens with. How long cloning goes on, and what is measured, is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.sampling.scripted import ScriptedSampler
from sdar_envs.demonstrations import Demonstration
from sdar_envs.privileged import split_info

from .behaviour_cloning import Cloner, CloningConfig
from .demonstrations import (
    Advance,
    DemonstrationSource,
    demonstration_views,
    nothing,
    rendered_texts,
    success_rate_of,
)
from .tiny_model import TinyModelConfig, build_model, build_tokenizer, rare_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from ..evaluation.evaluation_set import EvaluationSet
    from ..options import Options
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import Policies, TeacherContext

WORDING_VOCABULARY = 512  # of the provisional tokenizer, with which agents only word prompts


def wording_policies(
    args: Options, source: EnvironmentSource, texts: Sequence[str], teacher_context: TeacherContext | None = None
) -> Policies:
    """The agents of a run without a model: they word prompts, before there is a tokenizer that they could count with.

    Args:
        args: Prompts and privilege.
        source: The environment.
        texts: What the provisional tokenizer is made of.
        teacher_context: A user's own function from info to what the teacher is shown.
    """
    from ..methods import METHODS
    from ..rollout.policies import make_policies

    provisional = build_tokenizer(texts, WORDING_VOCABULARY)
    # Evaluator and privileged-prompt policy do not depend on the method; grpo has the fewest parts.
    return make_policies(None, provisional, args, METHODS["grpo"], source, teacher_context, sampler=ScriptedSampler())


def tokenizer_from(
    demonstrations: Sequence[Demonstration],
    episodes: DemonstrationSource,
    worded: Policies,
    vocabulary: int,
    *,
    apart_below: float = 0.0,
) -> PreTrainedTokenizerFast:
    """The tokenizer of what the model will read and write.

    Args:
        demonstrations: Played episodes.
        episodes: Where they come from: names further texts, and the least vocabulary that they need.
        worded: The agents that word them (`wording_policies`).
        vocabulary: Tokens at most, unless `episodes` asks for more.
        apart_below: Words that less than this share of the demonstrations say are tokens of their own.
    """
    corpus = rendered_texts(demonstrations, worded.privileged_policy or worded.evaluator)
    said = [" ".join([*(view.observation for view in each.views), *each.actions]) for each in demonstrations]
    apart = rare_words(said, apart_below) if apart_below else ()
    return build_tokenizer([*corpus, *episodes.texts()], max(vocabulary, episodes.vocabulary), apart=apart)


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model from nothing with its tokenizer, the agents that it acts as, and the episodes that it was made of."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    policies: Policies
    demonstrations: Sequence[Demonstration]
    source: EnvironmentSource

    def cloner(self, config: CloningConfig, *, seed: int, advance: Advance = nothing) -> tuple[Cloner, float]:
        """What clones the episodes, and the tokens per row."""
        policies = self.policies
        views = demonstration_views(self.demonstrations, policies.evaluator, policies.privileged_policy, advance)
        cloner = Cloner(self.model, views, config, key=("warm-start", seed), pad_id=policies.renderer.pad_id)
        return cloner, round(sum(len(view.ids) for view in views) / len(views), 1)

    def success_rates(self, evaluation_set: EvaluationSet, advance: Advance = nothing) -> tuple[float, float | None]:
        """Success of the student and of the privileged-prompt policy; None for one that there is not."""
        from ..evaluation.evaluate import evaluate

        self.model.eval()
        policies = self.policies
        told = partial(advance, "measuring the student")
        student = evaluate(policies.evaluator, evaluation_set, source=self.source, advance=told).success_rate
        if policies.privileged_policy is None:
            return student, None
        seals = policies.seals_info
        told = partial(advance, "measuring the privileged-prompt policy")
        teacher = evaluate(
            policies.privileged_policy, evaluation_set, source=self.source, seal_info=seals, advance=told
        )
        return student, teacher.success_rate

    def facts(self) -> dict[str, Any]:
        """What is kept beside the model about what it was made of."""
        return {
            "demonstrations": len(self.demonstrations),
            "demonstration_success": {
                "hinted": success_rate_of(self.demonstrations, privileged=True),
                "unhinted": success_rate_of(self.demonstrations, privileged=False),
            },
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "vocabulary": len(self.tokenizer),
        }


def build_tiny(
    args: Options,
    source: EnvironmentSource,
    episodes: DemonstrationSource,
    demonstrations: Sequence[Demonstration],
    worded: Policies,
    size: TinyModelConfig,
    teacher_context: TeacherContext | None = None,
) -> BuiltModel:
    """Tokenizer, random parameters and agents, from played episodes; the same seed gives the same.

    Args:
        args: Seed, prompts, lengths and privilege.
        source: The environment.
        episodes: Where `demonstrations` come from.
        demonstrations: The played episodes.
        worded: The agents that word them.
        size: Of the model; the tokenizer is made by its `vocab_size` and `apart_below`.
        teacher_context: As for `wording_policies`.
    """
    from ..methods import METHODS
    from ..rollout.policies import make_policies

    tokenizer = tokenizer_from(demonstrations, episodes, worded, size.vocab_size, apart_below=size.apart_below)
    model = build_model(tokenizer, size, seed=args.seed)
    policies = make_policies(model, tokenizer, args, METHODS["grpo"], source, teacher_context)
    return BuiltModel(model, tokenizer, policies, demonstrations, source)


def require_room(source: EnvironmentSource, worded: Policies, max_prompt_length: int) -> None:
    """Refuse a length that not even a first prompt fits into, before minutes are spent on demonstrations.

    A tokenizer splits at blanks, so a text has at least as many tokens as words.

    Raises:
        NotTextError: The first observation is no text.
        ValueError: The first prompt of the first training task has more words than a prompt may have tokens.
    """
    from ..rollout.making import advance_or_say

    env = source.make("train")
    try:
        reply = advance_or_say(env, source.name, source.task_ids("train")[0], enumerates=source.enumerates_tasks)
    finally:
        env.close()
    view, _ = split_info(reply.observation, reply.info)
    words = sum(len(message["content"].split()) for message in worded.evaluator.style.opening(view))
    if words > max_prompt_length:
        raise ValueError(
            f"no prompt fits: the first of a task has more than {words} tokens, and max_prompt_length is "
            f"{max_prompt_length}: raise it"
        )
