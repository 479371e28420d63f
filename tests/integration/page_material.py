"""What the commands on the pages need to be run: a folder with a run, a model and modules, and shorter forms of them.

A command keeps all that it says; what it would take hours for is cut by flags that stand behind it (`SHORTENED`), and a
name that stands for something of the reader's own (a downloaded model, their run) is replaced by something small.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT, blocks
from short_runs import save_random_model
from small_runs import make_trainer, save_model

from trainers.cli import main

# Behind every `sdar train`: one iteration of two short episodes.
SHORT_TRAIN = [
    *("--max-steps", "1", "--tasks-per-step", "1", "--num-generations", "2", "--num-mini-batches", "1"),
    *("--eval-episodes", "1", "--test-episodes", "0", "--eval-steps", "0", "--no-eval-before", "--save-steps", "0"),
    *("--max-turns", "2", "--max-completion-length", "4", "--device", "cpu", "--env-workers", "0"),
]
SHORT_TINY = ["--warm-start", "demonstrations=60", "min_steps=2", "decay_steps=1", "gate_episodes=2"]
SHORTENED: dict[str, list[str]] = {
    "eval": ["--episodes", "2", "--max-turns", "2"],
    "crossplay": ["--episodes", "2"],
    "play": ["--delay", "0"],
    "wrong-actions": ["--episodes", "2"],
}
# Names that stand for a pretrained model of the reader's.
MODELS = re.compile(r"(Qwen/\S+|smollm2|MODEL|FOLDER|PATH)")
OWN_ENVIRONMENT = """
import gymnasium as gym
from scripted_agents import EchoEnv

