"""The household as a Gymnasium environment: sdar/Household-v0.

ALFWorld's six task types, verbs and wording in houses that are generated from a task id. `generator.py` makes the game,
an engine plays it, `planner.py` knows the shortest way; this file only translates.
"""

from __future__ import annotations

from functools import lru_cache

from .. import HOUSEHOLD
from ..assets import asset_text
from ..choices import require_choice, require_number
from ..core import resolve_split
from ..skills import SkillBank
from ..task_ids import NumberedTaskIds
from . import tables
from .adapter import ENGINES, Episode, GameEnv
from .engine import household_rules
from .generator import GeneratedTask, generate, task_ids
from .regularities import regularities


@lru_cache(maxsize=64)
def _skill_bank(size: str, instruction: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    statements = regularities(size, world_seed).statements(instruction)
    bank = SkillBank.from_assets(HOUSEHOLD.skill_folder, statements, stale=stale, stale_seed=stale_seed)
    if instruction == "habit":
        bank.general += "\n\n" + asset_text("household", "habit.md").strip()
    return bank


class HouseholdEnv(GameEnv):
    """A generated house to act in.

    Args:
        split: ``train``, ``valid`` (both in 24 seen layouts per room kind) or ``test`` (6 unseen ones), or an alias.
        task_type: Restrict `task_ids` to one of ``place``, ``two``, ``light``, ``clean``, ``heat``, ``cool``.
        size: ``full`` rooms as in ALFWorld, ``medium`` or ``small`` ones of 8 to 12 receptacles for tiny models, or
            ``short``: small rooms with horizons at which general knowledge of houses is not enough.
        instruction: ``named``: the task's sentence says where the thing has to go, as ALFWorld's do. ``habit``: it says
            "put a apple where it belongs.", which is not ALFWorld; each kind of object then has one storage, a
            receptacle type that is regular in the house and that the skill bank states. Any receptacle of the type
            counts, and a wrong one gets no special answer. `light` tasks are the same in both.
        regularity: Probability with which a task's targets stand where the regularities of the house say they do.
        world_seed: Which regularities the house has, and which layouts.
        stale: Corrupted share: of so many of the skill bank's keys the statements are wrong; the house does not change
            with it.
        stale_seed: Which keys.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Steps until truncation; by default 50 for ``full``, and shorter ones of their own for the other sizes
            (see `tables.horizon`).
        reward_scale: The reward for winning; every other step gives 0.
        engine: ``native``, or ``textworld`` for TextWorld's own PDDL engine.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id = HOUSEHOLD.env_id

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        size: str = "full",
        instruction: str = "named",
        regularity: float = 0.85,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int | None = None,
        reward_scale: float = 1.0,
        engine: str = "native",
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        require_choice("size", size, tables.SIZES, self.env_id)
        require_choice("instruction", instruction, tables.INSTRUCTIONS, self.env_id)
        require_number("regularity", regularity, self.env_id, low=0, high=1)
        require_number("world_seed", world_seed, self.env_id, whole=True)
        super().__init__(
            split=split,
            horizon=tables.horizon(size, instruction) if horizon is None else horizon,
            task_type=task_type,
            skill_bank=_skill_bank(size, instruction, world_seed, stale, stale_seed),
            retrieval=retrieval,
            reward_scale=reward_scale,
            engine=engine,
            expose_privileged=expose_privileged,
            render_mode=render_mode,
        )
        self.size = size
        self.instruction = instruction
        self.regularity = regularity
        self.world_seed = world_seed
        # Houses of demonstrations have no validation that training would have to be kept apart from.
        self.keeps_splits_apart = True

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the size, so the class alone has none
        """The version of everything that scores in this house depend on, see `version.py`."""
        from .version import world_version  # not needed to play

        return world_version(HouseholdEnv, self.size, self.instruction)

    def task_ids(self, split: str | None = None) -> NumberedTaskIds:
        """The task ids of a split, e.g. ``train:000123``; task types come in turn."""
        chosen = self.split if split is None else resolve_split(split, self.env_id)
        return task_ids(chosen, self.task_type)

    def cluster_of(self, task_id: str) -> str:
        """The layout that a task is played in: success rates of tasks that share one are not independent."""
        return self._generate(task_id).draft.layout.layout_id

    def _generate(self, task_id: str) -> GeneratedTask:
        return generate(
            task_id,
            size=self.size,
            world_seed=self.world_seed,
            regularity=self.regularity,
            instruction=self.instruction,
            apart=self.keeps_splits_apart,
        )

    def _begin(self, task_id: str) -> str:
        task = self._generate(task_id)
        self._release()
        draft = task.draft
        game = ENGINES[self.engine](*household_rules(), task.problem, draft.sentence.removesuffix("."))
        about = {
            "room_kind": draft.layout.kind,
            "layout_id": draft.layout.layout_id,
            "regular": draft.regular,
            "shortest": task.shortest,
        }
        return self._start(Episode(game, task.statics, draft.sentence, about, (self.world_seed, task_id)))
