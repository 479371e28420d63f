"""Supervised steps over stored episodes: the loss and the step of the online method on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, save_model, weights
from test_resume import StopAfter, story

from trainers.offline.curate import curate
from trainers.offline.filters import Rules
from trainers.offline.stored import read_curated
from trainers.offline.supervised import METHOD, StoredEpisodes, read_records, settings_of
from trainers.run.directory import RunDirectoryError

OPTIONS: dict[str, Any] = {
    "method": METHOD,
    "tasks_per_step": 8,
    "keep_per_task": 2,
    "max_steps": 1,
    "num_mini_batches": 1,
    "eval_before": False,
    "beta": 0.0,
}


def learned(trainer: Any) -> tuple[dict[str, Any], list[Any], list[torch.Tensor]]:
    """The metrics and rows of one iteration of one optimiser step, and its gradients."""
    rows: list[Any] = []
    gradients: list[torch.Tensor] = []
    update, accumulate = trainer.updater.update, trainer.updater.accumulate

    def remembering(given: Any, plan: Any) -> Any:
        rows.extend(given)
        return update(given, plan)

    def accumulating(given: Any, plan: Any) -> Any:
        parts = accumulate(given, plan)
        gradients.extend(parameter.grad.clone() for parameter in trainer.updater.masters.masters)
        return parts

    trainer.updater.update, trainer.updater.accumulate = remembering, accumulating
    return trainer.iteration(None), rows, gradients


@pytest.fixture(scope="module", params=["transcript", "window"])
def online(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An online iteration of rft, and the curated episodes of the same iteration."""
    folder = tmp_path_factory.mktemp(request.param)
    save_model(folder / "model")
    options = {**OPTIONS, "context": request.param}
    make_trainer(folder, **options, log_tokens="all").train()
    curate([folder / "run"], Rules(correct=True, per_task=2), folder / "curated")
    trainer = make_trainer(folder, **options)
    return folder, options, *learned(trainer)


def offline(folder: Path, options: dict[str, Any], records: list[dict[str, Any]], name: str = "sft") -> Any:
    source = StoredEpisodes(records, len(records), seed=0)
    return make_trainer(folder, **options, output_dir=str(folder / name), trainer={"episodes": source})


def key(row: Any) -> tuple[int, ...]:
    return (*row.student.ids, *row.student.loss_positions)


def test_the_loss_on_an_export_is_that_of_the_online_row(online: Any) -> None:
    folder, options, metrics, rows, gradients = online
    found, stored, own = learned(offline(folder, options, read_curated(folder / "curated")))
    assert sorted(map(key, rows)) == sorted(map(key, stored)) and len(rows) >= 3
    assert found["loss"] == pytest.approx(metrics["loss"], abs=1e-6)
    assert found["grad_norm"] == pytest.approx(metrics["grad_norm"], rel=1e-5)
    assert all(torch.allclose(left, right, atol=1e-6) for left, right in zip(own, gradients, strict=True))


def test_another_choice_of_rows_has_another_loss(online: Any) -> None:
    """The control: what the comparison above would see."""
    folder, options, metrics, _, _ = online
    fewer, _, _ = learned(offline(folder, options, read_curated(folder / "curated")[1:]))
    assert abs(fewer["loss"] - metrics["loss"]) > 1e-4


def test_a_failed_episode_is_not_imitated(online: Any) -> None:
    folder, options, metrics, rows, _ = online
    records = read_curated(folder / "curated")
    lost = {**records[0], "id": "lost", "success": False, "return": 0.0, "stop_reason": "horizon"}
    found, stored, _ = learned(offline(folder, options, [*records, lost]))
    assert found["loss"] == pytest.approx(metrics["loss"], abs=1e-6) and len(stored) == len(rows)


def test_no_token_counts_as_sampled_and_no_episode_is_logged_again(online: Any) -> None:
    folder, options, _, _, _ = online
    trainer = offline(folder, options, read_curated(folder / "curated"), "counted")
    summary = trainer.train()
    assert summary["tokens"] == 0 and summary["trained_tokens"] > 0 and not summary.get("health")
    [line] = [each for each in story(folder, "../counted/metrics") if each["step"] == 1]
    assert line["tokens/stored"] > 0 and "tokens/sampled" not in line and line["success"] == 1.0
    assert {each["phase"] for each in story(folder, "../counted/episodes")} == {"valid", "teacher"}


def test_every_episode_is_read_once_a_pass_in_an_order_of_its_own() -> None:
    source = StoredEpisodes([{"id": str(n)} for n in range(7)], 3, seed=1)
    places = [source._place(position) for position in range(21)]
    passes = [places[at : at + 7] for at in (0, 7, 14)]
    assert all(sorted(each) == list(range(7)) for each in passes) and passes[0] != passes[1] != passes[2]
    assert source.steps(1) == 3 and source.steps(2) == 5 and StoredEpisodes([{"id": ""}], 9, 0).per_step == 1


def test_a_resumed_run_ends_with_the_same_weights_and_needs_the_same_episodes(online: Any) -> None:
    folder, options, _, _, _ = online
    records = read_curated(folder / "curated")
    options = {**options, "max_steps": 3, "save_steps": 1}

    def trainer(name: str, chosen: list[dict[str, Any]], **more: Any) -> Any:
        given = {"episodes": StoredEpisodes(chosen, 2, seed=0), **more}
        return make_trainer(folder, **options, output_dir=str(folder / name), trainer=given)

    straight = trainer("straight", records)
    straight.train()
    trainer("stopped", records, callbacks=[StopAfter(1)]).train()
    resumed = trainer("stopped", records)
    resumed.train(resume_from_checkpoint=True)
    final = weights(straight)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(resumed).items())
    with pytest.raises(RunDirectoryError, match="stored_episodes"):
        trainer("stopped", records[1:]).train(resume_from_checkpoint=True)


def test_ids_of_another_tokenizer_are_refused(online: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder, _, _, _, _ = online
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert read_records(folder / "curated", tokenizer)
    tokenizer.add_tokens(["another"])
    with pytest.raises(ValueError, match=r"the model's tokenizer.*--format messages"):
        read_records(folder / "curated", tokenizer)


def test_the_settings_of_the_episodes_are_those_of_their_run(online: Any) -> None:
    folder, options, _, _, _ = online
    env_id, found = settings_of(read_curated(folder / "curated"))
    assert env_id == "scripted_agents:ParityWorld"
    expected = {"temperature": 1.0, "context": options["context"], "prompt_style": "compact", "max_turns": 3}
    assert found == {"env_kwargs": {}, **expected}
    two = [json.loads(json.dumps(each)) for each in read_curated(folder / "curated")[:2]]
    two[0]["world"]["version"] = "another"
    with pytest.raises(ValueError, match="one world"):
        settings_of(two)
