"""Encoders of the E5 and BGE kind, on a tiny BERT that the test makes and saves: pooling, prefixes, padding, limits."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("torch")

import torch

from sdar_envs.searchqa.transformer_encoder import TransformerEncoder

# Seconds, nearly all of them for importing transformers.
pytestmark = pytest.mark.slow

TEXTS = [f"entry {n} about topic {n % 7} and the colour {n % 5}" for n in range(60)]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with a vocabulary of its own, saved as ``tiny-e5``."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-e5"
    folder.mkdir()
    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator([*TEXTS, "query: passage: represent this sentence for searching"], vocab_size=400)
    vocabulary = folder / "vocab.txt"
    words = sorted(pieces.get_vocab(), key=lambda word: pieces.get_vocab()[word])
    vocabulary.write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=pieces.get_vocab(), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=512,
        )
        BertModel(config).save_pretrained(folder)
    return folder


def named(tiny_bert: Path, name: str) -> Path:
    twin = tiny_bert.with_name(name)
    if not twin.exists():
        twin.symlink_to(tiny_bert, target_is_directory=True)
    return twin


def reference(folder: Path, texts: list[str], pooling: str, *, unit: bool = True) -> np.ndarray:
    """Search-R1's pooling formulas, one text at a time."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            output = model(**batch)
        hidden = output.last_hidden_state[0]
        pooled = {"mean": hidden.mean(dim=0), "cls": hidden[0], "pooler": output.pooler_output[0]}[pooling]
        rows.append((pooled / pooled.norm() if unit else pooled).numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    ("name", "pooling", "query", "passage", "unit"),
    [
        ("tiny-e5", "mean", "query: ", "passage: ", True),
        ("tiny-bge", "cls", "Represent this sentence for searching relevant passages: ", "", True),
        ("tiny-dpr", "pooler", "", "", False),
        ("tiny-other", "mean", "", "", True),
    ],
)
def test_each_family_pools_and_prefixes_as_published(
    name: str, pooling: str, query: str, passage: str, unit: bool, tiny_bert: Path
):
    folder = named(tiny_bert, name)
    encoder = TransformerEncoder(str(folder))
    queries, passages = encoder.encode_queries(TEXTS[:9]), encoder.encode_passages(TEXTS[:9])
    assert queries.dtype == np.float32 and queries.shape == (9, encoder.dim) == (9, 64)
    assert np.allclose(queries, reference(folder, [query + t for t in TEXTS[:9]], pooling, unit=unit), atol=1e-5)
    assert np.allclose(passages, reference(folder, [passage + t for t in TEXTS[:9]], pooling, unit=unit), atol=1e-5)
    if unit:
        assert np.allclose(np.linalg.norm(passages, axis=1), 1.0, atol=1e-5)


def test_padding_changes_nothing_and_order_is_kept(tiny_bert: Path):
    encoder = TransformerEncoder(str(tiny_bert))
    mixed = [TEXTS[0], TEXTS[1] * 12, "topic", TEXTS[2]]
    together = encoder.encode_passages(mixed)
    assert all(np.allclose(encoder.encode_passages([t])[0], v, atol=1e-5) for t, v in zip(mixed, together, strict=True))


def test_empty_and_endless_queries_are_encoded(tiny_bert: Path):
    encoder = TransformerEncoder(str(tiny_bert))
    vectors = encoder.encode_queries(["", "   ", "word " * 100_000, "topic"])
    assert not vectors[:2].any() and np.isfinite(vectors).all() and vectors[2:].any(axis=1).all()
    assert encoder.encode_queries([]).shape == (0, 64)


def test_a_name_changes_with_the_weights(tiny_bert: Path, tmp_path: Path):
    import shutil

    twin = tmp_path / "tiny-e5"
    shutil.copytree(tiny_bert, twin)
    before = TransformerEncoder(str(twin)).name
    assert before == TransformerEncoder(str(twin)).name
    weights = twin / "model.safetensors"
    weights.touch()
    assert TransformerEncoder(str(twin)).name != before


