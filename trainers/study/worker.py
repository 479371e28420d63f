"""One job, in a process of its own: ``python -m trainers.study.worker STUDY FOLDER KEY``.

Trains (going on where an earlier process of the same job stopped), writes `result.json`, and removes what only a resume
needs. A lock keeps a second process away; its end by any signal leaves a directory that the next one goes on with.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs.files import replaced_file

from .fixed_opponents import play_opponents
from .plain_json import DamagedFileError, decode, read_json, write_text
from .plan_records import Job, StudyError
from .records import read_result, save_result
from .result_records import Warm
from .software import software

if TYPE_CHECKING:
    from ..config import SDARConfig
    from ..warm_start.stored import WarmStart

LOCKED = 75  # exit status: another process has the job (EX_TEMPFAIL)
WARM_FOLDER = "warm-start"


class JobLocked(RuntimeError):
    """Another process has the job."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system gives it back when the process ends, however it ends.

    Raises:
        JobLocked: Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # any other error is of the file system, and would be waited for without end
            raise JobLocked(f"{path} is held by another process") from None
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock now."""
    if not path.exists():
        return False
    try:
        with locked(path):
            return False
    except JobLocked:
        return True


def run_job(
    study: Path,
    folder: str,
    key: str,
    *,
    cache: Path | None = None,
    keep_checkpoints: bool = False,
    keep_episodes: bool = False,
) -> None:
    """Run a job to its `result.json`; nothing to do where that is there.

    Args:
        study: The study's directory.
        folder: ``jobs`` or ``trials``.
        key: The job's key.
        cache: Where warm models are kept; None for the study's own folder.
        keep_checkpoints: Keep `checkpoints/` of the run directory when the job is done.
        keep_episodes: Keep every episode's text when the job is done, not only those of `trim_episodes`.

    Raises:
        JobLocked: Another process has the job.
        StudyError: A job that this one takes a value from is not done.
    """
    place = study / folder / key
    with locked(place / ".lock"):
        if (place / "result.json").is_file():
            return
        commits = _note_commit(place / "commits.txt")
        job = decode(Job, read_json(place / "job.json"), str(place / "job.json"))
        options = {**job.config, **_derived(study / folder, job), "output_dir": str(place / "run")}
        model, warm = _model(cache or study, job)
        _train(model, job, options, place / "run", study / folder)
        if job.opponents is not None:
            play_opponents(place / "run", job.env_id, job.opponents)
        from .read_run import harvest

        result = harvest(place / "run", job, warm=warm, key=key)
        result = dataclasses.replace(result, versions={**result.versions, "commit": ", then ".join(commits)})
        save_result(place / "result.json", result)
        # In this order: by the checkpoints' folder `tidy` knows that a kill came between.
        if not keep_episodes:
            trim_episodes(place / "run" / "episodes.jsonl", everything=folder == "trials")
        if not keep_checkpoints:
            shutil.rmtree(place / "run" / "checkpoints", ignore_errors=True)


def _note_commit(path: Path) -> list[str]:
    """The commits of the code that had a part in a job, in order; this one is added."""
    known = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    commit = str(software()["commit"])
    if commit not in known:
        known.append(commit)
        write_text(path, "".join(f"{line}\n" for line in known))
    return known


def run_warm_start(study: Path, folder: str, key: str, *, cache: Path | None = None) -> None:
    """Make the warm model of a job; nothing to do where it is there.

    Raises:
        WarmStartFailed: Its bands were not reached.
        JobLocked: Another process makes it.
    """
    job = decode(Job, read_json(study / folder / key / "job.json"), str(study / folder / key))
    assert job.warm_key is not None
    with locked(warm_lock(cache or study, job.warm_key)):
        discard_damaged((cache or study) / WARM_FOLDER / job.warm_key)
        _model(cache or study, job)


def discard_damaged(folder: Path) -> None:
    """Remove a warm model whose facts are missing or cut off, as after a power cut: it would stand in the way."""
    try:
        read_json(folder / "warm_start.json")
    except (OSError, DamagedFileError):
        shutil.rmtree(folder, ignore_errors=True)


def warm_lock(cache: Path, key: str) -> Path:
    """The lock of whoever makes a warm model."""
    return cache / WARM_FOLDER / f".{key}.lock"


def _model(cache: Path, job: Job) -> tuple[str, Warm | None]:
    """Where the job's first weights lie, made if need be.

    Raises:
        StudyError: This machine would make others.
        WarmStartFailed: What was to be measured was not.
    """
    if job.warm_key is None:
        assert job.model is not None, "the embedded tiny model knows nothing before its warm start"
        return job.model, None
    from ..config import SDARConfig
    from .jobs import model_fingerprint, warm_key_of

    config = SDARConfig.from_dict(job.warm_config)
    model_key = None if job.model is None else model_fingerprint(job.model)
    key = warm_key_of(model_key, config, job.env_id, job.warm_start)
    if key != job.warm_key:
        differing = "" if job.model is None else f"the model {job.model} is another, or "
        raise StudyError(
            f"warm start {job.warm_key}: this machine makes {key} instead, as {differing}torch, transformers, "
            "tokenizers or the world are of another version: use the versions that the study was planned with "
            "(study.json)"
        )
    made = _tiny(config, job, cache) if job.model is None else _pretrained(config, job.model, job, cache)
    return str(made.model_dir), Warm(key, made.student_success, made.teacher_success, made.steps)


def _tiny(config: SDARConfig, job: Job, cache: Path) -> WarmStart:
    from ..warm_start.warm_start import warm_start, warm_start_config

    options = warm_start_config(job.warm_start, "warm_start")
    return warm_start(config, job.env_id, config=options, cache_dir=cache, report=_say)


def _pretrained(config: SDARConfig, model: str, job: Job, cache: Path) -> WarmStart:
    """The warm form of a pretrained model; weights are loaded only where it is still to be made."""
    from ..engine.single import load_model
    from ..presets import model_family
    from ..warm_start.pretrained_start import pretrained_start, pretrained_start_config
    from ..warm_start.stored import stored

    kept = stored(cache / WARM_FOLDER / str(job.warm_key))
    if kept is not None:
        return kept
    loaded, tokenizer = load_model(model)
    made, _ = pretrained_start(
        config,
        job.env_id,
        loaded,
        tokenizer,
        family=model_family(model),
        config=pretrained_start_config(job.warm_start, "warm_start"),
        cache_dir=cache,
        key=job.warm_key,
        report=_say,
    )
    return made


def _derived(folder: Path, job: Job) -> dict[str, float]:
    values = {}
    for option, derived in job.arm.derived.items():
        path = folder / job.depends[derived.arm] / "result.json"
        if not path.is_file():
            raise StudyError(f"{job.arm.key} takes {option} from {derived.arm}, whose result is not there: {path}")
        means = read_result(path).means
        if derived.figure not in means:
            raise StudyError(
                f"{job.arm.key} takes {option} from {derived.figure!r} of {derived.arm}, which logged "
                f"{', '.join(sorted(means))}"
            )
        values[option] = means[derived.figure]
    return values


def require_same_start(folder: Path, job: Job, initial_weights: str) -> None:
    """Before anything is trained, refuse other first weights than those that finished jobs of the seed began with.

    Raises:
        StudyError: The message says which job, and what to do.
    """
    for path in sorted(folder.glob("[!.]*/result.json")):
        other = read_json(path)
        same = other["seed"] == job.seed and (other["warm"] or {}).get("key") == job.warm_key
        if same and other["initial_weights"] != initial_weights:
            raise StudyError(
                f"seed {job.seed}: {other['arm']} is finished and began with other weights than {job.arm.key} would; "
                f"warm start {job.warm_key} was made on another machine. Bring its folder {WARM_FOLDER}/{job.warm_key} "
                "here (sdar study export carries those of half-done seeds), or finish the seed there"
            )


def _train(model: str, job: Job, options: dict[str, Any], run: Path, folder: Path) -> None:
    from ..config import SDARConfig
    from ..engine.checkpoint import CheckpointError
    from ..run.directory import RunDirectoryError
    from ..trainer import SDARTrainer

    config = SDARConfig.from_dict(options)

    def trainer() -> SDARTrainer:
        made = SDARTrainer(model=model, env_id=job.env_id, args=config)
        require_same_start(folder, job, made.initial_weights)
        return made

    if not (run / "run.json").is_file():
        shutil.rmtree(run, ignore_errors=True)  # interrupted while it was being made
        trainer().train()
        return
    try:
        trainer().train(resume_from_checkpoint=True)
    except (RunDirectoryError, CheckpointError) as error:
        # Draws are counted, so a run that is begun again comes to the same result as one that went on.
        _say(f"the earlier part cannot be used ({error}); beginning again")
        shutil.rmtree(run)
        trainer().train()


def trim_episodes(path: Path, *, everything: bool = False) -> None:
    """Keep of `episodes.jsonl` what a reader looks at: episodes with tokens, and the test set.

    A run of 60 iterations logs some 30 MB of episodes, most of them without token arrays; all that is counted from them
    is in the result by now. With `everything`, the file goes.
    """
    if everything:
        path.unlink(missing_ok=True)
        return
    with (
        replaced_file(path) as partial,
        path.open(encoding="utf-8") as source,
        partial.open("w", encoding="utf-8") as kept,
    ):
        # Text of episodes cannot fake the mark: quotes inside JSON strings are escaped.
        kept.writelines(line for line in source if '"phase":"test' in line or '"tokens":{' in line)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    """Ask Linux to send SIGTERM when the runner ends: a job then saves its iteration and ends too."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    except (OSError, AttributeError):
        return  # elsewhere the job is finished, and the next runner finds its result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; exit status 75 means that another process has it."""
    parser = argparse.ArgumentParser(prog="python -m trainers.study.worker", description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", choices=("jobs", "trials"))
    parser.add_argument("key")
    parser.add_argument("--warm-start", action="store_true", help="only make its warm model")
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--keep-checkpoints", action="store_true")
    parser.add_argument("--keep-episodes", action="store_true")
    options = parser.parse_args(arguments)
    _end_with_parent()
    import torch

    torch.set_num_threads(1)
    try:
        if options.warm_start:
            run_warm_start(options.study, options.folder, options.key, cache=options.cache_dir)
        else:
            run_job(
                options.study,
                options.folder,
                options.key,
                cache=options.cache_dir,
                keep_checkpoints=options.keep_checkpoints,
                keep_episodes=options.keep_episodes,
            )
    except JobLocked as error:
        _say(str(error))
        return LOCKED
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
