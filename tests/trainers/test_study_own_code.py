"""Code of a user's own in the current folder: the method of docs/methods.md, a world, a teacher context.

Each command is a process that begins elsewhere than in the repository, and finds the file by the folder alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import save_model

ROOT = Path(__file__).parents[2]
METHOD = "my_methods:endorsed-only"
SMALL = [
    *("--tasks-per-step", "2", "--num-generations", "2", "--num-mini-batches", "1", "--max-steps", "1"),
    *("--max-turns", "2", "--max-completion-length", "6", "--max-prompt-length", "1200", "--teacher-budget", "200"),
    *("--prompt-style", "compact", "--eval-steps", "0", "--eval-episodes", "2", "--test-episodes", "0"),
    *("--device", "cpu", "--no-bf16", "--no-list-actions", "--preset", "none"),
]

WORLD = '''
import gymnasium as gym
from sdar_envs.spaces import FreeText


class Counting(gym.Env):
    """Say the secret word.

    Args:
        word: It.
    """

    observation_space = FreeText(200)
    action_space = FreeText(200)

    def __init__(self, word="seven"):
        self.word = word

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "Which word?", {"answer": self.word}

    def step(self, action):
        return "Which word?", float(self.word in action), self.word in action, False, {"answer": self.word}


gym.register("own/Counting-v0", Counting, max_episode_steps=2)


def context(info):
    return f"The word is {info['answer']}."
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example of the page, a world, and a model on disk."""
    path = tmp_path_factory.mktemp("own")
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```", page[page.index("## Adding a method") :], re.M | re.S)
    assert example is not None
    (path / "my_methods.py").write_text(example[1], encoding="utf-8")
    (path / "my_world.py").write_text(WORLD, encoding="utf-8")
    save_model(path / "model")
    return path


def sdar(folder: Path, *words: str) -> str:
    """What a command says; with -P the folder is not on the path, as with the installed command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "trainers", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_method_of_ones_own_is_shown_by_its_reference(folder: Path) -> None:
    shown = sdar(folder, "methods", METHOD)
    assert "endorsed-only" in shown and "max(x, 0)" in shown


def test_a_method_of_ones_own_trains(folder: Path) -> None:
    sdar(folder, "train", "--model", "model", "--method", METHOD, *SMALL, "--output-dir", "run")
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["method"] in (METHOD, "endorsed-only") and summary["steps"] == 1
    assert f"method: {METHOD}" in (folder / "run" / "config.yaml").read_text()
    line = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["distill/weight"] >= 0.0


def test_a_study_shows_and_runs_a_method_of_ones_own(folder: Path) -> None:
    shown = sdar(folder, "study", "show", "studies/own", "--methods", f"grpo,{METHOD}", "--seeds", "1")
    assert f"endorsed-only: {METHOD}" in shown and "2 runs" in shown
    options = [f"{flag[2:].replace('-', '_')}={value}" for flag, value in zip(SMALL[:-4:2], SMALL[1:-4:2], strict=True)]
    options = [word for word in options if not word.startswith("device")]
    words = ["--methods", METHOD, "--seeds", "1", "--model", "model", "--preset", "none", "--set", *options]
    sdar(folder, "study", "run", "studies/own", *words, "list_actions=false", "test_episodes=2", "eval_steps=1")
    results = [json.loads(path.read_text()) for path in (folder / "studies" / "own").glob("jobs/*/result.json")]
    assert [(result["arm"], result["method"]) for result in results] == [("endorsed-only", METHOD)]


def test_a_world_and_a_teacher_context_of_ones_own(folder: Path) -> None:
    own = ["--env", "my_world:own/Counting-v0", "--teacher-context", "my_world:context"]
    assert "word" in sdar(folder, "envs", "--env", own[1])
    sdar(folder, "train", "--model", "model", *own, *SMALL, "--output-dir", "taught")
    assert json.loads((folder / "taught" / "run.json").read_text())["teacher_context"] == "my_world:context"
    shown = sdar(folder, "inspect", *own, "--model", "chatml", "--turns", "1")
    student, _, teacher = shown.partition("TEACHER")
    assert "The word is seven." in teacher and "The word is" not in student
    # A run directory remembers its own.
    assert "The word is seven." in sdar(folder, "inspect", "--model", "taught", "--turns", "1", "--env", own[1])
    played = sdar(folder, "eval", "taught", "--privileged", "--episodes", "2", "--json", "-")
    assert set(json.loads(played[played.index("{") :])["results"]) == {"taught", "taught (hinted)"}


def test_what_is_not_there_is_one_line(folder: Path) -> None:
    for words in (
        ["methods", "my_method:endorsed-only"],
        ["methods", "my_methods:endorsed"],
        ["train", "--method", "my_methods:nothing"],
        ["train", "--teacher-context", "my_world:contex", "--output-dir", "none"],
        ["study", "show", "x", "--methods", "grpo,my_methods:nothing"],
        ["envs", "--env", "no_world:own/Counting-v0"],
    ):
        with pytest.raises(AssertionError) as failed:
            sdar(folder, *words)
        said = str(failed.value).split("\nassert")[0].strip()
        assert said.startswith("sdar ") and "Traceback" not in said and said.count("\n") == 0, said
