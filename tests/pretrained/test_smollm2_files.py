"""SmolLM2 as `sdar models get` writes it: what was mended, and that it is the model it says it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.chat import end_ids
from agents.rendering import ChatRenderer

pytestmark = pytest.mark.pretrained


def test_any_program_loads_it_and_it_answers_as_it_was_taught_to(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(smollm2), AutoTokenizer.from_pretrained(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
    assert int(answer[-1]) == tokenizer.eos_token_id  # it ends its turn by itself


def test_nothing_of_the_quantised_file_is_left(smollm2: Path, model: Any) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "float32"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert [path.name for path in smollm2.glob("*.safetensors")] == ["model.safetensors"]
    assert not [path for path in smollm2.iterdir() if path.suffix in (".gguf", ".bin", ".py")]


def test_end_tokens_and_padding_are_those_of_its_chat_template(model: Any, tokenizer: Any, smollm2: Path) -> None:
    renderer = ChatRenderer(tokenizer)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert renderer.turn_end_id == end and renderer.end_ids == [end] == end_ids(renderer, model)
    assert json.loads((smollm2 / "generation_config.json").read_text())["eos_token_id"] == [end]
    assert renderer.pad_id == tokenizer.pad_token_id == end


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("apple 12", ["apple", "Ġ", "1", "2"]),
        ("  12", ["ĠĠ", "1", "2"]),  # every digit stands alone, and so do the blanks before it
        ("a1b", ["a", "1", "b"]),
    ],
)
def test_digits_stand_alone_as_in_its_training(text: str, pieces: list[str], tokenizer: Any) -> None:
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == pieces


def test_no_text_writes_one_of_its_seventeen_control_tokens(tokenizer: Any) -> None:
    renderer = ChatRenderer(tokenizer)
    control = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
    assert len(control) == 17
    for text in control:
        assert tokenizer(text)["input_ids"] == [control[text]]  # the bare tokenizer believes it
        ids = renderer.encode_text(f"see {text} there")
        assert not set(ids) & set(control.values())
        assert tokenizer.decode(ids) == f"see {text} there"
