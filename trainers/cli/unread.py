"""Options that were asked for and that a run does not read: said before it starts, since nobody would notice after.

They are no mistake: arms of a comparison may share a command line. So they are told and not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from agents.teacher import split_privilege

if TYPE_CHECKING:
    from ..config import SDARConfig
    from ..method import Method

COEFFICIENT = ("distill_coef", "distill_decay")
OF_ADVANTAGES = (
    *("advantage", "advantage_unit", "scale_rewards", "gigpo_gamma", "gigpo_weight", "gigpo_similarity"),
    *("epsilon", "epsilon_high", "delta", "invalid_action_penalty", "invalid_action_placement"),
)
OF_LEARNING = ("learning_rate", "max_steps", "tasks_per_step", "num_generations", "num_mini_batches", "beta")


def unread(config: SDARConfig, given: Iterable[str]) -> list[str]:
    """One sentence for each reason for which options of `given` are not read, and one for a teacher that never speaks.

    Args:
        config: The whole configuration.
        given: Names of the options that somebody asked for.
    """
    from ..methods import METHODS, coefficient

    method = METHODS[config.method]
    asked = dict.fromkeys(given)
    said: list[str] = []
    for names, why in _reasons(config, method):
        # An option is told of once, with the first reason.
        found = [name for name in names if name in asked]
        for name in found:
            del asked[name]
        if found:
            said.append(f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} not read: {why}")
    coefs = [coefficient(method, config, step) for step in range(config.max_steps)]
    if method.injection != "none" and config.distill_coef != 0.0 and coefs and not any(coefs):
        said.append(
            f"the coefficient of method {method.name!r} is 0 in all {config.max_steps} iterations "
            f"({method.schedule}), so the run is its backbone: distill_decay=0 keeps it"
        )
    return said


def _reasons(config: SDARConfig, method: Method) -> Iterator[tuple[Iterable[str], str]]:
    """Options that the run does not read, with the reason."""
    from ..methods import METHODS, learns

    row = f"method {method.name!r}"
    if not learns(method):
        yield (*COEFFICIENT, *OF_LEARNING, *OF_ADVANTAGES), f"{row} has no iterations"
    others = {name for each in METHODS.values() for name in each.options} - set(method.options)
    if "divergence" in method.options and config.divergence != "jsd":
        yield ("divergence_alpha",), f"divergence is {config.divergence}, and alpha belongs to jsd"
    yield sorted(others), f"`sdar methods {method.name}` has what {row} reads"
    if method.injection == "none":
        yield COEFFICIENT, f"{row} adds nothing that has a coefficient"
    if method.pg_coef == 0.0:
        yield OF_ADVANTAGES, f"{row} has no policy gradient, and with it no advantages"
    estimator = method.advantage or config.advantage
    if estimator != "gigpo":
        yield ("gigpo_gamma", "gigpo_weight", "gigpo_similarity"), f"the advantage is {estimator}"
    if estimator == "rloo":
        yield ("scale_rewards",), "rloo divides by no deviation"
    if config.invalid_action_penalty == 0.0:
        yield ("invalid_action_placement",), "invalid_action_penalty is 0"
    if config.beta == 0.0:
        yield ("kl_estimator", "kl_placement", "use_bias_correction_kl"), "beta is 0"
    elif config.kl_placement == "advantage":
        yield ("kl_estimator", "use_bias_correction_kl"), "in the advantage the KL is k1; they only shape its figure"
    if config.mini_batch_rows is not None:
        yield ("num_mini_batches",), "mini_batch_rows is set"
    if config.optim == "sgd":
        yield ("adam_beta1", "adam_beta2", "adam_epsilon"), "optim is sgd"
    if config.retrieval != "ucb":
        yield ("ucb_c", "ucb_reward"), f"retrieval is {config.retrieval}"
    if not method.teacher_views:
        yield ("teacher_combine",), f"{row} reads no teacher"
    elif len(split_privilege(config.privilege)) == 1:
        yield ("teacher_combine",), f"privilege={config.privilege} is one context, and nothing is to be combined"