def test_an_encoder_travels_as_its_name_and_options(tiny_bert: Path):
    encoder = TransformerEncoder(str(tiny_bert), pooling="cls", query_prefix="search: ")
    parcel = pickle.dumps(encoder)
    assert len(parcel) < 1_000
    twin = pickle.loads(parcel)
    assert twin.name == encoder.name
    np.testing.assert_array_equal(twin.encode_queries(TEXTS[:3]), encoder.encode_queries(TEXTS[:3]))


def test_what_there_is_not_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises((OSError, ValueError)):
        TransformerEncoder(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="cls"):
        TransformerEncoder("x", pooling="clss")


def test_a_generated_world_is_played_with_such_an_encoder(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Random weights find little; what the plan names is what this very encoder does find."""
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.env import SearchQAEnv
    from sdar_envs.searchqa.library import open_library
    from sdar_envs.searchqa.setup import open_encoder

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = SearchQAEnv(size="small", encoder=str(tiny_bert), task_type="direct", topk=3)
    shelf = open_library("small", "train", 0, 0.85, encoder=open_encoder(str(tiny_bert)))
    found = [fact for fact in shelf.world.facts if fact.rank >= 0]
    assert found and all(
        hits[fact.rank].passage.id == fact.passage
        for fact, hits in zip(found, shelf.retriever.search([f.query for f in found], 3), strict=True)
    )
    try:
        _, info = env.reset(options={"task_id": "train:000000"})
    except ValueError as error:
        assert "allow more turns or a larger topk" in str(error)
        return
    while info["privileged"]["plan"]:
        info = env.step(info["privileged"]["next_action"])[4]
    assert info["success"]


def test_torch_comes_with_such_an_encoder_only():
    code = "import sys, sdar_envs.searchqa.env; print('torch' in sys.modules)"
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_models_own_files_say_how_it_is_used_and_it_is_said(
    tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A snapshot as the Hub's cache has it keeps its family's prefixes; sentence-transformers' files count before."""
    import json
    import shutil

    snapshot = tmp_path / "models--intfloat--e5-base-v2" / "snapshots" / "0123abcd"
    shutil.copytree(tiny_bert, snapshot)
    with caplog.at_level("INFO"):
        encoder = TransformerEncoder(str(snapshot))
    expected = reference(snapshot, ["query: " + TEXTS[0]], "mean")
    assert np.allclose(encoder.encode_queries(TEXTS[:1]), expected, atol=1e-5)
    assert "query prefix 'query: ' (by the name e5-base-v2)" in caplog.text
    kinds = ["Transformer", "Pooling", "Normalize"]
    layers = [
        {"path": "1_Pooling" if k == "Pooling" else "", "type": f"sentence_transformers.models.{k}"} for k in kinds
    ]
    (snapshot / "modules.json").write_text(json.dumps(layers))
    (snapshot / "1_Pooling").mkdir()
    (snapshot / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (snapshot / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "ask: "}}))
    own = TransformerEncoder(str(snapshot))
    assert np.allclose(own.encode_queries(TEXTS[:1]), reference(snapshot, ["ask: " + TEXTS[0]], "cls"), atol=1e-5)
    passages = reference(snapshot, ["passage: " + TEXTS[0]], "cls")
    assert np.allclose(own.encode_passages(TEXTS[:1]), passages, atol=1e-5)
    assert own.name != encoder.name
    asked = TransformerEncoder(str(snapshot), pooling="mean", query_prefix="query: ")
    assert np.allclose(asked.encode_queries(TEXTS[:1]), expected, atol=1e-5)


def test_passages_that_are_longer_than_what_is_encoded_are_counted(tiny_bert: Path):
    encoder = TransformerEncoder(str(tiny_bert))
    encoder.encode_passages([*TEXTS[:4], "topic " * 400])
    encoder.encode_queries(["topic " * 400])
    assert encoder.cut == 1
