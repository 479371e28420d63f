"""Which prefixes, pooling and length an encoder is used with, and where that was read; no model is loaded here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdar_envs.searchqa.encoder_settings import EncoderOptions, EncoderSettings, EncoderSettingsError, choose_settings

ST = "sentence_transformers.models"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": f"{ST}.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{ST}.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{ST}.Normalize"},
]
MEAN = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
CLS = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
BGE = "Represent this sentence for searching relevant passages: "


def settings(name: str, files: dict[str, Any] | None = None, **options: Any) -> EncoderSettings:
    return choose_settings(name, EncoderOptions(**options), (files or {}).get)


def seen(chosen: EncoderSettings) -> tuple[str, str, str, bool]:
    return chosen.pooling, chosen.query_prefix, chosen.passage_prefix, chosen.unit


E5 = ("mean", "query: ", "passage: ", True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/e5-base-v2", E5),
        ("intfloat/multilingual-e5-small", E5),
        ("hub/models--intfloat--e5-base-v2/snapshots/f52bf8ec8c7124536f0efb74aca902b2995e5bcd", E5),
        ("BAAI/bge-base-en-v1.5", ("cls", BGE, "", True)),
        ("facebook/dpr-question_encoder-single-nq-base", ("pooler", "", "", False)),
        ("somewhere/95e5bcd", ("mean", "", "", True)),  # letters of a revision are no family
        ("other/model", ("mean", "", "", True)),
    ],
)
def test_a_models_name_speaks_of_its_family(name: str, expected: tuple[str, str, str, bool]):
    assert seen(settings(name)) == expected
    assert settings(name).is_guess == (expected == ("mean", "", "", True))


def test_a_snapshot_in_the_hubs_cache_keeps_its_prefixes_also_behind_a_link(tmp_path: Path):
    snapshot = tmp_path / "models--intfloat--e5-base-v2" / "snapshots" / "f52bf8ec8c71"
    snapshot.mkdir(parents=True)
    link = tmp_path / "retriever"
    link.symlink_to(snapshot, target_is_directory=True)
    assert seen(settings(str(snapshot))) == seen(settings(str(link))) == E5
    assert "e5-base-v2" in str(settings(str(link)))


def test_sentence_transformers_files_count_before_the_name():
    files = {
        "modules.json": MODULES,
        "1_Pooling/config.json": CLS,
        "config_sentence_transformers.json": {"prompts": {"query": "ask: ", "document": "tell: "}},
    }
    chosen = settings("own/e5-finetuned", files)
    assert seen(chosen) == ("cls", "ask: ", "tell: ", True)
    assert chosen.sources == {
        "unit": "modules.json",
        "pooling": "1_Pooling/config.json",
        "query_prefix": "config_sentence_transformers.json",
        "passage_prefix": "config_sentence_transformers.json",
    }


def test_what_the_files_leave_open_comes_from_the_name():
    files = {"modules.json": MODULES, "1_Pooling/config.json": MEAN}
    empty = {"config_sentence_transformers.json": {"prompts": {"query": "", "document": ""}}}
    assert seen(settings("intfloat/e5-base-v2", files | empty)) == E5


def test_what_is_asked_for_counts_before_everything():
    files = {"modules.json": MODULES, "1_Pooling/config.json": CLS}
    chosen = settings("intfloat/e5-base-v2", files, pooling="mean", query_prefix="", unit=False)
    assert seen(chosen) == ("mean", "", "passage: ", False)
    assert chosen.sources["query_prefix"] == "as asked"


def test_a_model_for_the_dot_product_is_not_normalised():
    files = {"modules.json": MODULES[:2], "config_sentence_transformers.json": {"similarity_fn_name": "dot"}}
    assert settings("own/model", files).unit is False
    assert settings("own/model", {"modules.json": MODULES[:2]}).unit is True


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"modules.json": [*MODULES, {"type": f"{ST}.Dense", "path": "3_Dense"}]}, "layer Dense"),
        (
            {"modules.json": MODULES, "1_Pooling/config.json": {"pooling_mode_max_tokens": True}},
            "pooling_mode_max_tokens: expected",
        ),
        ({"modules.json": MODULES, "1_Pooling/config.json": MEAN | {"pooling_mode_cls_token": True}}, " and "),
        ({"modules.json": MODULES, "1_Pooling/config.json": {"pooling_mode": "lasttoken"}}, "lasttoken"),
    ],
)
def test_what_is_not_done_here_is_refused(files: dict[str, Any], match: str):
    with pytest.raises(EncoderSettingsError, match=match):
        settings("own/model", files)


def test_the_newer_form_of_the_pooling_file_is_read():
    files = {"modules.json": MODULES, "1_Pooling/config.json": {"pooling_mode": "cls"}}
    assert settings("own/model", files).pooling == "cls"


@pytest.mark.parametrize("content", [3, [], [1], {"a": 1}, "x", None])
def test_files_of_another_shape_say_nothing(content: Any):
    names = ("modules.json", "1_Pooling/config.json", "config_sentence_transformers.json", "config.json")
    assert seen(settings("intfloat/e5-base-v2", dict.fromkeys(names, json.loads(json.dumps(content))))) == E5


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="mean"):
        settings("own/model", pooling="max")
