"""Where an `old_str` that is not in the file was probably meant, for the answer that says so.

Everything here is a fixed number of searches of the whole text, whatever the text is: at most a few tenths of a second.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.file_text import FileText

_SEARCHABLE = 8_000_000
"""Characters of a file in which the searches take no longer than that."""
_CLOSENESS = 1 / 3
"""The share of `old_str`, in characters, that must be found before a place is called the most similar one."""
_LINES_TRIED = 16
_WORDS_TRIED = 16
_OLD_LIMIT = 20_000
"""Characters of `old_str` that are looked at."""
_OCCURRENCES = 40
"""What occurs more often, such as `}`, says little about the place."""
_SHOWN_AROUND = 60
"""Characters of a line before and behind the difference that are shown."""
_WORD = re.compile(r"\w{3,40}")


@dataclass(frozen=True)
class Closest:
    """The lines that are most like `old_str`."""

    first: int
    """The number of the first of them."""
    lines: Sequence[str]
    differs_in_whitespace_only: bool
    difference: str
    """One sentence on the first line that is different."""


def find_closest(text: FileText, old: str) -> Closest | None:
    """The place that was probably meant; None when nothing is similar, or the file is too large to look."""
    if len(text.shown) > _SEARCHABLE:
        return None
    wanted = old[:_OLD_LIMIT].strip("\n").split("\n")
    first = _by_lines(text.shown, wanted) or _by_words(text.shown, wanted)
    if first is None:
        return None
    skipped = max(0, 1 - first)
    there = list(text.lines(first + skipped, first + len(wanted) - 1))
    return Closest(
        first=first + skipped,
        lines=there,
        differs_in_whitespace_only=not skipped and list(map(_squeezed, there)) == list(map(_squeezed, wanted)),
        difference=_difference(there, wanted[skipped:], first + skipped),
    )


def _by_lines(text: str, wanted: Sequence[str]) -> int | None:
    """The place for which most lines of `wanted` vote, each with its length, whitespace around it aside."""
    index_of: dict[str, int] = {}
    for index, line in enumerate(wanted):
        index_of.setdefault(line.strip(), index)
    longest = sorted((line for line in index_of if line), key=len, reverse=True)[:_LINES_TRIED]
    votes = Counter[int]()
    for line in longest:
        for number in _lines_with(text, line):
            votes[number - index_of[line]] += len(line)
    return _winner(votes, sum(map(len, longest)))


def _by_words(text: str, wanted: Sequence[str]) -> int | None:
    """The same with words, where no line is as it is in the file."""
    index_of: dict[str, int] = {}
    for index, line in enumerate(wanted):
        for word in _WORD.findall(line[:1_000]):
            index_of.setdefault(word, index)
    longest = sorted(index_of, key=len, reverse=True)[:_WORDS_TRIED]
    votes = Counter[int]()
    for word in longest:
        numbers = list(_lines_with(text, word))
        if len(numbers) < _OCCURRENCES:
            for number in set(numbers):
                votes[number - index_of[word]] += len(word)
    return _winner(votes, sum(map(len, longest)))


def _winner(votes: Counter[int], total: int) -> int | None:
    number, weight = max(votes.items(), key=lambda vote: (vote[1], -vote[0]), default=(0, 0))
    return number if weight and weight >= total * _CLOSENESS else None


def _lines_with(text: str, part: str) -> Iterator[int]:
    """The numbers of the first lines that hold `part`."""
    number, counted, offset = 1, 0, text.find(part)
    for _ in range(_OCCURRENCES):
        if offset == -1:
            return
        number += text.count("\n", counted, offset)
        counted = offset
        yield number
        line_end = text.find("\n", offset)
        offset = -1 if line_end == -1 else text.find(part, line_end)


def _squeezed(line: str) -> str:
    return "".join(line.split())


def _difference(there: Sequence[str], wanted: Sequence[str], first: int) -> str:
    for number, (line, other) in enumerate(zip(there, wanted, strict=False), first):
        if line != other:
            return f"In line {number} {_difference_of(line, other)}."
    if len(wanted) > len(there):
        return "The file ends there, and old_str goes on."
    return "It is what surrounds these lines in old_str that differs."


def _difference_of(line: str, other: str) -> str:
    if line.strip() == other.strip():
        here, written = _before(line), _before(other)
        side = "begins"
        if here == written:
            here, written, side = _behind(line), _behind(other), "ends"
        return f"the file {side} with {_white(here)}, old_str with {_white(written)}"
    column = next(
        (index for index, (one, two) in enumerate(zip(line, other, strict=False)) if one != two),
        min(len(line), len(other)),
    )
    here, written = line[column : column + 1], other[column : column + 1]
    if here and written and not (here.isascii() and written.isascii()):
        return f"the file has {_named(here)} at column {column + 1}, where old_str has {_named(written)}"
    return f"the file has `{_around(line, column)}`, old_str has `{_around(other, column)}`"


def _before(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _behind(line: str) -> str:
    return line[len(line.rstrip()) :]


def _white(whitespace: str) -> str:
    """`4 spaces`, `1 tab`, `no whitespace`, or the characters themselves where they are mixed."""
    kinds = set(whitespace)
    if not kinds:
        return "no whitespace"
    name = {" ": "space", "\t": "tab"}.get(kinds.pop())
    if kinds or name is None:
        return repr(whitespace[:_SHOWN_AROUND])
    return f"{len(whitespace)} {name}{'' if len(whitespace) == 1 else 's'}"


def _named(character: str) -> str:
    name = unicodedata.name(character, "a character without a name")
    return f"`{character}` (U+{ord(character):04X}, {name})"


def _around(line: str, column: int) -> str:
    """The part of a line that is about a column."""
    is_short = len(line) <= 2 * _SHOWN_AROUND
    start = 0 if is_short else max(0, column - _SHOWN_AROUND)
    part = line if is_short else line[start : column + _SHOWN_AROUND]
    return ("…" if start else "") + part + ("…" if start + len(part) < len(line) else "")
