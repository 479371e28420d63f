"""One question being played: what was done, what was found, what is still missing, and what a teacher may say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..privileged import RetrievedSkills
from ..randomness import Key
from ..wrong_actions import NO_PLAN
from .protocol import Turn, answer_action, search_action
from .retriever import Hit
from .sources import Need, Task

RULES = {
    "direct": "One lookup answers this: name the thing and what is asked about it.",
    "attribute": "One entry on the thing holds the property that is asked for.",
    "compare": "Look the same property up for every candidate, one search each, then compare.",
    "multi_hop": "Go from the named thing outward, one relation per search, and search on with what each one finds.",
}


class Episode:
    """One question being played: what was done, what was found, and what is still missing."""

    def __init__(self, task: Task, seed_key: tuple[Key, ...]) -> None:
        self.task = task
        self.seed_key = seed_key
        self.skills: RetrievedSkills | None = None
        self.actions: list[str] = []
        self.observations: list[str] = []
        self.shown: list[str] = []  # texts of passages that came back
        self.hits: list[Hit] = []
        self.query = ""
        self.outage = ""
        self.well_formed = True
        self.success = False
        self.score = 0.0
        self.over = False
        self._met: set[int] = set()
        self.plan_lengths = [self.plan_length()]  # at the beginning and after each turn

    def begin_turn(self, turn: Turn) -> None:
        """Forget the last search; a turn of the wrong form spoils the episode's structure."""
        self.query, self.hits = "", []
        self.well_formed = self.well_formed and turn.well_formed

    def take(self, query: str, hits: Sequence[Hit]) -> None:
        """Note what a search found."""
        self.query, self.hits = query, list(hits)
        self.shown += [hit.passage.contents for hit in hits]
        for place, need in enumerate(self.task.needs):
            if any(need.is_met_by(hit) for hit in hits):
                self._met.add(place)

    def record(self, action: str, observation: str) -> None:
        """Note a turn for later prompts."""
        self.actions.append(action)
        self.observations.append(observation)

    def finish(self, *, success: bool, score: float) -> None:
        """Note the answer's worth."""
        self.over, self.success, self.score = True, success, score

    def missing(self) -> list[Need]:
        """The evidence that was not shown yet, in order."""
        return [need for place, need in enumerate(self.task.needs) if place not in self._met]

    def plan_length(self) -> float:
        """Turns of the shortest known way to an answer that rests on evidence: what is missing, then the answer.

        A by-name is not missed once what it leads to was shown. After a right answer it is 0, whatever was shown.
        """
        if self.over:
            return 0 if self.success else NO_PLAN
        needs = self.task.needs
        met = [place in self._met or (need.leads_on and place + 1 in self._met) for place, need in enumerate(needs)]
        return met.count(False) + 1

    def plan(self, horizon: int) -> list[str]:
        """The remaining actions: searches for what is missing, as many as the turns leave room for, then the answer."""
        if self.over or self.outage or len(self.actions) >= horizon:
            return []
        room = horizon - len(self.actions) - 1
        searches = [search_action(need.query) for need in self.missing()[:room]]
        return [*searches, answer_action(self.task.answers[0])]

    def hints(self, plan: Sequence[str]) -> list[str]:
        """True sentences, rising in help: the rule of the task, what is missing, what to do now."""
        sentences = [RULES[self.task.task_type]]
        if not plan:
            return [*sentences, "Nothing is left to do." if self.success else "It can not be done any more."]
        missing = self.missing()
        sentences.append(f"Still to be found is {missing[0].about}." if missing else "All that is needed was shown.")
        sentences.append(f"The next action is: {plan[0]}")
        return sentences

    def facts(self) -> dict[str, Any]:
        """The world's own fields: the answers, the evidence, what of it was seen."""
        needs = self.task.needs
        return {
            "answers": list(self.task.answers),
            "hops": len(needs),
            "ordered": self.task.ordered,
            "chance": self.task.chance,
            "evidence": [
                {"query": n.query, "passage": n.key, "about": n.about, "value": n.value, "seen": i in self._met}
                for i, n in enumerate(needs)
            ],
            "evidence_seen": [need.key for i, need in enumerate(needs) if i in self._met],
            "missing": [need.key for need in self.missing()],
            "gold_passages": [need.contents or need.title for need in needs],
        }
