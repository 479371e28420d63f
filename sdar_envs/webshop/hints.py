"""Hints: true sentences about the way to the target, each more helpful than the one before."""

from __future__ import annotations

from collections.abc import Sequence

from .tasks import Task

SENTENCES = {
    "wanted": "Find a product that is {attributes}, and costs at most {bound} dollars.",
    "unbounded": "Find a product that is {attributes}.",
    "search": "A search that lists it early is: {query}",
    "target": "The product is {asin}, {title}; choose {options}.",
    "plain_target": "The product is {asin}, {title}; no option has to be chosen.",
    "next": "The next action is: {action}",
    "done": "Nothing is left to do.",
}


def hints(task: Task, plan: Sequence[str], *, over: bool) -> list[str]:
    """What is wanted, how to search for it, which it is, and what to do now.

    Args:
        task: The episode's subject.
        plan: What is left to do; empty where no search is known that lists the target, and then nothing is said of it.
        over: Whether something was bought.
    """
    goal, errand = task.goal, task.errand
    if over:
        return [SENTENCES["done"]]
    bounded = "wanted" if goal.price_upper < 1_000 else "unbounded"
    values = list(errand.options.values())
    sentences = [SENTENCES[bounded].format(attributes=" and ".join(goal.attributes), bound=f"{goal.price_upper:.0f}")]
    if errand.page:
        sentences.append(SENTENCES["search"].format(query=errand.query))
    target = SENTENCES["target" if values else "plain_target"]
    sentences.append(target.format(asin=errand.target, title=goal.name, options=" and ".join(values)))
    if plan:
        sentences.append(SENTENCES["next"].format(action=plan[0]))
    return sentences
