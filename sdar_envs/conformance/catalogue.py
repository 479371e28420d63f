"""Which checks there are, in what order they run, what each needs of others, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .barrier import check_canary, check_plan, check_privileged_off
from .checks import (
    check_determinism,
    check_episode_isolation,
    check_gymnasium,
    check_horizon,
    check_hostile_actions,
    check_info_fresh,
    check_info_json,
    check_info_keys,
    check_not_text,
    check_plays,
    check_render,
    check_spaces,
    check_task_replay,
    check_text,
    check_vector,
)
from .groups import check_group_shares_task
from .leaks import check_counterfactual, check_declared_secret
from .scores import check_floor_gap, check_oracle, check_verifier_determinism
from .separation import check_global_random, check_sessions, check_splits, check_unknown_option
from .subject import Subject

Check = Callable[[Subject], dict[str, Any] | None]

CHECKS: dict[str, Check] = {
    "plays": check_plays,
    "determinism": check_determinism,
    "verifier_determinism": check_verifier_determinism,
    "text": check_text,
    "info_json": check_info_json,
    "info_keys": check_info_keys,
    "info_fresh": check_info_fresh,
    "episode_isolation": check_episode_isolation,
    "gymnasium": check_gymnasium,
    "sessions": check_sessions,
    "global_random": check_global_random,
    "task_replay": check_task_replay,
    "group_shares_task": check_group_shares_task,
    "unknown_option": check_unknown_option,
    "splits": check_splits,
    "privileged_off": check_privileged_off,
    "canary": check_canary,
    "declared_secret": check_declared_secret,
    "counterfactual": check_counterfactual,
    "plan": check_plan,
    "oracle": check_oracle,
    "floor_gap": check_floor_gap,
    "horizon": check_horizon,
    "hostile_actions": check_hostile_actions,
    "not_text": check_not_text,
    "spaces": check_spaces,
    "vector": check_vector,
    "render": check_render,
}

# A check that replays says nothing where replaying is what failed: check -> checks that must not have failed.
NEEDS: dict[str, tuple[str, ...]] = {
    "verifier_determinism": ("determinism",),
    "gymnasium": ("determinism", "verifier_determinism", "episode_isolation"),
    "episode_isolation": ("determinism", "verifier_determinism"),
    "sessions": ("determinism", "verifier_determinism", "episode_isolation"),
    "global_random": ("determinism", "verifier_determinism"),
    "task_replay": ("determinism",),
    "group_shares_task": ("determinism", "verifier_determinism", "sessions", "task_replay"),
    "splits": ("task_replay", "group_shares_task"),
    "privileged_off": ("determinism", "verifier_determinism"),
    "counterfactual": ("determinism", "verifier_determinism", "declared_secret"),
    "oracle": ("plan",),
    "floor_gap": ("plan", "oracle"),
    "vector": ("determinism", "episode_isolation", "sessions"),
}

# Skipped unless the caller gives a function of his own.
ASKS_FOR_A_FUNCTION = frozenset({"declared_secret", "counterfactual", "oracle"})

# Promises of this suite's contract that Gymnasium does not ask for: elsewhere a warning.
CONTRACT_ONLY = frozenset({"info_keys", "not_text", "unknown_option", "global_random"})

# What a check that holds has not seen.
BLIND: dict[str, str] = {
    "canary": "the same in other words, and what does not pass through the planted place",
    "declared_secret": "paraphrases, acrostics, numbers computed from the secret",
    "counterfactual": "what is shown only after an action that an environment understands",
    "group_shares_task": "tasks that differ in nothing that the played actions show",
    "splits": "tasks that were not among those drawn from a larger split",
}
