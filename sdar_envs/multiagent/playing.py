"""Playing a `TextGame` with players in its seats: one turn, or a whole game."""

from __future__ import annotations

from collections.abc import Mapping

from ..randomness import Key
from .game import TextGame
from .player import Player, PlayerError


def play_seat(player: Player, game: TextGame, *, name: str, draw: tuple[Key, ...] = ()) -> bool:
    """Let a player take the turn of the role that is to move; returns whether it was understood.

    Raises:
        PlayerError: The player raised, or returned no `str`; the message names it, its role and the task.
    """
    role = game.turn
    where = f"player {name!r} of {role} in {game.game_id}, task {game.task_id}"
    try:
        text = player.act(game.view(role, draw=draw))
    except Exception as error:
        raise PlayerError(f"{where}: expected a text, and it raised {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise PlayerError(f"{where}: expected a text, got {type(text).__name__}: return the action itself")
    return game.act(role, text)


def play_game(
    game: TextGame, task_id: str, players: Mapping[str, Player], *, draw: tuple[Key, ...] = ()
) -> dict[str, float]:
    """Play a whole game with a player in every seat.

    Args:
        game: The game; it is left at its end, so that its log and public fields can be read.
        task_id: Which task.
        players: Role -> player.
        draw: Key of the players' randomness.

    Returns:
        The return of each role.

    Raises:
        ValueError: A role has no player, or there is no such task.
        PlayerError: A player raised, or returned no text.
    """
    missing = [role for role in game.roles if role not in players]
    if missing:
        raise ValueError(f"{game.game_id} expects a player for every role, got none for {', '.join(missing)}")
    game.begin(task_id)
    returns = dict.fromkeys(game.roles, 0.0)
    while not game.over:
        player = players[game.turn]
        play_seat(player, game, name=type(player).__name__, draw=(*draw, task_id, game.turn))
        for role, reward in game.rewards.items():
            returns[role] += reward
    return returns
