"""Official questions: the prepared files of Search-R1 and of its successors, and the data sets' own files.

The published files agree on the questions and not on where they stand; every variant is read (`layouts`), and a record
without a question or without an answer that means anything is left out and counted. Not here: the corpus (`corpus`).
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import SEARCHQA
from ..choices import unknown_choice
from ..core import SPLITS, resolve_split
from ..skills import SkillBank
from ..task_ids import NumberedTaskIds, parse_task_id
from .answers import normalise, usable
from .corpus import encodable
from .layouts import (
    ANSWER_KEYS,
    DatasetError,
    answers_in,
    kind_of,
    layout_of,
    listed,
    lower_keys,
    mapping,
    rows_of,
    source_of,
    titles_in,
    what_was_seen,
)
from .sources import Need, Task

_WHERE = SEARCHQA.env_id
_PREFIX = "searchR1_"

# What a data set's questions are mostly like. Of the others, the words decide.
_BY_SOURCE = {"popqa": "attribute", "nq": "direct", "triviaqa": "direct", "squad": "direct"}
# What HotpotQA and 2Wiki call their kinds of questions.
_BY_KIND = {
    **dict.fromkeys(("comparison", "bridge_comparison"), "compare"),
    **dict.fromkeys(("bridge", "compositional", "inference"), "multi_hop"),
}
_MULTI_HOP = frozenset({"hotpotqa", "2wikimultihopqa", "musique", "bamboogle"})
_COMPARISON = re.compile(r"\b(?:which|who|what|whose|where)\b.*\bor\b|\b(?:both|same)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One question as read.

    `titles` are those of supporting passages and `kind` the data set's word for the question, where it has them.
    """

    row: int
    question: str
    answers: tuple[str, ...]
    data_source: str
    split: str
    titles: tuple[str, ...]
    kind: str = ""


def read_record(row: int, fields: Mapping[str, Any], source: str = "") -> Record | None:
    """Read one record of any variant.

    Args:
        row: Its number in the file.
        fields: The record.
        source: The data set that it is from, where it does not say so itself.

    Returns:
        The record; None when it has no question, or no answer of which normalisation leaves any.
    """
    fields = lower_keys(fields)
    extra, env = mapping(fields.get("extra_info")), mapping(fields.get("env_kwargs"))
    places = (env.get("question"), extra.get("question"), fields.get("question"), fields.get("query"), _asked(fields))
    question = next((text.strip() for text in places if isinstance(text, str) and text.strip()), "")
    prepared = (env.get("ground_truth"), mapping(fields.get("reward_model")).get("ground_truth"))
    answers = next((found for truth in prepared if (found := usable(answers_in(truth)))), [])
    if not answers:
        answers = usable([answer for key in ANSWER_KEYS for answer in answers_in(fields.get(key))])
    if not question or not answers:
        return None
    named = str(fields.get("data_source") or env.get("data_source") or "").removeprefix(_PREFIX)
    return Record(
        row=row,
        # The official preparation ends every question so.
        question=encodable(question if question.endswith("?") else question + "?"),
        answers=tuple(dict.fromkeys(answers)),
        data_source=encodable(named or layout_of(fields) or source or "unknown"),
        split=str(extra.get("split") or ""),
        titles=titles_in(fields),
        kind=kind_of(fields),
    )


def task_type_of(record: Record) -> str:
    """Which skill a question calls for: by its source, and in multi-hop sources by the kind they name, or its words."""
    source = record.data_source.lower()
    if source in _BY_SOURCE:
        return _BY_SOURCE[source]
    if record.kind in _BY_KIND:
        return _BY_KIND[record.kind]
    if source in _MULTI_HOP:
        return "compare" if _COMPARISON.search(record.question) else "multi_hop"
    return "direct"


def _asked(fields: Mapping[str, Any]) -> str | None:
    """What follows ``Question:`` in the last message of the user."""
    asked = [
        m.get("content") for m in listed(fields.get("prompt")) if isinstance(m, Mapping) and m.get("role") == "user"
    ]
    if not asked or not isinstance(asked[-1], str):
        return None
    return asked[-1].rpartition("Question:")[2].strip().partition("\n")[0] if "Question:" in asked[-1] else None


# Files.


@dataclass(frozen=True)
class Questions:
    """The records of one file that can be asked, by row."""

    path: Path
    records: Mapping[int, Record]
    fingerprint: str


def read_questions(path: str) -> Questions:
    """Read a file once per process, and again when it has changed.

    Raises:
        DatasetError: There is no such file, it is of another kind, or nothing in it can be asked.
        ImportError: It is parquet, and pyarrow is not installed.
    """
    file = Path(path)
    try:
        state = file.stat()
    except OSError as error:
        raise DatasetError(f"{file}: the questions cannot be opened: {error.strerror or error}") from error
    return _read(file, state.st_size, state.st_mtime_ns)


