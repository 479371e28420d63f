"""From run directories to a folder of curated episodes: what was kept, what was thrown away and why, and a card.

The folder is the same to the last byte whenever the runs and the rules are, in whatever order the runs are named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.files import replaced_folder

from ..evaluation.evaluation_set import EvaluationSet
from .card import CARD, CardFacts, curated_card
from .filters import Choice, Rules, choose, require_some
from .stored import EPISODES, StoredEpisodesError, curated_record, log_of, read_lines, read_log, world_key

THROWN = "thrown.json"
# What makes token ids of two policies the same text: they may differ in everything else.
TEXT_KEYS = ("tokenizer", "template")


@dataclass(slots=True)
class Curated:
    """What was curated: counts, and the facts that stand on the card."""

    folder: Path
    choice: Choice
    facts: CardFacts = field(default_factory=CardFacts)


def curate(runs: Sequence[str | Path], rules: Rules, out: str | Path) -> Curated:
    """Choose among the episodes of runs, and write the chosen ones with the counts and a card.

    Args:
        runs: Run directories; each must have logged all tokens (``log_tokens=all``) to give anything.
        rules: What is asked of an episode.
        out: The folder to make.

    Raises:
        StoredEpisodesError: The folder is there already, a run has no log, a line is damaged, nothing is kept, or what
            is kept was written with several tokenizers.
        EvaluationSetError: An evaluation set of a run was changed.
    """
    out = Path(out)
    require_new(out)
    logs = [log_of(run) for run in runs]
    if not logs:
        raise StoredEpisodesError("expected at least one run directory to curate, got none")
    sets = _evaluation_sets(runs)
    evaluated = {(each.env_id, task) for each in sets for task in each.task_ids}
    episodes = [episode for run, log in enumerate(logs) for episode in read_log(log, run)]
    choice = choose(episodes, rules, evaluated)
    require_some(choice)
    with replaced_folder(out, keep_existing=False) as partial:
        facts = _write(partial / EPISODES, choice)
        _require_one_text(facts)
        facts.evaluation_sets = sorted({f"{each.env_id} {each.split} {each.hash}" for each in sets})
        thrown: dict[str, Any] = {"read": choice.read, "kept": len(choice.kept), "thrown": choice.thrown}
        thrown["rules"] = rules.described()
        (partial / THROWN).write_text(json.dumps(thrown, indent=1) + "\n", encoding="utf-8")
        (partial / CARD).write_text(curated_card(facts, choice, rules), encoding="utf-8")
    return Curated(out, choice, facts)


def require_new(out: Path) -> None:
    """Refuse to write over something.

    Raises:
        StoredEpisodesError: It is there already.
    """
    if out.exists():
        raise StoredEpisodesError(f"{out} is there already: remove it, or name another folder")


def _write(path: Path, choice: Choice) -> CardFacts:
    """Write the curated lines; returns what they have in common."""
    facts = CardFacts()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for episode, record in zip(choice.kept, read_lines(choice.kept), strict=True):
            facts.add(record, world_key(record), sampled=episode.tokens)
            line = json.dumps(curated_record(record, episode.id), ensure_ascii=False, separators=(",", ":"))
            file.write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
    return facts


def _require_one_text(facts: CardFacts) -> None:
    """Refuse ids that mean different texts.

    Raises:
        StoredEpisodesError: There are several tokenizers or chat templates.
    """
    for key in TEXT_KEYS:
        found = sorted({str(policy.get(key)) for policy in facts.policies.values()})
        if len(found) > 1:
            raise StoredEpisodesError(
                f"expected episodes of one {key}, got {len(found)} ({', '.join(found)}): the same token ids are other "
                "texts there; curate the runs apart"
            )


def _evaluation_sets(runs: Sequence[str | Path]) -> list[EvaluationSet]:
    """The evaluation sets of the runs, by their files' names."""
    found = [EvaluationSet.load(path) for run in runs for path in sorted((Path(run) / "panels").glob("*.json"))]
    return list({each.hash: each for each in found}.values())
