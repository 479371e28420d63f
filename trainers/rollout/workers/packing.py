"""Plain values as bytes and back, for messages between the trainer and its workers. Nothing is unpickled.

What travels are JSON values and, with a mark, what JSON would lose: tuples, sets, bytes, mappings whose keys are no
text, NumPy arrays and numbers. Equal values give equal bytes, so that a replay can be compared to the byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_MARK = "\x00"  # the key that marks a value of another type; no sane mapping has it
_MAX_DEPTH = 64
_PLAIN_KINDS = "?biufcSUM"  # of NumPy types: no objects, no records


class PackingError(ValueError):
    """A value cannot be sent; the message names its type and where it stands."""


def dumps(value: Any) -> bytes:
    """A value as bytes.

    Raises:
        PackingError: It holds something that cannot be sent, or is nested too deeply.
    """
    return json.dumps(_packed(value, "", 0), ensure_ascii=True, separators=(",", ":")).encode("ascii")


def loads(data: bytes | bytearray) -> Any:
    """The value of bytes that `dumps` made."""
    return _unpacked(json.loads(data))


def digest(data: bytes) -> str:
    """A short name of bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _packed(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if depth > _MAX_DEPTH:
        raise PackingError(f"{where or 'the value'} is nested more than {_MAX_DEPTH} levels deep")
    if kind is dict:
        if all(type(key) is str for key in value) and _MARK not in value:
            return {key: _packed(each, f"{where}[{key!r}]"[:80], depth + 1) for key, each in value.items()}
        pairs = [[_packed(k, f"a key of {where}", depth + 1), _packed(v, where, depth + 1)] for k, v in value.items()]
        return {_MARK: "dict", "v": pairs}
    if kind is list:
        return [_packed(each, where, depth + 1) for each in value]
    if isinstance(value, np.ndarray):
        return _packed_array(value, where)
    if isinstance(value, np.generic):
        return {_MARK: "number", "v": _packed_array(np.asarray(value), where)}
    if isinstance(value, tuple):  # named tuples lose their names
        return {_MARK: "tuple", "v": [_packed(each, where, depth + 1) for each in value]}
    if isinstance(value, (set, frozenset)):
        members = sorted((_packed(each, where, depth + 1) for each in value), key=json.dumps)
        return {_MARK: "set", "v": members}
    if isinstance(value, (bytes, bytearray)):
        return {_MARK: "bytes", "v": base64.b64encode(value).decode("ascii")}
    # Subclasses of plain types arrive as what they are subclasses of.
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, Mapping):
        return _packed(dict(value), where, depth)
    if isinstance(value, list):
        return _packed(list(value), where, depth)
    raise PackingError(f"{where or 'the value'} is a {kind.__module__}.{kind.__qualname__}, which is no plain value")


def _packed_array(value: np.ndarray, where: str) -> Any:
    if value.dtype.kind not in _PLAIN_KINDS:
        raise PackingError(f"{where or 'the value'} is an array of {value.dtype}, which is no plain value")
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
    return {_MARK: "array", "dtype": value.dtype.str, "shape": list(value.shape), "v": data}


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_MARK)
    if kind is None:
        return {key: _unpacked(each) for key, each in value.items()}
    content = value["v"]
    if kind == "dict":
        return {_hashable(_unpacked(key)): _unpacked(each) for key, each in content}
    if kind == "tuple":
        return tuple(_unpacked(each) for each in content)
    if kind == "set":
        return {_hashable(_unpacked(each)) for each in content}
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "number":
        return _unpacked(content)[()]
    array = np.frombuffer(base64.b64decode(content), dtype=np.dtype(value["dtype"]))
    return array.reshape(value["shape"]).copy()


def _hashable(value: Any) -> Any:
    return frozenset(value) if isinstance(value, set) else value