@cache
def _read(path: Path, size: int, mtime_ns: int) -> Questions:
    records: dict[int, Record] = {}
    digest = hashlib.sha256()
    left_out: list[int] = []
    keys: dict[str, None] = {}
    source = source_of(path)
    for row, fields in enumerate(rows_of(path)):
        record = read_record(row, fields, source)
        if record is None:
            left_out.append(row)
            keys.update(dict.fromkeys(fields) if len(keys) < 64 else {})
        else:
            records[row] = record
            digest.update(repr((row, record.question, record.answers)).encode("utf-8", "replace"))
    if not records:
        raise DatasetError(
            f"{path}: expected records with a question and an answer, got {len(left_out):,} without; "
            f"{what_was_seen(list(keys))}"
        )
    if left_out:
        warnings.warn(
            f"{path}: {len(left_out):,} of {len(left_out) + len(records):,} records have no question or no usable "
            f"answer and are left out, the first is row {left_out[0]}",
            stacklevel=2,
        )
    return Questions(path, records, digest.hexdigest()[:12])


class OfficialTasks:
    """The questions of files, by split.

    Args:
        dataset: A file, or a mapping from split to file. A single file serves the splits that its records name; where
            they name none, the split that is asked for here, and no other.
        split: Of the environment.
        task_type: The only task type, or None for all.
        splits: One of `sources.DATASET_SPLITS`; by ``content``, a single file serves all three, and a question that is
            asked twice is in one of them.

    Raises:
        DatasetError: A file cannot be read, or holds nothing for `split`.
        ValueError: Unknown split.
    """

    def __init__(
        self, dataset: str | Mapping[str, str], *, split: str, task_type: str | None = None, splits: str = "named"
    ) -> None:
        self._records: dict[str, dict[int, Record]] = {}  # of each split, by row
        self._rows: dict[str, list[int]] = {}
        self._files: dict[str, Questions] = {}
        files = (
            {split: dataset} if isinstance(dataset, str) else {resolve_split(k, _WHERE): v for k, v in dataset.items()}
        )
        by_content = splits == "content"
        if by_content and not isinstance(dataset, str):
            raise ValueError(f"{_WHERE} expects dataset_splits='content' with a single file, got a mapping of files")
        for name, path in files.items():
            questions = read_questions(path)
            place = split_by_content if by_content else _named_split
            of_row = {row: place(record) for row, record in questions.records.items()}
            single = isinstance(dataset, str) and set(of_row.values()) != {""}
            for of in sorted(set(of_row.values()) - {""}) if single else [name]:
                self._files[of] = questions
                self._records[of] = {r: q for r, q in questions.records.items() if not single or of_row[r] == of}
                self._rows[of] = [row for row, r in self._records[of].items() if task_type in (None, task_type_of(r))]
        if split not in self._rows:
            raise DatasetError(
                f"{dataset}: expected questions of split {split!r}, got some of {', '.join(sorted(self._rows))}: pass "
                "split=, a mapping from splits to files, or dataset_splits='content'"
            )

    @property
    def fingerprint(self) -> str:
        """Changes with what is asked."""
        facts = sorted((split, questions.fingerprint) for split, questions in self._files.items())
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    def task_ids(self, split: str) -> Sequence[str]:
        """Ids such as ``test:000123``: the split, and the row of the file."""
        chosen = resolve_split(split, _WHERE)
        if chosen not in self._rows:
            raise DatasetError(
                f"{_WHERE} expects a split that the dataset has, got {chosen!r} of {', '.join(sorted(self._rows))}: "
                f"pass dataset= as a mapping from {', '.join(SPLITS)} to files, or dataset_splits='content'"
            )
        return NumberedTaskIds(chosen, self._rows[chosen])

    def load(self, task_id: str) -> Task:
        """See `sources.TaskSource`."""
        split, row = parse_task_id(task_id, dict.fromkeys(self._records), _WHERE)
        record = self._records[split].get(row)
        if record is None:
            raise unknown_choice("task id", task_id, self.task_ids(split)[:2_000], _WHERE)
        kind = task_type_of(record)
        return Task(
            question=record.question,
            answers=record.answers,
            task_type=kind,
            skill_keys=(record.data_source,),
            data_source=record.data_source,
            needs=tuple(Need(title, None, title, f"the article {title}", "") for title in record.titles),
            ordered=kind != "compare",
        )

    def skill_bank(self) -> SkillBank:
        """The prose of the skill bank; official corpora have no regularities to state."""
        return SkillBank.from_assets(SEARCHQA.skill_folder)


def split_by_content(record: Record) -> str:
    """The split of a question by what it asks: 80 % train, 10 % valid, 10 % test, wherever it stands in a file."""
    digest = hashlib.sha256(normalise(record.question).encode("utf-8", "replace")).digest()
    place = int.from_bytes(digest[:8], "big") % 10
    return "train" if place < 8 else "valid" if place == 8 else "test"


def _named_split(record: Record) -> str:
    return _split_of(record.split)


def _split_of(name: str) -> str:
    try:
        return resolve_split({"validation": "valid"}.get(name, name), _WHERE) if name else ""
    except ValueError:
        return ""
