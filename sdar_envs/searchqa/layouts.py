"""Files of questions as the data sets publish them: which rows a file holds, and under which keys a row says what.

Read are parquet, JSONL, JSON (an array, SQuAD's ``data`` or TriviaQA's ``Data``) and CSV or TSV with a line of names.
Keys are the same in upper and lower case. What a row means to an environment is `official`'s business.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bounded_files import bounded_lines, load_json, parse_json
from .corpus import encodable
from .record_files import json_record, parquet_records

# Where a question, its answers and its evidence are looked for, in this order. Answers that stand under several of
# `ANSWER_KEYS` are all taken; `env_kwargs` and `reward_model` are the prepared files' and stand for all others.
QUESTION_KEYS = ("env_kwargs.question", "extra_info.question", "question", "query", "prompt")
ANSWER_KEYS = ("golden_answers", "answers", "answer", "answer_aliases", "possible_answers")
PREPARED_KEYS = ("env_kwargs.ground_truth", "reward_model.ground_truth")
EVIDENCE_KEYS = ("supporting_facts", "paragraphs", "question_decomposition", "context", "title")
COLUMNS = frozenset(
    {name.partition(".")[0] for name in (*QUESTION_KEYS, *ANSWER_KEYS, *PREPARED_KEYS, *EVIDENCE_KEYS)}
    | {"data_source", "metadata", "type", "prop", "s_wiki_title", "id", "_id", "question_id"}
) - {"context"}

_LARGEST = 1 << 31  # bytes of a JSON file of questions: published ones have half a gigabyte
_ROWS = 8_192
_MOST_FIELD = 1 << 24
# A word in the name of a file, or of its folder -> the name of the data set.
_NAMES = (
    (re.compile(r"hotpot"), "hotpotqa"),
    (re.compile(r"2wiki"), "2wikimultihopqa"),
    (re.compile(r"musique"), "musique"),
    (re.compile(r"bamboogle"), "bamboogle"),
    (re.compile(r"trivia"), "triviaqa"),
    (re.compile(r"popqa"), "popqa"),
    (re.compile(r"squad"), "squad"),
    (re.compile(r"(?<![a-z])(?:nq|natural.?questions)(?![a-z])"), "nq"),
)


class DatasetError(ValueError):
    """Questions that cannot be read; the message names the file, the record and what was expected."""


def source_of(path: Path) -> str:
    """The data set that a file's name, or else its folder's, speaks of; "" for none."""
    for name in (path.stem.lower(), path.parent.name.lower()):
        for pattern, source in _NAMES:
            if pattern.search(name):
                return source
    return ""


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, also one that is written as JSON; else nothing."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _from_json(value)
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """The value where it is a list, a tuple or an array, also one that is written as JSON; else nothing."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _from_json(value)
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, list | tuple) else []


def answers_in(truth: Any) -> list[str]:
    """The answers in one value.

    It may be a text, a list of any of these, or an object: with ``target`` (Search-R1), ``value`` and aliases
    (TriviaQA), or ``text`` (SQuAD).
    """
    if isinstance(truth, Mapping):
        own = lower_keys(truth)
        names = ("target", "value", "aliases", "normalizedaliases", "normalized_aliases", "humananswers", "text")
        return [answer for name in names for answer in answers_in(own.get(name))]
    if isinstance(truth, str):
        inner = listed(truth)  # PopQA writes its list as JSON
        return answers_in(inner) if inner and all(isinstance(one, str) for one in inner) else [encodable(truth)]
    return [answer for one in listed(truth) for answer in answers_in(one)]


