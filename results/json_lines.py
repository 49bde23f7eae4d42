"""Files of JSON lines which a killed process may leave with half a last line.

A writer appends whole lines; a reader passes over a cut last line and says so. Anything else that cannot be read is
damage, and an error that names the file and the line.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, TypeAdapter

from results.record_files import DamagedFileError, Kind, decode, encode

_BLOCK = 65536


def encode_line(entry: BaseModel) -> bytes:
    """`entry` as one line, its end included."""
    return encode(entry) + b"\n"


def open_for_append(path: Path) -> BinaryIO:
    """Open `path` to append lines; half a line that a killed writer left is taken away first."""
    if path.exists() and (cut := _cut_bytes(path)):
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - cut)
    return path.open("ab")


def read_lines(path: Path, reader: TypeAdapter[Kind], on_cut: Callable[[str], None] | None = None) -> Iterator[Kind]:
    """The entries of `path`, one after the other; `on_cut` is told in a sentence of a cut last line.

    Raises DamagedFileError for any other line that cannot be read, OSError where the file cannot.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = decode(line, reader)
            except ValueError as error:
                if line.endswith(b"\n"):
                    message = f"{path} is damaged in line {number}: {error}"
                    raise DamagedFileError(message) from error
                if on_cut is not None:
                    on_cut(f"{path} ends in the middle of line {number}: its writer was stopped there")
                return
            yield entry


def _cut_bytes(path: Path) -> int:
    """How many bytes stand behind the last line end."""
    with path.open("rb") as file:
        size = position = file.seek(0, 2)
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return size - (start + newline + 1)
            position = start
    return size
