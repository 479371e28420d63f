"""Options of games of several roles: which seats learn, which have a teacher, and who sits in the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option
from .reading import LEARNING, SEATS

# Words for every role of a game.
EVERY_ROLE = ("both", "all")

_option = partial(option, group="seats", omit_at_default=True)


@dataclass(frozen=True, kw_only=True)
class SeatOptions(OptionGroup):
    """A game's seats in training. Without `roles` an environment's own seat is trained, as in any other world."""

    roles: tuple[str, ...] = _option(
        (), "roles of a game that learn, with shared weights; both (or all) for every role", read=(LEARNING,)
    )
    teach_roles: tuple[str, ...] = _option(
        (), "roles that learn from a teacher as well; none is all that learn", read=(LEARNING, SEATS)
    )
    opponents: tuple[str, ...] = _option(
        ("limiter",),
        "who sits in the seats that do not learn, drawn once per group: names of scripted players, or model:PATH of a "
        "frozen model or run",
        read=(LEARNING, SEATS),
    )

    def teaches(self, role: str) -> bool:
        """Whether a role that learns has a teacher."""
        return not self.teach_roles or role in self.teach_roles or any(name in EVERY_ROLE for name in self.teach_roles)

    def check(self) -> None:
        """Refuse a game without opponents."""
        super().check()
        if self.roles and not self.opponents:
            raise ValueError(f"{type(self).__name__}.opponents: expected at least one name, got none")
