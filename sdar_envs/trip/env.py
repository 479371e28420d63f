"""The trip as a Gymnasium environment: sdar/Trip-v0. The world below answers calls; this file only translates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, ClassVar, TypedDict

from .. import TRIP
from ..choices import require_choice, require_number
from ..core import PublicFields, TextEnv, Transition, resolve_split
from ..privileged import PrivilegedFields, RetrievedSkills, copied_skills
from ..skills import RETRIEVALS, SkillBank
from ..tool_sets import CallTools, ToolSet
from ..wrong_actions import WrongActions
from . import generator, judge, wording
from .planner import LONGEST_PLAN, Planner
from .regularities import regularities
from .services import State, answer, pages
from .tables import DAY, REGULARITY, SIZE_TABLES, SIZES, TASK_TYPES, TOPICS, WEEKDAYS
from .tools import SECTIONS, Call, NoCall, call_text, read_call, tool_schemas
from .trip import KINDS, Trip, clock

_MAX_ACTION = 2_048
# A call may be laid out over lines; two calls in one text are none.
_SPACES = {ord(character): " " for character in "\n\r\t"}


class Breakdown(TypedDict):
    """What the score is made of, once the episode is over; all of it is empty before.

    `met` has every hard constraint; money is in cents; `first_wrong_call` is the number, from 0, of the first call
    after which the best reachable score was lower, -1 for none.
    """

    over: bool
    met: dict[str, bool]
    spent: int
    fees: int
    value: int
    best_value: int
    calls: int
    call_costs: float
    first_wrong_call: int


class TripFields(PublicFields):
    """What anyone may read of an episode of this environment, besides the contract's fields."""

    calls_left: int
    answers_left: int
    malformed_calls: int
    unsafe_acts: int
    breakdown: Breakdown


