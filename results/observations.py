"""What tools answered in two trials, beside each other: what differs that is no matter of time or of chance.

Taken for the same: durations in the header of a result, times of day, process ids that are called so, addresses in
memory, ports that the system gives out, and folders and hosts whose names are made up anew each time. Nothing else: a
byte that differs beyond these is a difference.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from results.records.events import Event, ToolResultEvent
from results.records.replay import ObservationDifference

_SHOWN = 400
_HEADER = re.compile(r"\A(exit=\w+ )\d+\.\d+s")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_VOLATILE = (
    (re.compile(rf"\b(?:{_DAYS}) (?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d (?:[AP]M )?[A-Z]{{3,4}} \d{{4}}\b"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d)\b)?"), "<time>"),
    (re.compile(rf"\b(?:{_MONTHS}) [ \d]\d (?:\d\d:\d\d|\d{{4}})(?::\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b(in|took|real|user|sys)(\s+)(?:\d+m)?\d+\.\d+ ?s(?:econds)?\b"), r"\1\2<seconds>"),
    (re.compile(r"\b((?:pid|PID|process)[ =:]+)\d+\b"), r"\1<pid>"),
    (re.compile(r"(?m)^(\[\d+\]) \d+$"), r"\1 <pid>"),
    (re.compile(r"\b0x[0-9a-f]{6,16}\b"), "<address>"),
    (re.compile(r"\b(127\.0\.0\.1|localhost|0\.0\.0\.0):(?:3[2-9]|[45]\d|6[0-5])\d{3}\b"), r"\1:<port>"),
    (re.compile(r"/(tmp/tmp\.?|tmp/pytest-of-\w+/pytest-)[A-Za-z0-9_]+"), r"/\1<name>"),
)  # fmt: skip


def observation_differences(first: Iterable[Event], second: Iterable[Event]) -> tuple[int, list[ObservationDifference]]:
    """How many answers were compared, and those that differ."""
    compared, differences = 0, list[ObservationDifference]()
    for number, (one, other) in enumerate(zip_longest(_results(first), _results(second)), start=1):
        compared += 1
        if one is None or other is None or _comparable(one) != _comparable(other):
            either = one or other
            assert either is not None
            here, there = _parting(_text(one), _text(other))
            differences.append(
                ObservationDifference(number=number, step=either.step, tool=either.name, first=here, second=there)
            )
    return compared, differences


def without_volatile(text: str) -> str:
    """`text` with a word for each thing that may be another one each time."""
    text = _HEADER.sub(r"\1<seconds>", text)
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return text


def _results(events: Iterable[Event]) -> Iterator[ToolResultEvent]:
    return (event for event in events if isinstance(event, ToolResultEvent))


def _comparable(result: ToolResultEvent) -> tuple[str, int | None, bool, bool, str]:
    return result.name, result.exit_code, result.is_error, result.denied, without_volatile(_text(result) or "")


def _text(result: ToolResultEvent | None) -> str | None:
    if result is None:
        return None
    content: Any = result.sent.get("content")
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True)


def _parting(first: str | None, second: str | None) -> tuple[str | None, str | None]:
    """The first lines that differ."""
    if first is None or second is None:
        return (None if first is None else first[:_SHOWN]), (None if second is None else second[:_SHOWN])
    for one, other in zip_longest(first.split("\n"), second.split("\n"), fillvalue=""):
        if without_volatile(one) != without_volatile(other):
            return _around(one, other), _around(other, one)
    return first[:_SHOWN], second[:_SHOWN]


def _around(line: str, other: str) -> str:
    """The part of a line in which it parts from another one."""
    same = next((place for place, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), 0)
    start = max(0, same - _SHOWN // 2)
    return line[start : start + _SHOWN]
