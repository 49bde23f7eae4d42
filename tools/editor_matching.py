"""Where an `old_str` that is not in the file is meant all the same: at the one place that differs in whitespace alone.

Models lose the whitespace at line ends, and count indentation wrong. That is forgiven where nothing has to be guessed:

* the text is long enough to be no coincidence, is a number of whole lines, and the edit is not about whitespace;
* only one place in the file has these lines, whatever its whitespace at both ends of each;
* the indentation differs in the same way in every line, by a prefix or by tabs instead of spaces, and `new_str` can be
  indented in that way too.

Whitespace between words has to be right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.file_text import partners

SHORTEST = 12
"""Characters without whitespace that `old_str` must have to be taken for what differs from it in whitespace."""
_WHITE = " \t\r\f\v"
_WHITE_LIMIT = 1_000
"""Characters of whitespace at one end of a line; more is nobody's indentation."""
_LINES_COMPARED = 100_000
"""After so many the search ends without a result: a tenth of a second."""
_TAB_WIDTHS = (8, 4, 2)

Reindent = Callable[[str], str | None]
"""Turns the indentation of a line that the model wrote into that of the file; None where that cannot be told."""


@dataclass(frozen=True)
class Match:
    """The place that is meant, as offsets into the file's text, and what to put there."""

    start: int
    end: int
    new: str
    differs_in_indentation: bool = False


def find_tolerant(text: str, old: str, new: str) -> Match | None:
    """The only place of `text` that `old` can mean, if whitespace at both ends of each line does not count."""
    ends_line = old.endswith("\n")
    if ends_line and new and not new.endswith("\n"):
        return None  # it would join the next line to the last of `new`
    wanted = old.removesuffix("\n").split("\n") if ends_line else old.split("\n")
    new_lines = new.removesuffix("\n").split("\n") if ends_line else new.split("\n")
    bare = [line.strip(_WHITE) for line in wanted]
    if not _is_telling(wanted) or bare == [line.strip(_WHITE) for line in new_lines]:
        return None
    places = _places(text, bare)
    if len(places) != 1:
        return None
    start, end = places[0]
    there = text[start:end].split("\n")
    if (written := _as_the_file_has_it(wanted, there, new_lines)) is None:
        return None
    has_end = ends_line and end < len(text)
    return Match(
        start=start,
        end=end + has_end,
        new="\n".join(written) + "\n" * has_end if new else "",
        differs_in_indentation=any(
            line.strip(_WHITE) and _indentation(line) != _indentation(other)
            for line, other in zip(wanted, there, strict=True)
        ),
    )


def _is_telling(lines: Sequence[str]) -> bool:
    words = [word for line in lines for word in line.split()]
    return len(words) > 1 and sum(map(len, words)) >= SHORTEST


def _places(text: str, wanted: Sequence[str]) -> list[tuple[int, int]]:
    """Where the lines are: up to two places, since the second one decides already; none when there is too much."""
    anchor = max(range(len(wanted)), key=lambda index: len(wanted[index]))
    places: list[tuple[int, int]] = []
    offset = text.find(wanted[anchor])
    left = _LINES_COMPARED
    while offset != -1 and len(places) < 2:
        place, compared = _place_around(text, offset, wanted, anchor)
        if place:
            places.append(place)
        if (left := left - compared) < 0:
            return []
        offset = text.find(wanted[anchor], offset + 1)
    return places


def _place_around(text: str, offset: int, wanted: Sequence[str], anchor: int) -> tuple[tuple[int, int] | None, int]:
    """From where to where the lines are of which the one at `anchor` is at `offset`; and how many were compared."""
    start, end = _line_start(text, offset), _line_end(text, offset + len(wanted[anchor]))
    compared = 1
    for line in reversed(wanted[:anchor]):
        if start is None or end is None:
            break
        start = _start_of_line_before(text, start, line)
        compared += 1
    for line in wanted[anchor + 1 :]:
        if start is None or end is None:
            break
        end = _end_of_line_behind(text, end, line)
        compared += 1
    return (None if start is None or end is None else (start, end)), compared


def _start_of_line_before(text: str, start: int, wanted: str) -> int | None:
    """Where the line before the one at `start` begins, if it is the wanted one."""
    lower = max(0, start - len(wanted) - 2 * _WHITE_LIMIT)
    found = text.rfind("\n", lower, max(0, start - 1)) + 1
    if start == 0 or (found == 0 < lower) or text[found : start - 1].strip(_WHITE) != wanted:
        return None
    return found


def _end_of_line_behind(text: str, end: int, wanted: str) -> int | None:
    """Where the line behind the one that ends at `end` does, if it is the wanted one."""
    upper = end + len(wanted) + 2 * _WHITE_LIMIT
    found = text.find("\n", end + 1, upper)
    if found == -1:
        found = len(text)
    if end + 1 >= len(text) or found >= upper or text[end + 1 : found].strip(_WHITE) != wanted:
        return None
    return found


def _line_start(text: str, offset: int) -> int | None:
    """Where the line begins, if nothing but whitespace is before `offset`."""
    before = text[max(0, offset - _WHITE_LIMIT) : offset].rstrip(_WHITE)
    start = max(0, offset - _WHITE_LIMIT) + len(before)
    return start if start == 0 or text[start - 1] == "\n" else None


def _line_end(text: str, offset: int) -> int | None:
    """Where the line ends, if nothing but whitespace is behind `offset`."""
    behind = text[offset : offset + _WHITE_LIMIT]
    end = offset + len(behind) - len(behind.lstrip(_WHITE))
    return end if end == len(text) or text[end] == "\n" else None


def _as_the_file_has_it(old: Sequence[str], there: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """The new lines with the file's indentation; those that are also in `old` as they are in the file."""
    pairs = [(_indentation(line), _indentation(other)) for line, other in zip(old, there, strict=True) if line.strip()]
    if (reindent := _reindenting(pairs)) is None:
        return None
    mixes = any(_is_mixed(indentation) for _, indentation in pairs)
    written: list[str] = []
    for line, partner in zip(new, partners(old, new), strict=True):
        if partner is not None and old[partner] == line:
            written.append(there[partner])
        elif not line.strip(_WHITE):
            written.append(line)
        elif (indentation := reindent(_indentation(line))) is None or (_is_mixed(indentation) and not mixes):
            return None
        else:
            written.append(indentation + line.lstrip(" \t"))
    return written


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _is_mixed(indentation: str) -> bool:
    return " " in indentation and "\t" in indentation


def _reindenting(pairs: Sequence[tuple[str, str]]) -> Reindent | None:
    """The one way that leads from each line's indentation as written to that in the file."""
    written, there = pairs[0]
    ways: list[Reindent] = [lambda indentation: indentation]
    if there.endswith(written):
        prefix = there[: len(there) - len(written)]
        ways.append(lambda indentation: prefix + indentation)
    if written.endswith(there):
        extra = written[: len(written) - len(there)]
        ways.append(lambda indentation: indentation.removeprefix(extra) if indentation.startswith(extra) else None)
    for width in _TAB_WIDTHS:
        ways += [_tabs_to_spaces(width), _spaces_to_tabs(width)]
    return next((way for way in ways if all(way(one) == other for one, other in pairs)), None)


def _tabs_to_spaces(width: int) -> Reindent:
    return lambda indentation: None if " " in indentation else indentation.replace("\t", " " * width)


def _spaces_to_tabs(width: int) -> Reindent:
    def reindent(indentation: str) -> str | None:
        return None if "\t" in indentation or len(indentation) % width else "\t" * (len(indentation) // width)

    return reindent
