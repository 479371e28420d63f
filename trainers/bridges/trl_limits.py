"""What TRL's trainer cannot be given: methods that need what it has not, and settings whose sums would be others."""

from __future__ import annotations

from typing import Any

from agents.hindsight import HINDSIGHTS

from ..methods import METHODS, Method
from ..options import MethodOptions

VERSION = "1.16"  # of TRL, whose private methods are overridden; the extra `trl` brings it
VIEWS = ("teacher",)


def check_version(installed: str) -> None:
    """Refuse another release than the one whose private methods are overridden.

    Raises:
        ImportError: Always then, with the remedy.
    """
    if installed.split(".")[:2] != VERSION.split("."):
        raise ImportError(
            f"PrivilegedGRPOTrainer overrides private methods of trl {VERSION}, and trl {installed} is installed: "
            'pip install "sdar-gym[trl]"'
        )


def refusal(method: Method) -> str:
    """Why a method of the table cannot be carried out inside TRL's trainer, as a clause; "" where it can."""
    if not method.learns:
        return "it changes no parameter, and is only evaluated"
    if method.student_view == "privileged":
        return "its policy acts given the privileged prompt, and TRL plays with the prompt of the dataset alone"
    if method.injection == "divergence":
        return "it compares whole next-token distributions, and TRL computes log-probs of sampled tokens alone"
    if "plan" in method.needs:
        return "it reads how long the plan is at every turn, which is not carried through TRL's batches"
    if told := [view for view in method.teacher_views if view in HINDSIGHTS]:
        return f"its teacher reads {', '.join(told)}, and no text is made there of an iteration's own episodes"
    if others := [view for view in method.teacher_views if view not in VIEWS]:
        return f"it needs a second reading of the teacher ({', '.join(others)}), and one is made"
    if method.keep is not None and method.pg_coef == 0.0:
        return "episodes that it does not keep leave the update, and TRL divides by the tokens of all"
    if method.advantage is not None or "step_rewards" in method.needs:
        return "it has an advantage of its own, and TRL computes one per episode"
    if method.teacher_weights != "current":
        return f"its teacher has {method.teacher_weights} parameters, and the policy itself is asked"
    return ""


def looks_across_rows(method: Method) -> bool:
    """Whether it must see all rows of an iteration, which one process of several does not have."""
    return method.keep is not None or method.statistics is not None or method.timing == "iteration"


def check_method(method: Method, options: MethodOptions) -> None:
    """Refuse what cannot be carried out.

    Raises:
        ValueError: The message says why, and what can be chosen.
    """
    if why := refusal(method):
        others = ", ".join(name for name, other in METHODS.items() if not refusal(other))
        raise ValueError(
            f"PrivilegedGRPOTrainer: method {method.name!r} cannot be used, because {why}: choose one of {others}, or "
            "train it with SDARTrainer"
        )
    if method.teacher_weights_for(options) != "current":
        raise ValueError(
            f"PrivilegedGRPOTrainer: teacher_weights={options.teacher_weights!r} is expected to be current, since the "
            "policy itself is asked: train with SDARTrainer for others"
        )
    if options.privilege in HINDSIGHTS:
        raise ValueError(
            f"PrivilegedGRPOTrainer: privilege={options.privilege!r} is expected to be what the environment knows, "
            "since no text is made there of an iteration's own episodes: train with SDARTrainer for that"
        )
    if "+" in options.privilege:
        raise ValueError(
            f"PrivilegedGRPOTrainer: privilege={options.privilege!r} is expected to be one, since one reading of the "
            "teacher is made: train with SDARTrainer for several"
        )


def check_processes(method: Method, processes: int) -> None:
    """Refuse several processes for a method that looks at all rows of an iteration.

    Raises:
        ValueError: Always then.
    """
    if processes > 1 and looks_across_rows(method):
        raise ValueError(
            f"PrivilegedGRPOTrainer: method {method.name!r} is expected to be trained in one process, because it looks "
            f"at all rows of an iteration, got {processes}"
        )


# Setting of GRPOConfig -> the value it must have, and why.
_SETTINGS: dict[str, tuple[Any, str]] = {
    "loss_type": ("dapo", "it sums over the tokens of the whole step, as the methods' terms are defined"),
    "importance_sampling_level": ("token", "the methods' terms are per token"),
    "use_vllm": (False, "rows that vLLM sampled have not been tried"),
    "mask_truncated_completions": (False, "rows that it empties have not been tried"),
    "use_liger_kernel": (False, "it has not been tried"),
}


def check_settings(args: Any) -> None:
    """Refuse settings of TRL that the methods' terms have no meaning under, or have not been tried with.

    Args:
        args: The `GRPOConfig`.

    Raises:
        ValueError: The message says which, and why.
    """
    for name, (wanted, why) in _SETTINGS.items():
        if getattr(args, name) != wanted:
            raise ValueError(
                f"PrivilegedGRPOTrainer: GRPOConfig.{name} is expected to be {wanted!r} ({why}), got "
                f"{getattr(args, name)!r}"
            )