@lru_cache(maxsize=64)
def _skill_bank(size: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    statements = regularities(size, world_seed).statements()
    return SkillBank.from_assets(TRIP.skill_folder, statements, stale=stale, stale_seed=stale_seed)


@cache
def _tool_set(size: str) -> ToolSet:
    return CallTools(json.dumps(tool_schemas(size)))


@lru_cache(maxsize=2_048)
def _planner(task_id: str, size: str, world_seed: int, regularity: float, horizon: int) -> Planner:
    """A task with its planner; groups play one task several times."""
    return Planner(generator.make_trip(task_id, size=size, world_seed=world_seed, regularity=regularity), horizon)


@dataclass(slots=True)
class _Episode:
    """What the environment knows of the running episode; `states` has one more than there were calls."""

    planner: Planner
    instruction: str
    states: list[State] = field(default_factory=lambda: [State()])
    skills: RetrievedSkills | None = None

    @property
    def trip(self) -> Trip:
        return self.planner.trip

    @property
    def state(self) -> State:
        return self.states[-1]


class TripEnv(TextEnv):
    """A business trip to be booked by calls of tools.

    An action is one call, ``{"name": "search_hotels", "arguments": {"district": "river"}}``, and the observation is
    what the service answers, as JSON. ``finish`` ends the episode; a trip that is never finished is worth nothing.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias. No city and no person of a split is in another.
        task_type: Restrict `task_ids` to one of ``visit``, ``clash``, ``budget``.
        size: ``full``, or ``small`` for tiny models.
        regularity: Probability with which a trip obeys each regularity.
        world_seed: Which regularities and policies there are.
        stale: Corrupted share: of so many of the skill bank's keys the statements are wrong; the world does not change
            with it.
        stale_seed: Which keys.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Calls until truncation; by default 18, and 12 in a small world. The longest plan takes 9.
        call_cost: What each call takes from the reward.
        expose_privileged: Whether `info` has ``"privileged"``. Without it nothing is planned before the end.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id: ClassVar[str] = TRIP.env_id
    max_action_length: ClassVar[int] = _MAX_ACTION
    rebuilt = frozenset({"_episode"})

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        size: str = "full",
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int | None = None,
        call_cost: float = 0.01,
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        where = self.env_id
        require_choice("size", size, SIZES, where)
        require_number("regularity", regularity, where, low=0, high=1)
        require_number("world_seed", world_seed, where, whole=True)
        require_number("call_cost", call_cost, where, low=0)
        if horizon is None:
            horizon = SIZE_TABLES[size].horizon
        require_number("horizon", horizon, where, low=LONGEST_PLAN, whole=True)
        super().__init__(split=split, horizon=horizon, expose_privileged=expose_privileged, render_mode=render_mode)
        if task_type is not None:
            require_choice("task_type", task_type, TASK_TYPES, where)
        self.task_type = task_type
        self.size = size
        self.regularity = regularity
        self.world_seed = world_seed
        self.call_cost = call_cost
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, where)
        self.skill_bank = _skill_bank(size, world_seed, stale, stale_seed)
        self._episode: _Episode | None = None

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the size, so the class alone has none
        """The version of everything that scores on trips of this size depend on, see `version.py`."""
        from .version import world_version  # not needed to play

        return world_version(TripEnv, self.size)

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The task ids of a split, e.g. ``train:000123``; task types come in turn."""
        return generator.task_ids(self.split if split is None else resolve_split(split, self.env_id), self.task_type)

    def cluster_of(self, task_id: str) -> str:
        """The company and the city of a task: success rates of tasks that share them are not independent."""
        trip = self._planner(task_id).trip
        return f"{trip.company} {trip.city}"

    def tool_set(self) -> ToolSet:
        """The tools with the JSON schemas of their arguments, for agents that call tools."""
        return _tool_set(self.size)

    @property
    def trip(self) -> Trip:
        """The trip that is being booked, with everything that is hidden."""
        return self._playing.trip

    @property
    def states(self) -> tuple[State, ...]:
        """The states of this episode so far, the first before any call."""
        return tuple(self._playing.states)

    @property
    def planner(self) -> Planner:
        """The planner of this trip."""
        return self._playing.planner

    def _planner(self, task_id: str) -> Planner:
        return _planner(task_id, self.size, self.world_seed, self.regularity, self.horizon)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make one call, which may be laid out over several lines.

        Raises:
            TypeError: `action` is not a `str`.
            gymnasium.error.ResetNeeded: No episode is running.
        """
        if isinstance(action, str):
            action = action[: self.max_action_length + 1].translate(_SPACES)
        return super().step(action)

    def _begin(self, task_id: str) -> str:
        planner = self._planner(task_id)
        self._episode = _Episode(planner, wording.request(planner.trip))
        return wording.first_observation(planner.trip)

    def _act(self, action: str) -> Transition:
        episode = self._playing
        said = read_call(action, self.size)
        if isinstance(said, NoCall):
            episode.states.append(episode.state.misheard())
            return Transition(
                _json({"error": {"code": said.code, "message": said.message}}), -self.call_cost, False, False
            )
        assert isinstance(said, Call)
        state, result = answer(episode.trip, episode.state, said)
        episode.states.append(state)
        if not state.finished:
            return Transition(_json(result), -self.call_cost, False, True)
        return Transition(_json(result), episode.planner.best(state).score - self.call_cost, True, True)

    def _public(self) -> PublicFields:
        episode = self._playing
        state, trip = episode.state, episode.trip
        end = episode.planner.best(state) if state.finished else None
        fields: TripFields = {
            "task_type": trip.task_type,
            "skill_keys": [trip.company, *trip.airlines, WEEKDAYS[trip.meeting.start // DAY]],
            "instruction": episode.instruction,
            "admissible_actions": [] if state.finished else admissible_calls(trip, state),
            "success": end is not None and end.success,
            "score": 0.0 if end is None else end.score,
            "calls_left": self.horizon - state.calls,
            "answers_left": SIZE_TABLES[self.size].answers - state.answered,
            "malformed_calls": state.malformed,
            "unsafe_acts": state.unsafe,
            "breakdown": self._breakdown(episode),
        }
        return fields

    def _breakdown(self, episode: _Episode) -> Breakdown:
        state, trip, planner = episode.state, episode.trip, episode.planner
        if not state.finished and state.calls < self.horizon:
            return {
                "over": False,
                "met": dict.fromkeys(judge.CONSTRAINTS, False),
                "spent": 0,
                "fees": 0,
                "value": 0,
                "best_value": 0,
                "calls": 0,
                "call_costs": 0.0,
                "first_wrong_call": -1,
            }
        booked = state.booked(trip)
        return {
            "over": True,
            "met": judge.constraints_met(trip, booked, state.position, state.fees),
            "spent": judge.spent(booked, state.fees),
            "fees": state.fees,
            "value": planner.best(state).value,
            "best_value": planner.optimum,
            "calls": state.calls,
            "call_costs": state.calls * self.call_cost,
            "first_wrong_call": planner.first_wrong_call(episode.states),
        }

    def _wrong_actions(self) -> WrongActions:
        # No detours: to ask and to read costs calls, and whoever does not know the facts has to.
        return WrongActions(None, self.planner.first_wrong_call(self.states))

    def _privileged(self) -> PrivilegedFields:
        episode = self._playing
        trip, state = episode.trip, episode.state
        if episode.skills is None:
            episode.skills = self.skill_bank.retrieve(
                self.retrieval,
                task_type=trip.task_type,
                keys=[trip.company, *trip.airlines, WEEKDAYS[trip.meeting.start // DAY]],
                text=episode.instruction,
                seed_key=(trip.task_id,),
            )
        best, plan = episode.planner.best(state), episode.planner.plan(state)
        return {
            "task_type": trip.task_type,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": wording.hints(trip, best, plan),
            "facts": wording.facts(trip, best),
            "skills": copied_skills(episode.skills),
        }

    @property
    def _playing(self) -> _Episode:
        assert self._episode is not None
        return self._episode


def _json(result: dict[str, Any]) -> str:
    """A result as JSON, with each row of a list on a line of its own."""
    # Nothing of an agent's text is in it, and no name of the tables has a brace.
    return json.dumps(result).replace("[{", "[\n{", 1).replace("}, {", "},\n{")


@lru_cache(maxsize=8)
def _standing_calls(size: str) -> tuple[str, ...]:
    """The calls that are possible at any time."""
    table = SIZE_TABLES[size]
    return (
        call_text("read_calendar"),
        call_text("search_flights"),
        *(call_text("search_hotels", district=district) for district in table.districts),
        *(call_text("search_restaurants", cuisine=cuisine) for cuisine in table.cuisines),
        call_text("travel_time", **{"from": "airport"}),
        call_text("past_bookings"),
        *(call_text("read_policy", section=section) for section in SECTIONS),
        call_text("finish"),
    )


def admissible_calls(trip: Trip, state: State) -> list[str]:
    """The calls that make sense in a state, complete; with the arguments left out or others, more are understood."""
    size = SIZE_TABLES[trip.size]
    calls = list(_standing_calls(trip.size))
    calls += [call_text("search_flights", page=page) for page in range(2, pages(trip, len(trip.flights)) + 1)]
    if state.answered < size.answers:
        calls += [call_text("ask_person", topic=topic) for topic in TOPICS]
    movable = trip.movable
    if movable is not None and state.calendar_read:
        now = trip.begins(movable, state.position)
        times = [time for time in (movable.start, *movable.slots) if time != now]
        calls += [call_text("move_entry", id=movable.id, to=clock(time)) for time in times]
    booked = [getattr(state, kind) for kind in KINDS]
    for offer_id in trip.offers:
        if offer_id in state.seen and offer_id not in booked:
            calls += [f'{{"name": "{name}", "arguments": {{"id": "{offer_id}"}}}}' for name in ("hold", "book")]
    calls += [call_text("cancel", id=offer_id) for offer_id in (*filter(None, booked), *sorted(state.held))]
    return calls
