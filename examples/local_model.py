"""Train a pretrained model that lies in a folder, in a world of this suite, and leave a folder that loads anywhere.

    python local_model.py models/Qwen2.5-1.5B-Instruct --lora

Any causal language model of transformers with a chat template will do. Before anything is loaded, the memory that the
run needs is computed; the preset is that of the model's kind. This is a job for a GPU: `sdar memory` and `sdar doctor`
say whether yours is ready, and SmolLM2 (`sdar models get smollm2`) is the largest that was trained here on a CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trainers import SDARTrainer
from trainers.cli import main as sdar


def main(model: Path, folder: Path, **options: Any) -> dict[str, Any]:
    """Train, save, and return what `summary.json` holds.

    Args:
        model: The model's folder.
        folder: Where run directory and trained model are written.
        **options: Options that win over the preset's.
    """
    flags = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    sdar(["memory", "--model", str(model), "--env", "sdar/Household-v0", *flags])
    trainer = SDARTrainer(
        model=str(model),
        env_id="sdar/Household-v0",
        args={"output_dir": str(folder / "run"), **options},
        preset="auto",
    )
    summary = trainer.train(resume_from_checkpoint=True)  # goes on where an earlier call was interrupted
    # Adapters are merged into the weights, so that what is saved is a whole model.
    trainer.save_model(folder / "trained", merged=bool(options.get("lora")))
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("--folder", type=Path, default=Path("runs/local"))
    parser.add_argument("--lora", action="store_true", help="train adapters instead of whole weights")
    given = parser.parse_args()
    main(given.model, given.folder, lora=given.lora)
