"""The block that opens the page of a world, and the gallery: read from the registry, the environments, measured files.

A page asks for a block with the comment ``<!-- world ID -->`` in a line of its own, which is invisible elsewhere, and
for the gallery with ``<!-- gallery -->``.
"""

from __future__ import annotations

import functools
import json
import re
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import yaml

import sdar_envs
from trainers.cli.envs import EnvDescription, describe_env

from .tables import cell, table

DATA = Path(__file__).resolve().parents[1] / "data"
_BLOCK = re.compile(r"^<!-- world (?P<id>\S+) -->$", re.M)
_GALLERY = re.compile(r"^<!-- gallery -->$", re.M)
_PLAYERS = {
    "random": "random",
    "generic": "*generic*: knows what anyone knows",
    "generic+skills": "*generic* with the skill statements",
    "expert": "expert: the environment's own plan",
    "person": "a person",
}
_SHOWN_ACTIONS = 3
_LONGEST = 420  # characters of one observation in a picture


class Moment(NamedTuple):
    """The beginning of an episode: what the agent reads and does, what only the teacher reads, and the spaces."""

    student: list[tuple[str, str]]  # ("read" or "done", text)
    plan: list[str]
    hint: str
    skills: list[str]
    facts: list[tuple[str, str]]  # spaces, horizon, version


def filled_in(markdown: str) -> str:
    """The page with its blocks in place."""
    markdown = _BLOCK.sub(lambda found: block(found["id"]), markdown)
    return _GALLERY.sub(lambda _: gallery(), markdown)


@functools.cache
def notes() -> dict[str, dict[str, Any]]:
    """What ``docs/data/worlds.yaml`` says."""
    read: dict[str, dict[str, Any]] = yaml.safe_load((DATA / "worlds.yaml").read_text(encoding="utf-8"))
    return read


@functools.cache
def scores() -> dict[str, list[dict[str, Any]]]:
    """What ``docs/data/world_scores.json`` says."""
    read: dict[str, list[dict[str, Any]]] = json.loads((DATA / "world_scores.json").read_text(encoding="utf-8"))
    return read


@functools.cache
def described(env_id: str) -> EnvDescription:
    """Options, splits and task types of a world."""
    return describe_env(env_id)


@functools.cache
def moment(env_id: str) -> Moment | None:
    """The first steps of a task of `valid`; None where the world cannot be made on this machine."""
    try:
        env: gym.Env[str, str] = gym.make(env_id, split="valid")
        world: Any = env.unwrapped
        observation, info = env.reset(options={"task_id": world.task_ids()[0]})
    except (OSError, ImportError, ValueError):
        return None
    privileged = info["privileged"]
    plan, hints = list(privileged["plan"]), list(privileged["hints"])
    lines = [str(line) for line in privileged["skills"].get("lines") or ()]
    facts = [
        ("Action space", f"`{env.action_space}`"),
        ("Observation space", f"`{env.observation_space}`"),
        ("Episode", f"at most {world.horizon} steps"),
        ("`world_version`", f"`{world.world_version}`, a hash of tables, wording, skills and reward"),
    ]
    told = [("read", observation)]
    for action in plan[:_SHOWN_ACTIONS]:
        observation, _, terminated, truncated, _ = env.step(action)
        told += [("done", action), ("read", observation)]
        if terminated or truncated:
            break
    env.close()
    return Moment(told, plan, hints[0] if hints else "", lines[:2], facts)


def picture(shown: Moment) -> str:
    """Both sides of the beginning of an episode, as HTML that fits any width."""
    left = "\n".join(
        f'<span class="done">&gt; {escape(text)}</span>' if kind == "done" else escape(shortened(text))
        for kind, text in shown.student
    )
    right = ["plan", *(f"{number}. {action}" for number, action in enumerate(shown.plan, 1))]
    right += ["", "hint", shown.hint] if shown.hint else []
    right += ["", "skill statements", *shown.skills] if shown.skills else []
    teacher = "\n".join(escape(line) for line in right)
    return (
        '<div class="episode">\n'
        f'<div class="student"><p>the agent reads, and does</p><pre>{left}</pre></div>\n'
        f'<div class="teacher"><p>only the teacher reads</p><pre>{teacher}</pre></div>\n'
        "</div>"
    )


def shortened(text: str) -> str:
    """An observation without its blank lines, cut with a mark."""
    lines = "\n".join(line for line in text.splitlines() if line.strip())
    return lines if len(lines) <= _LONGEST else lines[:_LONGEST].rsplit(" ", 1)[0] + " ..."


