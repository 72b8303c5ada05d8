"""States of other libraries' optimizers as bytes, without pickle: nested containers of plain values and arrays."""

import json
import struct
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import PluginError, StateError

_LENGTH = struct.Struct("<Q")


def packed(tree: Any) -> bytes:
    """Return a tree of mappings, lists, tuples, plain values and arrays as bytes; PluginError for anything else."""
    arrays: list[bytes] = []
    head = json.dumps(_written(tree, arrays), separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(head)), head, *arrays])


def unpacked(data: bytes) -> Any:
    """Return the tree that was `packed`; StateError where these are no such bytes."""
    try:
        (length,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size
        head = json.loads(data[begin : begin + length])
        return _read(head, memoryview(data)[begin + length :])
    except (struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise StateError(f"the state of the optimizer is damaged: {error}") from None


def as_rows(lanes: list[bytes]) -> Array:
    """Return bytes of several lanes as one array `[B, n]`, filled with zeros."""
    rows = np.zeros((len(lanes), max(map(len, lanes), default=0)), np.uint8)
    for row, data in zip(rows, lanes, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows


def _written(value: Any, arrays: list[bytes]) -> Any:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, dict):
        return {"dict": [[_written(key, arrays), _written(each, arrays)] for key, each in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_written(each, arrays) for each in value]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        data = np.ascontiguousarray(value).tobytes()
        at = sum(map(len, arrays))
        arrays.append(data)
        return {"array": [value.dtype.str, list(value.shape), at, len(data)]}
    raise PluginError(f"its state has a {type(value).__name__}, which no checkpoint can hold")


def _read(value: Any, data: memoryview) -> Any:
    if isinstance(value, dict):
        ((kind, of),) = value.items()
        if kind == "float":
            return float.fromhex(of)
        if kind == "dict":
            return {_read(key, data): _read(each, data) for key, each in of}
        if kind == "array":
            dtype, shape, at, length = of
            return np.frombuffer(data[at : at + length], np.dtype(dtype)).reshape(shape).copy()
        items = [_read(each, data) for each in of]
        return tuple(items) if kind == "tuple" else items
    return value
