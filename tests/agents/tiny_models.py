"""Tiny random Qwen2 and Qwen3 models and tokenizers with chat templates in their manner, authored for the tests.

Saved to disk and loaded by path, as a user's model would be. The templates act like the published ones where it
matters: a default system message (Qwen2.5), thinking stripped from earlier turns, and an empty thinking block when
thinking is switched off (Qwen3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CORPUS = [
    "You arrive at fridge 1. The fridge 1 is closed. You open the fridge 1. In it, you see a apple 1, and a egg 2.",
    "Your task is to: put a hot apple in fridge. go to fridge 1. open fridge 1. take apple 1 from fridge 1.",
    "What you observe now: Actions that are possible now: reason step by step. system user assistant think action",
    "Nothing happens. Hello he hello hell llo heat the apple with microwave 1. move apple 1 to countertop 2.",
]

CHATML = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\nYou are a default assistant.<|im_end|>\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)

CHATML_THINKING = (
    "{%- set ns = namespace(last=-1) -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}"
    "{%- endfor -%}"
    "{%- for message in messages -%}"
    "{%- set text = message['content'] -%}"
    "{%- if message['role'] == 'assistant' and '</think>' in text and loop.index0 < ns.last -%}"
    "{%- set text = text.split('</think>')[-1].lstrip('\n') -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + text + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|im_start|>assistant\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\n\n</think>\n\n' -}}"
    "{%- endif -%}"
    "{%- endif -%}"
)

# Refuses the system role, trims contents, and ends turns with the eos token, as some published templates do.
NO_SYSTEM = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}"
    "{%- if message['role'] == 'user' -%}{{- '[INST] ' + message['content'] | trim + ' [/INST]' -}}"
    "{%- else -%}{{- message['content'] + eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
)

# As Qwen's templates have tools: told after the system message, calls in tags, results in a user turn. The second one
# strips thinking from answers before the last message that a person wrote, and keeps it between calls (Qwen3).
_TELLS = (
    "{%- set front = messages[0]['content'] if messages[0]['role'] == 'system' else 'You are a default assistant.' -%}"
    "{{- '<|im_start|>system\n' + front -}}"
    "{%- if tools -%}"
    "{{- '\n\nTools:' -}}{%- for tool in tools -%}{{- '\n' + (tool | tojson) -}}{%- endfor -%}"
    '{{- \'\nCall as <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>\' -}}'
    "{%- endif -%}{{- '<|im_end|>\n' -}}"
)
_TURNS = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'tool' -%}"
    "{{- '<|im_start|>user\n<tool_response>\n' + message['content'] + '\n</tool_response><|im_end|>\n' -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- set text = message['content'] -%}STRIP"
    "{{- '<|im_start|>assistant\n' + text -}}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{{- '\n' if text else '' -}}"
    '{{- \'<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' -}}'
    "{{- (call.function.arguments | tojson) + '}\n</tool_call>' -}}"
    "{%- endfor -%}{{- '<|im_end|>\n' -}}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- '<|im_start|>user\n' + message['content'] + '<|im_end|>\n' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
CHATML_TOOLS = _TELLS + _TURNS.replace("STRIP", "")
CHATML_TOOLS_THINKING = (
    "{%- set ns = namespace(last=-1) -%}{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}"
    + _TELLS
    + _TURNS.replace(
        "STRIP",
        "{%- if '</think>' in text and loop.index0 < ns.last -%}"
        "{%- set text = text.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}",
    )
)

# Knows no tools, and introduces itself as SmolLM2's template does.
CHATML_SMOLLM2 = CHATML.replace(
    "You are a default assistant.", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tokenizer(template: str = CHATML, *, pad: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """A byte-level BPE with Qwen's special tokens; the thinking tags are added tokens that are not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens(["<think>", "</think>", "<tool_call>"])
    if "tools" in template:
        tokenizer.add_tokens(["</tool_call>", "<tool_response>", "</tool_response>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        bos_token="<|endoftext|>",
        pad_token=pad,
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )


def make_model(kind: str, vocab_size: int, *, seed: int = 0, positions: int = 2048) -> Any:
    """A random model: ``qwen2``, ``qwen3``, ``gpt2`` (absolute positions) or ``sliding`` (windowed attention)."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "initializer_range": 0.1,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=vocab_size,
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=positions,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=None,
        )
        return GPT2LMHeadModel(config).eval()
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(head_dim=16, tie_word_embeddings=True, **sizes)).eval()
    if kind == "sliding":
        window = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
        return Qwen2ForCausalLM(Qwen2Config(**window, **sizes)).eval()
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes)).eval()
    raise ValueError(f"unknown tiny model {kind!r}: choose from qwen2, qwen3, gpt2, sliding")


def save_tiny(directory: Path, kind: str = "qwen3", template: str | None = None, *, pad: str = "<|endoftext|>") -> Path:
    """Write a model and its tokenizer into a directory."""
    if template is None:
        template = CHATML_THINKING if kind == "qwen3" else CHATML
    tokenizer = make_tokenizer(template, pad=pad)
    make_model(kind, len(tokenizer)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def load_tiny(directory: Path) -> tuple[Any, Any]:
    """The model and tokenizer of a directory, loaded as any model is."""
    return AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
