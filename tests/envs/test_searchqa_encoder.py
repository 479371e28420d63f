"""The hashed encoder: one vector for one text, whatever its form, its batch, its seed or its file."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searchqa_material import TEXTS

from sdar_envs.searchqa import encoder as encoder_module
from sdar_envs.searchqa.encoder import HashedEncoder, tokens_of


def test_vectors_are_unit_and_a_text_without_words_is_zero():
    encoder = HashedEncoder.fit(TEXTS)
    vectors = encoder.encode_queries([*TEXTS[:5], "", " ?! ", "\ud800"])
    assert vectors.shape == (8, 512) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors[:5], axis=1), 1.0, atol=1e-6)
    assert not vectors[5:7].any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caf\u00e9 \u00c9COLE", unicodedata.normalize("NFD", "caf\u00e9 \u00e9cole")),
        ("STRASSE", "stra\u00dfe"),
        ("a b", "b, A."),
        ("\uff21\uff22", "AB"),
    ],
)
def test_normal_forms_of_unicode_case_and_punctuation_are_one_text(one: str, other: str):
    encoder = HashedEncoder.fit(TEXTS)
    assert np.array_equal(*encoder.encode_queries([one, other]).reshape(2, 512))


def test_the_first_line_of_a_passage_counts_for_more():
    encoder = HashedEncoder.fit(TEXTS)
    titled, untitled = encoder.encode_passages(['"Thing 3"\nAbout topic 5.', "About topic 5. Thing 3"])
    query = encoder.encode_queries(["thing 3"])[0]
    assert titled @ query > untitled @ query


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_a_vector_does_not_depend_on_its_batch(texts: list[str]):
    encoder = HashedEncoder.fit(TEXTS)
    together = encoder.encode_queries(texts)
    assert all(np.array_equal(encoder.encode_queries([t])[0], v) for t, v in zip(texts, together, strict=True))


def test_an_encoder_survives_its_file_and_seeds_do_not_compare(tmp_path: Path):
    encoder = HashedEncoder.fit(TEXTS, dim=128, seed=7)
    encoder.save(tmp_path / "e.json")
    twin = HashedEncoder.load(tmp_path / "e.json")
    assert twin.name == encoder.name and np.array_equal(twin.encode_queries(TEXTS), encoder.encode_queries(TEXTS))
    other = HashedEncoder.fit(TEXTS, dim=128, seed=8)
    assert abs(float(other.encode_queries(["topic 3"])[0] @ encoder.encode_queries(["topic 3"])[0])) < 0.5
    for broken in ("{}", "[", "null", json.dumps({"kind": "other"})):
        (tmp_path / "e.json").write_text(broken)
        with pytest.raises(ValueError, match=r"e\.json"):
            HashedEncoder.load(tmp_path / "e.json")


def test_inner_products_are_kept_up_to_noise():
    """Cosines of TF-IDF vectors in full and projected: unbiased, with a deviation near 1/sqrt(dim)."""
    encoder = HashedEncoder.fit(TEXTS, dim=512)
    words = sorted(encoder.frequencies)
    weights = {w: np.log((1 + encoder.documents) / (1 + encoder.frequencies[w])) + 1 for w in words}

    def exact(text: str) -> np.ndarray:
        bag = tokens_of(text)
        vector = np.array([(1 + np.log(bag.count(w))) * weights[w] if w in bag else 0.0 for w in words])
        return vector / np.linalg.norm(vector)

    queries = [text.replace("\n", " ") for text in TEXTS[:60]]
    full = np.stack([exact(q) for q in queries])
    projected = encoder.encode_queries(queries)
    upper = np.triu_indices(60, k=1)
    errors = (projected @ projected.T - full @ full.T)[upper]
    assert abs(errors.mean()) < 0.02 and errors.std() < 2 / np.sqrt(512)


def test_what_agents_write_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoder_module, "_ROOM", 2_000)
    encoder = HashedEncoder.fit(TEXTS)
    for start in range(0, 9_000, 600):
        encoder.encode_queries([" ".join(f"w{n}" for n in range(start, start + 600))])
        assert len(encoder._rows) < 2_000 + 600
    assert np.array_equal(encoder.encode_queries(["topic 3"]), HashedEncoder.fit(TEXTS).encode_queries(["topic 3"]))


def test_a_batch_of_more_words_than_are_kept_has_the_vectors_of_its_texts_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoder_module, "_ROOM", 50)
    encoder = HashedEncoder.fit(TEXTS)
    for start in (0, 400, 800):
        texts = [" ".join(f"w{n}" for n in range(first, first + 7)) for first in range(start, start + 140, 7)]
        alone = [HashedEncoder.fit(TEXTS).encode_queries([text])[0] for text in texts]
        assert np.array_equal(encoder.encode_queries(texts), np.stack(alone))


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"gone\.json: the hashed encoder cannot be opened: No such file"):
        HashedEncoder.load(tmp_path / "gone.json")
