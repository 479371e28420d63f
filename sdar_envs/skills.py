"""The skill bank: what a teacher may read about a kind of task, as prose and as skill statements.

Prose (one general text and one per task type) is Markdown that a person edits under `assets/skills`. Skill statements
are about the regularities of a world ("apples are usually in the fridge") and come from the world's own tables. The
bank knows no model and no prompt: who shows a skill, and where, is the teacher's business. It draws nothing from shared
streams: the same seeds give the same stale keys and the same random retrieval anywhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .assets import asset_path
from .choices import require_choice, require_number, unknown_choice
from .privileged import RetrievedSkills
from .randomness import Key, counted_generator

# The ways to choose from the bank, see `SkillBank.retrieve`.
RETRIEVALS = ("task_type", "keyword", "random", "wrong", "all", "none")


@dataclass(frozen=True, slots=True)
class SkillStatement:
    """One sentence about a regularity of a world.

    Attributes:
        id: Unique in its bank; episodes log it.
        keys: What the statement is about. It is retrieved when the first key is asked for.
        field: Which property it states, e.g. ``"home"``.
        value: The stated value.
        text: `str.format` template of the sentence; ``{value}`` stands for the value.
        compact_text: The same for tiny models.
        alternatives: Plausible values that would be wrong; a statement without any never becomes stale.
        stale: Whether `value` is wrong.
    """

    id: str
    keys: tuple[str, ...]
    field: str
    value: str
    text: str
    compact_text: str
    alternatives: tuple[str, ...] = ()
    stale: bool = False

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError(f"statement {self.id!r} expects at least one key, got none")
        for name, template in (("text", self.text), ("compact_text", self.compact_text)):
            try:
                template.format(value=self.value)
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"statement {self.id!r}: {name} is expected to be a template of {{value}} alone, "
                    f"got {template!r}: {error!r}; write literal braces twice"
                ) from error
            if self.alternatives and "{value}" not in template:
                raise ValueError(f"statement {self.id!r} has alternatives, so {name} needs {{value}}, got {template!r}")

    def line(self) -> str:
        """The sentence."""
        return self.text.format(value=self.value)

    def compact_line(self) -> str:
        """The sentence for tiny models."""
        return self.compact_text.format(value=self.value)

    def wrong_values(self) -> tuple[str, ...]:
        """The alternatives that differ from the stated value."""
        return tuple(value for value in self.alternatives if value != self.value)

    def falsified(self, rng_key: Sequence[Key]) -> SkillStatement:
        """This statement with a wrong value drawn by `rng_key`, or itself when it has no wrong values."""
        wrong = self.wrong_values()
        if not wrong:
            return self
        value = wrong[int(counted_generator(*rng_key, self.id).integers(len(wrong)))]
        return dataclasses.replace(self, value=value, alternatives=wrong, stale=True)


Claim = SkillStatement  # the older name


def parse_skill_file(text: str, where: str) -> tuple[tuple[str, ...], str]:
    """Read a skill's Markdown: optional front matter with one ``keywords: a, b`` line, then prose.

    Args:
        text: The file's content.
        where: The file's name, for errors.

    Returns:
        The keywords (empty when none are given) and the prose, stripped.

    Raises:
        ValueError: Front matter that is not closed, or that says something else.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return (), "\n".join(lines).strip()
    closing = next((number for number, line in enumerate(lines) if number and line.strip() == "---"), None)
    if closing is None:
        raise ValueError(f"{where}: the front matter opened by '---' in line 1 is expected to be closed by '---'")
    keywords: tuple[str, ...] = ()
    for number, line in enumerate(lines[1:closing], start=2):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or name.strip() != "keywords":
            raise unknown_choice("front matter entry", name.strip(), ["keywords"], f"{where}, line {number}")
        keywords = tuple(word.strip() for word in value.split(",") if word.strip())
    return keywords, "\n".join(lines[closing + 1 :]).strip()


