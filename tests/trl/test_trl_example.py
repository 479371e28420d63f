"""examples/trl_sdar.py runs, and its model loads again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.trl
pytest.importorskip("trl.trainer")

from transformers import AutoModelForCausalLM  # noqa: E402
from trl_player import boxes, player  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_example_trains_and_writes_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import trl_sdar

    brief = {
        "max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 200,
        "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "report_to": [], "save_strategy": "no",
    }  # fmt: skip
    model, world = str(player(tmp_path / "player")), {"env_id": boxes}
    reward = trl_sdar.main(model, tmp_path / "run", world=world, tasks=16, **brief)
    assert 0.0 <= reward <= 1.0
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "trained")
