"""Exported episodes in TRL's SFTTrainer: it loads them as they are, and its loss is that of the sampled ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

import torch  # noqa: E402
from small_runs import make_trainer  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl.data_utils import is_conversational  # noqa: E402

from trainers.offline.curate import curate  # noqa: E402
from trainers.offline.export import IGNORED, export  # noqa: E402
from trainers.offline.filters import Rules  # noqa: E402

pytestmark = pytest.mark.trl


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and the successes of a small run of it, exported in all formats."""
    folder = tmp_path_factory.mktemp("exported")
    make_trainer(folder, method="grpo", max_steps=1, log_tokens="all").train()
    curate([folder / "run"], Rules(correct=True), folder / "curated")
    for form in ("messages", "prompt-completion-ids", "parquet"):
        export(folder / "curated", form, folder / form)
    return folder


def loaded(folder: Path, form: str) -> Any:
    return datasets.load_dataset(str(folder / form), split="train", cache_dir=str(folder / "cache"))


def sft(folder: Path, dataset: Any, **options: Any) -> Any:
    config = trl.SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        **options,
    )
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    return trl.SFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer)


@pytest.mark.parametrize("form", ["prompt-completion-ids", "parquet"])
def test_two_steps_on_the_exported_ids(material: Path, form: str) -> None:
    dataset = loaded(material, form)
    trainer = sft(material, dataset)
    prepared = trainer.train_dataset
    assert prepared["input_ids"] == dataset["input_ids"] and prepared["labels"] == dataset["labels"]
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    result = trainer.train()
    assert result.global_step == 2 and result.training_loss > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


def test_its_loss_is_the_mean_over_the_sampled_ids_alone(material: Path) -> None:
    dataset = loaded(material, "parquet").select(range(2))
    trainer = sft(material, dataset)
    batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[1]])
    with torch.no_grad():
        theirs = float(trainer.model(**batch).loss)
        values = []
        for row in dataset:
            ids = torch.tensor([row["input_ids"]])
            logprobs = torch.log_softmax(trainer.model(input_ids=ids).logits[0].float(), -1)
            places = [at for at, label in enumerate(row["labels"]) if label != IGNORED]
            values += [float(logprobs[at - 1, ids[0, at]]) for at in places]
    assert theirs == pytest.approx(-sum(values) / len(values), abs=1e-5)


def test_two_steps_on_the_exported_chats(material: Path) -> None:
    dataset = loaded(material, "messages")
    assert is_conversational(dataset[0])
    assert sft(material, dataset).train().global_step == 2