class SkillBank:
    """General and task skills with skill statements, and the ways to retrieve from them.

    Args:
        general: Prose that holds for every task.
        tasks: Task type -> prose.
        statements: The world's regularities, all true unless they say otherwise.
        keywords: Task type -> words that call for it; a task type that is left out is called by its own name.
        stale: Corrupted share: of so many of the keys whose statements have alternatives the statements are wrong. The
            stale keys of a smaller share are among those of a larger one with the same seed.
        stale_seed: Which keys, and which wrong values.

    Raises:
        ValueError: `stale` outside [0, 1], two statements with one id, keywords of an unknown task type, or an empty
            keyword list (such a skill could never be retrieved).
    """

    def __init__(
        self,
        general: str,
        tasks: Mapping[str, str],
        statements: Sequence[SkillStatement] = (),
        *,
        keywords: Mapping[str, Sequence[str]] | None = None,
        stale: float = 0.0,
        stale_seed: int = 0,
    ) -> None:
        require_number("stale", stale, "SkillBank", low=0, high=1)
        require_number("stale_seed", stale_seed, "SkillBank", whole=True)
        self.general = general
        self.tasks = dict(tasks)
        self.stale = stale
        self.stale_seed = stale_seed
        self._patterns = self._compile_keywords(keywords or {})
        self._true_statements = tuple(statements)
        self._by_key: dict[str, list[int]] = {}
        ids: set[str] = set()
        for position, statement in enumerate(self._true_statements):
            if statement.id in ids:
                raise ValueError(f"SkillBank expects unique statement ids, got {statement.id!r} twice")
            ids.add(statement.id)
            self._by_key.setdefault(statement.keys[0], []).append(position)
        self._statements = self._with_staleness()
        self._statement_patterns: dict[str, re.Pattern[str]] = {}

    @classmethod
    def from_assets(cls, environment: str, statements: Sequence[SkillStatement] = (), **kwargs: Any) -> SkillBank:
        """Load ``assets/skills/<environment>``: ``general.md``, and ``<task_type>.md`` for each task type.

        Args:
            environment: The folder's name.
            statements: The world's regularities.
            **kwargs: `keywords` (which overrule the files' own, task type by task type), `stale`, `stale_seed`.

        Raises:
            FileNotFoundError: There is no such folder, or it has no ``general.md``.
            ValueError: A file's front matter is malformed; the message names the file.
        """
        folder = asset_path("skills", environment)
        _, general = parse_skill_file(asset_path("skills", environment, "general.md").read_text("utf-8"), "general.md")
        tasks: dict[str, str] = {}
        keywords: dict[str, Sequence[str]] = {}
        for path in sorted(folder.glob("*.md")):
            if path.stem == "general":
                continue
            words, tasks[path.stem] = parse_skill_file(path.read_text("utf-8"), str(path))
            if words:
                keywords[path.stem] = words
        keywords.update(kwargs.pop("keywords", None) or {})
        return cls(general, tasks, statements, keywords=keywords, **kwargs)

    @classmethod
    def empty(cls) -> SkillBank:
        """A bank without a single skill, for a world that has none: whatever is asked of it, it gives nothing."""
        return cls("", {})

    @property
    def statements(self) -> tuple[SkillStatement, ...]:
        """The statements as the bank states them, stale ones included."""
        return self._statements

    def stale_keys(self) -> tuple[str, ...]:
        """The keys whose statements this bank gets wrong, in the bank's order."""
        return tuple(key for key, at in self._by_key.items() if any(self._statements[i].stale for i in at))

    def retrieve(
        self,
        strategy: str,
        *,
        task_type: str,
        keys: Sequence[str],
        text: str = "",
        seed_key: tuple[Key, ...] = (),
    ) -> RetrievedSkills:
        """Ask the bank. Statements come in the bank's order; everything returned is built afresh.

        Args:
            strategy: ``task_type``: the task's own skill and the statements about `keys` and about the task type.
                ``keyword``: every skill and statement whose words occur in `text`, whole words only, case ignored.
                ``random``: a skill drawn from all task types (the right one can come up), and the statements of as many
                drawn keys as the right retrieval has. ``wrong``: another task type's skill, and the statements about
                `keys` and the task type with wrong values; statements that cannot be wrong are left out. ``all``: the
                whole bank. ``none``: nothing, not even the general skill.
            task_type: The task's type.
            keys: The public ``skill_keys`` of the episode.
            text: What ``keyword`` searches, e.g. the instruction.
            seed_key: Key of the draws of ``random`` and ``wrong``, e.g. ``(task_id,)``.

        Raises:
            ValueError: Unknown strategy or task type; the message lists the choices and the nearest.
        """
        require_choice("retrieval", strategy, RETRIEVALS, "SkillBank.retrieve")
        if self.tasks:
            require_choice("task type", task_type, self.tasks, "SkillBank.retrieve")
        if strategy == "none":
            return _retrieved("", (), ())
        if strategy == "all":
            return _retrieved(self.general, self.tasks.values(), self._statements)
        if strategy == "keyword":
            found = [name for name, pattern in self._patterns.items() if pattern.search(text)]
            mentioned = [key for key in self._by_key if self._statement_pattern(key).search(text)]
            return _retrieved(self.general, [self.tasks[name] for name in found], self._about([*found, *mentioned]))
        if strategy == "task_type":
            return _retrieved(self.general, [self.tasks.get(task_type, "")], self._about([task_type, *keys]))
        return self._misleading(strategy, task_type, keys, ("retrieve", strategy, *seed_key))

    def named(self, name: str, *, task_type: str, keys: Sequence[str]) -> RetrievedSkills:
        """The skill of one task type for a task of any type, for retrieval that is learned and follows no rule.

        Its prose, and the statements about it and about `keys` other than the task's own type; for the own type that is
        the retrieval ``task_type``.

        Raises:
            ValueError: There is no such skill; the message lists the choices and the nearest.
        """
        require_choice("skill", name, self.tasks, "SkillBank.named")
        about = [name, *(key for key in keys if key != task_type)]
        return _retrieved(self.general, [self.tasks[name]], self._about(about))

    def _misleading(
        self, strategy: str, task_type: str, keys: Sequence[str], rng_key: tuple[Key, ...]
    ) -> RetrievedSkills:
        generator = counted_generator(*rng_key)
        types = [name for name in self.tasks if strategy == "random" or name != task_type]
        drawn_type = types[int(generator.integers(len(types)))] if types else None
        drawn_texts = [] if drawn_type is None else [self.tasks[drawn_type]]
        asked = [key for key in dict.fromkeys(keys) if key in self._by_key and key != task_type]
        if strategy == "wrong":
            positions = self._positions([task_type, *asked])
            candidates = (self._true_statements[i].falsified(rng_key) for i in positions)
            return _retrieved(self.general, drawn_texts, [statement for statement in candidates if statement.stale])
        pool = [key for key in self._by_key if key not in self.tasks]
        picked = generator.permutation(len(pool))[: len(asked)]
        drawn_keys = [pool[int(i)] for i in picked]
        about = drawn_keys if drawn_type is None else [drawn_type, *drawn_keys]
        return _retrieved(self.general, drawn_texts, self._about(about))

    def _positions(self, keys: Iterable[str]) -> list[int]:
        return sorted({position for key in keys for position in self._by_key.get(key, ())})

    def _about(self, keys: Iterable[str]) -> list[SkillStatement]:
        return [self._statements[position] for position in self._positions(keys)]

    def _with_staleness(self) -> tuple[SkillStatement, ...]:
        candidates = [
            key for key, at in self._by_key.items() if any(self._true_statements[i].wrong_values() for i in at)
        ]
        order = counted_generator("stale", self.stale_seed).permutation(len(candidates))
        # A prefix of one fixed order, so that a larger share adds stale keys and takes none away.
        chosen = {candidates[int(i)] for i in order[: round(self.stale * len(candidates))]}
        return tuple(
            statement.falsified(("stale", self.stale_seed)) if statement.keys[0] in chosen else statement
            for statement in self._true_statements
        )

    def _compile_keywords(self, keywords: Mapping[str, Sequence[str]]) -> dict[str, re.Pattern[str]]:
        for name, words in keywords.items():
            require_choice("task type", name, self.tasks, "SkillBank keywords")
            if not words:
                raise ValueError(f"SkillBank expects keywords for task type {name!r}, got an empty list: leave it out")
        return {name: _word_pattern(keywords.get(name, (name,))) for name in self.tasks}

    def _statement_pattern(self, key: str) -> re.Pattern[str]:
        if key not in self._statement_patterns:
            self._statement_patterns[key] = _word_pattern((key,))
        return self._statement_patterns[key]


def _word_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Match any of `words` (or phrases) between word boundaries, so that "hat" is not found in "that"."""
    phrases = (r"\s+".join(re.escape(part) for part in word.split()) for word in words)
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)


def _retrieved(general: str, texts: Iterable[str], statements: Sequence[SkillStatement]) -> RetrievedSkills:
    return {
        "general": general,
        "task": "\n\n".join(text for text in texts if text),
        "lines": [statement.line() for statement in statements],
        "compact_lines": [statement.compact_line() for statement in statements],
        "claim_ids": [statement.id for statement in statements],
        "stale": [statement.stale for statement in statements],
    }
