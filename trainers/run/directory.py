"""The run directory: one folder with everything that is needed to understand a run.

`config.yaml`, `run.json`, `versions.json`, `metrics.jsonl`, `episodes.jsonl`, `checkpoints/`, `panels/` (evaluation
sets), `summary.json`, and `warm_start.json` where the initial model had a warm start. Privileged text is written only
with ``log_privileged``, and only into a file of its own. A directory that another process uses, or that holds another
configuration, is refused with the reason. Not here: what the metrics mean.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from sdar_envs.bounded_files import bounded_lines, load_json, parse_json
from sdar_envs.files import free_space, write_file

from ..options import Options

EPISODE_SCHEMA = "sdar/episode/1"
# What a run writes in its folder; of the folders among them, their files too.
_WRITTEN = (
    *(".lock", "run.json", "config.yaml", "versions.json", "warm_start.json", "summary.json"),
    *("metrics.jsonl", "episodes.jsonl", "privileged.jsonl", "checkpoints", "panels"),
)
_PACKAGES = ("sdar-gym", "torch", "transformers", "gymnasium", "numpy", "textworld")


class RunDirectoryError(RuntimeError):
    """The directory cannot be used for this run; the message says why and what to do."""


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one that says what could not be written, and how much room is left.

    Raises:
        RunDirectoryError: The file system refused.
    """
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: could not be written: {error.strerror or error}; {free_space(path)}. Make room and resume: the "
            "run goes on from its last checkpoint"
        ) from error


class JsonLines:
    """An append-only file of one JSON object per line, whose length is known, so that a resume can cut it back.

    Args:
        path: The file; made when first written.
        private: Whether it is for its owner alone to read and write.

    All calls that write raise `RunDirectoryError` where the file system refuses.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self.path = path
        self.private = private
        self._file: IO[bytes] | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_plain)
        with _written(self.path):
            self._open().write(line.encode("utf-8", "replace") + b"\n")

    def flush(self, *, sync: bool = False) -> int:
        """Write buffers to the operating system (and with `sync` to the disk); returns the length in bytes."""
        with _written(self.path):
            file = self._open()
            file.flush()
            if sync:
                os.fsync(file.fileno())
            return file.tell()

    def misfit(self, length: int) -> str:
        """Why the file cannot be cut to `length` bytes and gone on with; nothing where it can.

        It is the file's present content that counts: buffers should be flushed.
        """
        held = self.path.stat().st_size if self.path.is_file() else 0
        if held < length:
            return f"{self.path}: expected at least {length:,} bytes, got {held:,}: it was changed after the checkpoint"
        if length:
            with self.path.open("rb") as file:
                file.seek(length - 1)
                if file.read(1) != b"\n":
                    return f"{self.path}: no line ends after {length:,} bytes: it was changed after the checkpoint"
        return ""

    def cut(self, length: int) -> None:
        """Shorten the file to `length` bytes.

        Raises:
            RunDirectoryError: The file is shorter, or no line ends there: it is not the one of the checkpoint.
        """
        file = self._open()
        file.flush()
        if reason := self.misfit(length):
            raise RunDirectoryError(reason)
        file.truncate(length)
        file.seek(length)

    def close(self) -> None:
        """Flush and close."""
        file, self._file = self._file, None
        if file is not None:
            with _written(self.path):
                file.close()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            if self.private:  # made with these rights, so that at no moment it has others; one that is there gets them
                self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
                os.fchmod(self._file.fileno(), 0o600)
            else:
                self._file = self.path.open("ab")
        return self._file


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with _written(path):
        write_file(path, json.dumps(content, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and torch as Python's; ``TypeError`` for anything else."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a log record cannot hold {type(value).__name__}")


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """All complete records of a log; a last line that was cut by a crash is left out."""
    records = []
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        for line in bounded_lines(file):
            if line == "\n":
                continue
            try:
                records.append(parse_json(line))
            except ValueError:
                if line.endswith("\n"):
                    raise
    return records


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records of a file of JSON lines with their byte offsets; a last line that a crash cut short is left out.

    Raises:
        RunDirectoryError: A line is no JSON object; the message says where.
    """
    offset = 0
    with path.open("rb") as file:
        for line in bounded_lines(file):
            if line.strip():
                try:
                    record = parse_json(line)
                except ValueError as error:
                    if not line.endswith(b"\n"):
                        return
                    raise RunDirectoryError(f"{path}, byte {offset}: expected a JSON record, got {error}") from None
                if not isinstance(record, dict):
                    raise RunDirectoryError(f"{path}, byte {offset}: expected a JSON object, got a bare value")
                yield offset, record
            offset += len(line)


