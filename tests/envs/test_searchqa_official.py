"""Official data: every variant of the question files, and the environment over a corpus and an index on disk.

The files here are written by the tests in the published layouts; the real ones were not at hand.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdar_envs.searchqa.official import DatasetError, OfficialTasks, read_questions, read_record, task_type_of

PROMPT = [
    {"role": "system", "content": "Question: not this one"},
    {"role": "user", "content": "Answer with tags.\nFor example, <answer> Beijing </answer>. Question: Who is it?\n"},
]

SEARCH_R1 = {
    "id": "test_0",
    "question": "who wrote it",
    "golden_answers": ["Ann", "A. Nother"],
    "data_source": "nq",
    "prompt": PROMPT,
    "ability": "fact-reasoning",
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Ann", "A. Nother"]}},
    "extra_info": {"split": "test", "index": 0},
}
SDAR = {
    "data_source": "searchR1_hotpotqa",
    "prompt": PROMPT,
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Ann"]}},
    "env_kwargs": {
        "ground_truth": {"target": ["Ann"]},
        "question": "who wrote it?",
        "data_source": "searchR1_hotpotqa",
    },
    "metadata": {"supporting_facts": {"title": ["One", "Two", "One"], "sent_id": [0, 1, 2]}},
    "extra_info": {"split": "train", "index": 7, "question": "other?", "need_tools_kwargs": True},
}


# Records.


def test_search_r1s_and_sdars_records_are_read():
    one = read_record(3, SEARCH_R1)
    assert one is not None
    assert (one.row, one.question, one.answers) == (3, "who wrote it?", ("Ann", "A. Nother"))
    assert (one.data_source, one.split, one.titles) == ("nq", "test", ())
    other = read_record(0, SDAR)
    assert other is not None
    assert (other.question, other.answers, other.data_source) == ("who wrote it?", ("Ann",), "hotpotqa")
    assert other.titles == ("One", "Two")


@pytest.mark.parametrize(
    "truth",
    [
        {"reward_model": {"ground_truth": {"target": ["Ann"]}}},
        {"reward_model": {"ground_truth": {"target": "Ann"}}},
        {"reward_model": {"ground_truth": ["Ann"]}},
        {"reward_model": {"ground_truth": "Ann"}},
        {"env_kwargs": {"ground_truth": ["Ann"]}},  # what the preparation writes when there is no reward_model
        {"golden_answers": ["Ann"]},
        {"golden_answers": "Ann"},
        {"answers": ["Ann"]},
        {"answer": "Ann"},
        {"reward_model": {"ground_truth": {"target": ["the", "?"]}}, "golden_answers": ["Ann"]},
        {"reward_model": None, "answer": "Ann"},
        {"golden_answers": [None, 3, "Ann"]},
    ],
    ids=str,
)
def test_gold_answers_are_found_wherever_they_stand(truth: dict[str, Any]):
    record = read_record(0, {"question": "who?", **truth})
    assert record is not None and record.answers == ("Ann",)


def test_gold_answers_may_be_arrays():
    numpy = pytest.importorskip("numpy")
    record = read_record(0, {"question": "who?", "golden_answers": numpy.array(["Ann", "Bo"], dtype=object)})
    assert record is not None and record.answers == ("Ann", "Bo")


@pytest.mark.parametrize(
    ("place", "question"),
    [
        ({"env_kwargs": {"question": "env?"}, "extra_info": {"question": "extra?"}, "question": "own?"}, "env?"),
        ({"extra_info": {"question": "extra?"}, "question": "own?", "prompt": PROMPT}, "extra?"),
        ({"question": " own \n", "prompt": PROMPT}, "own?"),
        ({"prompt": PROMPT}, "Who is it?"),
        ({"question": "", "prompt": PROMPT}, "Who is it?"),
    ],
    ids=str,
)
def test_questions_are_looked_for_in_the_published_order(place: dict[str, Any], question: str):
    record = read_record(0, {"answer": "Ann", **place})
    assert record is not None and record.question == question


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": "who?"},
        {"answer": "Ann"},
        {"question": "", "answer": "Ann"},
        {"question": "  ", "answer": "Ann", "prompt": []},
        {"question": 3, "answer": "Ann", "prompt": "who?"},
        {"question": "who?", "answer": "the"},
        {"question": "who?", "golden_answers": ["", "?!", "a an the"]},
        {"question": "who?", "golden_answers": []},
        {"question": "who?", "reward_model": {"ground_truth": {"target": [None]}}},
        {"answer": "Ann", "prompt": [{"role": "user"}]},
        {"answer": "Ann", "prompt": [{"role": "assistant", "content": "Question: who?"}]},
    ],
    ids=str,
)
def test_a_record_without_a_question_or_a_usable_answer_is_none(fields: dict[str, Any]):
    assert read_record(0, fields) is None


@pytest.mark.parametrize(
    ("source", "question", "expected"),
    [
        ("nq", "who or what?", "direct"),
        ("triviaqa", "which came first, a or b?", "direct"),
        ("popqa", "what is it?", "attribute"),
        ("hotpotqa", "Which came first, A or B?", "compare"),
        ("hotpotqa", "Were A and B of the same nationality?", "compare"),
        ("hotpotqa", "For what is the form of information known?", "multi_hop"),
        ("2wikimultihopqa", "Who is the father of the director of X?", "multi_hop"),
        ("2wikimultihopqa", "Do both films have the director?", "compare"),
        ("musique", "Who ordered the floor in the orchard?", "multi_hop"),
        ("bamboogle", "What is the capital of the country of X?", "multi_hop"),
        ("something", "which, a or b?", "direct"),
    ],
)
def test_task_types_follow_the_source_and_whole_words(source: str, question: str, expected: str):
    record = read_record(0, {"question": question, "answer": "x", "data_source": f"searchR1_{source}"})
    assert record is not None and task_type_of(record) == expected


def test_supporting_titles_of_musique_are_those_of_marked_paragraphs():
    paragraphs = [{"title": "One", "is_supporting": True}, {"title": "Two", "is_supporting": False}, {"title": "One"}]
    record = read_record(0, {"question": "q?", "answer": "x", "metadata": {"paragraphs": paragraphs}})
    assert record is not None and record.titles == ("One",)


# Files.


def as_jsonl(records: list[dict[str, Any]], path: Path) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n")
    return path


def as_parquet(records: list[dict[str, Any]], path: Path) -> Path:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


WRITERS = pytest.mark.parametrize(("write", "suffix"), [(as_jsonl, ".jsonl"), (as_parquet, ".parquet")])
Write = Callable[[list[dict[str, Any]], Path], Path]


@WRITERS
def test_a_file_is_read_and_what_can_not_be_asked_is_counted(write: Write, suffix: str, tmp_path: Path):
    records = [
        {"question": f"q{n}?", "golden_answers": [] if n % 5 == 3 else [f"a{n}"], "data_source": "nq"}
        for n in range(20)
    ]
    path = write(records, tmp_path / f"data{suffix}")
    with pytest.warns(UserWarning, match=r"4 of 20 records .* the first is row 3"):
        questions = read_questions(str(path))
    assert sorted(questions.records) == [n for n in range(20) if n % 5 != 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_questions(str(path)) is questions  # read once, told once


@WRITERS
@pytest.mark.parametrize("record", [SEARCH_R1, SDAR], ids=["search-r1", "sdar"])
def test_published_layouts_go_through_files(record: dict[str, Any], write: Write, suffix: str, tmp_path: Path):
    path = write([record] * 3, tmp_path / f"data{suffix}")
    tasks = OfficialTasks(str(path), split=record["extra_info"]["split"])
    ids = tasks.task_ids(record["extra_info"]["split"])
    task = tasks.load(ids[2])
    assert len(ids) == 3 and task.question == "who wrote it?" and task.answers[0] == "Ann"
    assert task.data_source in ("nq", "hotpotqa") and [need.title for need in task.needs] in ([], ["One", "Two"])


def test_a_changed_file_is_read_again(tmp_path: Path):
    path = as_jsonl([{"question": "one?", "answer": "x"}], tmp_path / "d.jsonl")
    assert read_questions(str(path)).records[0].question == "one?"
    as_jsonl([{"question": "another one?", "answer": "x"}], path)
    assert read_questions(str(path)).records[0].question == "another one?"


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("d.jsonl", b"", "got 0 without"),
        ("d.jsonl", b"{}\n{}\n", "got 2 without"),
        ("d.jsonl", b"<html>", "line 1"),
        ("d.jsonl", b'{"question": "q?", "answer": "a"}\n{"question"', "line 2"),
        ("d.jsonl", b'["q"]', "line 1.*list"),
        ("d.jsonl", b'{"question": "\xff"}', "UTF-8"),
        ("d.jsonl", b"[" * 100_000, "line 1"),
        ("d.parquet", b"", "parquet"),
        ("d.parquet", b"<html>404</html>", "parquet"),
        ("d.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "parquet"),
    ],
    ids=str,
)
def test_a_damaged_file_is_one_error_that_names_it(name: str, content: bytes, named: str, tmp_path: Path):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=named) as caught:
        read_questions(str(path))
    assert name in str(caught.value)


def test_a_truncated_parquet_file_is_named(tmp_path: Path):
    path = as_parquet([SEARCH_R1] * 50, tmp_path / "d.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"d\.parquet.*cut short"):
        read_questions(str(path))


def test_a_parquet_file_of_something_else_says_which_columns_it_has(tmp_path: Path):
    path = as_parquet([{"image": 1, "label": 2}], tmp_path / "d.parquet")
    with pytest.raises(DatasetError, match="got image, label"):
        read_questions(str(path))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="gone"):
        read_questions(str(tmp_path / "gone.parquet"))


# Splits.


def test_a_file_serves_the_splits_that_its_records_name(tmp_path: Path):
    records = [
        {"question": f"q{n}?", "answer": "x", "extra_info": {"split": s}} for n, s in enumerate(["test", "dev"] * 3)
    ]
    path = as_jsonl(records, tmp_path / "d.jsonl")
    tasks = OfficialTasks(str(path), split="test")
    assert list(tasks.task_ids("test")) == ["test:000000", "test:000002", "test:000004"]
    assert list(tasks.task_ids("valid")) == ["valid:000001", "valid:000003", "valid:000005"]
    with pytest.raises(DatasetError, match=r"'train'.*test, valid"):
        tasks.task_ids("train")
    with pytest.raises(DatasetError, match="'train'"):
        OfficialTasks(str(path), split="train")
    assert tasks.load("test:000002").question == "q2?"
    for other in ("test:000001", "valid:000002", "test:2"):  # a row of the other split, and no id
        with pytest.raises(ValueError, match="task id"):
            tasks.load(other)


def test_a_file_that_names_no_split_serves_the_one_that_is_asked_for_and_no_other(tmp_path: Path):
    path = as_jsonl([{"question": "q?", "answer": "x"}], tmp_path / "d.jsonl")
    assert list(OfficialTasks(str(path), split="test").task_ids("test")) == ["test:000000"]
    with pytest.raises(DatasetError, match="mapping"):
        OfficialTasks(str(path), split="train").task_ids("test")


def test_a_mapping_gives_each_split_its_file(tmp_path: Path):
    paths = {
        split: str(as_jsonl([{"question": f"{split}?", "answer": "x"}], tmp_path / f"{split}.jsonl"))
        for split in ("train", "dev", "test")
    }
    tasks = OfficialTasks(paths, split="train")
    assert tasks.load("valid:000000").question == "dev?" and tasks.load("test:000000").question == "test?"
    with pytest.raises(ValueError, match="nearest"):
        tasks.load("test:000001")


def test_a_task_type_can_be_singled_out(tmp_path: Path):
    records = [{"question": "which, a or b?", "answer": "x", "data_source": s} for s in ("nq", "hotpotqa", "hotpotqa")]
    path = as_jsonl(records, tmp_path / "d.jsonl")
    assert len(OfficialTasks(str(path), split="test", task_type="compare").task_ids("test")) == 2


# The environment over files.

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

    kwargs = official(tmp_path)
    report = check_text_env(functools.partial(gym.make, "sdar/SearchQA-v0", **kwargs), episodes=3, hostile_actions=100)
    assert [result.name for result in report.results if result.skipped] == []


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
