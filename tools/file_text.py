"""A file as the model sees it, and edits that change nothing but what was asked for.

What is shown is comfortable: no byte order mark, `\\n` at every line end, valid Unicode. What is written back keeps
every byte outside the edit, and every line of a quoted text that is quoted only for context: the mark, the encoding,
CRLF also where line ends are mixed, a missing last newline, bytes that are no text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice

from tools import editor_encoding

PLACEHOLDER = "\ufffd"
"""Stands for one byte that means nothing in the file's encoding, or a NUL: neither survives the way to a model."""
_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")
_BLOCK = 16_384
_ALIGNABLE = 40_000
"""Old lines times new lines up to which they are compared each with each; the time may grow faster than that."""


class UnwritableTextError(ValueError):
    """The new text holds placeholders for bytes, and nobody can tell for which."""


@dataclass(frozen=True)
class Splice:
    """One change of a file: at offset `start`, the bytes `removed` give way to `added`."""

    start: int
    removed: bytes
    added: bytes

    def apply(self, data: bytes) -> bytes:
        """`data` after the change."""
        view = memoryview(data)  # whose slices are no copies
        return b"".join((view[: self.start], self.added, view[self.start + len(self.removed) :]))

    def reverse(self) -> "Splice":
        """The change that takes this one back."""
        return Splice(self.start, self.added, self.removed)


