"""A game of three roles for the tests of the multi-agent core: each names its secret number's parity, or another's."""

from __future__ import annotations

from sdar_envs.multiagent.game import TextGame
from sdar_envs.privileged import PrivilegedFields, StudentView
from sdar_envs.skills import SkillBank
from sdar_envs.task_ids import NumberedTaskIds, parse_task_id

ROLES = ("ann_0", "bob_0", "cem_0")
SIZES = {"train": 10, "valid": 4, "test": 4}


class Toy(TextGame):
    """`pay N` gives N to the next role; `end` ends the game and pays 1 to everybody."""

    game_id = "toy/toy-v0"
    name = "toy_v0"
    roles = ROLES

    def __init__(self, *, split: str = "train", horizon: int = 3, opener: str = "ann_0") -> None:
        super().__init__(split=split, horizon=horizon)
        self.opener = opener
        self.secrets = dict.fromkeys(ROLES, "")

    def task_ids(self, split: str | None = None) -> NumberedTaskIds:
        return NumberedTaskIds(split or self.split, range(SIZES[split or self.split]))

    def _begin(self, task_id: str) -> str:
        split, number = parse_task_id(task_id, SIZES, self.game_id)
        for place, role in enumerate(ROLES):
            self.secrets[role] = f"{split}{number}{place}"
            self.tell(role, f"you are {role}, and your secret is {self.secrets[role]}.")
        return self.opener

    def _act(self, role: str, text: str) -> bool:
        word, _, number = text.partition(" ")
        if word == "end":
            self.over = True
            self.rewards = dict.fromkeys(ROLES, 1.0)
            return True
        if word != "pay" or not (number.isascii() and number.isdigit() and len(number) < 4):
            return False
        other = ROLES[(ROLES.index(role) + 1) % 3]
        self.rewards[other] = float(number)
        self.tell(other, f"{role} pays you {number}.")
        return True

    def _out_of_time(self) -> None:
        for role in ROLES:
            self.tell(role, "time is up.")

    def _public(self, role: str) -> dict:
        return {
            "task_type": "toy",
            "skill_keys": ["toy", role],
            "instruction": f"play {role}",
            "admissible_actions": [] if self.over else ["pay 1", "end"],
            "success": self.over and not self.truncated,
            "score": float(self.over and not self.truncated),
        }

    def _privileged(self, role: str) -> PrivilegedFields:
        others = {other: secret for other, secret in self.secrets.items() if other != role}
        plan = [] if self.over else ["end"]
        skills = self.skill_bank(role).retrieve("task_type", task_type="toy", keys=["toy"])
        head = plan[0] if plan else ""
        return {"task_type": "toy", "plan": plan, "next_action": head, "hints": [], "facts": others, "skills": skills}

    def skill_bank(self, role: str) -> SkillBank:
        self._require_role(role)
        return SkillBank(f"how to play {role}", {})

    @property
    def world_version(self) -> str:
        return "toy"


class Repeats:
    """A player that plays a list of texts, and keeps the views that it was handed."""

    def __init__(self, *texts: object) -> None:
        self.texts = texts
        self.views: list[StudentView] = []

    def act(self, view: StudentView) -> str:
        self.views.append(view)
        return self.texts[view.turn % len(self.texts)]  # type: ignore[return-value]


class Raises:
    """A player that breaks."""

    def act(self, view: StudentView) -> str:
        raise KeyError("lost my notes")
