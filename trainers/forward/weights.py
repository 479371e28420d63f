"""With which parameters a pass reads: a root module, and the scope in which its parameters are the wanted ones.

The reference policy and the teacher may be the live module with its adapters off, the live module with averaged
parameters in the place of its own, or a module of their own. Whoever scores enters the scope and calls the root, and
does not know which.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from .root import PolicyModel

Scope = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class PolicyWeights:
    """A policy to read with.

    Attributes:
        root: The module that is called.
        scope: Entered around every pass; passes of others must not run in it.
    """

    root: PolicyModel
    scope: Scope = nullcontext
