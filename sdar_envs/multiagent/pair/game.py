"""The rules of Pair.

Cook and runner act in turns in one generated house. The cook alone reads the task, and reaches the appliances and the
destination; the runner reaches everything else, with what is wanted in it; both reach the pass. They win together: the
household's goal holds, or it does not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from ... import PAIR
from ...choices import require_bool, require_choice, require_number
from ...core import PublicFields, resolve_split
from ...household.commands import command_writer
from ...household.engine import household_rules
from ...privileged import PrivilegedFields, RetrievedSkills, copied_skills
from ...skills import RETRIEVALS, SkillBank
from ...task_ids import NumberedTaskIds
from ...wrong_actions import NO_PLAN, Judged, WrongActions, by_plans
from ..game import TextGame
from .house import House
from .planner import JointPlan, JointPlanner
from .tables import (
    CHANNELS,
    COOK,
    HORIZON,
    LEFT_OUT,
    OTHER,
    PASS_REWARD,
    REGULARITY,
    ROLES,
    RUNNER,
    WIN_REWARD,
)
from .tasks import GAME_ID, PairTask, make_task, task_ids
from .wishes import cook_statements, runner_statements, wish_key
from .wording import HEARD, HINTS, INSTRUCTIONS, NAMES, REACH, SAY_TEMPLATES, SEEN, TEXTS, listed, said_words


@lru_cache(maxsize=256)
def skill_bank(role: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    """What a role's teacher retrieves from: wishes and homes for the runner, appliances for the cook."""
    statements = runner_statements(world_seed) if role == RUNNER else cook_statements(world_seed)
    return SkillBank.from_assets(PAIR.skill_folder, statements, stale=stale, stale_seed=stale_seed)