def block(env_id: str) -> str:
    """Everything that a world's page opens with.

    Raises:
        KeyError: There is no such world.
    """
    entry, note, found = sdar_envs.WORLDS[env_id], notes()[env_id], described(env_id)
    shown = moment(env_id)
    rows = [["Made by", f'`gymnasium.make("{env_id}")`']]
    if entry.game_id:
        rows.append(["The game of all roles", f'`pettingzoo.make("aec", "{entry.game_id}")`'])
    rows += [list(fact) for fact in (shown.facts if shown else ())]
    rows.append(["Reward", note["reward"]])
    if found.splits:
        rows.append(["Tasks", ", ".join(f"`{name}` {count:,}" for name, count in found.splits.items())])
        rows.append(["Kinds of tasks", ", ".join(f"`{kind}`" for kind in found.task_types)])
    if entry.presets:
        rows.append(["Presets", ", ".join(f"`{name}`" for name in (*entry.presets.values(), *entry.machine_presets))])
    parts = (
        [picture(shown)] if shown else ["The data of this world are not part of the package, so no episode is shown."]
    )
    parts.append(f'<div class="facts" markdown>\n\n{table(["", ""], rows)}\n\n</div>')
    parts.append(score_tables(env_id))
    options = [[f"`{name}`", cell(meaning), f"`{default}`"] for name, default, meaning in found.options]
    listed = table(["option", "meaning", "default"], options)
    parts.append(
        f"<details markdown>\n<summary>Options: keyword arguments of gymnasium.make</summary>\n\n"
        f'<div class="options" markdown>\n\n{listed}\n\n</div>\n\n</details>'
    )
    history = table(["version", "what it is"], [[f"`{name}`", text] for name, text in note["history"].items()])
    rule = "[The rule of versions](versions.md) says what may change in a version."
    parts.append(f"<details markdown>\n<summary>Version history</summary>\n\n{history}\n\n{rule}\n\n</details>")
    return "\n\n".join(parts)


def score_tables(env_id: str) -> str:
    """Success of players without a model, by setting; a score that was not measured says so."""
    measured = scores().get(env_id, [])
    if not measured:
        return "**Scores** of players without a model: not measured, since the data are not part of the package."
    head = ["success in %, 95 % interval", *(setting(each) for each in measured)]
    rows = [[_PLAYERS[name], *(rate(each["players"].get(name)) for each in measured)] for name in _PLAYERS]
    sizes = {(each["episodes"], each["split"]) for each in measured}
    tasks = " and ".join(f"{episodes} tasks of `{split}`" for episodes, split in sorted(sizes))
    stale = [each for each in measured if each["world_version"] != current_version(env_id, each["env_kwargs"])]
    warning = "" if not stale else " Measured in an older version of this world."
    return f"**Scores** of players without a model, {tasks}:{warning}\n\n{table(head, rows)}"


def current_version(env_id: str, env_kwargs: dict[str, Any]) -> str:
    """The version that a world has now."""
    made: Any = gym.make(env_id, **env_kwargs).unwrapped
    version: str = made.world_version
    made.close()
    return version


def setting(measured: dict[str, Any]) -> str:
    """The keyword arguments of a measurement, as a heading."""
    kwargs = ", ".join(f"{key}={value}" for key, value in measured["env_kwargs"].items())
    return f"`{kwargs}`, {measured['horizon']} steps" if kwargs else f"as made, {measured['horizon']} steps"


def rate(player: dict[str, Any] | None) -> str:
    """A success rate with its interval."""
    if player is None:
        return "not measured"
    low, high = player["ci95"]
    return f"{100 * player['success_rate']:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def gallery() -> str:
    """A card for every world: its picture, what it is, and two rates."""
    cards = []
    for env_id, note in notes().items():
        shown, found = moment(env_id), described(env_id)
        text = escape(shortened(shown.student[0][1])) if shown else "the official games, from files of your own"
        first = f'<span class="done">&gt; {escape(shown.plan[0])}</span>' if shown and shown.plan else ""
        page = note["page"].replace(".md", ".html")
        cards.append(
            f'<a class="card" href="{page}">\n<strong>{note["title"]}</strong> <code>{env_id}</code>\n'
            f"<pre>{text}\n{first}</pre>\n<p>{escape(found.summary)} {between(env_id)}</p>\n</a>"
        )
    return '<div class="gallery">\n' + "\n".join(cards) + "\n</div>"


def between(env_id: str) -> str:
    """What knowledge is worth at the smallest measured setting, in a sentence."""
    if not (measured := scores().get(env_id)):
        return ""
    players = measured[-1]["players"]
    plain, told = (100 * players[name]["success_rate"] for name in ("generic", "generic+skills"))
    return f"A player that knows what anyone knows wins {plain:.0f} %, with the skill statements {told:.0f} %."
