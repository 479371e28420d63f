"""A tiny Qwen3-architecture model with random parameters, and its tokenizer: what the suite trains on two CPU cores.

The tokenizer is a byte-level BPE whose merges may cross words, so that a whole phrase of a world's fixed wording
("You arrive at") becomes one token. Names of things that are numbered ("apple", "apple 1") are never merged with other
text and become one token each. Where names are no numbered words ("the red onion (diced)"), they would be merged with
what stands around them, and a combination that training never showed would fall into letters: there
`TinyModelConfig.apart_below` keeps words apart that few episodes say. Any text can be encoded, byte by byte. The model
knows only what the warm start teaches it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from ..engine.model_shape import ModelShape

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"

# One marker per role, and an end mark after an assistant's text: a longer chat always begins with the shorter one.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class TinyModelConfig:
    """Size of the embedded model and of its tokenizer; the defaults make about 0.2 million parameters.

    `init_std` is larger than a large model's 0.02: with 64 channels, small initial logits cost hundreds of steps.
    Words that less than `apart_below` of the demonstrations say are not merged with others, see `rare_words`.
    """

    vocab_size: int = 640
    hidden_size: int = 64
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 192
    max_position_embeddings: int = 1024
    init_std: float = 0.1
    apart_below: float = 0.0

    def sizes(self) -> dict[str, Any]:
        """What the model alone depends on, by the names of its configuration."""
        return {name: value for name, value in asdict(self).items() if name not in ("init_std", "apart_below")}


def tiny_shape() -> ModelShape:
    """The sizes of the embedded model, as estimates of memory and time take them."""
    from ..engine.model_shape import ModelShape

    config = {**TinyModelConfig().sizes(), "model_type": "qwen3", "tie_word_embeddings": True}
    return ModelShape.of_config(config, "the embedded tiny model")


_NUMBERED = re.compile(r"([a-z]+) \d+")
_WORD = re.compile(r"[A-Za-z]+")


def named_things(corpus: Iterable[str]) -> list[str]:
    """Words that the corpus numbers ("apple 1" gives "apple"), longest first, then alphabetical."""
    names = {name for text in corpus for name in _NUMBERED.findall(text)}
    return sorted(names, key=lambda name: (-len(name), name))


def rare_words(episodes: Sequence[str], share: float) -> list[str]:
    """Words that less than this share of the episodes say: names of things that differ between tasks, most of them.

    What (nearly) every episode says is a world's fixed wording, which may become phrases; "onion" is there in some
    episodes alone. Longest first, then alphabetical; none where the share is 0.
    """
    said = Counter(word for text in episodes for word in set(_WORD.findall(text)))
    rare = {word for word, count in said.items() if count < share * len(episodes)}
    return sorted(rare, key=lambda word: (-len(word), word))


def build_tokenizer(corpus: Sequence[str], vocab_size: int, *, apart: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Train the phrase-merging BPE on rendered prompts and actions.

    Args:
        corpus: Texts without role markers: message contents and actions, as the model will read and write them.
        vocab_size: Upper bound, special tokens and the 256 bytes included.
        apart: Words that are not merged with others; each, with the blank before it, is a token where there is room.

    Raises:
        ValueError: `vocab_size` leaves no room beyond the bytes and special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, END, SYSTEM, USER, ASSISTANT]
    if vocab_size < 256 + len(special) + 1:
        raise ValueError(f"build_tokenizer expects vocab_size > {256 + len(special)}, got {vocab_size}")
    names = named_things(corpus)
    # Places that no merge may cross: around names of things, and where a phrase ends.
    steps: list[pre_tokenizers.PreTokenizer] = []
    if names:
        thing = rf"\b(?:{'|'.join(names)})(?: \d+)?\b"
        steps.append(pre_tokenizers.Split(Regex(thing), behavior="isolated"))
    # A line break and the end of a sentence end a phrase: merges across them would make whole prompts into tokens.
    steps.append(pre_tokenizers.Split(Regex(r"\n|(?<=[.:])(?= )"), behavior="isolated"))
    if apart:
        words = "|".join(map(re.escape, apart))
        steps.append(pre_tokenizers.Split(Regex(rf" ?\b(?:{words})\b"), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, config: TinyModelConfig, *, seed: int) -> PreTrainedModel:
    """A randomly initialised `Qwen3ForCausalLM` for `tokenizer`; the same seed gives the same parameters.

    Parameters are drawn with a generator of their own; torch's global stream is left as it was.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from sdar_envs.randomness import counted_generator

    sizes = config.sizes() | {"vocab_size": len(tokenizer)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(counted_generator("tiny-model", seed).integers(2**31)))
        model: PreTrainedModel = Qwen3ForCausalLM(
            Qwen3Config(
                **sizes,
                initializer_range=config.init_std,
                tie_word_embeddings=True,
                attention_dropout=0.0,
                rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )
    model.float()
    return model


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path, **facts: object) -> None:
    """Write a directory that `AutoModelForCausalLM` and `AutoTokenizer` load, with `facts` in it as JSON."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "warm_start.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
