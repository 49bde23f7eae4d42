"""Records to bytes and back, with errors that name the file."""

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from results.records import FORMAT

Kind = TypeVar("Kind")
AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


class DamagedFileError(ValueError):
    """A file of a run is missing, broken, or written by a newer version."""


def encode(record: BaseModel, indent: int | None = None) -> bytes:
    """`record` as JSON."""
    try:
        return record.model_dump_json(indent=indent).encode()
    except ValueError:
        # Half a surrogate pair, which models do send, is no UTF-8; as an escape in ASCII it is kept.
        return json.dumps(record.model_dump(mode="json"), indent=indent).encode()


def decode(data: bytes, reader: TypeAdapter[Kind]) -> Kind:
    """What `encode` was given. Raises ValueError with one line of text."""
    try:
        return _validate(data, reader)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"{place}: {first['msg']}" if place else first["msg"]
        raise ValueError(message) from error


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """The record that is the file `path`. Raises DamagedFileError."""
    try:
        reader: TypeAdapter[AnyRecord] = _adapter(kind)
        record = decode(path.read_bytes(), reader)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise DamagedFileError(message) from error
    except ValueError as error:
        message = f"{path} is damaged: {error}"
        raise DamagedFileError(message) from error
    if getattr(record, "format", FORMAT) > FORMAT:
        message = f"{path} was written by a newer version of Unbroken, which this one cannot read"
        raise DamagedFileError(message)
    return record


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _validate(data: bytes, reader: TypeAdapter[Kind]) -> Kind:
    try:
        return reader.validate_json(data)
    except ValidationError as error:
        if b"\\ud" not in data.lower() or error.errors()[0]["type"] != "json_invalid":
            raise
    value: Any = json.loads(data)  # unlike pydantic, it takes half a surrogate pair
    return reader.validate_python(value)
