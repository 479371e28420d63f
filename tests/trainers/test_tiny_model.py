"""The embedded tiny model: lossless text, phrases as tokens, weights from a seed, loadable by anyone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.warm_start.tiny_model import (
    TinyModelConfig,
    build_model,
    build_tokenizer,
    named_things,
    rare_words,
    save_model,
)

CORPUS = [
    "You arrive at cabinet 1. On the cabinet 1, you see a apple 1, and a bread 2.",
    "You arrive at fridge 1. The fridge 1 is closed.",
    "Your task is to: put a hot apple in fridge.",
    "go to cabinet 1",
    "take apple 1 from cabinet 1",
] * 4
TOKENIZER = build_tokenizer(CORPUS, 512)


def pieces(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER(text, add_special_tokens=False)["input_ids"]]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_encoding_and_decoding(text: str):
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_a_phrase_of_the_world_is_one_token_and_so_is_a_thing():
    assert pieces("You arrive at cabinet 1") == ["You arrive at ", "cabinet 1"]
    assert pieces("go to fridge 1") == ["go to ", "fridge 1"]


def test_a_thing_is_never_merged_with_the_words_around_it():
    vocabulary = [TOKENIZER.decode([i]) for i in range(len(TOKENIZER))]
    mixed = [token for token in vocabulary if "apple" in token and token not in ("apple", "apple 1")]
    assert mixed == []


def test_things_are_the_words_that_the_corpus_numbers():
    assert named_things(CORPUS) == ["cabinet", "fridge", "apple", "bread"]


KITCHENS = [
    f"There is the {colour} {food} (cooked). There is the stove. take {colour} {food} from counter"
    for colour, food in (("red", "onion"), ("white", "potato"), ("green", "apple"), ("red", "apple"))
]


def test_words_that_few_episodes_say_are_rare():
    assert rare_words(KITCHENS, 0.5) == ["potato", "green", "onion", "white"]  # "red" and "apple" are in half of them
    assert rare_words(KITCHENS, 0.6) == ["potato", "apple", "green", "onion", "white", "red"]
    assert rare_words(KITCHENS, 0.0) == []


def test_a_pair_of_names_that_was_never_shown_is_a_few_tokens_where_names_are_kept_apart():
    def tokens(text: str, share: float) -> list[str]:
        tokenizer = build_tokenizer(KITCHENS * 4, 400, apart=rare_words(KITCHENS, share))
        return [tokenizer.decode([number]) for number in tokenizer(text, add_special_tokens=False)["input_ids"]]

    shown, other = " take red onion from counter", " take white onion from counter"
    assert tokens(other, 0.6) == [" take", " white", " onion", " from counter"]
    assert tokens(shown, 0.6) == [" take", " red", " onion", " from counter"]
    assert tokens(shown, 0.0) == [shown]
    assert " onion" not in tokens(other, 0.0)


def test_the_history_of_the_chat_template_keeps_its_prefix():
    chat = [
        {"role": "system", "content": "play."},
        {"role": "user", "content": "task"},
        {"role": "assistant", "content": "go to cabinet 1"},
        {"role": "user", "content": "nothing."},
    ]
    first = TOKENIZER.apply_chat_template(chat[:2], add_generation_prompt=True, tokenize=False)
    whole = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert whole.startswith(first + "go to cabinet 1<|end|>")


def test_a_vocabulary_without_room_for_phrases_is_refused():
    with pytest.raises(ValueError, match="vocab_size > 261, got 261"):
        build_tokenizer(CORPUS, 261)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    models = [build_model(TOKENIZER, TinyModelConfig(), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    same, again, other = ([p.detach() for p in model.parameters()] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(same, other, strict=True))


def test_a_saved_model_loads_through_the_auto_classes_with_equal_logits(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = build_model(TOKENIZER, TinyModelConfig(), seed=0).eval()
    save_model(model, TOKENIZER, tmp_path, steps=3)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "You arrive at cabinet 1."
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert ids.tolist()[0] == TOKENIZER(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert tokenizer.chat_template == TOKENIZER.chat_template
