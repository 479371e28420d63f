"""The rules of Haggle.

Shopper and seller speak in turns: ``offer <price>``, ``accept``, ``leave`` or ``wait``, each with words behind a colon
if they like. An offer beyond one's own limit is not understood, so nobody can lose: with a deal each side gets its
share of what both could gain together, times a discount for every further offer of the side whose offer was taken;
without one both get nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from ... import HAGGLE
from ...choices import require_bool, require_choice, require_number
from ...core import PublicFields, resolve_split
from ...privileged import PrivilegedFields, RetrievedSkills, copied_skills
from ...skills import RETRIEVALS, SkillBank
from ...task_ids import NumberedTaskIds
from ..game import TextGame
from .regularities import regularities, skill_key
from .tables import OTHER, REGULARITY, ROLES, SHOPPER, SIZE_TABLES, SIZES, SUCCESS_SHARE
from .tasks import GAME_ID, Bargain, make_bargain, task_ids
from .wording import (
    HINTS,
    NAMES,
    OFFER_TEMPLATE,
    OPENINGS,
    SENTENCES,
    Said,
    instruction,
    quotable,
    read,
)


@lru_cache(maxsize=256)
def skill_bank(role: str, size: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    """What a role's teacher retrieves from: statements about the other side's limits."""
    statements = regularities(size, world_seed).statements(role)
    return SkillBank.from_assets(HAGGLE.skill_folder, statements, stale=stale, stale_seed=stale_seed)


class Haggle(TextGame):
    """A bargain over one thing.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        size: ``small`` for tiny models: a grid of ten dollars and a regularity per kind of thing. ``full``: lots of the
            generated store at whole dollars, and a regularity per department.
        talk: Whether words behind a colon are passed on; without, they are read by nobody.
        regularity: Probability with which a task's limits follow the regularities.
        world_seed: Which regularities.
        stale: Corrupted share: of so many things the skill statements are wrong; the world does not change with it.
        stale_seed: Which things.
        retrieval: How the skills of the privileged side are chosen, see `SkillBank.retrieve`.
        horizon: Turns of each side until the game is truncated; by default the size's own.

    Attributes:
        bargain: The present task; None before the first.
        standing: The offer that each role could accept: the other's last one, in dollars, or None.
        price: The price of the deal, or None.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    game_id: ClassVar[str] = GAME_ID
    name: ClassVar[str] = "haggle_v0"
    roles: ClassVar[tuple[str, ...]] = ROLES

    def __init__(
        self,
        *,
        split: str = "train",
        size: str = "small",
        talk: bool = True,
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int | None = None,
    ) -> None:
        self.size = require_choice("size", size, SIZES, self.game_id)
        require_number("regularity", regularity, self.game_id, low=0, high=1)
        require_number("world_seed", world_seed, self.game_id, whole=True)
        require_bool("talk", talk, self.game_id)
        self.table = SIZE_TABLES[size]
        super().__init__(split=split, horizon=self.table.horizon if horizon is None else horizon)
        self.talk = talk
        self.regularity = regularity
        self.world_seed = world_seed
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, self.game_id)
        self._bank_of = (size, world_seed, stale, stale_seed)
        self.skill_bank(SHOPPER)  # a wrong `stale` is refused here
        self.bargain: Bargain | None = None
        self._reset_offers()

    def _reset_offers(self) -> None:
        self.standing: dict[str, int | None] = dict.fromkeys(ROLES)
        self.offers_made: dict[str, int] = dict.fromkeys(ROLES, 0)
        self.price: int | None = None
        self._shares: dict[str, float] = dict.fromkeys(ROLES, 0.0)
        self._skills: dict[str, RetrievedSkills] = {}

    @property
    def world_version(self) -> str:
        """The version of everything that scores depend on, scripted players included, see `version.py`."""
        from .version import world_version  # not needed to play

        return world_version(Haggle, self.size)

    def task_ids(self, split: str | None = None) -> NumberedTaskIds:
        """The task ids of a split, e.g. ``train:000123``; kinds of things come in turn."""
        return task_ids(self.split if split is None else resolve_split(split, self.game_id))

    def cluster_of(self, task_id: str) -> str:
        """The kind of thing in the small size, the product in the full one."""
        return self._bargain(task_id).cluster

    def skill_bank(self, role: str) -> SkillBank:
        """Statements about the other side's limits, and prose."""
        self._require_role(role)
        return skill_bank(role, *self._bank_of)

    def _bargain(self, task_id: str) -> Bargain:
        return make_bargain(task_id, size=self.size, world_seed=self.world_seed, regularity=self.regularity)

    def _begin(self, task_id: str) -> str:
        self.bargain = bargain = self._bargain(task_id)
        self._reset_offers()
        for role in ROLES:
            self.tell(role, instruction(bargain, role))
            self.tell(role, OPENINGS[role == bargain.opener])
        return bargain.opener

    @property
    def _playing(self) -> Bargain:
        assert self.bargain is not None, "no game is running"
        return self.bargain

    # Acting.

    def _act(self, role: str, text: str) -> bool:
        said = read(text)
        if said is None or not self._is_possible(role, said):
            self.tell(role, SENTENCES["not understood"])
            self._report(role, "silence")
            return False
        other = OTHER[role]
        if said.action == "offer":
            self.offers_made[role] += 1
            self.standing[other] = said.price
            self._report(role, "offer", price=said.price)
        elif said.action == "wait":
            self._report(role, "silence")
        self._pass_on(role, said.words)
        if said.action == "leave":
            self._report(role, "leave")
            self._end(None)
        elif said.action == "accept":
            self._end(self.standing[role], proposer=other)
        return True

    def _is_possible(self, role: str, said: Said) -> bool:
        if said.action == "accept":
            standing = self.standing[role]
            return standing is not None and self._is_within(role, standing)
        if said.action != "offer":
            return True
        on_grid = self.table.relative or said.price % self.table.level == 0
        return self.offers_made[role] < self.table.offers and on_grid and self._is_within(role, said.price)

    def _is_within(self, role: str, price: int) -> bool:
        limit = self._playing.limit(role)
        return price <= limit if role == SHOPPER else price >= limit

    def _report(self, role: str, what: str, **values: int) -> None:
        """Tell the other side what a role did."""
        self.tell(OTHER[role], SENTENCES[what].format(who=NAMES[role], **values))

    def _pass_on(self, role: str, words: str) -> None:
        if words and self.talk:
            self.tell(OTHER[role], SENTENCES["talk"].format(who=NAMES[role], words=quotable(words)))

    def _end(self, price: int | None, proposer: str = "") -> None:
        self.over = True
        self.price = price
        if price is not None:
            for role in ROLES:
                self._shares[role] = self.rewards[role] = self._share(role, price, proposer)
        for role in ROLES:
            self.tell(role, SENTENCES["no deal" if price is None else "deal"].format(price=price))

    def _out_of_time(self) -> None:
        for role in ROLES:
            self.tell(role, SENTENCES["no deal"])

    # What each side may read.

    def admissible(self, role: str) -> list[str]:
        """What a role can do now; offers as a template in the full size, where they are too many to list."""
        if self.over:
            return []
        table, actions = self.table, []
        if self.offers_made[role] < table.offers:
            if table.relative:
                actions.append(OFFER_TEMPLATE)
            else:
                prices = (level * table.level for level in range(table.lowest, table.highest + 1))
                actions += [f"offer {price}" for price in prices if self._is_within(role, price)]
        standing = self.standing[role]
        if standing is not None and self._is_within(role, standing):
            actions.append("accept")
        return [*actions, "leave", "wait"]

    def _public(self, role: str) -> PublicFields:
        bargain, share = self._playing, self._shares[role]
        return {
            "task_type": bargain.department,
            "skill_keys": self._keys(role),
            "instruction": instruction(bargain, role),
            "admissible_actions": self.admissible(role),
            "success": share >= SUCCESS_SHARE,
            "score": share,
        }

    def _keys(self, role: str) -> list[str]:
        bargain = self._playing
        return [bargain.department, skill_key(role, bargain.thing)]

    def plan(self, role: str) -> list[str]:
        """The best answer to a side that takes whatever its limit allows; empty when the game is over."""
        if self.over:
            return []
        limit, standing = self._playing.limit(OTHER[role]), self.standing[role]
        best = limit if standing is None else (min if role == SHOPPER else max)(limit, standing)
        if standing == best:
            return ["accept"]
        if self.offers_made[role] < self.table.offers:
            return [f"offer {limit}"]
        return ["accept"] if standing is not None and self._is_within(role, standing) else ["wait"]

    def reachable(self, role: str) -> float:
        """The best share that a role can still get from a side that takes whatever its limit allows.

        It is what the plan gets, at a role's own turn or when the game is over.
        """
        if self.over:
            return self._shares[role]
        found = 0.0
        if self.turns_taken[role] < self.horizon:
            if self.offers_made[role] < self.table.offers:
                found = self.table.discount ** self.offers_made[role]
            standing = self.standing[role]
            if standing is not None and self._is_within(role, standing):
                found = max(found, self._share(role, standing, OTHER[role]))
        return found

    def _share(self, role: str, price: int, proposer: str) -> float:
        """What a role gets by a deal at a price that `proposer` has named."""
        bargain = self._playing
        gain = bargain.ceiling - price if role == SHOPPER else price - bargain.floor
        return self.table.discount ** (self.offers_made[proposer] - 1) * gain / bargain.surplus

    def _privileged(self, role: str) -> PrivilegedFields:
        bargain, other, plan = self._playing, OTHER[role], self.plan(role)
        if role not in self._skills:
            self._skills[role] = self.skill_bank(role).retrieve(
                self.retrieval,
                task_type=bargain.department,
                keys=self._keys(role),
                text=instruction(bargain, role),
                seed_key=(self.world_seed, self.task_id, role),
            )
        cost = round(100 * (1 - self.table.discount), 1)
        hints = [
            HINTS["cost"].format(cost=f"{cost:g}"),
            HINTS["limit"].format(other=other.partition("_")[0], limit=bargain.limit(other)),
            HINTS["next"].format(action=plan[0]) if plan else HINTS["over"],
        ]
        return {
            "task_type": bargain.department,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": hints,
            "facts": {
                "other_role": other,
                "other_limit": bargain.limit(other),
                "opener": bargain.opener,
                "surplus": bargain.surplus,
                "regular": bargain.regular,
            },
            "skills": copied_skills(self._skills[role]),
        }
