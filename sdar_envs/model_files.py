"""Models, tokenizers and encoders from disk or from the Hub: the one place that loads any of them.

Nothing in a model's folder is executed: no code that it brings (``trust_remote_code`` is False everywhere, since None
makes transformers *ask*), and no pickled parameters (safetensors only). Whoever trusts a model's own code says so with
`trust_remote_code`. Heavy packages are imported inside the functions.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bounded_files import load_json
from .packaged_models import packaged_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Seconds that the Hub is given to say whether it has a model; it is asked once.
HUB_TIMEOUT_S = 10.0
_ON_THE_HUB: set[str] = set()  # names that the Hub has said it has: it is asked once


class ModelFilesError(ValueError):
    """A model cannot be loaded from what was named; the message says what was expected there and what to do."""


def locate(name: str | os.PathLike[str]) -> str:
    """Where a model is to be loaded from: a folder here, or the name of a model in the cache or on the Hub.

    A path is looked for first, then the name of a packaged model (`packaged_models`), which stands for the folder that
    `sdar models get` has made. A name of the form ``owner/name`` is then looked for in the cache, and then asked of the
    Hub, once and without retries. What can only be a path is never sent anywhere: a name that begins with ``.``, ``/``,
    ``~`` or ``runs/``, or whose first part is a folder here.

    Raises:
        ModelFilesError: There is nothing of that name; the message has both readings of it.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.is_dir():
        return str(path)
    if path.exists():
        raise ModelFilesError(f"expected the folder of a model, got the file {text}")
    if (packaged := packaged_model(text)) is not None:
        if packaged.is_here:
            return str(packaged.folder)
        raise ModelFilesError(
            f"{text} ({packaged.summary}) is not in the cache: `sdar models get {text}` downloads {packaged.megabytes} "
            f"MB and keeps it under {packaged.folder.parent}"
        )
    if _reads_as_path(text):
        raise ModelFilesError(
            f"there is no folder {text}: expected the folder of a model, or a name such as owner/name"
        )
    if _in_cache(text):
        return text
    reason = _absent_from_hub(text)
    if reason is not None:
        raise ModelFilesError(
            f"{text!r} was read as a folder, and there is none here, and as the name of a model on the Hub: {reason}. "
            "Expected a folder with a model, or a name of one that is in the cache or can be downloaded"
        )
    return text


def _reads_as_path(text: str) -> bool:
    first = text.partition("/")[0]
    if text.startswith((".", "/", "~", "runs/")) or not _HUB_NAME.fullmatch(text):
        return True
    return "/" in text and Path(first).is_dir()


def _in_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _absent_from_hub(name: str) -> str | None:
    """Why a model cannot be had from the Hub; None when it can."""
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "it is not in the cache, and the Hub is switched off (HF_HUB_OFFLINE)"
    if name in _ON_THE_HUB:
        return None
    try:
        huggingface_hub.model_info(name, timeout=HUB_TIMEOUT_S)
    except huggingface_hub.errors.RepositoryNotFoundError:
        return "it is not in the cache, and the Hub has none of that name that it would show you"
    except Exception as error:  # whatever the client's network library raises
        return f"it is not in the cache, and the Hub cannot be reached ({type(error).__name__})"
    _ON_THE_HUB.add(name)
    return None


def load_tokenizer(name: str | os.PathLike[str], *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """A tokenizer.

    Args:
        name: A folder, or a model's name.
        trust_remote_code: Whether code that the model brings may run.

    Raises:
        ModelFilesError: There is no such model, or its tokenizer is code of its own.
    """
    from transformers import AutoTokenizer

    where = locate(name)
    if not trust_remote_code:
        _refuse_own_code(where)
    with _one_clear_line(where):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
    return tokenizer


def load_causal_lm(name: str | os.PathLike[str], *, trust_remote_code: bool = False, **options: Any) -> Any:
    """A causal language model of transformers.

    Args:
        name: A folder, or a model's name.
        trust_remote_code: Whether code that the model brings may run.
        options: Passed to ``from_pretrained``, e.g. ``dtype``.

    Raises:
        ModelFilesError: There is no such model, it is code of its own, or its parameters are not in safetensors files.
    """
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM.from_pretrained, name, trust_remote_code, options)


def load_encoder(name: str | os.PathLike[str], *, trust_remote_code: bool = False, **options: Any) -> Any:
    """An encoder of transformers; arguments and errors as `load_causal_lm`.

    Raises:
        ModelFilesError: As there.
    """
    from transformers import AutoModel

    return _load(AutoModel.from_pretrained, name, trust_remote_code, options)