class RunDirectory:
    """A run's folder, locked while it is open.

    Args:
        path: The folder; made when missing.
        options: The run's configuration.
        resume: Whether an earlier part of the same run may be in it.
        extra: Further keys of the run's identity (model, environment); compared like the configuration.
        trust_remote_code: Whether code that the model brings may run; written into `versions.json` where it may.
        warm_start: What the warm start of the initial model recorded, if it had one: written into a file of its own.

    Attributes:
        written: Whether this process writes it; not so where it follows another (`followed_directory`).

    Raises:
        RunDirectoryError: In use, holding another run, or holding a symbolic link in the place of something that a run
            writes.
    """

    written = True
    metrics: JsonLines
    episodes: JsonLines
    privileged: JsonLines | None

    def __init__(
        self,
        path: str | Path,
        options: Options,
        *,
        resume: bool = False,
        extra: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        warm_start: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        require_folder(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        refuse_links(self.path)
        self._lock = self._take_lock()
        try:
            self._claim(options, resume, dict(extra or {}))
            if trust_remote_code:
                self._note_trust()
            if warm_start is not None:
                _write_json(self.path / "warm_start.json", warm_start)
        except BaseException:
            self._lock.close()
            raise
        self.metrics = JsonLines(self.path / "metrics.jsonl")
        self.episodes = JsonLines(self.path / "episodes.jsonl")
        self.privileged = JsonLines(self.path / "privileged.jsonl", private=True) if options.log_privileged else None

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def logs(self) -> dict[str, JsonLines]:
        """The open logs by name."""
        named = {"metrics": self.metrics, "episodes": self.episodes}
        return named if self.privileged is None else {**named, "privileged": self.privileged}

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json` in one step."""
        _write_json(self.path / "summary.json", summary)

    def disown(self) -> None:
        """Take back what a run that is refused at its start has claimed, so that the folder can be used again.

        A folder that holds an earlier part of the run, or that had evaluation sets before, keeps what it holds.
        """
        if self._begun_here:
            (self.path / "run.json").unlink(missing_ok=True)
            for log in self.logs().values():
                log.cut(0)
            if not self._had_sets:
                shutil.rmtree(self.path / "panels", ignore_errors=True)

    def close(self) -> None:
        """Close the logs and release the lock."""
        with ExitStack() as closing:  # each is closed even where another one raises
            closing.callback(self._lock.close)
            for log in self.logs().values():
                closing.callback(log.close)

    def _take_lock(self) -> IO[str]:
        """Lock the directory for this process; the open file holds the lock and names the process in it."""
        file = (self.path / ".lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RunDirectoryError(
                f"{self.path} is in use by {holder}: wait for it, or choose another output_dir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        return file

    def _claim(self, options: Options, resume: bool, extra: dict[str, Any]) -> None:
        """Write the run's identity, configuration and versions, or check those of an earlier part of the same run."""
        identity = self.path / "run.json"
        self._begun_here, self._had_sets = not identity.exists(), (self.path / "panels").exists()
        mine = {"digest": options.digest(), **extra}
        if identity.exists():
            # What only the held run has (an own teacher context, say) is missing here, and that is another run, too.
            missing = dict.fromkeys(sorted(read_identity(self.path).keys() - mine.keys()))
            require_same_run(self.path, options, {**missing, **extra})
            if not resume:
                raise RunDirectoryError(
                    f"{self.path} holds an earlier part of this run: pass resume_from_checkpoint=True (sdar train "
                    "--resume) to go on with it, or choose another output_dir"
                )
        # Options that do not change what a run computes may differ on a resume, so the configuration is written again.
        options.to_yaml(self.path / "config.yaml")
        if not (self.path / "versions.json").exists() or not identity.exists():
            _write_json(self.path / "versions.json", versions())
        _write_json(identity, mine)

    def _note_trust(self) -> None:
        """Add to the versions that a model's own code was allowed to run, in this part of the run or in an earlier."""
        path = self.path / "versions.json"
        _write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "trust_remote_code": True})


def refuse_links(path: Path) -> None:
    """Refuse a run directory in which a run would write through a symbolic link, to wherever that leads.

    The directory itself may be a link: that is where somebody chose to have it.

    Raises:
        RunDirectoryError: The message names the link and where it leads.
    """
    for name in _WRITTEN:
        place = path / name
        found = [place, *(place.rglob("*") if place.is_dir() and not place.is_symlink() else ())]
        for each in found:
            if each.is_symlink():
                raise RunDirectoryError(
                    f"{each} is a symbolic link (to {os.readlink(each)}), and a run writes to no place outside its "
                    "directory: put the file itself there, or choose another output_dir"
                )


def require_folder(path: Path) -> None:
    """Refuse a place where no run directory can be, without making anything there.

    Raises:
        RunDirectoryError: It or a parent is a file, or nothing may be written there.
    """
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists() or each.is_symlink())
    if not nearest.is_dir():
        raise RunDirectoryError(f"{path}: expected a folder, and {nearest} is a file: choose another output_dir")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunDirectoryError(f"{path}: nothing may be written in {nearest}: choose another output_dir")


def read_identity(path: Path) -> dict[str, Any]:
    """The identity of a directory's run, from `run.json`: digest of the options, model, environment.

    Raises:
        RunDirectoryError: It is damaged.
    """
    try:
        held = load_json(path / "run.json")
    except ValueError as error:
        held = error
    if not isinstance(held, dict):
        raise RunDirectoryError(f"{path / 'run.json'}: expected the identity of a run as JSON, got {held}")
    return held


def require_same_run(path: Path, options: Options, extra: Mapping[str, Any]) -> None:
    """Refuse a directory that holds a run with another configuration, or with another value of a key in `extra`.

    Raises:
        RunDirectoryError: The message names what differs.
    """
    held = read_identity(path)
    different = sorted(key for key, value in extra.items() if held.get(key) != value)
    if held.get("digest") != options.digest():
        different += _changed_options(path, options) or ["the configuration"]
    if different:
        raise RunDirectoryError(
            f"{path} holds another run; it differs in {', '.join(different)}: choose another output_dir"
        )


def _changed_options(path: Path, options: Options) -> list[str]:
    """The options that differ from `config.yaml` and change what a run computes; none where it is not readable."""
    import yaml

    try:
        old = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return []
    new = json.loads(json.dumps(options.to_dict()))
    counted = [option for option in dataclasses.fields(options) if option.metadata.get("maths", True)]
    # A file that was written before there was an option means its default.
    held = {
        each.name: old.get(each.name, each.default if each.metadata.get("omit_at_default") else None)
        for each in counted
    }
    return [f"{key} ({held[key]!r} there, {new[key]!r} here)" for key in held if held[key] != new[key]]


def warm_start_of(model: object) -> dict[str, Any] | None:
    """What the warm start of a model recorded beside it; None for a model object, or one that had no warm start."""
    if not isinstance(model, str | Path):
        return None
    try:
        found = load_json(Path(model) / "warm_start.json")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def versions() -> dict[str, Any]:
    """Python, platform and package versions; None for a package that is not installed."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
