"""Games of several roles: every seat has an agent, and each seat that is recorded gives an episode of its own.

A seat is a slot of its agent, so that prompts, caches and memories are kept per seat. At each tick the seats whose turn
it is act together, agent by agent, in the order of games; so what is played depends on the tasks and their draws alone.
A seat is told its own observation, its own public fields and, sealed, what its own teacher may read. What the acts of
others give to a seat is added to its own last turn; a seat that never acted gives no episode. Where a game or a script
breaks, all seats of that game fail, and no other game notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.base import Action, Agent, Episode, StopReason, Turn
from sdar_envs.multiagent.game import TextGame
from sdar_envs.multiagent.player import Player
from sdar_envs.privileged import Privileged, StudentView, split_info

from .collect import Rollout, TaskDraw
from .faults import FAULT_TEXTS, fault_of
from .running import note_wrong_actions

# Who sits where in a game: role -> agent.
Seating = Mapping[str, "Agent | ScriptedSeats"]


class ScriptedSeats:
    """Scripted players in the slots of a seat; each game has a player of its own.

    Args:
        name: The players' name, for messages.
        make: Makes a player.
    """

    def __init__(self, name: str, make: Callable[[], Player]) -> None:
        self.name = name
        self._make = make
        self._players: dict[int, Player] = {}

    def act(self, view: StudentView) -> str:
        """The text of one turn; a view of turn 0 begins a game.

        Raises:
            TypeError: The player returned no text.
        """
        if view.turn == 0 or view.slot not in self._players:
            self._players[view.slot] = self._make()
        text = self._players[view.slot].act(view)
        if not isinstance(text, str):
            raise TypeError(f"player {self.name!r} is expected to return a text, got {type(text).__name__}")
        return text

    def release(self, slots: Sequence[int]) -> None:
        """Forget players whose games have ended."""
        for slot in slots:
            self._players.pop(slot, None)


@dataclass(frozen=True, slots=True)
class GamePlan:
    """How games are recorded.

    Attributes:
        recorded: The roles whose turns become episodes, in the order of their group ids.
        privileged_turns: When seats are given privileged information, of `replies.PRIVILEGED_TURNS`; ``first`` is each
            seat's own first turn.
        max_turns: Turns of a seat after which its game is stopped; None leaves that to the game.
        seal_info: Seal the whole `info` and not its ``"privileged"`` part.
    """

    recorded: tuple[str, ...]
    privileged_turns: str = "never"
    max_turns: int | None = None
    seal_info: bool = False

    def draws_of(self, draw: TaskDraw) -> dict[str, TaskDraw]:
        """The episode that each recorded seat of a game plays.

        Groups are per task *and* role: what a role earns is compared with what the same role earned, so that a baseline
        never mixes two roles.
        """
        return {
            role: TaskDraw(draw.task_id, (*draw.draw, role), draw.group * len(self.recorded) + number, draw.member)
            for number, role in enumerate(self.recorded)
        }


@dataclass(slots=True)
class _Seat:
    """One seat of a running game; `known` is what its teacher may read before the act that is due."""

    role: str
    agent: Agent | ScriptedSeats
    slot: int
    draw: tuple[int | str, ...]
    rollout: Rollout | None
    known: Privileged | None = None
    late_reward: float = 0.0  # of acts of others, before this seat acted for the first time


@dataclass(slots=True)
class _Game:
    """A running game."""

    game: TextGame
    number: int  # which of the tasks
    settled: bool = False  # whether its episodes have their verdicts
    seats: dict[str, _Seat] = field(default_factory=dict)


def collect_games(
    games: Sequence[TextGame],
    draws: Sequence[TaskDraw],
    seating: Callable[[TaskDraw], Seating],
    plan: GamePlan,
    *,
    advance: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """Play a game per draw, over as many games at once as there are `games`.

    Args:
        games: The games; each is used again for the next task when its game is over.
        draws: The games to play.
        seating: Who sits where in a game; agents may be shared by seats and games.
        plan: What is recorded.
        advance: Told how many games have ended, and of how many.

    Returns:
        The episodes of the recorded seats that acted, ordered by group and member.
    """
    finished: list[Rollout] = []
    running: dict[int, _Game] = {}  # by index into `games`
    waiting = ended = 0

    while running or waiting < len(draws):
        for index, game in enumerate(games):
            if index not in running and waiting < len(draws):
                running[index] = _begun(game, index, waiting, draws[waiting], seating, plan)
                waiting += 1

        for index in _play_tick(running, plan):
            over = running.pop(index)
            finished += [seat.rollout for seat in over.seats.values() if seat.rollout and _has_acted(seat.rollout)]
            for seat in over.seats.values():
                release = getattr(seat.agent, "release", None)
                if release is not None:
                    release([seat.slot])
            ended += 1
            if advance is not None:
                advance(ended, len(draws))
    return sorted(finished, key=lambda rollout: (rollout.task.group, rollout.task.member))


def _has_acted(rollout: Rollout) -> bool:
    return bool(rollout.episode.turns) or rollout.failure is not None


def _begun(
    game: TextGame, index: int, number: int, draw: TaskDraw, seating: Callable[[TaskDraw], Seating], plan: GamePlan
) -> _Game:
    agents, recorded = seating(draw), plan.draws_of(draw)
    begun = _Game(game, number)
    failure: Exception | None = None
    try:
        game.begin(draw.task_id)
    except Exception as error:
        failure = error
    for place, role in enumerate(game.roles):
        task = recorded.get(role)
        rollout = None
        if task is not None:
            kind = "" if failure else str(game.public(role).get("task_type", ""))
            rollout = Rollout(Episode(game.game_id, draw.task_id, kind, task.draw, role=role, game=number), task)
        slot = len(game.roles) * index + place
        begun.seats[role] = _Seat(role, agents[role], slot, (*draw.draw, role), rollout)
    if failure is not None:
        _fail(begun, failure, "begin")
    return begun


def _play_tick(running: Mapping[int, _Game], plan: GamePlan) -> list[int]:
    """Let the seat whose turn it is act in every running game; returns the games that have ended."""
    over = [index for index, each in sorted(running.items()) if each.settled]
    asked: dict[int, tuple[Agent, list[tuple[int, _Seat, StudentView]]]] = {}  # by agent, in the order of games
    for index, each in sorted(running.items()):
        if index in over:
            continue
        seat = each.seats[each.game.turn]
        turn = each.game.turns_taken[seat.role]
        if seat.rollout is not None and plan.max_turns is not None and turn >= plan.max_turns:
            _settle(each, {})
            continue
        try:
            view = _look(each.game, seat, plan)
            if isinstance(seat.agent, ScriptedSeats):
                text = seat.agent.act(view)
                _act(each, seat, view, Action(text, text))
            else:
                asked.setdefault(id(seat.agent), (seat.agent, []))[1].append((index, seat, view))
        except Exception as error:  # the game's or a script's own; it costs this game alone
            _fail(each, error, f"turn {turn + 1} of {seat.role}")
    for agent, due in asked.values():
        views = [view for _, _, view in due]
        reads = agent.reads_privileged
        actions = agent.act(views, [seat.known for _, seat, _ in due]) if reads else agent.act(views)
        for (index, seat, view), action in zip(due, actions, strict=True):
            each = running[index]
            if action.context_full:
                _settle(each, {seat.role: StopReason.CONTEXT_FULL})
                continue
            try:
                _act(each, seat, view, action)
            except Exception as error:
                _fail(each, error, f"turn {each.game.turns_taken[seat.role] + 1} of {seat.role}")
    for index, each in sorted(running.items()):
        if each.game.over and not each.settled:
            reason = StopReason.HORIZON if each.game.truncated else StopReason.TERMINATED
            _settle(each, dict.fromkeys(each.seats, reason))
        if each.settled and index not in over:
            over.append(index)
    return over


def _look(game: TextGame, seat: _Seat, plan: GamePlan) -> StudentView:
    """What a seat reads before its turn; what its teacher may read is sealed beside it."""
    turn = game.turns_taken[seat.role]
    wanted = plan.privileged_turns == "every" or (plan.privileged_turns == "first" and turn == 0)
    exposed = wanted and (seat.rollout is not None or getattr(seat.agent, "reads_privileged", False))
    info = game.info(seat.role, expose_privileged=exposed)
    view, known = split_info(game.observe(seat.role), info, slot=seat.slot, turn=turn, draw=seat.draw)
    if exposed:
        seat.known = Privileged(info) if plan.seal_info else known
    elif plan.privileged_turns != "first":
        seat.known = None
    return view


def _act(each: _Game, seat: _Seat, view: StudentView, action: Action) -> None:
    """Play an act, note the turn, and give every seat what it earned by it."""
    game = each.game
    move = sum(game.turns_taken.values())
    understood = game.act(seat.role, action.text)
    rewards = dict(game.rewards)
    if seat.rollout is not None:
        reward = rewards[seat.role] + seat.late_reward
        seat.late_reward = 0.0
        seat.rollout.episode.turns.append(Turn(view, action, reward, understood))
        seat.rollout.privileged.append(seat.known)
        seat.rollout.moves.append(move)
    for role, other in each.seats.items():
        if role != seat.role and other.rollout is not None:
            if other.rollout.episode.turns:
                other.rollout.episode.turns[-1].reward += rewards[role]
            else:
                other.late_reward += rewards[role]


def _settle(each: _Game, reasons: Mapping[str, StopReason]) -> None:
    """A game is over, or is stopped: every recorded seat has the verdict of its own public fields.

    Args:
        each: The game.
        reasons: Why each seat's episode ended; seats that are not named have run out of time.
    """
    each.settled = True
    for role, seat in each.seats.items():
        if seat.rollout is None:
            continue
        episode, public, reason = seat.rollout.episode, each.game.public(role), reasons.get(role, StopReason.HORIZON)
        episode.success = bool(public["success"])
        episode.score = float(public["score"])
        won = reason is StopReason.TERMINATED and episode.success
        episode.stop_reason = StopReason.SUCCESS if won else reason
        if each.game.over:
            note_wrong_actions(episode, each.game.wrong_actions(role))


def _fail(each: _Game, error: Exception, where: str) -> None:
    """A game, or a script in it, has broken: all its recorded seats fail."""
    each.settled = True
    fault = fault_of(error)
    for seat in each.seats.values():
        if seat.rollout is not None:
            episode = seat.rollout.episode
            episode.success, episode.score, episode.stop_reason = False, 0.0, StopReason.FAILED
            seat.rollout.failure = f"{each.game.game_id}, task {episode.task_id}, {where}: {fault}"
            seat.rollout.fault, seat.rollout.detail = fault.kind, fault.text
            FAULT_TEXTS.say(each.game.game_id, fault)
