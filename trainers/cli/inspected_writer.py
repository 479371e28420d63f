"""Who writes a teacher's texts where a row is inspected: a model that was given, or a placeholder in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.hindsight import WRITTEN
from agents.teacher import split_privilege

if TYPE_CHECKING:
    from agents.sampling.base import Sample, SampleRequest

    from ..config import SDARConfig
    from ..rollout.policies import Policies

PLACEHOLDER = "here stands what the policy writes"


def writes_for_teacher(config: SDARConfig) -> bool:
    """Whether a teacher of this configuration reads what the policy writes, so that a model is needed to show it."""
    from ..methods import get_method

    views = get_method(config.method).teacher_views or ("teacher",)
    return bool({*views, *(split_privilege(config.privilege) if "teacher" in views else ())} & {*WRITTEN})


class Writer:
    """The sampler that writes a teacher's texts here: of a model, or a placeholder; remembers what was asked."""

    def __init__(self, policies: Policies, model: Any, config: SDARConfig) -> None:
        from agents.chat import end_ids
        from agents.sampling.local import BatchSampler

        self.asked: list[Sequence[int]] = []
        self._renderer = policies.renderer
        self._sampler = None
        if model is not None and policies.reflection is not None:
            limits = policies.reflection
            self._sampler = BatchSampler(
                model,
                end_ids=end_ids(policies.renderer, model),
                pad_id=policies.renderer.pad_id,
                temperature=config.temperature,
                max_completion_length=limits.tokens,
                max_context=limits.prompt + limits.tokens,
                decode=policies.renderer.decode,
            )

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """What the model writes, or the placeholder, for each request."""
        from agents.sampling.base import Sample

        self.asked += [request.prompt_ids for request in requests]
        if self._sampler is not None:
            return self._sampler.sample(requests)
        ids = tuple(self._renderer.encode_completion(PLACEHOLDER))
        return [Sample(ids, (0.0,) * len(ids), (0.0,) * len(ids), truncated=False) for _ in requests]

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots."""
        if self._sampler is not None:
            self._sampler.release(slots)


def said_of(privilege: str, told: Mapping[str, Any], turns: int, written: bool) -> str:
    """How a text that the policy writes came about here."""
    what = (
        f"these {turns} turns" if privilege == "reflection" else f"these {turns} turns and a second attempt by the plan"
    )
    if privilege not in told:
        instead = "the verdict on these turns" if told else "nothing"
        return (
            f"NO TEXT of {privilege}: there was none to write (all attempts end alike), or what the model wrote is of "
            f"no use; the teacher is told {instead}"
        )
    if written:
        return f"the text of {privilege} was written by this model, on {what}; in a run it is on whole episodes"
    return (
        f"the text of {privilege} is a placeholder, since no model is loaded: --model with a run directory or a model "
        "has it written"
    )
