"""When an option is read: conditions that fields name, and the sentence for each that does not hold.

An option that was set and is not read is no error, since the methods of a comparison may share a command line. It is
reported before a run starts and never refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.hindsight import WRITTEN
from agents.teacher import split_privilege


class ReadingMethod(Protocol):
    """The attributes of a method that conditions read."""

    @property
    def name(self) -> str:
        """Its registered name."""
        ...

    @property
    def options(self) -> Sequence[str]:
        """The options that it reads beyond the common ones."""
        ...

    @property
    def injection(self) -> str:
        """Where its token weight enters."""
        ...

    @property
    def pg_coef(self) -> float:
        """Coefficient of the policy gradient."""
        ...

    @property
    def advantage(self) -> str | None:
        """Its own advantage estimator."""
        ...

    @property
    def teacher_views(self) -> Sequence[str]:
        """Names of the teacher's readings."""
        ...

    @property
    def teacher_weights(self) -> str:
        """The parameters of its teacher."""
        ...

    @property
    def learns(self) -> bool:
        """Whether the method can change a parameter."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A condition under which options are read.

    `why_not` takes all values by name and the method, and returns why the options that name the condition are not read;
    None where they are.
    """

    why_not: Callable[[Mapping[str, Any], ReadingMethod], str | None]


def _learning(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if method.learns else f"method {method.name!r} has no iterations"


def _jsd(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    if "divergence" not in method.options or values["divergence"] == "jsd":
        return None
    return f"divergence is {values['divergence']}, and alpha belongs to jsd"


def _injection(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return f"method {method.name!r} adds nothing that has a coefficient" if method.injection == "none" else None


def _policy_gradient(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    if method.pg_coef != 0.0:
        return None
    return f"method {method.name!r} has no policy gradient, and with it no advantages"


def _estimator(values: Mapping[str, Any], method: ReadingMethod) -> str:
    return str(method.advantage or values["advantage"])


def _gigpo(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    estimator = _estimator(values, method)
    return None if estimator == "gigpo" else f"the advantage is {estimator}"


def _deviation(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return "rloo divides by no deviation" if _estimator(values, method) == "rloo" else None


def _penalty(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return "invalid_action_penalty is 0" if values["invalid_action_penalty"] == 0.0 else None


def _kl(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return "beta is 0" if values["beta"] == 0.0 else None


def _kl_in_the_loss(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    if values["beta"] == 0.0 or values["kl_placement"] != "advantage":
        return None
    return "in the advantage the KL is k1; they only shape its metric"


def _mini_batches(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return "mini_batch_rows is set" if values["mini_batch_rows"] is not None else None


def _adamw(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return "optim is sgd" if values["optim"] == "sgd" else None


def _correction(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    if values["importance_sampling_correction"] is False or values["old_logprobs"] == "sampler":
        return "importance_sampling_correction is off"
    return None


def _lora(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if values["lora"] else "lora is off"


def _role_baseline(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    estimator = _estimator(values, method)
    return None if estimator == "rae" else f"the advantage is {estimator}"


def _seats(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if values["roles"] else "no role of a game learns (--roles)"


def _ucb(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if values["retrieval"] == "ucb" else f"retrieval is {values['retrieval']}"


def _teacher(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if method.teacher_views else f"method {method.name!r} reads no teacher"


def _averaged_teacher(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    chosen = values["teacher_weights"] or method.teacher_weights
    return None if chosen == "ema" else f"teacher_weights is {chosen}"


def _several_contexts(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    if not method.teacher_views:
        return f"method {method.name!r} reads no teacher"
    if len(split_privilege(values["privilege"])) == 1:
        return f"privilege={values['privilege']} is one context, and nothing is to be combined"
    return None


def _written_text(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    own = split_privilege(values["privilege"]) if "teacher" in method.teacher_views else ()
    if {*own, *method.teacher_views} & {*WRITTEN}:
        return None
    return f"the teacher reads nothing that the policy writes ({' or '.join(WRITTEN)})"


def _several_processes(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    # Not an option: a launcher says how many processes there are, and sets the variable in each.
    return "there is one process" if os.environ.get("WORLD_SIZE", "1") in ("", "1") else None


def _server(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if values["rollout"] == "vllm" else f"rollout is {values['rollout']}, and no server is asked"


def _on_one_card(values: Mapping[str, Any], method: ReadingMethod) -> str | None:
    return None if values["vllm_colocate"] else "vllm_colocate is off, and the server has a card of its own"


LEARNING = Condition(_learning)
JSD = Condition(_jsd)
INJECTION = Condition(_injection)
POLICY_GRADIENT = Condition(_policy_gradient)
GIGPO = Condition(_gigpo)
DEVIATION = Condition(_deviation)
PENALTY = Condition(_penalty)
KL = Condition(_kl)
KL_IN_THE_LOSS = Condition(_kl_in_the_loss)
MINI_BATCHES = Condition(_mini_batches)
ADAMW = Condition(_adamw)
CORRECTION = Condition(_correction)
LORA = Condition(_lora)
TEACHER = Condition(_teacher)
AVERAGED_TEACHER = Condition(_averaged_teacher)
UCB = Condition(_ucb)
SEATS = Condition(_seats)
ROLE_BASELINE = Condition(_role_baseline)
SEVERAL_CONTEXTS = Condition(_several_contexts)
WRITTEN_TEXT = Condition(_written_text)
SEVERAL_PROCESSES = Condition(_several_processes)
SERVER = Condition(_server)
ON_ONE_CARD = Condition(_on_one_card)


def _named(values: Mapping[str, Any], method: ReadingMethod) -> str:
    return f"`sdar methods {method.name}` has what method {method.name!r} reads"


# Options that only some methods read; each method lists its own in `Method.options`.
NAMED_BY_METHOD = Condition(_named)

# The order in which reasons are looked for: an option with several is reported with the first.
CONDITIONS = (
    LEARNING,
    JSD,
    NAMED_BY_METHOD,
    INJECTION,
    POLICY_GRADIENT,
    GIGPO,
    DEVIATION,
    PENALTY,
    KL,
    KL_IN_THE_LOSS,
    MINI_BATCHES,
    ADAMW,
    CORRECTION,
    LORA,
    TEACHER,
    AVERAGED_TEACHER,
    UCB,
    SEATS,
    ROLE_BASELINE,
    SEVERAL_CONTEXTS,
    WRITTEN_TEXT,
    SEVERAL_PROCESSES,
    SERVER,
    ON_ONE_CARD,
)


def unread_reason(
    name: str, conditions: Sequence[Condition], values: Mapping[str, Any], method: ReadingMethod
) -> tuple[int, str] | None:
    """Why an option is not read, with the rank of the reason; None where it is read.

    Args:
        name: The option.
        conditions: The conditions that its field names.
        values: All options by name.
        method: The method of the run.
    """
    for rank, condition in enumerate(CONDITIONS):
        if condition not in conditions or (condition is NAMED_BY_METHOD and name in method.options):
            continue
        reason = condition.why_not(values, method)
        if reason is not None:
            return rank, reason
    return None
