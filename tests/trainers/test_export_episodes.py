"""Exports: the ids of the rows that were trained on, chats that render to the prompts, nothing privileged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
from small_runs import make_trainer
from stored_runs import SECRET, golden_episodes, write_run

from trainers.batch.row import WeighedRow
from trainers.cli import main
from trainers.offline.curate import curate
from trainers.offline.export import FORMATS, IGNORED, export
from trainers.offline.filters import Rules
from trainers.offline.stored import StoredEpisodesError, read_curated


@pytest.fixture(scope="module", params=["transcript", "window"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer, the rows that it trained on, and the curated episodes of its run."""
    folder = tmp_path_factory.mktemp(request.param)
    trainer = make_trainer(folder, method="grpo", context=request.param, log_tokens="all")
    rows: list[WeighedRow] = []
    real = trainer.updater.update

    def remembering(learned: Any, plan: Any) -> Any:
        rows.extend(learned)
        return real(learned, plan)

    trainer.updater.update = remembering
    trainer.train()
    curate([folder / "run"], Rules(), folder / "curated")
    return trainer, rows, folder / "curated"


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_exported_ids_are_those_of_the_rows_that_were_trained_on(trained: Any, tmp_path: Path) -> None:
    _, rows, curated = trained
    assert export(curated, "prompt-completion-ids", tmp_path / "ids") == len(rows)
    for line, row in zip(lines_of(tmp_path / "ids"), rows, strict=True):
        assert line["prompt_ids"] + line["completion_ids"] == line["input_ids"] == list(row.student.ids)
        sampled = [at for at, label in enumerate(line["labels"]) if label != IGNORED]
        assert sampled == list(row.student.loss_positions)
        assert [line["labels"][at] for at in sampled] == row.student.sampled_ids()
        assert line["logprobs"] == pytest.approx(list(row.behaviour_logprobs_T), rel=1e-7)
        assert len(line["prompt_ids"]) == sampled[0]


def test_an_exported_chat_renders_to_the_prompt_that_was_read(trained: Any, tmp_path: Path) -> None:
    trainer, _, curated = trained
    export(curated, "messages", tmp_path / "chats")
    export(curated, "prompt-completion-ids", tmp_path / "ids")
    for chat, ids in zip(lines_of(tmp_path / "chats"), lines_of(tmp_path / "ids"), strict=True):
        first = next(at for at, message in enumerate(chat["messages"]) if message["role"] == "assistant")
        assert trainer.policies.renderer.begin(chat["messages"][:first]) == ids["prompt_ids"]
        assert chat["id"] == ids["id"] and chat["row"] == ids["row"]


def test_parquet_holds_what_the_other_formats_hold(trained: Any, tmp_path: Path) -> None:
    _, _, curated = trained
    for form in FORMATS:
        export(curated, form, tmp_path / form)
    table = pyarrow.parquet.read_table(tmp_path / "parquet" / "data").to_pylist()
    chats, ids = lines_of(tmp_path / "messages"), lines_of(tmp_path / "prompt-completion-ids")
    for row, chat, own in zip(table, chats, ids, strict=True):
        merged = {**chat, **own}
        assert row.pop("logprobs") == pytest.approx(merged.pop("logprobs"), rel=1e-7)
        assert row == merged


@pytest.mark.parametrize("form", FORMATS)
def test_no_export_holds_anything_privileged(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curate([write_run(tmp_path / "run", golden_episodes())], Rules(), tmp_path / "curated")
    words = ["export", str(tmp_path / "curated"), "--format", form, "--out", str(tmp_path / "out")]
    assert main(words) == 0 and f"rows as {form}" in capsys.readouterr().out
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in (SECRET.encode(), b"claim_ids", b'"privileged"', b"stale"))
    head = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---")[1])
    assert (tmp_path / "out" / head["configs"][0]["data_files"]).is_file()
    assert main(words) == 2 and "there already" in capsys.readouterr().err


def test_what_was_not_curated_is_refused_with_the_command_that_does(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", golden_episodes())
    with pytest.raises(StoredEpisodesError, match="curate first: sdar curate RUN"):
        read_curated(run)
    with pytest.raises(StoredEpisodesError, match="sdar curate has written"):
        export(tmp_path, "messages", tmp_path / "out")
    with pytest.raises(ValueError, match="prompt-completion-ids"):
        export(run, "prompt-completion-id", tmp_path / "out")
