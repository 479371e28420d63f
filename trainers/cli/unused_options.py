"""Options that somebody asked for and that a run does not read: reported before it starts, and never refused.

When an option is read stands in its field (`trainers.options.reading`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..options.option import options_of
from ..options.reading import unread_reason

if TYPE_CHECKING:
    from ..config import SDARConfig


def unread(config: SDARConfig, given: Iterable[str]) -> list[str]:
    """One sentence for each reason for which options of `given` are not read, and one for a teacher that never reads.

    Args:
        config: The whole configuration.
        given: Names of the options that somebody asked for.
    """
    from ..methods import get_method

    method = get_method(config.method)
    known, values = options_of(type(config)), config.to_dict()
    names_by_reason: dict[tuple[int, str], list[str]] = {}
    for name in dict.fromkeys(given):
        reason = unread_reason(name, known[name].metadata["read"], values, method) if name in known else None
        if reason is not None:
            names_by_reason.setdefault(reason, []).append(name)
    order = list(known)
    sentences = [
        f"{', '.join(sorted(names, key=order.index))} {'is' if len(names) == 1 else 'are'} not read: {why}"
        for (_, why), names in sorted(names_by_reason.items())
    ]
    coefs = [method.coefficient(step, config) for step in range(config.max_steps)]
    if method.injection != "none" and config.distill_coef != 0.0 and coefs and not any(coefs):
        sentences.append(
            f"the coefficient of method {method.name!r} is 0 in all {config.max_steps} iterations "
            f"({method.schedule}), so the run is its backbone: distill_decay=0 keeps it"
        )
    return sentences
