"""Checkpoints: a Hugging Face model directory plus training state, complete or absent, never half.

A checkpoint is written under a temporary name, flushed to disk, given a manifest with the size and SHA-256 of every
file, and renamed. There is no "latest" file: the newest directory that *verifies* is used, and one that does not is
reported with the reason and skipped. Tensors are safetensors and everything else is JSON; nothing is unpickled. Not
here: what a trainer does with the state (`run.run_state`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs.bounded_files import load_json
from sdar_envs.files import free_space

from .optimizers import eight_bit_parts, is_eight_bit, load_eight_bit_part

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "training_state.json"
OPTIMIZER = "optimizer.safetensors"
LONGEST_STATE = 1 << 28  # bytes of training state
_NAME = re.compile(r"step-(\d{8})")


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or belongs to another run."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint on disk."""

    path: Path
    step: int

    def state(self) -> dict[str, Any]:
        """The training state, plain JSON values."""
        return read_state(self.path / STATE)


class CheckpointStore:
    """The checkpoints of one run directory.

    Args:
        folder: The folder of the checkpoints; made when first needed.
        keep: How many of the newest checkpoints are kept; None keeps all. Others are removed only after a new one is
            complete.
    """

    def __init__(self, folder: str | Path, *, keep: int | None = 3) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, write_model: Callable[[Path], object], state: Mapping[str, Any], **tensors: Any) -> Path:
        """Write the checkpoint of `step`, or leave everything as it was.

        Args:
            step: Iterations done.
            write_model: Writes the model's files into a directory.
            state: JSON values.
            tensors: ``name={key: tensor}``: each becomes ``name.safetensors``.

        Raises:
            CheckpointError: It could not be written, for whatever reason; the message says what, where and how much
                space is left. Nothing of it is left on the disk.
        """
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".tmp-step-{step:08d}"
        try:
            # Everything under the temporary name, the manifest last.
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            temporary.mkdir()
            write_model(temporary)
            for name, values in tensors.items():
                _save_tensors(values, temporary / f"{name}.safetensors")
            (temporary / STATE).write_text(state_text({**state, "step": step}), encoding="utf-8")
            _write_manifest(temporary)
            # Renamed in one step, and the folder flushed, so that the checkpoint is complete or absent.
            if final.exists():  # the same step again: an earlier one that did not verify, or a rerun
                final.rename(self.folder / f".tmp-old-step-{step:08d}")
            temporary.rename(final)
            _sync(self.folder)
        except Exception as error:  # whoever writes a model's files has classes of its own for a full disk
            raise CheckpointError(
                f"checkpoint {final} was not written: {str(error) or type(error).__name__}; {free_space(self.folder)}. "
                "Earlier checkpoints are untouched"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._prune()
        return final

    def paths(self) -> list[Path]:
        """All checkpoint directories, oldest first, verified or not."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def newest(self, unfit: Callable[[Checkpoint], str] = lambda found: "") -> Checkpoint | None:
        """The newest checkpoint that verifies and fits; None when there is no checkpoint at all.

        Args:
            unfit: Says why a checkpoint that verifies cannot be gone on from; nothing where it can.

        Raises:
            CheckpointError: There are checkpoints and none is of use: starting over would lose a run silently.
        """
        paths = self.paths()
        reasons = []
        for path in reversed(paths):
            try:
                found = open_checkpoint(path)
                if reason := unfit(found):
                    raise CheckpointError(f"{path}: {reason}")
                return found
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                reasons.append(str(error))
        if reasons:
            raise CheckpointError("no checkpoint verifies:\n  " + "\n  ".join(reasons))
        return None

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is in this folder."""
        return checkpoint.path.resolve().parent == self.folder.resolve()

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: a run that goes on from `step` makes its own."""
        for path in self.paths():
            if int(_NAME.fullmatch(path.name)[1]) > step:  # type: ignore[index]  # `paths` lists matches
                _remove(path)

    def _prune(self) -> None:
        if self.keep is None:
            return
        for path in self.paths()[: -self.keep]:
            _remove(path)

    def _sweep(self) -> None:
        """Remove what interrupted writes and removals left."""
        for path in self.folder.glob(".tmp-*"):
            shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    # Renamed before it is deleted, so that a half-deleted one is never taken for a checkpoint.
    doomed = path.with_name(f".tmp-del-{path.name}")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Verify every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: Missing, truncated or changed; the message names the file and the reason.
    """
    folder = Path(path)
    try:
        # The manifest's own digest first, then size and digest of every file that it lists.
        manifest = load_json(folder / MANIFEST)
        files = manifest["files"]
        if manifest["digest"] != _digest_of(files):
            raise CheckpointError(f"{folder / MANIFEST}: its own checksum does not match")
        for name, expected in files.items():
            size = (folder / name).stat().st_size
            if size != expected["size"]:
                raise CheckpointError(f"{folder / name}: expected {expected['size']} bytes, got {size}")
            if _sha256(folder / name) != expected["sha256"]:
                raise CheckpointError(f"{folder / name}: the checksum does not match, the content was changed")
        step = load_json(folder / STATE, limit=LONGEST_STATE)["step"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename}: missing, so {folder} is no complete checkpoint") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / MANIFEST}: not readable ({type(error).__name__}: {error})") from None
    return Checkpoint(folder, int(step))


