"""Official questions: the parquet files of Search-R1 and of its successors, or JSONL with the same keys.

The published files agree on the questions and not on where they stand; every variant is read, and a record without a
question or without an answer that means anything is left out and counted. Not here: the corpus (`corpus`).
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import SEARCHQA
from ..choices import unknown_choice
from ..core import SPLITS, resolve_split
from ..skills import SkillBank
from ..task_ids import NumberedTaskIds, parse_task_id
from .answers import usable
from .corpus import encodable
from .sources import Need, Task

_WHERE = SEARCHQA.env_id
_COLUMNS = (
    *("question", "golden_answers", "answers", "answer", "data_source", "metadata"),
    *("prompt", "reward_model", "env_kwargs", "extra_info"),
)
_PREFIX = "searchR1_"
_ROWS = 8_192

# What a data set's questions are mostly like. Of the others, the words decide.
_BY_SOURCE = {"popqa": "attribute", "nq": "direct", "triviaqa": "direct"}
_MULTI_HOP = frozenset({"hotpotqa", "2wikimultihopqa", "musique", "bamboogle"})
_COMPARISON = re.compile(r"\b(?:which|who|what|whose|where)\b.*\bor\b|\b(?:both|same)\b", re.IGNORECASE)


class DatasetError(ValueError):
    """Questions that cannot be read; the message names the file, the record and what was expected."""


@dataclass(frozen=True, slots=True)
class Record:
    """One question as read. `titles` are those of supporting passages, where the source names them."""

    row: int
    question: str
    answers: tuple[str, ...]
    data_source: str
    split: str
    titles: tuple[str, ...]


def read_record(row: int, fields: Mapping[str, Any]) -> Record | None:
    """Read one record of any variant; None when it has no question, or no answer of which normalisation leaves any."""
    extra = _mapping(fields.get("extra_info"))
    env = _mapping(fields.get("env_kwargs"))
    question = next(
        (
            text.strip()
            for text in (env.get("question"), extra.get("question"), fields.get("question"), _asked(fields))
            if isinstance(text, str) and text.strip()
        ),
        "",
    )
    truths = (
        env.get("ground_truth"),
        _mapping(fields.get("reward_model")).get("ground_truth"),
        *(fields.get(name) for name in ("golden_answers", "answers", "answer")),
    )
    answers = next((found for truth in truths if (found := usable(_texts(truth)))), [])
    if not question or not answers:
        return None
    source = str(fields.get("data_source") or env.get("data_source") or "unknown").removeprefix(_PREFIX)
    return Record(
        row=row,
        # The official preparation ends every question so.
        question=encodable(question if question.endswith("?") else question + "?"),
        answers=tuple(answers),
        data_source=encodable(source),
        split=str(extra.get("split") or ""),
        titles=_supporting(_mapping(fields.get("metadata"))),
    )


def task_type_of(record: Record) -> str:
    """Which skill a question calls for, by its source and, in multi-hop sources, its words."""
    source = record.data_source.lower()
    if source in _BY_SOURCE:
        return _BY_SOURCE[source]
    if source in _MULTI_HOP:
        return "compare" if _COMPARISON.search(record.question) else "multi_hop"
    return "direct"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(truth: Any) -> list[str]:
    """The gold answers in a dict with ``target``, a list, an array, or a text."""
    if isinstance(truth, Mapping):
        return _texts(truth.get("target"))
    if isinstance(truth, str):
        return [encodable(truth)]
    listed = truth.tolist() if hasattr(truth, "tolist") else truth
    return [encodable(text) for text in listed if isinstance(text, str)] if isinstance(listed, list | tuple) else []


def _asked(fields: Mapping[str, Any]) -> str | None:
    """What follows ``Question:`` in the last message of the user."""
    prompt: Any = fields.get("prompt")
    messages = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    if not isinstance(messages, list | tuple):
        return None
    asked = [m.get("content") for m in messages if isinstance(m, Mapping) and m.get("role") == "user"]
    if not asked or not isinstance(asked[-1], str):
        return None
    return asked[-1].rpartition("Question:")[2].strip().partition("\n")[0] if "Question:" in asked[-1] else None


def _supporting(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Titles of supporting passages: HotpotQA's and 2Wiki's lists, MuSiQue's marked paragraphs."""
    titles = _texts(_mapping(metadata.get("supporting_facts")).get("title"))
    paragraphs = metadata.get("paragraphs")
    if not titles and isinstance(paragraphs, list | tuple):
        marked = [p for p in paragraphs if isinstance(p, Mapping) and p.get("is_supporting")]
        titles = [encodable(p["title"]) for p in marked if isinstance(p.get("title"), str)]
    return tuple(dict.fromkeys(title for title in titles if title.strip()))


