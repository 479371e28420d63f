"""Curated episodes as a data set for other programs: chats, token ids, or both as Parquet, with a card.

A line is a row: one token sequence of an episode, a whole transcript or one turn of a window. Ids are those that were
sampled; no text is tokenised again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdar_envs.choices import require_choice
from sdar_envs.files import replaced_folder

from ..batch.row import SampledRow
from .card import CARD
from .curate import require_new
from .replay import chat_of, rows_of
from .stored import StoredEpisodesError, read_curated

IGNORED = -100  # the label of tokens that were not sampled, as in transformers
README = "README.md"
PARQUET = "data/train-00000-of-00001.parquet"
JSONL = "train.jsonl"

_COLUMNS = {
    "id": "of the episode",
    "row": "number of the row in its episode",
    "env_id": "the world",
    "task_id": "the task",
    "task_type": "its type",
    "success": "whether the episode succeeded",
    "return": "sum of rewards of the episode",
    "messages": "the chat as the student read it, with its answers",
    "prompt_ids": "token ids in front of the first sampled one",
    "completion_ids": "token ids from there on: sampled ones, and between the turns of a transcript the world's",
    "input_ids": "prompt_ids and completion_ids",
    "labels": f"parallel to input_ids: the sampled ids, and {IGNORED} for all others",
    "logprobs": "of the sampled ids, in their order, under the policy that sampled, in nats (float32)",
}
_ABOUT = ("id", "row", "env_id", "task_id", "task_type", "success", "return")
_IDS = ("prompt_ids", "completion_ids", "input_ids", "labels", "logprobs")
# Format -> its columns.
FORMATS = {
    "messages": (*_ABOUT, "messages"),
    "prompt-completion-ids": (*_ABOUT, *_IDS),
    "parquet": (*_ABOUT, "messages", *_IDS),
}


def export(folder: str | Path, form: str, out: str | Path) -> int:
    """Write curated episodes in a format of `FORMATS`; returns the number of rows.

    Args:
        folder: What `curate.curate` has written.
        form: The format.
        out: The folder to make: the data, and a card.

    Raises:
        StoredEpisodesError: The folder holds no curated episodes, or `out` is there already.
        ValueError: Unknown format.
        ImportError: Parquet without pyarrow.
    """
    require_choice("format", form, tuple(FORMATS), "sdar export")
    write: Callable[[Path, Sequence[dict[str, Any]]], object] = write_parquet if form == "parquet" else _write_jsonl
    if form == "parquet":
        require_pyarrow()
    out = Path(out)
    require_new(out)
    records = read_curated(folder)
    rows = [{name: row[name] for name in FORMATS[form]} for row in exported_rows(records)]
    card = Path(folder) / CARD
    if not card.is_file():
        raise StoredEpisodesError(f"{folder}: expected {CARD} beside the episodes, got none: curate again")
    with replaced_folder(out, keep_existing=False) as partial:
        write(partial, rows)
        text = dataset_card(card.read_text(encoding="utf-8"), form, rows=len(rows))
        (partial / README).write_text(text, encoding="utf-8")
    return len(rows)


def exported_rows(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """All columns of every row of curated episodes."""
    number, last = 0, -1
    for row in rows_of(records):
        number = number + 1 if row.episode_id == last else 0
        last = row.episode_id
        yield _columns(records[row.episode_id], row, number)


def _columns(record: Mapping[str, Any], row: SampledRow, number: int) -> dict[str, Any]:
    ids, sampled = list(row.student.ids), set(row.student.loss_positions)
    first = min(sampled, default=len(ids))
    return {
        **{name: record[name] for name in _ABOUT if name != "row"},
        "row": number,
        "messages": chat_of(record, row),
        "prompt_ids": ids[:first],
        "completion_ids": ids[first:],
        "input_ids": ids,
        "labels": [token if at in sampled else IGNORED for at, token in enumerate(ids)],
        # The shortest decimals that are the same float32.
        "logprobs": [float(str(np.float32(value))) for value in row.behaviour_logprobs_T],
    }


def dataset_card(card: str, form: str, *, rows: int) -> str:
    """The curated card with the head that the Hub reads, and what the columns mean."""
    import yaml

    head: dict[str, Any] = {"task_categories": ["text-generation"], "tags": ["sdar-gym", "agent", "text-environment"]}
    head["configs"] = [{"config_name": "default", "data_files": PARQUET if form == "parquet" else JSONL}]
    table = ["| column | meaning |", "|---|---|", *(f"| `{name}` | {_COLUMNS[name]} |" for name in FORMATS[form])]
    about = f"{rows:,} rows in the format `{form}`; a row is one token sequence of an episode: a transcript, or a turn."
    parts = ["---\n" + yaml.safe_dump(head, sort_keys=False) + "---", card.strip(), "## Columns", about]
    return "\n\n".join([*parts, "\n".join(table)]) + "\n"


def require_pyarrow() -> None:
    """Refuse to write Parquet without its package.

    Raises:
        ImportError: The message names the extra.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ImportError('writing Parquet needs pyarrow: pip install "sdar-gym[parquet]"') from None


def write_parquet(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One Parquet file whose column types do not depend on the rows."""
    import pyarrow
    import pyarrow.parquet

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    kinds = {
        **dict.fromkeys(("id", "env_id", "task_id", "task_type"), pyarrow.string()),
        **{"row": pyarrow.int32(), "success": pyarrow.bool_(), "return": pyarrow.float64()},
        "messages": pyarrow.list_(message),
        **dict.fromkeys(("prompt_ids", "completion_ids", "input_ids", "labels"), pyarrow.list_(pyarrow.int64())),
        "logprobs": pyarrow.list_(pyarrow.float32()),
    }
    schema = pyarrow.schema([(name, kinds[name]) for name in FORMATS["parquet"]])
    path = folder / PARQUET
    path.parent.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")


def _write_jsonl(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    with (folder / JSONL).open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
