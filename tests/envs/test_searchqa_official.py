"""Official data: the environment over official questions, a corpus and an index on disk.

The files here are written by the tests in the published layouts; the real ones were not at hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from question_records import SDAR, SEARCH_R1, as_jsonl

CONTENTS = ['"Ann"\nAnn wrote It in 1990.', '"It"\nIt is a book by Ann.', '"Other"\nNothing of the kind.']


def official(tmp_path: Path, **kwargs: Any) -> dict[str, Any]:
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.encoder import HashedEncoder
    from sdar_envs.searchqa.index import VectorIndex
    from sdar_envs.searchqa.setup import saved_encoder

    corpus, index = tmp_path / "c.jsonl", tmp_path / "c.index"
    texts = [*CONTENTS, *(f'"Filler {n}"\nFiller text {n}.' for n in range(40))]
    corpus.write_text("".join(json.dumps({"id": str(n), "contents": t}) + "\n" for n, t in enumerate(texts)))
    encoder = HashedEncoder.fit(texts)
    VectorIndex.build(encoder.encode_passages(texts)).save(index)
    encoder.save(saved_encoder(index))
    record = {**SDAR, "metadata": {"supporting_facts": {"title": ["Ann", "It"]}}}
    dataset = as_jsonl([record, {**SEARCH_R1, "extra_info": {"split": "train"}}], tmp_path / "q.jsonl")
    return {"dataset": str(dataset), "corpus": str(corpus), "index": str(index), "split": "train", **kwargs}


def test_official_questions_are_played_over_official_files(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    env = SearchQAEnv(**official(tmp_path))
    assert env.horizon == 4
    observation, info = env.reset(options={"task_id": "train:000000"})
    assert observation == "Question: who wrote it?" and info["data_source"] == "hotpotqa"
    assert info["privileged"]["plan"] == ["<search>Ann</search>", "<search>It</search>", "<answer>Ann</answer>"]
    observation, _, _, _, info = env.step("<search>Ann wrote it</search>")
    assert observation.startswith('\n\n<information>Doc 1(Title: "Ann") Ann wrote It in 1990.\n')
    assert info["privileged"]["plan"] == ["<answer>Ann</answer>"] and info["hit_ids"][:2] == ["0", "1"]
    assert env.step("<answer>ann.</answer>")[1] == 1.0
    _, info = env.reset(options={"task_id": "train:000001"})
    assert info["privileged"]["plan"] == ["<answer>Ann</answer>"] and info["task_type"] == "direct"
    assert info["privileged"]["skills"]["task"] and info["privileged"]["skills"]["lines"] == []


@pytest.mark.parametrize(
    ("gold", "said", "reward"),
    [
        ("10\u00a0km", "10\u00a0km", 1.0),
        ("10\u00a0km", "10 km", 1.0),
        ("10 km", "10\u2009km", 1.0),
        ("Ann\u200e", "Ann\u200e", 1.0),
        ("An\u00adn", "An\u00adn", 1.0),
        ("Ann\u200e", "Anna", 0.0),
    ],
    ids=ascii,
)
def test_what_is_copied_to_the_letter_is_right(gold: str, said: str, reward: float, tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    records = as_jsonl([{"question": "what?", "golden_answers": [gold]}], tmp_path / "copied.jsonl")
    env = SearchQAEnv(**official(tmp_path) | {"dataset": records})
    env.reset(seed=0)
    assert env.step(f"<answer>{said}</answer>")[1] == reward


def test_paths_may_be_path_objects(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    options = official(tmp_path)
    files = {name: Path(options[name]) for name in ("dataset", "corpus", "index")}
    encoder = files["index"].with_name(files["index"].name + ".encoder.json")
    one, other = SearchQAEnv(**options), SearchQAEnv(**options | files | {"encoder": encoder})
    assert one.reset(seed=0)[0] == other.reset(seed=0)[0]
    assert one.step("<search>Ann</search>")[0] == other.step("<search>Ann</search>")[0]
    split = SearchQAEnv(**options | {"dataset": {"train": files["dataset"]}})
    assert split.reset(seed=0)[0]


def test_halves_of_surrogate_pairs_reach_neither_student_nor_teacher(tmp_path: Path):
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.env import SearchQAEnv

    record = {"question": "who \ud800?", "golden_answers": ["Ann \udfff"], "data_source": "nq\ud800"}
    record["metadata"] = {"supporting_facts": {"title": ["It\ud800"]}}
    lines = [{"id": str(n), "contents": f'"It\ud800"\nIt is \udc00 a book {n}.'} for n in range(3)]
    corpus = as_jsonl(lines, tmp_path / "half.jsonl")
    env = SearchQAEnv(dataset=as_jsonl([record], tmp_path / "q.jsonl"), corpus=corpus)
    observation, info = env.reset(seed=0)
    json.dumps([observation, info], ensure_ascii=False).encode()
    observation, _, _, _, info = env.step(info["privileged"]["next_action"])
    json.dumps([observation, info], ensure_ascii=False).encode()
    assert "It is ? a book" in observation and info["privileged"]["plan"] == ["<answer>Ann ?</answer>"]


def test_official_questions_are_clustered_by_their_evidence_and_else_by_themselves(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    env = SearchQAEnv(**official(tmp_path))
    assert [env.cluster_of(task_id) for task_id in env.task_ids()] == ["It", "who wrote it"]


def test_the_official_side_keeps_the_contract(tmp_path: Path):
    import functools

    import gymnasium as gym

    import sdar_envs  # noqa: F401  # registers the id
    from sdar_envs.conformance import check_text_env
    from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION

    kwargs = official(tmp_path)
    report = check_text_env(
        functools.partial(gym.make, "sdar/SearchQA-v0", **kwargs),
        episodes=3,
        hostile_actions=100,
        sessions=6,
        skip=("splits",),
    )
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def test_environments_of_a_process_share_one_opened_index(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    kwargs = official(tmp_path)
    one, other = SearchQAEnv(**kwargs), SearchQAEnv(**kwargs)
    one.reset(seed=0), other.reset(seed=1)
    assert one._retriever is other._retriever


def test_the_world_version_changes_with_the_questions(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    kwargs = official(tmp_path)
    before = SearchQAEnv(**kwargs).world_version
    as_jsonl([{"question": "other?", "answer": "x", "extra_info": {"split": "train"}}], Path(kwargs["dataset"]))
    after = SearchQAEnv(**kwargs).world_version
    assert before != after and before.split("-")[0] == after.split("-")[0] == SearchQAEnv().world_version


def drop_a_line(kwargs: dict[str, Any]) -> None:
    corpus = Path(kwargs["corpus"])
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop_a_line, "43 vectors and 42 passages"),
        (lambda k: Path(k["index"] + ".encoder.json").unlink(), "hashed encoder .*sdar index build"),
        (lambda k: Path(k["index"]).write_bytes(b"junk"), r"c\.index"),
        (lambda k: Path(k["corpus"]).unlink(), r"c\.jsonl"),
    ],
    ids=["a line gone", "no encoder", "no index", "no corpus"],
)
def test_files_that_do_not_go_together_are_refused_when_the_environment_is_made(
    change: Callable[[dict[str, Any]], Any], named: str, tmp_path: Path
):
    from sdar_envs.searchqa.env import SearchQAEnv

    kwargs = official(tmp_path)
    change(kwargs)
    with pytest.raises(ValueError, match=named):
        SearchQAEnv(**kwargs)


def test_a_small_corpus_needs_no_index(tmp_path: Path):
    from sdar_envs.searchqa.env import SearchQAEnv

    kwargs = official(tmp_path)
    del kwargs["index"]
    env = SearchQAEnv(**kwargs)
    env.reset(options={"task_id": "train:000000"})
    assert "Ann wrote It" in env.step("<search>Ann</search>")[0]


def test_an_encoder_of_another_width_is_refused_with_both_numbers(tmp_path: Path):
    from sdar_envs.searchqa.encoder import HashedEncoder
    from sdar_envs.searchqa.env import SearchQAEnv

    kwargs = official(tmp_path)
    HashedEncoder.fit(CONTENTS, dim=64).save(tmp_path / "other.json")
    with pytest.raises(ValueError, match="64 dimensions, got 512"):
        SearchQAEnv(**kwargs, encoder=str(tmp_path / "other.json"))
