"""A file as the model sees it, and edits that change nothing but what was asked for.

What is shown is comfortable: no byte order mark, `\\n` at every line end, valid Unicode. What is written back keeps
every byte outside the edit: the mark, CRLF, a missing last newline, bytes that are no UTF-8.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PLACEHOLDER = "\ufffd"
"""Stands for one byte that is no UTF-8, or a NUL: neither survives the way to a model and back."""
_UNSHOWABLE = re.compile("[\x00\udc80-\udcff]")


class UnwritableTextError(ValueError):
    """The new text holds placeholders for bytes that it would replace, and nobody can tell which is which."""


@dataclass(frozen=True)
class Splice:
    """One change of a file: at offset `start`, the bytes `removed` give way to `added`."""

    start: int
    removed: bytes
    added: bytes

    def apply(self, data: bytes) -> bytes:
        """`data` after the change."""
        return data[: self.start] + self.added + data[self.start + len(self.removed) :]

    def reverse(self) -> "Splice":
        """The change that takes this one back."""
        return Splice(self.start, self.added, self.removed)


class FileText:
    """The bytes of a file, and the text that a model sees of them."""

    def __init__(self, data: bytes) -> None:
        self._mark_length = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
        self._raw = data[self._mark_length :].decode("utf-8", "surrogateescape")
        # Each unshowable character becomes exactly one placeholder, so that offsets stay the same.
        shown = self._raw.replace("\r\n", "\n").replace("\0", PLACEHOLDER)
        self.shown = shown if self._raw.isascii() else _UNSHOWABLE.sub(PLACEHOLDER, shown)
        """What the model sees, and what its `old_str` is compared with."""

    @property
    def lines(self) -> list[str]:
        """The lines shown, without their ends; none for an empty file."""
        lines = self.shown.split("\n")
        return lines if lines[-1] else lines[:-1]

    def line_number(self, offset: int) -> int:
        """The number, from 1, of the line that holds `offset` of what is shown."""
        return self.shown.count("\n", 0, offset) + 1

    def replace(self, start: int, end: int, new: str) -> Splice:
        """The change that puts `new` in the place of `shown[start:end]`.

        What both have in common at their beginning and end is left alone, so that a line quoted only for context
        keeps its own line end and its own bytes. Raises UnwritableTextError.
        """
        new = new.replace("\r\n", "\n") if self._prefers_crlf else new
        old = self.shown[start:end]
        before = _shared_beginning(old, new)
        after = _shared_beginning(old[before:][::-1], new[before:][::-1])
        added = new[before : len(new) - after]
        raw_start, raw_end = self._raw_offset(start + before), self._raw_offset(end - after)
        removed = self._raw[raw_start:raw_end]
        if PLACEHOLDER in added and _UNSHOWABLE.search(removed):
            raise UnwritableTextError
        return Splice(
            start=self._mark_length + len(_encoded(self._raw[:raw_start])),
            removed=_encoded(removed),
            added=_encoded(added.replace("\n", "\r\n") if self._prefers_crlf else added),
        )

    def insert(self, line: int, new: str) -> Splice:
        """The change that puts the lines of `new` behind line number `line`; 0 is the top."""
        lines = self.shown.split("\n")
        if line and line == len(lines):  # the last line has no end: the new ones get none either
            return self.replace(len(self.shown), len(self.shown), "\n" + new)
        offset = sum(len(each) + 1 for each in lines[:line])
        return self.replace(offset, offset, new + "\n")

    @property
    def _prefers_crlf(self) -> bool:
        return self._raw.count("\r\n") * 2 > self._raw.count("\n")

    def _raw_offset(self, offset: int) -> int:
        """Where `offset` of what is shown lies in the file's own text, whose CRLFs are one character longer."""
        if len(self._raw) == len(self.shown):
            return offset
        line_ends = [match.start() - index for index, match in enumerate(re.finditer("\r\n", self._raw))]
        return offset + bisect_left(line_ends, offset)


def _shared_beginning(one: str, other: str) -> int:
    """How many characters are the same before the first that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
