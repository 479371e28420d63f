"""The policies that a run reads besides the live one, each held as cheaply as the run allows.

=========  ==========================================================================================
teacher    what is held
=========  ==========================================================================================
current    nothing: the live module, before the iteration's updates
initial    nothing with adapters (the live module with these off); else the copy that is the reference
ema        one float32 value per parameter that learns: all of them, or the adapters alone
a folder   adapters of the same base model and shape: their values; else a model of its own
=========  ==========================================================================================
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from sdar_envs.model_files import ModelFilesError, adapter_base, check_files

from ..forward.root import PolicyModel
from ..forward.weights import PolicyWeights
from ..methods.method import TEACHER_WEIGHTS
from .adapters import AdapterError, adapted_layers, adapter_state, adapters_off, read_tensors, require_alike
from .base import Engine
from .checkpoint import CheckpointStore
from .held_weights import AveragedWeights, HeldWeights
from .single import load_model
from .updater import Updater


class TeacherError(ValueError):
    """The model that was named as the teacher cannot read what the student wrote; the message says why."""


def initial_policy(root: PolicyModel, engine: Engine) -> PolicyWeights:
    """The policy as it is before the first update: the reference.

    With adapters, the same module with these off, which holds nothing a second time; else a frozen copy.
    """
    if adapted_layers(root.language_model):
        return PolicyWeights(root, partial(adapters_off, root.language_model))
    return PolicyWeights(engine.frozen(root))


def averaged_policy(updater: Updater, decay: float) -> PolicyWeights:
    """The moving average of what learns, which the updater carries on after each of its iterations."""
    average = AveragedWeights(dict(updater.masters.named), updater.masters.named_masters(), decay)
    updater.average = average
    return PolicyWeights(updater.root, average.scope)


def stored_policy(place: str, root: PolicyModel, engine: Engine, tokenizer: Any, *, trust: bool) -> PolicyWeights:
    """A teacher from a model's folder or name, a folder of adapters, a run directory or a checkpoint of one.

    Args:
        place: Where it is.
        root: The live policy.
        engine: Prepares a model of its own.
        tokenizer: The student's; the teacher must read the same ids.
        trust: Whether code that the model brings may run.

    Raises:
        TeacherError: Its token ids mean other tokens, or it has fewer positions or another vocabulary than the student.
        ValueError: There is no such model (`model_files`), or no checkpoint in a run directory.
    """
    folder = _checkpoint_of(place)
    own = dict(root.language_model.named_parameters())
    held = _held_adapters(folder, root, own)
    if held is not None:
        return PolicyWeights(root, held.scope)
    require_files(place, folder)
    model, its_tokenizer = load_model(folder, trust_remote_code=trust)
    if its_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise TeacherError(f"teacher_weights={place}: expected a model with the student's tokenizer, got another one")
    mine, its = root.language_model, model
    for name, sizes in (
        ("vocabulary", [each.get_output_embeddings().weight.shape[0] for each in (mine, its)]),
        ("positions", [getattr(each.config.get_text_config(), "max_position_embeddings", 0) for each in (mine, its)]),
    ):
        if sizes[1] != sizes[0] if name == "vocabulary" else sizes[1] < sizes[0]:
            raise TeacherError(
                f"teacher_weights={place}: expected the student's {name} ({sizes[0]}), got {sizes[1]}: "
                "take a model of the same family"
            )
    return PolicyWeights(engine.reader(model))


def require_files(place: str, folder: str | None = None) -> None:
    """Refuse what is neither a word for the teacher's parameters nor a model of which there are files.

    Args:
        place: As it was written.
        folder: Where that leads; None finds out.

    Raises:
        TeacherError: The message has the words, and what is wrong with the model.
    """
    try:
        check_files(_checkpoint_of(place) if folder is None else folder)
    except ModelFilesError as error:
        words = ", ".join(TEACHER_WEIGHTS)
        raise TeacherError(f"teacher_weights={place}: expected {words}, or a model or run; {error}") from None


def _checkpoint_of(place: str) -> str:
    """The newest checkpoint where `place` is a run directory, else `place` itself."""
    folder = Path(place).expanduser()
    if not (folder / "run.json").is_file():
        return place
    newest = CheckpointStore(folder / "checkpoints").newest()
    if newest is None:
        raise TeacherError(f"teacher_weights={place}: the run has no checkpoint yet")
    return str(newest.path)


def _held_adapters(folder: str, root: PolicyModel, own: dict[str, Any]) -> HeldWeights | None:
    """The values of saved adapters, where they fit those of the student on the same base model."""
    from .adapters import same_base

    if adapter_base(folder) is None or not adapted_layers(root.language_model):
        return None
    names = {peft_name: name for name in own for peft_name in adapter_state({name: own[name]})}
    tensors = read_tensors(folder)
    try:
        require_alike({peft_name: own[name] for peft_name, name in names.items()}, tensors, folder)
    except AdapterError:
        return None
    if not same_base(root.language_model, folder):
        return None
    parameters = {name: own[name] for name in names.values()}
    return HeldWeights(parameters, {name: tensors[peft_name] for peft_name, name in names.items()})
