"""Worlds of several roles: what one role knows is the privileged information of another's teacher.

    from sdar_envs.multiagent import haggle_v0
    env = haggle_v0.env(split="valid")               # AEC; `parallel_env` and `raw_env` too
    pettingzoo.make("aec", "sdar/haggle-v0")         # after `import sdar_envs.multiagent`
    gym.make("sdar/Haggle-v0", role="shopper_0")     # one seat, with a scripted player in the other

What other code may rely on:

- `game.TextGame`: `roles`, `turn`, `over`, `truncated`, `rewards` (of the last act), `turns_taken`; `begin(task_id)`,
  `observe(role)` (pure: all that is new since the role's own last turn), `act(role, text) -> understood` (text never
  raises), `public(role)`, `privileged(role)`, `skill_bank(role)`, `info(role, expose_privileged=)`, `view(role)`,
  `task_ids`, `cluster_of`, `world_version`. Rewards of a role that is not acting come with the act that ends the game;
  whoever makes rows of a game adds them to that role's own last turn, and a role with `turns_taken` 0 has none.
- `player.Player`: ``act(view) -> str``; a view with ``turn == 0`` begins a game. Nothing else is handed to a player.
  `playing.play_seat` and `play_game` play; `player.PlayerError` is a player's failure, never the game's.
- `role.RoleEnv`: a seat as a `TextEnv`; `seat` is the role that acts in the present task, `opponents` who sits where.
- `sdar_envs.conformance.games.check_text_game` checks a `TextGame`.
- `info["role"]` and `StudentView.role` name the seat; the skill statements of two roles have different keys and ids.

Games and seats import nothing of PettingZoo; `aec`, `parallel` and the modules named ``*_v0`` do. It is looked for here
to register the games with it, and where it is missing (or older than 1.27) nothing is registered.
"""

from __future__ import annotations

from .. import GAMES


def _register() -> None:
    try:
        import pettingzoo
    except ImportError:
        return
    register = getattr(pettingzoo, "register", None)  # came with 1.27
    if register is None:
        return
    for game_id, entry in GAMES.items():
        for kind, maker, registry in (
            ("aec", "env", "aec_registry"),
            ("parallel", "parallel_env", "parallel_registry"),
        ):
            if game_id not in getattr(pettingzoo, registry):
                register(kind, game_id, entry_point=f"{entry.game_module}:{maker}")


_register()
