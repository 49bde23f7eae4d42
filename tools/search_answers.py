"""Reads what the search command printed, and says it to the model: the same text for the same files, always."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from tools.output import clean, decode
from tools.search_script import CONTENT_LIMIT, NAMES_LISTED

SHOWN_LINE = 500
"""Characters of a found line that are shown."""

_TOTALS = re.compile(rb"^T (\d+) (\d+) ([a-z]+)(?:\n|\Z)", re.MULTILINE)
_LINE = re.compile(rb"(\d+)([:-])")
_FAILURES = {
    "too large": "The pattern is too large to be searched for. Make it smaller.",
    "not extended": (
        "The pattern cannot be searched for here: this system's grep knows neither flags in groups, nor categories of "
        "Unicode, nor \\W, \\S and \\D in brackets. Write it without them."
    ),
}


class SearchError(Exception):
    """There is no answer; the message says why."""


@dataclass(frozen=True)
class FileCount:
    """How many lines of a file were found."""

    name: bytes
    lines: int


@dataclass(frozen=True)
class FoundLine:
    """A line that was found, or one next to it."""

    name: bytes
    number: int
    text: str
    is_context: bool


@dataclass(frozen=True)
class Findings:
    """What the command printed."""

    of_file: bool
    """What was searched is one file, and no directory."""
    counts: list[FileCount]
    files: int
    lines: int
    lister: str
    content: list[FoundLine]
    is_whole: bool = True
    """False where more was found than is brought out of the sandbox."""


def read_findings(output: bytes, path: str) -> Findings:
    """Read the output of a search in `path`. Raises SearchError."""
    totals = _TOTALS.search(output)
    head, content = (output[: totals.start()], output[totals.end() :]) if totals else (output, b"")
    kind, *listed = head.split(b"\n")
    failure = next((line for line in (kind, *listed[:1]) if line.startswith(b"E") and b"\x01" not in line), None)
    if failure is not None:
        raise SearchError(_explain(decode(failure[1:]), path))
    if kind not in (b"D", b"F") or totals is None:
        message = f"The search did not work: {decode(output[:500]).strip() or 'it printed nothing'}. Search with bash."
        raise SearchError(message)
    files, lines = int(totals[1]), int(totals[2])
    is_cut = len(content) >= CONTENT_LIMIT
    if is_cut:
        content = content[: content.rfind(b"\n") + 1]
    counted = (line.rpartition(b"\x01") for line in listed)
    return Findings(
        of_file=kind == b"F",
        counts=[FileCount(name, int(count)) for name, is_file, count in counted if is_file],
        files=files,
        lines=lines,
        lister=decode(totals[3]),
        content=list(_found_lines(content)),
        is_whole=not is_cut and files <= NAMES_LISTED,
    )


def first_lines(content: list[FoundLine], limit: int, context: int) -> list[FoundLine]:
    """The first `limit` lines that were found, and what stands around them."""
    shown: list[FoundLine] = []
    left = limit
    for line in content:
        left -= not line.is_context
        if left < 0:
            break
        shown.append(line)
    found = next((line for line in reversed(shown) if not line.is_context), None)
    while shown and found and shown[-1] is not found and not _is_next_to(shown[-1], found, context):
        shown.pop()
    return shown


def grouped(lines: list[FoundLine], prefix: str, *, whole: bool = False) -> str:
    """The lines under the names of their files, with a rule where lines between them are left out.

    Long lines are cut, unless they are wanted `whole`.
    """
    return "\n\n".join(
        "\n".join([prefix + shown_name(name), *_numbered(list(of_file), whole=whole)])
        for name, of_file in groupby(lines, key=lambda line: line.name)
    )


def shown_name(name: bytes) -> str:
    """The name of a file as a model is shown it."""
    return clean(decode(name)).replace("\t", "\\t")


def _numbered(lines: list[FoundLine], *, whole: bool) -> Iterator[str]:
    with_rules = any(line.is_context for line in lines)
    before = lines[0].number - 1
    for line in lines:
        if with_rules and line.number != before + 1:
            yield "--"
        before = line.number
        yield f"{line.number}{'-' if line.is_context else ':'}{line.text if whole else _shortened(line.text)}"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LINE else f"{text[:SHOWN_LINE]} [the rest of this line is cut]"


def _found_lines(content: bytes) -> Iterator[FoundLine]:
    name = b""
    for line in content.split(b"\n"):
        if line.startswith(b"\x02"):
            name = line[1:]
            continue
        if b"\0" in line:
            name, _, line = line.partition(b"\0")
        if match := _LINE.match(line):
            text = clean(decode(line[match.end() :]).rstrip("\r"))
            yield FoundLine(name, int(match[1]), text, is_context=match[2] == b"-")


def _is_next_to(line: FoundLine, found: FoundLine, context: int) -> bool:
    return line.name == found.name and line.number <= found.number + context


def _explain(reason: str, path: str) -> str:
    if reason == "binary":
        return f"The file {path} is binary, and only text is searched."
    return _FAILURES.get(reason) or f"{path} cannot be searched: {reason}."