def state_text(state: Mapping[str, Any]) -> str:
    """Training state as JSON that any reader takes; a number that is not finite is written as ``{"float": "nan"}``."""
    return json.dumps(_to_json(state), indent=1, sort_keys=True, allow_nan=False)


def read_state(path: Path) -> dict[str, Any]:
    """What `state_text` wrote."""
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_hook=_from_json)
    return state


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    if hasattr(value, "tolist"):  # numpy's and torch's numbers
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _from_json(value: dict[str, Any]) -> Any:
    number = value.get("float")
    return float(number) if len(value) == 1 and number in ("nan", "inf", "-inf") else value


def _write_manifest(folder: Path) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": _sha256(path)}
        _sync(path)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": files, "digest": _digest_of(files)}, indent=1), encoding="utf-8")
    _sync(manifest)
    _sync(folder)


def _digest_of(files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _save_tensors(values: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in values.items()}, path)


def optimizer_state(
    optimizer: torch.optim.Optimizer, named: Sequence[tuple[str, nn.Parameter]]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state by ``parameter name/key``: tensors, and numbers (a step count may be either).

    Args:
        optimizer: Any optimiser whose per-parameter state holds tensors and numbers.
        named: The parameters it updates, with their names.
    """
    import torch

    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, parameter in named:
        for key, value in optimizer.state.get(parameter, {}).items():
            if is_eight_bit(value):
                tensors |= {f"{name}/{key}.{part}": own for part, own in eight_bit_parts(value).items()}
            elif isinstance(value, torch.Tensor):
                tensors[f"{name}/{key}"] = value
            elif value is not None:
                numbers[f"{name}/{key}"] = value
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer,
    named: Sequence[tuple[str, nn.Parameter]],
    path: str | Path,
    numbers: Mapping[str, Any],
) -> None:
    """Load what `optimizer_state` returned, on each parameter's own device.

    Args:
        optimizer: The optimiser to load into.
        named: The parameters it updates, with their names.
        path: The safetensors file of the tensors.
        numbers: The numbers.

    Raises:
        CheckpointError: The file holds state of a parameter that this optimiser does not update.
    """
    from safetensors.torch import load_file

    from .whole_tensors import cut_like

    parameters = dict(named)
    for full_name, value in [*load_file(path).items(), *numbers.items()]:
        name, key = full_name.rsplit("/", 1)
        if name not in parameters:
            raise CheckpointError(f"{path}: expected state of this model's parameters, got {name}")
        parameter = parameters[name]
        if "." in key:
            moment, part = key.split(".")
            load_eight_bit_part(optimizer, parameter, moment, part, value)
            continue
        # Adam's step counts stay on the CPU unless the optimiser is fused or capturable; moments follow the parameter.
        if hasattr(value, "shape") and value.shape == parameter.shape:
            optimizer.state[parameter][key] = cut_like(value, parameter)
        else:
            follows = hasattr(value, "shape") and optimizer.param_groups[0].get("fused")
            optimizer.state[parameter][key] = value.to(parameter.device) if follows else value