def titles_in(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Titles of supporting passages, in the order in which they are needed where the row says so.

    HotpotQA and 2Wiki list them (in pairs with a sentence, or as the hub's two columns), MuSiQue marks paragraphs and
    says which of them each step of the question needs; SQuAD's questions are about the article they stand under.
    """
    metadata = mapping(fields.get("metadata"))
    for place in (fields, metadata):
        facts = place.get("supporting_facts")
        columns = mapping(facts)
        titles = listed(columns.get("title")) if columns else [_first(fact) for fact in listed(facts)]
        paragraphs = [mapping(paragraph) for paragraph in listed(place.get("paragraphs"))]
        if not any(isinstance(title, str) for title in titles):
            titles = _marked(paragraphs, listed(place.get("question_decomposition")))
        found = dict.fromkeys(encodable(title) for title in titles if isinstance(title, str) and title.strip())
        if found:
            return tuple(found)
    if _is_squad(fields) and isinstance(fields.get("title"), str) and fields["title"].strip():
        return (encodable(fields["title"].replace("_", " ")),)
    return ()


def layout_of(fields: Mapping[str, Any]) -> str:
    """The data set whose own layout a row has; "" where the keys fit several."""
    metadata = mapping(fields.get("metadata"))
    if "paragraphs" in fields or "question_decomposition" in fields:
        return "musique"
    if "supporting_facts" in fields or "supporting_facts" in metadata:
        several = {"evidences", "evidence", "entity_ids", "evidences_id"}
        return "2wikimultihopqa" if several & (set(fields) | set(metadata)) else "hotpotqa"
    if "possible_answers" in fields or "s_wiki_title" in metadata:
        return "popqa"
    answer = fields.get("answer")
    if isinstance(answer, Mapping) and "aliases" in lower_keys(answer):
        return "triviaqa"
    return "squad" if _is_squad(fields) else ""


def kind_of(fields: Mapping[str, Any]) -> str:
    """What a data set calls the kind of a question (``comparison``, ``bridge``, ...); "" where it says nothing."""
    for place in (fields, mapping(fields.get("metadata"))):
        if isinstance(place.get("type"), str):
            return str(place["type"]).lower()
    return ""


def lower_keys(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with its keys in lower case."""
    return {str(key).strip().lower(): value for key, value in fields.items()}


def what_was_seen(keys: Sequence[str]) -> str:
    """A sentence for a refusal: which keys are looked for, and which were there."""
    questions = ", ".join(QUESTION_KEYS)
    answers = ", ".join((*PREPARED_KEYS, *ANSWER_KEYS))
    return f"looked for a question under {questions} and for answers under {answers}; seen: {', '.join(keys) or 'none'}"


def _is_squad(fields: Mapping[str, Any]) -> bool:
    answers = fields.get("answers")
    inner = answers if isinstance(answers, Mapping) else next(iter(listed(answers)), None)
    return isinstance(inner, Mapping) and "text" in inner


def _first(fact: Any) -> Any:
    pair = listed(fact)
    return pair[0] if pair else mapping(fact).get("title")


def _marked(paragraphs: Sequence[Mapping[str, Any]], steps: Sequence[Any]) -> list[Any]:
    """Titles of marked paragraphs, those that the steps name first and in their order."""
    marked = [paragraph for paragraph in paragraphs if paragraph.get("is_supporting")]
    order = [mapping(step).get("paragraph_support_idx") for step in steps]
    named = [paragraph for number in order for paragraph in marked if paragraph.get("idx") == number]
    return [paragraph.get("title") for paragraph in (*named, *marked)]


def _from_json(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None


# Files.


def rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file, whatever its layout, with keys in lower case.

    Raises:
        DatasetError: It is none of the layouts, damaged, or of other bytes than UTF-8.
        ImportError: It is parquet, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    read = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}.get(suffix, _parquet)
    try:
        yield from map(lower_keys, read(path))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected UTF-8, got other bytes: {error}") from error


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    def columns(names: Sequence[str]) -> list[str]:
        known = [name for name in names if name.strip().lower() in COLUMNS]
        if not known:
            raise DatasetError(f"{path}: expected columns of questions: {what_was_seen(names)}")
        return known

    return parquet_records(path, columns, DatasetError, rows=_ROWS)


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(bounded_lines(file), start=1):
            if line.strip():
                yield json_record(line, f"{path}, line {number}", DatasetError)


def _json(path: Path) -> Iterator[Mapping[str, Any]]:
    """An array, one object that holds the rows, or, under this name too, an object per line."""
    with path.open(encoding="utf-8-sig") as file:
        first = next((line for line in bounded_lines(file, limit=_LARGEST) if line.strip()), "")
    lone = _from_json(first)
    if isinstance(lone, dict) and not listed(lower_keys(lone).get("data")):
        yield from _jsonl(path)
        return
    try:
        whole = load_json(path, limit=_LARGEST, values=_LARGEST, encoding="utf-8-sig")
    except ValueError as error:
        raise DatasetError(
            f"{path}: expected JSON (an array of questions, an object with data, or an object per line): {error}"
        ) from error
    rows = whole if isinstance(whole, list) else listed(lower_keys(whole).get("data"))
    if not rows and isinstance(whole, dict):
        rows = [whole]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DatasetError(f"{path}, row {number}: expected an object, got a {type(row).__name__}")
        yield from _of_article(row)


def _of_article(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """SQuAD's questions stand in the paragraphs of an article; any other row is itself."""
    paragraphs = [mapping(paragraph) for paragraph in listed(row.get("paragraphs"))]
    if not any("qas" in paragraph for paragraph in paragraphs):
        yield row
        return
    for paragraph in paragraphs:
        for question in listed(paragraph.get("qas")):
            yield {"title": row.get("title"), **mapping(question)}


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_MOST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","):
                yield {str(key): value for key, value in row.items() if key is not None}
        except csv.Error as error:
            raise DatasetError(f"{path}: expected a table with a line of names: {error}") from error
