"""The card of curated episodes and of an exported data set: where it comes from, and what it must not be used for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdar_envs import __version__

from .filters import Choice, Rules

CARD = "card.md"


@dataclass(slots=True)
class CardFacts:
    """What the kept episodes have in common, counted.

    Attributes:
        worlds: Episodes by world.
        policies: What is said of each policy, by its text.
        per_policy: Episodes by policy.
        tasks: Episodes by world and task.
        runs: Episodes by the name of their run.
        iterations: Iterations at which they were played.
        episodes: How many.
        turns: How many.
        sampled: Sampled tokens.
        evaluation_sets: Environment, split and hash of the runs' evaluation sets.
    """

    worlds: Counter[str] = field(default_factory=Counter)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    per_policy: Counter[str] = field(default_factory=Counter)
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    iterations: set[int] = field(default_factory=set)
    episodes: int = 0
    turns: int = 0
    sampled: int = 0
    evaluation_sets: Sequence[str] = ()

    def add(self, record: Mapping[str, Any], world: str, *, sampled: int) -> None:
        """Count an episode."""
        policy = {key: value for key, value in record.get("policy", {}).items() if key != "iteration"}
        name = json.dumps(policy, sort_keys=True)
        self.worlds[world] += 1
        self.policies[name] = policy
        self.per_policy[name] += 1
        self.tasks[world, str(record["task_id"])] += 1
        self.runs[str(record["run"])] += 1
        self.iterations.add(int(record["iteration"]))
        self.episodes += 1
        self.turns += len(record["turns"])
        self.sampled += sampled


def curated_card(facts: CardFacts, choice: Choice, rules: Rules) -> str:
    """The text of a card: world, policy, counts, privilege, licence, evaluation sets."""
    described = {name: value for name, value in rules.described().items() if value is not False}
    asked = ", ".join(name if value is True else f"{name} {value}" for name, value in described.items())
    parts = [
        "# Curated episodes",
        f"{facts.episodes:,} episodes of {len(facts.tasks):,} training tasks, {facts.turns:,} turns and "
        f"{facts.sampled:,} sampled tokens, curated by sdar-gym {__version__} from "
        f"{_listed(f'`{run}` ({count:,})' for run, count in sorted(facts.runs.items()))}, iterations "
        f"{min(facts.iterations)} to {max(facts.iterations)}.",
        "## World",
        "\n".join(f"- {_world(world)}: {count:,} episodes" for world, count in sorted(facts.worlds.items())),
        "## Policy",
        "\n".join(f"- {_policy(facts.policies[name])}: {facts.per_policy[name]:,}" for name in sorted(facts.policies)),
        "The initial weights are named by a hash, tokenizer and chat template too: token ids are those texts with that "
        "tokenizer alone.",
        "## What was thrown away",
        f"Asked: {asked or 'nothing beyond what is refused always'}.",
        "\n".join(
            [
                "| reason | episodes |",
                "|---|---|",
                *(f"| {reason} | {count:,} |" for reason, count in choice.thrown.items()),
                f"| **kept** | {len(choice.kept):,} of {choice.read:,} |",
            ]
        ),
        "## What is not in it",
        "Split `train` alone: episodes of evaluations, and of tasks that an evaluation set of these runs holds, are "
        "refused always. Nothing privileged: no plan, hint, fact or skill, no ids of skill statements, and no number "
        "that a teacher computed. What a policy says it may have learned from a teacher that was shown such things.",
        "## Evaluation sets",
        _sets(facts.evaluation_sets),
        "## Licence",
        "Texts of generated worlds are under this project's licence, Apache-2.0; those of published data under the "
        "licence of that data. What a model wrote is subject to the terms of that model.",
    ]
    return "\n\n".join(parts) + "\n"


def _listed(words: Any) -> str:
    return ", ".join(words)


def _world(key: str) -> str:
    env_id, kwargs, version = json.loads(key)
    options = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted((kwargs or {}).items()))
    return f"`{env_id}`{f' with `{options}`' if options else ''}, version `{version}`"


def _policy(policy: Mapping[str, Any]) -> str:
    known = [f"{key} `{policy[key]}`" for key in sorted(policy) if key != "model"]
    return f"`{policy.get('model') or 'unnamed'}` ({', '.join(known)})"


def _sets(found: Sequence[str]) -> str:
    if not found:
        return "The runs had none. A model that was trained on this data may be measured on `valid` and `test` alone."
    rows = "\n".join(f"- `{each}`" for each in found)
    return (
        "A model that was trained on this data may be measured on these sets, none of whose tasks is in it, and never "
        f"on the training tasks above:\n\n{rows}"
    )