class FileText:
    """The bytes of a file, and the text that a model sees of them."""

    def __init__(self, data: bytes) -> None:
        reading = editor_encoding.read(data)
        self.encoding = reading.encoding
        self.is_exact = reading.is_exact
        """Whether every byte means something in the file's encoding."""
        self._raw = reading.text
        self._has_crlf = "\r" in self._raw and "\r\n" in self._raw  # one character is found much faster
        self._has_placeholders = not reading.is_exact or "\0" in self._raw
        # Each unshowable character becomes exactly one placeholder, so that offsets stay the same.
        shown = _UNSHOWABLE.sub(PLACEHOLDER, self._raw) if self._has_placeholders else self._raw
        self.shown = shown.replace("\r\n", "\n") if self._has_crlf else shown
        """What the model sees, and what its `old_str` is compared with."""

    @property
    def line_count(self) -> int:
        """How many lines are shown; none for an empty file."""
        return self.shown.count("\n") + (0 if self.shown.endswith("\n") or not self.shown else 1)

    def lines(self, first: int = 1, last: int | None = None) -> Iterator[str]:
        """The lines numbered `first` to `last`, without their ends, one after the other as they are asked for."""
        count = None if last is None else min(max(0, last - first + 1), len(self.shown))
        return islice(self.lines_at(self.offset_of_line(first)), count)

    def lines_at(self, offset: int) -> Iterator[str]:
        """The lines from the one that begins at `offset`, one after the other as they are asked for."""
        while offset < len(self.shown):
            end = self.shown.find("\n", offset)
            if end == -1:
                end = len(self.shown)
            yield self.shown[offset:end]
            offset = end + 1

    def line_number(self, offset: int) -> int:
        """The number, from 1, of the line that holds `offset` of what is shown."""
        return self.shown.count("\n", 0, offset) + 1

    def offset_of_line(self, number: int) -> int:
        """Where the line of that number begins in what is shown; the end of the text for one behind the last."""
        offset, left = 0, number - 1
        while left and (ahead := self.shown.count("\n", offset, offset + _BLOCK)) < left:
            left -= ahead
            offset += _BLOCK
            if offset >= len(self.shown):
                return len(self.shown)
        for _ in range(left):
            offset = self.shown.index("\n", offset) + 1
        return offset

    def offset_of_byte(self, data: bytes, offset: int) -> int:
        """Where the byte at `offset` of `data`, the bytes of this file, is shown."""
        before = self.encoding.text_of(data[len(self.encoding.mark) : offset])
        return len(before) - before.count("\r\n")

    def replace(self, start: int, end: int, new: str) -> Splice:
        """The change that puts `new` in the place of `shown[start:end]`.

        What both have in common is left alone, so that a line quoted only for context keeps its own line end and its
        own bytes. New line ends are those of the text that they replace, else those around it. Raises
        UnwritableTextError, and `editor_encoding.UnspellableError` for what the file's encoding cannot spell.
        """
        raw_start, raw_end = self._raw_offset(start), self._raw_offset(end)
        uses_crlf = self._uses_crlf(raw_start, raw_end)
        new = new.replace("\r\n", "\n") if uses_crlf else new
        old = self.shown[start:end]
        before = _shared_beginning(old, new)
        after = _shared_beginning(old[before:][::-1], new[before:][::-1])
        raw_start, raw_end = self._raw_offset(start + before), self._raw_offset(end - after)
        removed = self._raw[raw_start:raw_end]
        old, new = old[before : len(old) - after], new[before : len(new) - after]
        return Splice(
            start=self._byte_offset(raw_start),
            removed=self.encoding.bytes_of(removed),
            added=self._written(removed, old, new, "\r\n" if uses_crlf else "\n"),
        )

    def insert(self, line: int, new: str) -> Splice:
        """The change that puts the lines of `new` behind line number `line`; 0 is the top."""
        if line and line == self.line_count and not self.shown.endswith("\n"):
            # The last line has no end: the new ones get none either.
            return self.replace(len(self.shown), len(self.shown), "\n" + new)
        offset = self.offset_of_line(line + 1)
        return self.replace(offset, offset, new + "\n")

    def _uses_crlf(self, raw_start: int, raw_end: int) -> bool:
        if not self._has_crlf:
            return False
        nearby = self._raw[raw_start:raw_end]
        if "\n" not in nearby:
            nearby = self._raw[max(0, raw_start - _BLOCK) : raw_end + _BLOCK]
        return nearby.count("\r\n") * 2 > nearby.count("\n")

    def _written(self, removed: str, old: str, new: str, line_end: str) -> bytes:
        """The bytes that take the place of `removed`, which is shown as `old`."""
        is_uneven = _UNSHOWABLE.search(removed) or 0 < removed.count("\r\n") < removed.count("\n")
        if is_uneven and new:
            return b"".join(self._written_by_lines(removed, old, new, line_end))
        return self._spelled(new.replace("\n", line_end) if line_end != "\n" else new)

    def _written_by_lines(self, removed: str, old: str, new: str, line_end: str) -> Iterator[bytes]:
        """The same, line by line: each that is also in `old` keeps its bytes and its line end."""
        *raw_lines, raw_last = removed.split("\n")
        bodies = [line.removesuffix("\r") for line in raw_lines] + [raw_last]
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in raw_lines] + [line_end]
        old_lines, new_lines = old.split("\n"), new.split("\n")
        for index, (line, partner) in enumerate(zip(new_lines, partners(old_lines, new_lines), strict=True)):
            is_last = index == len(new_lines) - 1
            if partner is None:
                yield self._spelled(line + ("" if is_last else line_end))
                continue
            before = _shared_beginning(old_lines[partner], line)
            after = _shared_beginning(old_lines[partner][before:][::-1], line[before:][::-1])
            body = bodies[partner]
            yield self.encoding.bytes_of(body[:before])
            yield self._spelled(line[before : len(line) - after])
            yield self.encoding.bytes_of(body[len(body) - after :] + ("" if is_last else ends[partner]))

    def _spelled(self, new: str) -> bytes:
        if self._has_placeholders and PLACEHOLDER in new:
            raise UnwritableTextError
        return self.encoding.spell(new)

    def _byte_offset(self, raw_offset: int) -> int:
        if self._raw.isascii() and not self.encoding.is_wide:
            return len(self.encoding.mark) + raw_offset
        return len(self.encoding.mark) + len(self.encoding.bytes_of(self._raw[:raw_offset]))

    def _raw_offset(self, offset: int) -> int:
        """Where `offset` of what is shown lies in the file's own text, whose CRLFs are one character longer."""
        if not self._has_crlf:
            return offset
        raw, passed = offset, self._raw.count("\r\n", 0, offset)
        while missing := offset - (raw - passed):
            passed += self._raw.count("\r\n", max(0, raw - 1), raw + missing)
            raw += missing
        is_inside = raw > 0 and self._raw.startswith("\r\n", raw - 1)
        return raw + 1 if is_inside else raw


def partners(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each new line the index of the old one that it repeats, or takes the place of; None for an added line."""
    found: list[int | None] = [None] * len(new)
    if len(old) * len(new) > _ALIGNABLE:
        for index in range(min(len(old), len(new))):
            found[index] = index if old[index] == new[index] else None
        return found
    for kind, old_start, old_end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal" or (kind == "replace" and old_end - old_start == new_end - new_start):
            found[new_start:new_end] = range(old_start, old_end)
    return found


def _shared_beginning(one: str, other: str) -> int:
    """How many characters are the same before the first that differs."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