gym.register("Slow-v0", entry_point=EchoEnv)
"""


@dataclass(frozen=True)
class NotRun:
    """Commands that no test runs, by a pattern of their beginning, and why."""

    beginning: str
    reason: str

    def covers(self, command: str) -> bool:
        """Whether it is one of these."""
        return re.match(self.beginning, command) is not None


NOT_RUN = (
    NotRun(r"(python -m )?pip |python -m venv |pre-commit ", "network: it installs"),
    NotRun(r"tox|pytest", "hours: they run these tests; that what they name exists is tested"),
    NotRun(r"python -m benchmarks\.", "minutes to hours: they measure; short forms are in the benchmarks' tests"),
    NotRun(r"sdar drill ", "minutes: drills, whose short forms are in tests/trainers/test_drills.py"),
    NotRun(r"sdar data get |sdar models get ", "network: it downloads"),
    NotRun(r"sdar doctor", "a minute or two, and its answer is about the machine; its checks have tests"),
    NotRun(r"sdar serve-|python -m sdar_envs serve ", "it serves until somebody ends it; the servers have tests"),
    NotRun(r"sdar index .*(e5|wiki)", "weights, and gigabytes of published data"),
    NotRun(r"sdar memory .*--rates", "a measurement of the reader's GPU"),
    NotRun(r"(sdar train .*--rollout )?vllm", "a generation server; tests/vllm has one"),
    NotRun(r"torchrun ", "several GPUs; the tests of several processes start what it starts"),
    NotRun(r"sdar (train|play) .*(env_kwargs\.dataset=|data_dir=)", "published data, which has to be fetched"),
    NotRun(r"sdar play sdar/ALFWorld", "published data, which has to be fetched"),
    NotRun(r"sdar check household", "OpenEnv, in an environment of its own; tests/openenv runs it"),
    NotRun(r"python check\.py ", "other people's packages, each in an environment of its own"),
    NotRun(r"sdar check (my_module:|--scan )", "a reader's own module or logs; the checker's command has tests"),
    NotRun(
        r"sdar (train|eval) .*--prompt-style tools",
        "a pretrained model: lists of tools outgrow a random one's positions; test_tool_agents.py plays",
    ),
    NotRun(r"sdar train .*wandb|sdar export-model .*--push-to-hub", "an account"),
    NotRun(r"cd |\. ", "the reader's shell"),
)
# What `sdar study show` knows of the words of `run` and `tune`, whose runs take an hour and more.
ONLY_OF_RUNS = ("--reuse", "--merge", "--only", "--only-seeds", "--jobs")


def not_run(words: list[str]) -> NotRun | None:
    """Why a command is not run; None for one that is."""
    command = " ".join(words)
    return next((listed for listed in NOT_RUN if listed.covers(command)), None)


class Material:
    """A folder in which the commands of the pages can be run; what costs something is made when it is first needed.

    Args:
        folder: The current one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The embedded tiny model, and one that stands for any pretrained one.
        self.tiny = save_random_model(folder / "material-tiny")
        self.pretrained = save_model(folder / "material-pretrained", positions=32_768)  # of Qwen2.5
        (folder / "my_methods.py").write_text(blocks(ROOT / "docs" / "methods.md", "python")[0][0])
        (folder / "mine.py").write_text(OWN_ENVIRONMENT)
        for example in (ROOT / "examples").glob("*.py"):
            shutil.copy(example, folder / example.name)
        (folder / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "glossary.md", folder / "docs" / "glossary.md")
        (folder / "docs" / "studies").symlink_to(ROOT / "docs" / "studies")
        shutil.copytree(ROOT / "docs" / "leaderboard", folder / "docs" / "leaderboard")
        for name in ("house.jsonl.gz", "household.jsonl.gz"):
            shutil.copy(ROOT / "docs" / "studies" / "household.jsonl.gz", folder / name)
        self._made: dict[str, Path] = {}

    def run(self, words: list[str]) -> int:
        """Run a command in its shorter form; returns its exit status."""
        shorter = self.shorter(words)
        if shorter[0] == "python":
            finished = subprocess.run([sys.executable, *shorter[1:]], cwd=self.folder, check=False)
            return finished.returncode
        return main(shorter[1:])

    def shorter(self, words: list[str]) -> list[str]:
        """The command as it is run here."""
        words = [str(self.pretrained) if MODELS.fullmatch(word) else word for word in words]
        if words[0] == "python":
            return [self._given(word, "run") for word in words]
        name = words[1]
        if name == "train":
            return self._train(words)
        if name == "tiny":
            return [*words, *SHORT_TINY]
        if name == "study":
            return self._study(words)
        if name in ("curate", "export", "sft", "loop"):
            return self._offline(words)
        if name == "wrong-actions":
            words = without(words, "--untrained")  # the random model here is no warm start of a cache
        game = name == "crossplay" or "haggle" in " ".join(words)
        kind = "game" if game else "lora" if name == "export-model" else "study" if "studies/" in words[-1] else "run"
        return [*(self._given(word, kind) for word in words), *SHORTENED.get(name, [])]

    def _train(self, words: list[str]) -> list[str]:
        # A warm start takes minutes: what it would make stands in its place.
        words = without(words, "--warm-start")
        if "--model" not in words:
            words = [*words, "--model", str(self.tiny)]
        words = [re.sub(r"model:(runs/\w+)", lambda m: f"model:{self._given(m[1], 'game')}", word) for word in words]
        return [*words, *SHORT_TRAIN, "--output-dir", self._free("run")]

    def _offline(self, words: list[str]) -> list[str]:
        """Of stored episodes: what is written goes into a new folder, and training is cut short."""
        if words[1] == "loop":
            short = ["--model", str(self.tiny), *SHORT_TRAIN, "--rounds", "1"]
            return [*words, *short, "--output-dir", self._free("loop")]
        if words[1] == "sft":
            words = [self._given(word, "logged" if word.startswith("runs/") else "curated") for word in words]
            return [*words, *SHORT_TRAIN, "--output-dir", self._free("imitated")]
        kind = "won" if words[1] == "curate" else "curated"
        given = [self._given(word, kind) for word in without(words, "--out")]
        return [*given, "--out", f"{self._free('written')}/new"]

    def _study(self, words: list[str]) -> list[str]:
        if words[2] in ("run", "tune"):
            for flag in ONLY_OF_RUNS:
                words = without(words, flag)
            return ["sdar", "study", "show", self._free("study"), *words[4:]]
        if words[2] == "merge":  # into a folder of its own, from the others
            return [*words[:3], self._free("study"), *(self._given(word, "study") for word in words[4:])]
        if words[2] == "show":
            return [*words[:3], self._free("study"), *words[4:]]
        return [self._given(word, "study") for word in words]

    def _free(self, kind: str) -> str:
        number = len(list(self.folder.glob(f"{kind}-*")))
        place = self.folder / f"{kind}-{number}"
        place.mkdir()
        return str(place)

    def _given(self, word: str, kind: str) -> str:
        """What stands for a run or a study of the reader's."""
        if not re.fullmatch(r"(runs|studies|curated)/\S+", word):
            return word
        # Players of a game are told apart by their folders; else one run stands for all.
        key = f"game {word}" if kind == "game" else kind
        if key not in self._made:
            self._made[key] = self._make(kind)
        return str(self._made[key])

    def _make(self, kind: str) -> Path:
        place = Path(self._free("given"))
        if kind == "study":
            done = main(["study", "merge", str(place), str(self.folder / "household.jsonl.gz")])
        elif kind == "won":  # of a world that a random model wins often
            make_trainer(place, method="grpo", log_tokens="all").train()
            return place / "run"
        elif kind == "curated":
            place = place / "new"
            done = main(["curate", str(self._given("runs/house", "logged")), "--out", str(place)])
        else:
            run = ["--set", "env_kwargs.size=small", "log_privileged=true"]
            more = {
                "run": run,
                "logged": ["--method", "grpo", "--log-tokens", "all"],
                "game": ["--game", "sdar/haggle-v0"],
                "lora": ["--lora"],
            }
            words = ["train", *more[kind], "--model", str(self.tiny), *SHORT_TRAIN]
            done = main([*words, "--output-dir", str(place)])
        assert done == 0, f"a {kind} of the reader's could not be made"
        return place


def without(words: list[str], flag: str) -> list[str]:
    """The words without a flag and its values."""
    if flag not in words:
        return words
    start = words.index(flag)
    stop = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
    return words[:start] + words[stop:]
