"""A model's card says what was measured and nothing of the machine; a model is sent on an explicit word alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainers.config import SDARConfig
from trainers.run.hub import push_folder, require_hub_name
from trainers.run.model_card import CARD, model_card, write_card

RATE = {"ci95": [0.1, 0.3], "episodes": 40, "split": "test"}
SUMMARY: dict[str, Any] = {
    "steps": 60,
    "before": {"success_rate": 0.2, "wins": 8, **RATE},
    "after": {"success_rate": 0.25, "wins": 10, **RATE},
    "difference": {"mean": 0.05, "ci95": [-0.01, 0.11]},
    "teacher": {"before": None, "after": {"success_rate": 0.3, "wins": 12, **RATE, "split": "valid"}},
}


def card(options: SDARConfig | None = None, **changed: Any) -> str:
    settings: dict[str, Any] = {"summary": SUMMARY, "base": None} | changed
    return model_card("sdar/Household-v0", options or SDARConfig(seed=3), 60, **settings)


def head(text: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return read


def test_the_card_has_the_rates_of_the_summary_with_their_intervals() -> None:
    text = card()
    assert "| student, `test` | 20.0 % (10.0 to 30.0), 8 of 40 | 25.0 % (10.0 to 30.0), 10 of 40 |" in text
    assert "| privileged-prompt policy, `valid` | not measured | 30.0 % (10.0 to 30.0), 12 of 40 |" in text
    assert "Paired difference +5.0 points, 95 % interval -1.0 to +11.0" in text
    assert head(text)["library_name"] == "transformers" and "sdar" in head(text)["tags"]


@pytest.mark.parametrize("summary", [None, SUMMARY | {"steps": 59}])
def test_a_model_that_was_not_measured_claims_nothing(summary: dict[str, Any] | None) -> None:
    text = card(summary=summary)
    assert "nothing is claimed about it" in text and "Paired difference" not in text and "| student" not in text


def test_a_card_names_a_base_model_of_the_hub_and_no_place_on_a_machine(tmp_path: Path) -> None:
    named = head(card(base="Qwen/Qwen2.5-3B-Instruct"))
    assert named["base_model"] == "Qwen/Qwen2.5-3B-Instruct" and named["library_name"] == "peft"
    options = SDARConfig(output_dir=str(tmp_path / "run"), env_kwargs={"data_dir": str(tmp_path), "size": "small"})
    text = card(options, base=str(tmp_path / "base"))
    assert "base_model" not in head(text) and str(tmp_path) not in text and "`size='small'`" in text


def test_the_card_lies_beside_the_weights_and_quotes_the_run(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_card(tmp_path / "model", "sdar/Household-v0", SDARConfig(), 5, run=tmp_path / "none", base=None)
    assert "nothing is claimed" in (tmp_path / "model" / CARD).read_text(encoding="utf-8")


class FakeHub:
    """Remembers what it was told, in place of the Hub's client."""

    told: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012

    def create_repo(self, name: str, **settings: Any) -> None:
        self.told.append(("create", {"name": name, **settings}))

    def upload_folder(self, **settings: Any) -> str:
        self.told.append(("upload", settings))
        return "https://hub.example/owner/name"


def test_a_folder_is_sent_to_a_private_repository_and_only_files_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(FakeHub, "told", told)
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    assert push_folder(tmp_path, "owner/name") == "https://hub.example/owner/name"
    (made, sent) = (settings for _, settings in told)
    assert made == {"name": "owner/name", "private": True, "exist_ok": True}
    assert sent["folder_path"] == tmp_path and "*.safetensors" in sent["allow_patterns"]
    assert not any(re.search("pt|bin|pkl|jsonl", pattern) for pattern in sent["allow_patterns"])


def test_one_file_speaks_to_the_hub_and_only_the_two_words_call_it() -> None:
    root = Path(__file__).resolve().parents[2]
    code = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for package in ("sdar_envs", "agents", "trainers")
        for path in (root / package).rglob("*.py")
    }
    sends = [
        name for name, text in code.items() if re.search(r"HfApi|upload_f(older|ile)|create_repo|create_commit", text)
    ]
    assert sends == ["trainers/run/hub.py"]
    callers = {name for name, text in code.items() if "push_folder(" in text} - set(sends)
    assert callers == {"trainers/cli/export_model.py", "trainers/trainer.py"}
    assert "if options.push_to_hub is not None:\n        sent = push_folder(" in code["trainers/cli/export_model.py"]
    assert not [name for name, text in code.items() if re.search(r"push_to_hub\s*=\s*True", text)]


@pytest.mark.parametrize("name", ["name", "a/b/c", "../x", "owner/na me", "https://hub.example/a/b", ""])
def test_what_is_no_name_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="OWNER/NAME"):
        require_hub_name(name)


def test_without_a_network_the_error_is_one_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalTokenNotFoundError

    def refused(*_: Any, **__: Any) -> None:
        raise LocalTokenNotFoundError("no token")

    monkeypatch.setattr(FakeHub, "create_repo", refused)
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    with pytest.raises(OSError, match="hf auth login"):
        push_folder(tmp_path, "owner/name")
