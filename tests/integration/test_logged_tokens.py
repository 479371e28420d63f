"""``log_tokens=all``: the log holds the ids that were trained on, and a run is the same with it and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, small_config, weights
from test_resume import StopAfter, story

from trainers.batch.row import WeighedRow
from trainers.config import SDARConfig
from trainers.run.directory import read_json_lines
from trainers.run.packed_tokens import unpack_tokens

OPTIONS: dict[str, Any] = {"method": "grpo", "test_episodes": 2, "save_steps": 1}


def trained(folder: Path, **options: Any) -> tuple[Any, list[list[WeighedRow]]]:
    """A trainer that has run, and the rows of each of its updates."""
    trainer = make_trainer(folder, **options)
    updates: list[list[WeighedRow]] = []
    real = trainer.updater.update

    def remembering(rows: Any, plan: Any) -> Any:
        updates.append(list(rows))
        return real(rows, plan)

    trainer.updater.update = remembering
    trainer.train()
    return trainer, updates


@pytest.fixture(scope="module", params=["transcript", "window"])
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    trainer, updates = trained(folder, **OPTIONS, context=request.param, log_tokens="all")
    return trainer, updates, read_json_lines(folder / "run" / "episodes.jsonl")


def test_every_logged_id_and_logprob_is_that_of_the_row_that_was_trained_on(logged: Any) -> None:
    _, updates, lines = logged
    for step, rows in enumerate(updates):
        episodes = [line for line in lines if line["phase"] == "train" and line["iteration"] == step]
        assert len(episodes) == 12 and rows
        for number, episode in enumerate(episodes):
            turns = unpack_tokens(episode["packed"])
            assert len(turns) == len(episode["turns"])
            ids: list[list[int]] = []
            for turn in turns:
                ids = [*ids[:-1], [*ids[-1], *turn.prompt_ids]] if turn.continues else [*ids, list(turn.prompt_ids)]
                ids[-1] += turn.completion_ids
            own = [row for row in rows if row.episode_id == number]
            assert [list(row.student.ids) for row in own] == ids
            assert [x for row in own for x in row.behaviour_logprobs_T] == [x for turn in turns for x in turn.logprobs]


def test_every_episode_has_its_messages_evaluations_too(logged: Any) -> None:
    trainer, _, written = logged
    lines = [line for line in written if line["view"] == "plain"]
    assert {line["phase"] for line in lines} == {"train", "valid", "test"}
    renderer = trainer.policies.renderer
    for line in lines:
        first = unpack_tokens(line["packed"])[0]
        assert tuple(renderer.begin(line["turns"][0]["messages"])) == first.prompt_ids
        assert all(turn["messages"] for turn in line["turns"])


def test_every_line_names_its_world_and_its_policy(tmp_path: Path) -> None:
    trainer, _ = trained(tmp_path, **OPTIONS, temperature=0.7, eval_temperature=0.3, max_steps=1)
    lines = read_json_lines(tmp_path / "run" / "episodes.jsonl")
    policy = {
        "model": "model",
        "initial_weights": trainer.initial_weights[:16],
        "context": "transcript",
        "prompt_style": "compact",
    }
    for line in lines:
        assert line["world"] == {"kwargs": {}, "version": trainer.source.world_version, "max_turns": 3}
        assert policy.items() <= line["policy"].items()
        assert line["policy"]["iteration"] == line["iteration"]
        assert line["policy"]["temperature"] == (0.7 if line["phase"] == "train" else 0.3)
        assert len(line["policy"]["tokenizer"]) == len(line["policy"]["template"]) == 16
        assert str(tmp_path) not in json.dumps(line)  # no path of this machine
    assert not any("packed" in line for line in lines)  # the default keeps a few episodes' tokens only


def test_logging_all_tokens_moves_no_weight_and_no_digest(tmp_path: Path) -> None:
    default = SDARConfig().digest()
    assert SDARConfig(log_tokens="all").digest() == default
    first, _ = trained(tmp_path / "sample", **OPTIONS)
    second, _ = trained(tmp_path / "all", **OPTIONS, log_tokens="all")
    assert all(torch.equal(weights(first)[name], value) for name, value in weights(second).items())
    with pytest.raises(ValueError, match="sample, all"):
        small_config(tmp_path, log_tokens="none")


def test_a_resumed_run_has_the_same_lines(tmp_path: Path) -> None:
    options = {**OPTIONS, "method": "sdar", "log_tokens": "all", "eval_steps": 1, "test_episodes": 0}
    make_trainer(tmp_path / "straight", **options).train()
    make_trainer(tmp_path / "stopped", trainer={"callbacks": [StopAfter(1)]}, **options).train()
    make_trainer(tmp_path / "stopped", **options).train(resume_from_checkpoint=True)
    assert story(tmp_path / "stopped", "episodes") == story(tmp_path / "straight", "episodes")


def test_no_token_is_kept_of_an_episode_under_the_privileged_prompt(tmp_path: Path) -> None:
    trained(tmp_path, method="sdar", log_tokens="all", max_steps=1)
    lines = read_json_lines(tmp_path / "run" / "episodes.jsonl")
    hidden = [line for line in lines if line["view"] == "privileged"]
    assert hidden and not any("packed" in line for line in hidden)
    assert not any("messages" in turn for line in hidden for turn in line["turns"])
