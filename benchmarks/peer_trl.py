"""TRL's side of the comparison: its GRPOTrainer on the rooms of `countdown`, as a user would set it up.

It runs under an interpreter that has TRL and needs nothing of this suite but `benchmarks/countdown.py`:

    python benchmarks/peer_trl.py --save-model DIR     # builds and warm-starts the common weights, then measures
    python benchmarks/peer_trl.py --load-model DIR

Nothing of TRL's behaviour is changed; clocks are added around a step and around generation. One JSON line is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.countdown import (
    DROPPED,
    GROUP,
    LEARNING_RATE,
    MAX_COMPLETION,
    MOVES,
    PROMPTS,
    STEPS,
    TASK,
    Rooms,
    completion_for,
)

# 0.85 million parameters.
MODEL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
}
VOCABULARY = 460  # of the tokenizer, tool tags apart
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
WARM_START_STEPS = 90


def build_tokenizer(schema: dict[str, Any], chat_template: str) -> Any:
    """A byte-level BPE learned from the world's own wording, with Qwen3's tool tags."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rooms = Rooms()
    wording = [
        json.dumps(schema),
        completion_for("east"),
        completion_for("west"),
        rooms.move("east"),
        rooms.move("west"),
    ]
    wording += [
        TASK,
        "system user assistant",
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
        "function signatures within <tools></tools> XML tags: For each function call, return a json object with "
        "function name and arguments within XML tags: <function-name>, <args-json-object>",
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(wording * 4, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        padding_side="left",
    )
    fast.add_tokens(TAGS, special_tokens=False)
    fast.chat_template = chat_template
    return fast


def build_model(tokenizer: Any) -> Any:
    """A random Qwen3 model of `MODEL`'s size."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(**MODEL, **ends, bos_token_id=None))
    for name, value in ends.items():
        setattr(model.generation_config, name, value)
    return model


def first_prompt(tokenizer: Any, schema: dict[str, Any]) -> list[int]:
    """The ids of every episode's first prompt."""
    chat = [{"role": "user", "content": TASK}]
    options = {"tools": [schema], "add_generation_prompt": True, "tokenize": True, "return_dict": False}
    return list(tokenizer.apply_chat_template(chat, **options))


def warm_start(model: Any, tokenizer: Any, schema: dict[str, Any]) -> float:
    """Teach the model well-formed calls in random directions, so that its turns are turns; returns the last loss."""
    import torch

    draw = random.Random(0)
    rows: list[tuple[list[int], list[int]]] = []
    for _ in range(4):
        ids = first_prompt(tokenizer, schema)
        labels, rooms = [-100] * len(ids), Rooms()
        for _ in range(MOVES + 1):
            direction = draw.choice(["east", "west"])
            answer = tokenizer.encode(completion_for(direction) + "<|im_end|>", add_special_tokens=False)
            reply = tokenizer.encode(
                f"\n<|im_start|>user\n<tool_response>\n{rooms.move(direction)}\n</tool_response><|im_end|>\n"
                "<|im_start|>assistant\n",
                add_special_tokens=False,
            )
            ids, labels = ids + answer + reply, labels + answer + [-100] * len(reply)
        rows.append((ids, labels))
    width = max(len(ids) for ids, _ in rows)
    # Padding on the right is out of reach under causal attention, and carries no label.
    inputs = torch.tensor([ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids, _ in rows])
    targets = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    model.train()
    for _ in range(WARM_START_STEPS):
        loss = model(input_ids=inputs, labels=targets, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss)


def measure(model: Any, tokenizer: Any, steps: int, folder: str) -> dict[str, Any]:
    """Train and count."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: dict[str, list[float]] = {"cpu": [], "wall": []}
    generated: list[tuple[int, int, int, float]] = []  # step, sampled tokens, prefilled tokens, CPU seconds
    learned: list[int] = []  # real tokens of the loss's forward pass

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.process_time(), time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds["cpu"].append(time.process_time() - self.started[0])
            seconds["wall"].append(time.perf_counter() - self.started[1])

    class Clocked(GRPOTrainer):
        def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            out = super()._generate_single_turn(prompt_ids, *args, **kwargs)
            tokens = sum(map(len, out[0])), sum(map(len, prompt_ids))
            generated.append((self.state.global_step, *tokens, time.process_time() - start))
            return out

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            learned.append(int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum()))
            return super().compute_loss(model, inputs, *args, **kwargs)

    config = GRPOConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        gradient_accumulation_steps=1,
        max_completion_length=MAX_COMPLETION,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=0.0,
        loss_type="grpo",
        scale_rewards="group",
        epsilon=0.2,
        num_iterations=1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        weight_decay=0.0,
        # These are on by default and slow a CPU down.
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        seed=0,
        dataloader_num_workers=0,
        max_tool_calling_iterations=MOVES,
        log_completions=False,
    )
    data = Dataset.from_dict({"prompt": [[{"role": "user", "content": TASK}]] * 64})
    trainer = Clocked(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[Clock()],
        environment_factory=Rooms,
    )
    trainer.train()
    kept = range(DROPPED, steps)
    cpu, wall = seconds["cpu"][DROPPED:steps], seconds["wall"][DROPPED:steps]
    sampled = [sum(entry[1] for entry in generated if entry[0] == step) for step in kept]
    generating = [sum(entry[3] for entry in generated if entry[0] == step) for step in kept]
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    return {
        "steps_measured": len(cpu),
        "cpu_s_per_step_median": statistics.median(cpu),
        "s_per_step_median": statistics.median(wall),
        "generate_cpu_s_median": statistics.median(generating),
        "sampled_tok_per_cpu_s_end_to_end": sum(sampled) / sum(cpu),
        "trained_real_tok_per_cpu_s": sum(learned[DROPPED:steps]) / sum(cpu),
        "sampled_tokens_per_step": statistics.mean(sampled),
        "prefilled_tokens_per_step": statistics.mean(
            sum(entry[2] for entry in generated if entry[0] == step) for step in kept
        ),
        "real_tokens_in_loss_forward": statistics.mean(learned[DROPPED:steps]),
        "turns_per_rollout": 1 + statistics.mean(entry["tools/call_frequency"] for entry in history[DROPPED:steps]),
        "reward_first_last": [history[0]["reward"], history[-1]["reward"]],
    }


def main() -> None:
    """Run once and print one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = options.add_mutually_exclusive_group(required=True)
    source.add_argument("--save-model", metavar="DIR", help="build the common weights, write them here, then measure")
    source.add_argument("--load-model", metavar="DIR", help="start from weights that --save-model wrote")
    options.add_argument("--steps", type=int, default=STEPS, help=f"optimiser steps, of which {DROPPED} do not count")
    options.add_argument("--threads", type=int, default=1, help="threads of torch")
    chosen = options.parse_args()
    os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    import accelerate
    import torch
    import transformers
    import trl
    from transformers.utils import get_json_schema

    torch.set_num_threads(chosen.threads)
    schema = get_json_schema(Rooms().move)
    info: dict[str, Any] = {}
    if chosen.load_model:
        tokenizer = transformers.AutoTokenizer.from_pretrained(chosen.load_model)
        model = transformers.Qwen3ForCausalLM.from_pretrained(chosen.load_model, dtype=torch.float32)
    else:
        from trl.chat_template_utils import qwen3_chat_template

        tokenizer = build_tokenizer(schema, qwen3_chat_template)
        model = build_model(tokenizer)
        info["warm_start_loss"] = warm_start(model, tokenizer, schema)
        model.save_pretrained(chosen.save_model)
        tokenizer.save_pretrained(chosen.save_model)
    prompt = first_prompt(tokenizer, schema)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(model, tokenizer, chosen.steps, folder) if chosen.steps > DROPPED else {}
    versions = {"python": platform.python_version()}
    versions |= {module.__name__: str(module.__version__) for module in (torch, transformers, trl, accelerate)}
    figures |= {
        "threads": chosen.threads,
        "first_prompt_tokens": len(prompt),
        "first_prompt_sha256": hashlib.sha256(json.dumps(prompt).encode()).hexdigest(),
        "params": sum(parameter.numel() for parameter in model.parameters()),
        **info,
        "versions": versions,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
