"""The drill of hostile text: actions that no agent should send, and completions and observations that imitate markup.

Each action is a step of an episode. It must be answered by a normal reply (no exception, no hang, no death, nothing
that no episode can be made of), and the episode must be the same when it is played again. The same texts are read as
completions by both parsers, which must not raise, and made into token ids as an observation is, among which there must
be no control token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from agents.base import Action
from agents.parsing import parse_bare, parse_tagged
from agents.rendering import ChatRenderer
from sdar_envs.hostile import hostile_actions
from sdar_envs.randomness import counted_generator

from ..rollout.batch_env import BatchEnv
from ..rollout.opening import open_batch_env
from ..rollout.replies import Reply
from .small_run import DrillSubject
from .tally import Tally

SLOTS = 8
STEPS = 25  # of a round, in every slot
_ACTIONS = SLOTS * STEPS
_TEXTS = 10  # of a round
_READ = 2000  # characters of a text that are read as a completion and as an observation


def drill_hostile(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """Rounds of `SLOTS` x `STEPS` actions, without end; arguments as for `resume.drill_resume`."""
    source = subject.source()
    renderer = ChatRenderer(_tokenizer())
    try:
        for split in ("valid", "train"):
            tasks = source.task_ids(split)
            if len(tasks):
                break
        batch_env = open_batch_env(source, split, SLOTS)
        again = open_batch_env(source, split, 1)
        try:
            for number in itertools.count(seed):
                tally = Tally("hostile", subject.name, rounds=1)
                _round(batch_env, again, tasks, number, tally)
                _read_texts(renderer, number, tally)
                yield tally
        finally:
            batch_env.close()
            again.close()
    finally:
        source.close()


def _round(batch_env: BatchEnv, again: BatchEnv, tasks: Any, number: int, tally: Tally) -> None:
    draw = counted_generator("drill", "hostile", number)
    drawn = [tasks[int(index)] for index in draw.integers(min(len(tasks), 10_000), size=SLOTS * (STEPS + 1))]
    fresh = iter(drawn)
    episodes: dict[int, tuple[str, list[str], list[Reply]]] = {}

    def begin(slot: int) -> None:
        task = next(fresh)
        (reply,) = batch_env.reset([slot], [task])
        if reply.failure:
            tally.count("reset", "lost", reply.failure)
            return
        episodes[slot] = (task, [], [reply])

    for slot in range(SLOTS):
        begin(slot)
    legal = [
        str(each) for _, _, replies in episodes.values() for each in replies[0].info.get("admissible_actions") or ()
    ]
    texts = hostile_actions(_ACTIONS, seed=f"drill {number}", legal=legal[:40], first=number * _ACTIONS)
    for _ in range(STEPS):
        slots = list(episodes)
        actions = [next(texts) for _ in slots]
        for slot, action, reply in zip(slots, actions, batch_env.step(slots, actions), strict=True):
            task, played, replies = episodes[slot]
            played.append(action)
            replies.append(reply)
            if reply.failure:
                tally.count("action", "lost", f"{action[:100]!a}: {reply.failure}")
            else:
                tally.count("action")
            if reply.failure or reply.terminated or reply.truncated:
                del episodes[slot]
                begin(slot)
    for task, played, replies in list(episodes.values())[:2]:
        _play_again(again, task, played, replies, tally)


def _play_again(batch_env: BatchEnv, task: str, actions: list[str], replies: list[Reply], tally: Tally) -> None:
    got = batch_env.reset([0], [task])
    for action in actions:
        if got[-1].failure:
            break
        got += batch_env.step([0], [action])
    same = [_shown(reply) for reply in got] == [_shown(reply) for reply in replies]
    tally.count("episode played again", *(() if same else ("silent", f"task {task} came out otherwise")))


def _shown(reply: Reply) -> tuple[Any, ...]:
    return (reply.observation, reply.reward, reply.terminated, reply.truncated, reply.failure, repr(dict(reply.info)))


def _read_texts(renderer: ChatRenderer, number: int, tally: Tally) -> None:
    for text in hostile_actions(_TEXTS, seed=f"drill, texts {number}", first=number * _TEXTS):
        cut = text[:_READ]
        try:
            for form in (cut, f"<action>{cut}</action>", f"<think>{cut}</think><action>{cut}</action>"):
                for truncated in (False, True):
                    parsed = [parse_tagged(form, truncated, thinking=True), parse_bare(form, truncated)]
                    for action, parse in parsed:
                        Action(action, form, parse)
            ids = renderer.encode_text(cut)
        except Exception as error:
            tally.count("text", "lost", f"{cut[:100]!a}: {type(error).__name__}")
            continue
        control = sorted(set(ids) & set(renderer.tokenizer.all_special_ids))
        tally.count("text", *(() if not control else ("silent", f"{cut[:100]!a} gave control tokens {control}")))


def _tokenizer() -> Any:
    from ..warm_start.tiny_model import build_tokenizer

    return build_tokenizer(["You see a coin. What do you do?", "look", "take coin"], 300)
