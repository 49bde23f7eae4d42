"""Writes GGUF files, the format of llama.cpp's models, as far as a small model needs it.

Layout (ggml's document "GGUF", version 3): magic, version, counts, metadata, descriptions of the tensors, then the
tensors themselves, each at a multiple of 32 bytes. All numbers are little-endian.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = "bool | int | float | str | Sequence[int] | Sequence[str]"
"""What metadata can hold here: an int becomes 32 bits without a sign, a list of ints 32 bits with one."""
Matrix: TypeAlias = NDArray[np.float32]

_MAGIC, _VERSION, _ALIGNMENT = b"GGUF", 3, 32
_INT32, _UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 5, 4, 6, 7, 8, 9
_TENSOR_OF_FLOAT32 = 0


def write_gguf(path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, Matrix]) -> None:
    """Write a model. A matrix has a row for each output, as numpy and PyTorch have it."""
    with path.open("wb") as file:
        file.write(_MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for name, tensor in tensors.items():
            file.write(_description(name, tensor, offset))
            offset += _padded(tensor.nbytes)
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for tensor in tensors.values():
            data = np.ascontiguousarray(tensor, dtype="<f4").tobytes()
            file.write(data.ljust(_padded(len(data)), b"\0"))


def _description(name: str, tensor: Matrix, offset: int) -> bytes:
    sizes = tensor.shape[::-1]  # the length of a row comes first
    return (
        _string(name)
        + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        + struct.pack("<IQ", _TENSOR_OF_FLOAT32, offset)
    )


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case _:
            return _array(value)


def _array(values: Sequence[int] | Sequence[str]) -> bytes:
    kind = _STRING if values and isinstance(values[0], str) else _INT32
    items = (_string(value) if isinstance(value, str) else struct.pack("<i", value) for value in values)
    return struct.pack("<IIQ", _ARRAY, kind, len(values)) + b"".join(items)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return size + -size % _ALIGNMENT
