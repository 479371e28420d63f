"""TRL's side of the comparison of collectors: its own loop over tools that take their time, on the same device clock.

It runs under an interpreter that has TRL and needs nothing of this suite but two files of this folder:

    python benchmarks/peer_trl_collection.py

TRL's trainer is set up as a user would, with an environment factory. In the place of its model's generation the device
clock of `late_world` runs, and every completion is the same well-formed call of a tool; its loop, its parsing, its
templates and its calls of tools are its own. The time of `_generate`, which is all of collecting, is printed as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.countdown import TASK, completion_for
from benchmarks.late_world import EPISODES, STEP_SECONDS, TURNS, LateRooms, length
from benchmarks.peer_trl import build_model, build_tokenizer


class Measured(Exception):  # not an error: what was asked for is known, and training is not measured
    """Ends the program's training once episodes have been collected."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def collect_once() -> float:
    """Seconds of one collection."""
    from datasets import Dataset
    from transformers.utils import get_json_schema
    from trl import GRPOConfig, GRPOTrainer
    from trl.chat_template_utils import qwen3_chat_template

    tokenizer = build_tokenizer(get_json_schema(LateRooms().move), qwen3_chat_template)
    LateRooms.made = 0
    answer = tokenizer.encode(completion_for("east") + "<|im_end|>", add_special_tokens=False)

    class OnTheClock(GRPOTrainer):
        turns = 0

        def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
            turn, self.turns = self.turns, self.turns + 1
            if turn < TURNS:  # the closing turn is TRL's alone, and costs nothing here
                for _ in range(max(length(episode, turn) for episode in range(len(prompt_ids)))):
                    time.sleep(STEP_SECONDS)
            return [list(answer) for _ in prompt_ids], None

        def _generate(self, prompts: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            super()._generate(prompts, *args, **kwargs)
            raise Measured(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            max_steps=1,
            per_device_train_batch_size=EPISODES,
            num_generations=8,
            max_completion_length=2048,
            max_tool_calling_iterations=TURNS,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = OnTheClock(
            model=build_model(tokenizer),
            args=config,
            train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": TASK}]] * EPISODES}),
            processing_class=tokenizer,
            environment_factory=LateRooms,
        )
        try:
            trainer.train()
        except Measured as measured:
            return measured.seconds
    raise RuntimeError("TRL's trainer has collected nothing")


def main() -> None:
    """Run once and print one JSON line."""
    os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    import torch
    import trl

    torch.set_num_threads(1)
    print(json.dumps({"seconds": collect_once(), "trl": str(trl.__version__)}))


if __name__ == "__main__":
    main()