def load_gguf(file: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer from a GGUF file, dequantised to float32; needs the package `gguf`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(file.parent), **where)
    return AutoModelForCausalLM.from_pretrained(str(file.parent), dtype="float32", **where), tokenizer


def _load(
    from_pretrained: Callable[..., Any], name: str | os.PathLike[str], trust: bool, options: dict[str, Any]
) -> Any:
    where = check_files(name, trust_remote_code=trust)
    with _one_clear_line(where):
        return from_pretrained(where, trust_remote_code=trust, use_safetensors=True, **options)


def check_files(name: str | os.PathLike[str], *, trust_remote_code: bool = False) -> str:
    """Where a model is to be loaded from, once a folder of it is known to hold a configuration and safetensors.

    Args:
        name: A folder, or a model's name.
        trust_remote_code: Whether code that the model brings may run.

    Raises:
        ModelFilesError: It does not, its architecture is code of its own, or there is no such model (`locate`).
    """
    where = locate(name)
    base = adapter_base(where)
    if base is not None:
        try:
            check_files(base, trust_remote_code=trust_remote_code)
        except ModelFilesError as error:
            raise ModelFilesError(f"{where} holds adapters, and their base model cannot be had: {error}") from None
        return where
    folder = Path(where)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelFilesError(f"{where}: expected the folder of a model, with config.json in it")
        if not any(folder.glob("*.safetensors")):
            pickled = sorted(path.name for path in folder.glob("*.bin"))
            raise ModelFilesError(
                f"{where}: expected parameters as safetensors, got {', '.join(pickled) or 'none'}; pickled files can "
                "run code when they are read and are not opened: convert them with save_pretrained elsewhere"
            )
    if not trust_remote_code:
        _refuse_own_code(where)
    return where


def _refuse_own_code(where: str) -> None:
    """Refuse a folder whose architecture is code in the folder, before transformers reads it and warns of it.

    A folder that names code beside an architecture that transformers has is fine: its code is left alone.

    Raises:
        ModelFilesError: The message names what the code stands for.
    """
    config: Any = None
    with contextlib.suppress(OSError, ValueError):
        config = load_json(Path(where) / "config.json")
    if isinstance(config, dict) and config.get("auto_map"):
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if config.get("model_type") not in CONFIG_MAPPING:
            raise _brings_own_code(where)


def _brings_own_code(where: str) -> ModelFilesError:
    return ModelFilesError(
        f"{where} brings code of its own ({_own_code(where)}), which is not run: expected a model of an "
        "architecture that transformers has. --trust-remote-code runs it, with all that it may do"
    )


def adapter_base(name: str | os.PathLike[str]) -> str | None:
    """The base model of a folder of adapters, as peft writes them; None for anything else.

    Raises:
        ModelFilesError: The folder holds adapters and does not say of what model.
    """
    path = Path(name).expanduser() / "adapter_config.json"
    if not path.is_file() or path.with_name("config.json").is_file():
        return None
    try:
        base = load_json(path)["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ModelFilesError(f"{path}: expected the name or folder of a model under base_model_name_or_path")
    return base


def config_of(name: str | os.PathLike[str]) -> dict[str, Any] | None:
    """A model's configuration, as its folder or the cache has it; None where there is none that can be read."""
    name = adapter_base(name) or name
    packaged = packaged_model(os.fspath(name))
    name = name if packaged is None else packaged.folder
    path: Any = Path(name).expanduser() / "config.json"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(os.fspath(name), "config.json") if _HUB_NAME.fullmatch(os.fspath(name)) else None
        if not isinstance(path, str):
            return None
    try:
        config = load_json(path)
    except (OSError, ValueError):
        return None  # whoever loads it says what is wrong with it
    return config if isinstance(config, dict) else None


def positions_of(name: str | os.PathLike[str]) -> int | None:
    """How many positions a model has, from its configuration on disk; None where that does not say so."""
    config = config_of(name) or {}
    inner = config.get("text_config")
    found = (inner if isinstance(inner, dict) else config).get("max_position_embeddings")
    return found if isinstance(found, int) else None


@contextlib.contextmanager
def _one_clear_line(where: str) -> Iterator[None]:
    """Turn transformers' advice to run a model's code, and its long lists of files, into one line of ours."""
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            raise _brings_own_code(where) from None
        if isinstance(error, OSError):
            raise ModelFilesError(f"{where}: not a model that can be loaded: {text.splitlines()[0]}") from None
        raise


def _own_code(where: str) -> str:
    """What the configuration names as code, for a message."""
    names: set[str] = set()
    for file in ("config.json", "tokenizer_config.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = load_json(Path(where) / file)
            names |= {f"{file}: {key}" for key in content.get("auto_map") or {}}
    return ", ".join(sorted(names)) or "auto_map"