# Files.


def _rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix in (".jsonl", ".json"):
        yield from _jsonl(path)
        return
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError(
            f"{path}: reading parquet needs pyarrow: python -m pip install 'sdar-gym[parquet]' (JSONL needs nothing)"
        ) from error
    try:
        file = parquet.ParquetFile(path)
        columns = [name for name in file.schema_arrow.names if name in _COLUMNS]
        if not columns:
            raise DatasetError(
                f"{path}: expected some of the columns {', '.join(_COLUMNS)}, got {', '.join(file.schema_arrow.names)}"
            )
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            yield from batch.to_pylist()
    except OSError as error:  # pyarrow's own errors are of this kind, or ValueErrors
        raise DatasetError(f"{path}: expected a parquet file, and it is none, or cut short: {error}") from error
    except ValueError as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: expected a parquet file, and it is none, or cut short: {error}") from error


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DatasetError(f"{path}, line {number}: expected one JSON object per line: {error}") from error
                if not isinstance(record, dict):
                    raise DatasetError(f"{path}, line {number}: expected an object, got a {type(record).__name__}")
                yield record
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path}: expected UTF-8, got other bytes: {error}") from error


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
    for row, fields in enumerate(_rows_of(path)):
        record = read_record(row, fields)
        if record is None:
            left_out.append(row)
        else:
            records[row] = record
            digest.update(repr((row, record.question, record.answers)).encode("utf-8", "replace"))
    if not records:
        raise DatasetError(f"{path}: expected records with a question and an answer, got {len(left_out):,} without")
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

    Raises:
        DatasetError: A file cannot be read, or holds nothing for `split`.
        ValueError: Unknown split.
    """

    def __init__(self, dataset: str | Mapping[str, str], *, split: str, task_type: str | None = None) -> None:
        self._task_type = task_type
        self._records: dict[str, dict[int, Record]] = {}  # of each split, by row
        self._rows: dict[str, list[int]] = {}
        self._files: dict[str, Questions] = {}
        files = (
            {split: dataset} if isinstance(dataset, str) else {resolve_split(k, _WHERE): v for k, v in dataset.items()}
        )
        for name, path in files.items():
            questions = read_questions(path)
            named = {_split_of(record.split) for record in questions.records.values()} - {""}
            splits = sorted(named) if isinstance(dataset, str) and named else [name]
            for of in splits:
                rows = questions.records.values()
                mine = (r for r in rows if not isinstance(dataset, str) or not named or _split_of(r.split) == of)
                self._files[of] = questions
                self._records[of] = {r.row: r for r in mine}
                self._rows[of] = [row for row, r in self._records[of].items() if task_type in (None, task_type_of(r))]
        if split not in self._rows:
            raise DatasetError(
                f"{dataset}: expected questions of split {split!r}, got some of {', '.join(sorted(self._rows))}: pass "
                "split=, or a mapping from splits to files"
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
                f"pass dataset= as a mapping from {', '.join(SPLITS)} to files"
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


def _split_of(name: str) -> str:
    try:
        return resolve_split({"validation": "valid"}.get(name, name), _WHERE) if name else ""
    except ValueError:
        return ""