class Pair(TextGame):
    """Two robots, one house, one task.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        channel: What the two may say to each other with ``say``, at the cost of the turn: ``none``, one ``word``, or a
            line (``free``).
        shaping: Whether both are paid once, when a wanted thing first lies on the pass.
        regularity: Probability with which wishes and homes hold in a task.
        world_seed: Which wishes and homes, and which layouts.
        stale: Corrupted share: of so many of a skill bank's keys the statements are wrong; the house does not change
            with it.
        stale_seed: Which keys.
        retrieval: How the skills of the privileged side are chosen, see `SkillBank.retrieve`.
        horizon: Turns of each role until the game is truncated.

    Attributes:
        task: The present task; None before the first.
        house: Its two games.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    game_id: ClassVar[str] = GAME_ID
    name: ClassVar[str] = "pair_v0"
    roles: ClassVar[tuple[str, ...]] = ROLES
    # Games are compiled, and played again.
    rebuilt: ClassVar[frozenset[str]] = frozenset({"house", "task", "_planner", "_planned"})
    task: PairTask | None = None
    house: House | None = None
    _planner: JointPlanner | None = None
    _planned: tuple[int, JointPlan | None] | None = None

    def __init__(
        self,
        *,
        split: str = "train",
        channel: str = "none",
        shaping: bool = False,
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int = HORIZON,
    ) -> None:
        self.channel = require_choice("channel", channel, CHANNELS, self.game_id)
        require_bool("shaping", shaping, self.game_id)
        require_number("regularity", regularity, self.game_id, low=0, high=1)
        require_number("world_seed", world_seed, self.game_id, whole=True)
        super().__init__(split=split, horizon=horizon)
        self.shaping = shaping
        self.regularity = regularity
        self.world_seed = world_seed
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, self.game_id)
        self._bank_of = (world_seed, stale, stale_seed)
        self.skill_bank(RUNNER)  # a wrong `stale` is refused here
        self._reset_episode()

    def _reset_episode(self) -> None:
        self.won = False
        self._passed = False
        self._looked_in: list[str] = []  # where the runner has been
        self._skills: dict[str, RetrievedSkills] = {}

    @property
    def world_version(self) -> str:
        """The version of everything that scores depend on, scripted players included, see `version.py`."""
        from .version import world_version  # not needed to play

        return world_version(Pair)

    def task_ids(self, split: str | None = None) -> NumberedTaskIds:
        """The task ids of a split, e.g. ``train:000123``; task types come in turn."""
        return task_ids(self.split if split is None else resolve_split(split, self.game_id))

    def cluster_of(self, task_id: str) -> str:
        """The layout that a task is played in."""
        return self._make_task(task_id).draft.layout.layout_id

    def skill_bank(self, role: str) -> SkillBank:
        """Wishes and homes for the runner, appliances for the cook, and prose."""
        self._require_role(role)
        return skill_bank(role, *self._bank_of)

    def _make_task(self, task_id: str) -> PairTask:
        return make_task(task_id, world_seed=self.world_seed, regularity=self.regularity)

    def _begin(self, task_id: str) -> str:
        self.task = task = self._make_task(task_id)
        self.house = House(task.problem)
        self._planner = JointPlanner(task.statics, task.sides)
        self._planned = None
        self._reset_episode()
        for role in ROLES:
            self.tell(role, self._instruction(role))
            own = task.sides.cook if role == COOK else task.sides.runner
            self.tell(role, REACH.format(places=listed([_display(name) for name in own])))
        return COOK

    @property
    def _playing(self) -> tuple[PairTask, House]:
        assert self.task is not None and self.house is not None, "no game is running"
        return self.task, self.house

    def _instruction(self, role: str) -> str:
        task, _ = self._playing
        return INSTRUCTIONS[role].format(
            sentence=task.draft.sentence,
            kind=task.draft.layout.kind,
            occasion=task.occasion,
            shared=_display(task.sides.shared),
        )

    # Acting.

    def _act(self, role: str, text: str) -> bool:
        if text == "wait":
            self.tell(role, TEXTS["wait"])
            return True
        words = said_words(text, self.channel)
        if words is not None:
            self.tell(role, TEXTS["say"])
            self.tell(OTHER[role], HEARD.format(who=NAMES[role], words=words))
            return True
        _, house = self._playing
        if not self._is_allowed(role, text):
            self.tell(role, TEXTS["nothing"])
            return False
        before = house.place_of(role)
        feedback, understood = house.act(role, text)
        self.tell(role, feedback)
        if understood:
            self._after(role, text, before)
        return understood

    def _is_allowed(self, role: str, command: str) -> bool:
        """Whether a command may reach the engine: it is no walk to the other's side, and not left out."""
        if command in LEFT_OUT:
            return False
        if not command.startswith("go to "):
            return True
        task, _ = self._playing
        return command.removeprefix("go to ") in {_display(name) for name in task.sides.reach(role)}

    def _after(self, role: str, command: str, before: str) -> None:
        """What the other sees of an act, what it is worth, and whether it was the last."""
        _, house = self._playing
        place = house.place_of(role)
        if role == RUNNER and place != before:
            self._looked_in.append(command.removeprefix("go to "))
        together = place == before == house.place_of(OTHER[role])
        if together and command.split(" ")[0] not in ("look", "inventory", "examine"):
            self.tell(OTHER[role], SEEN.format(who=NAMES[role], act=command))
        if self.shaping and not self._passed and self._lies_on_pass():
            self._passed = True
            self.rewards = dict.fromkeys(ROLES, PASS_REWARD)
        if house.games[role].won:
            self.won = self.over = True
            for one in ROLES:
                self.rewards[one] += WIN_REWARD
                self.tell(one, TEXTS["done"])

    def _lies_on_pass(self) -> bool:
        task, house = self._playing
        places = {fact[1]: fact[2] for fact in house.games[RUNNER].facts("inreceptacle")}
        return any(places.get(thing) == task.sides.shared for thing in task.statics.targets)

    def _out_of_time(self) -> None:
        for role in ROLES:
            self.tell(role, TEXTS["time"])

    # What each side may read.

    def _public(self, role: str) -> PublicFields:
        task, house = self._playing
        actions: list[str] = []
        if not self.over:
            said = SAY_TEMPLATES[self.channel]
            commands = [text for text in house.games[role].admissible() if self._is_allowed(role, text)]
            actions = [*commands, *([said] if said else []), "wait"]
        return {
            # The kind of task is the cook's secret; a runner's tasks are told apart by the room.
            "task_type": task.draft.task_type if role == COOK else task.draft.layout.kind,
            "skill_keys": self._keys(role),
            "instruction": self._instruction(role),
            "admissible_actions": actions,
            "success": self.won,
            "score": float(self.won),
        }

    def _keys(self, role: str) -> list[str]:
        """What the role itself sees: nothing of what is wanted is in a runner's keys."""
        task, _ = self._playing
        draft = task.draft
        return [draft.task_type] if role == COOK else [draft.layout.kind, wish_key(draft.layout.kind, task.occasion)]

    def joint_plan(self) -> JointPlan | None:
        """The shortest way for both from here, exact; None where the goal is out of reach."""
        _, house = self._playing
        acts = len(self.log)
        if self._planned is None or self._planned[0] != acts:
            assert self._planner is not None
            found = self._planner.plan(house.games, cook_is_next=self.turn == COOK)
            self._planned = (acts, found)
        return self._planned[1]

    def _wrong_actions(self, role: str) -> WrongActions:
        # Played again, so that a game of which nobody asks this costs nothing.
        acts, judged = self.log, []
        self.begin(self.task_id)
        for actor, text in acts:
            before = self._plan_length() if actor == role else 0
            self.act(actor, text)
            if actor == role:
                # The plan counts turns of the cook.
                left, cost = self.horizon - self.turns_taken[COOK], int(role == COOK)
                judged.append(Judged(before, self._plan_length(), left, cost))
        return by_plans(judged)

    def _plan_length(self) -> float:
        """Turns of the cook until the goal."""
        found = None if self.won else self.joint_plan()
        return 0 if self.won else NO_PLAN if found is None else found.turns

    def plan(self, role: str) -> list[str]:
        """A role's part of the shortest joint plan; ``wait`` where there is nothing for it to do, [] at the end."""
        if self.over:
            return []
        found = self.joint_plan()
        moves = [] if found is None else found.cook if role == COOK else found.runner
        write = command_writer(household_rules()[1])
        return [write(move, _display) if move else "wait" for move in moves] or ["wait"]

    def _retrieve(self, role: str) -> RetrievedSkills:
        """A role's skills; a runner's in two steps, the wish first and then the home of what the wish names.

        The second key comes from the statement, right or wrong, and not from the task.
        """
        bank, keys = self.skill_bank(role), self._keys(role)
        if role == RUNNER and self.retrieval == "task_type":
            stated = [s.value for s in bank.statements if s.field == "wish" and s.keys[0] == keys[-1]]
            keys = [*keys, *stated]
        return bank.retrieve(
            self.retrieval,
            task_type=self._public(role)["task_type"],
            keys=keys,
            text=self._instruction(role),
            seed_key=(self.world_seed, self.task_id, role),
        )

    def _privileged(self, role: str) -> PrivilegedFields:
        task, house = self._playing
        if role not in self._skills:
            self._skills[role] = self._retrieve(role)
        plan = self.plan(role)
        places = {fact[1]: _display(fact[2]) for fact in house.games[role].facts("inreceptacle")}
        targets = sorted(task.statics.targets)
        where = [places.get(name, "") for name in targets]
        held = {one: house.held(one) for one in ROLES}
        facts: dict[str, object] = {
            "target_type": task.target,
            "targets": [_display(name) for name in targets],
            "target_receptacles": where,  # "" is a hand
            "occasion": task.occasion,
            "regular": task.regular,
            "joint": task.joint,
        }
        other = OTHER[role]
        if role == RUNNER:
            facts |= {"task": task.draft.sentence, "destination_type": task.draft.destination}
            facts |= {"cook_holds": _display(held[COOK])}
        else:
            facts |= {"runner_holds": _display(held[RUNNER]), "runner_has_looked_in": list(self._looked_in)}
        hints = [HINTS["task"].format(sentence=task.draft.sentence)] if role == RUNNER else []
        hints += [
            HINTS["where"].format(thing=_display(name), place=place)
            for name, place in zip(targets, where, strict=True)
            if place
        ]
        if held[other]:
            hints.append(HINTS[f"{other.partition('_')[0]} holds"].format(thing=_display(held[other])))
        if plan:
            lost = self.joint_plan() is None
            hints.append(HINTS["lost"] if lost else HINTS["next"].format(action=plan[0]))
        else:
            hints.append(HINTS["won" if self.won else "lost"])
        return {
            "task_type": self._public(role)["task_type"],
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": hints,
            "facts": facts,
            "skills": copied_skills(self._skills[role]),
        }


def _display(item: str) -> str:
    """What an object is called in text."""
    return item.replace("_", " ")
