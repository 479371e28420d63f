"""A run of seconds on any text environment, for drills: a tiny model with random weights, in a process of its own.

Processes are forked from this one, which has everything imported and one thread, so that a run costs its own seconds
and not those of imports; `start_anew` takes a whole new interpreter instead. What a run writes to the terminal goes
into a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rollout.collect import collect
from ..rollout.environments import EnvironmentSource
from ..rollout.making import Environment
from ..rollout.opening import open_batch_env
from ..rollout.running import TaskDraw
from .drawn_agent import DrawnAgent
from .own_process import write_order

STEPS = 3
OUTPUT = "output.txt"
PATIENCE = 300.0  # seconds for a run
_OPTIONS: dict[str, Any] = {
    "max_steps": STEPS,
    "tasks_per_step": 2,
    "num_generations": 2,
    "num_mini_batches": 1,
    "max_turns": 3,
    "max_completion_length": 8,
    "max_prompt_length": 1800,
    "teacher_budget": 400,
    "learning_rate": 1e-2,
    "eval_steps": 2,
    "eval_episodes": 2,
    "test_episodes": 0,
    "save_steps": 1,
    "save_total_limit": 3,
    "prompt_style": "compact",
    "context": "transcript",
    "list_actions": False,
    "device": "cpu",
    "bf16": False,
}


@dataclass(frozen=True, slots=True)
class DrillSubject:
    """What a drill is done to.

    Attributes:
        env_id: The environment.
        env_kwargs: Its keyword arguments.
        workers: Worker processes of its environments; None for the default.
    """

    env_id: str | Callable[..., Environment]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.source(0).name

    def source(self, workers: int | None = None) -> EnvironmentSource:
        """The environment; whoever takes it closes it."""
        return EnvironmentSource(
            self.env_id, dict(self.env_kwargs), workers=self.workers if workers is None else workers
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit status, negative for a signal; None where it had to be given up."""

    status: int | None
    seconds: float


class SmallRun:
    """Runs of one configuration, each in a folder of its own.

    Args:
        subject: The environment.
        place: A folder for runs, and for the model.
        model: A folder that has one already.
        options: Changes to the configuration.
    """

    def __init__(self, subject: DrillSubject, place: Path, model: Path | None = None, **options: Any) -> None:
        self.subject, self.place = subject, place
        self.model = place / "model" if model is None else model
        source = subject.source()
        try:
            self.has_privileged = source.has_privileged
            if model is None:
                _save_model(self.model, _texts_of(source))
        finally:
            source.close()
        method = "sdar" if self.has_privileged else "grpo"
        kwargs = dict(subject.env_kwargs)
        own = {} if subject.workers is None else {"env_workers": subject.workers}
        self.options = {**_OPTIONS, "method": method, "env_kwargs": kwargs, **own, **options}

    def start(self, name: str, first: Callable[[], object] = lambda: None) -> int:
        """Start a run, or go on with it, in the folder `name`; its process id.

        Args:
            name: Of the folder.
            first: Called in the run's process before it begins.
        """
        folder = self._folder(name)

        def train() -> None:
            first()
            self._train(folder)

        return forked(train, folder / OUTPUT)

    def start_anew(self, name: str, die_before: int | None = None) -> int:
        """The same in a whole new interpreter.

        Args:
            name: Of the folder.
            die_before: The number of the operation on files before which it kills itself.

        Raises:
            CannotSendError: The environment is made by something that another process cannot import.
        """
        folder = self._folder(name)
        order = folder / "order.json"
        write_order(
            order,
            model=self.model,
            output=folder / "run",
            env_id=self.subject.env_id,
            options=self.options,
            die_before=die_before,
        )
        return spawned(["-m", "trainers.drills.own_process", str(order)], folder / OUTPUT)

    def warm_up(self) -> None:
        """Do a whole run in this process, so that those forked from it find code imported and worlds built."""
        with _terminal_into(self._folder("warm") / OUTPUT):
            self._train(self.place / "warm")
        shutil.rmtree(self.place / "warm")

    def _folder(self, name: str) -> Path:
        folder = self.place / name
        folder.mkdir(exist_ok=True)
        return folder

    def _train(self, folder: Path) -> None:
        from ..config import SDARConfig
        from ..trainer import SDARTrainer

        config = SDARConfig(**self.options, output_dir=str(folder / "run"))
        SDARTrainer(str(self.model), self.subject.env_id, config).train(resume_from_checkpoint=True)

    def run(self, name: str, first: Callable[[], object] = lambda: None) -> Ended:
        """Run to the end."""
        return wait(self.start(name, first))

    def said(self, name: str) -> str:
        """What a run wrote to the terminal, from its end."""
        return (self.place / name / OUTPUT).read_text(encoding="utf-8", errors="replace")[-2000:]

    def outcome(self, name: str) -> dict[str, Any]:
        """The tensor files of a run's last checkpoint, and the lines of its logs without what a clock says."""
        run = self.place / name / "run"
        last = run / "checkpoints" / f"step-{STEPS:08d}"
        found: dict[str, Any] = {path.name: path.read_bytes() for path in sorted(last.glob("*.safetensors"))}
        for log in ("metrics", "episodes"):
            lines = [json.loads(line) for line in (run / f"{log}.jsonl").read_text(encoding="utf-8").splitlines()]
            found[log] = [
                {key: v for key, v in line.items() if not key.startswith("seconds") and key != "run"} for line in lines
            ]
        return found


def environment() -> dict[str, str]:
    """The environment variables of an interpreter that finds what this one finds, with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def forked(act: Callable[[], object], output: Path) -> int:
    """Fork a process that does `act`, with both streams into a file; its id. An error is its status 1."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def spawned(words: Sequence[str], output: Path) -> int:
    """Start a whole new interpreter with some words, and both streams into a file; its id."""
    appended = (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *words],
        environment(),
        file_actions=[appended, (os.POSIX_SPAWN_DUP2, 1, 2)],
    )


@contextlib.contextmanager
def _terminal_into(output: Path) -> Iterator[None]:
    """Both streams of this process go into a file, libraries' too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for number in (1, 2):
            os.dup2(descriptor, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(descriptor)


def wait(child: int, seconds: float = PATIENCE) -> Ended:
    """Wait for a process; one that takes longer is killed."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return Ended(os.waitstatus_to_exitcode(status), time.monotonic() - began)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Ended(None, time.monotonic() - began)


def _texts_of(source: EnvironmentSource) -> list[str]:
    """Observations and actions of a few episodes, for a tokenizer."""
    tasks = source.task_ids("train")
    draws = [TaskDraw(tasks[number], ("texts", number)) for number in range(min(6, len(tasks)))]
    batch_env = open_batch_env(source, "train", len(draws))
    try:
        rollouts = collect(DrawnAgent(), batch_env, draws, max_turns=5)
    finally:
        batch_env.close()
    turns = [turn for rollout in rollouts for turn in rollout.episode.turns]
    texts = [text for turn in turns for text in (turn.view.observation, turn.view.instruction, turn.action.text)]
    return list(dict.fromkeys(text for text in texts if text)) or ["look"]


def _save_model(folder: Path, texts: list[str]) -> None:
    import torch

    from ..engine.single import quiet_transformers
    from ..warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer, save_model

    torch.set_num_threads(1)
    tokenizer = build_tokenizer(texts, 400)
    config = TinyModelConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096
    )
    with quiet_transformers():
        save_model(build_model(tokenizer, config, seed=0), tokenizer, folder, seed=0)
