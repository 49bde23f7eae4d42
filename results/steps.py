"""A trajectory as a person reads it: what was said, thought, called and answered, each shortened to a readable size."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from results import wording
from results.records.events import (
    Event,
    MessageEvent,
    NoticeEvent,
    ResponseEvent,
    RetryEvent,
    SegmentEvent,
    ToolResultEvent,
)
from results.visible_text import one_line, shortened, visible

_CHARACTERS = 6_000


@dataclass(frozen=True)
class ShownCall:
    """A tool call: its name, and its arguments by their names, or the one text that they are."""

    name: str
    arguments: list[tuple[str, str]]


@dataclass(frozen=True)
class Shown:
    """One entry of a conversation."""

    kind: str
    """`message`, `response`, `result`, `retry`, `segment` or `notice`; the page gives each its looks."""
    title: str
    figures: str = ""
    thinking: str = ""
    text: str = ""
    calls: list[ShownCall] = field(default_factory=list[ShownCall])
    failed: bool = False

    @property
    def size(self) -> int:
        """How many characters it takes."""
        arguments = sum(len(text) for call in self.calls for _, text in call.arguments)
        return len(self.thinking) + len(self.text) + arguments + 200


def shown_entries(events: Iterable[Event], characters: int) -> Iterator[Shown]:
    """What there is to show, in its order; once `characters` are used up, one entry says that there is more."""
    for event in events:
        entry = _entry(event)
        if entry is None:
            continue
        if characters <= 0:
            yield Shown("retry", "The page ends here, the trajectory does not: the file has all of it.")
            return
        characters -= entry.size
        yield entry


def _entry(event: Event) -> Shown | None:
    match event:
        case MessageEvent():
            return Shown("message", one_line(str(event.sent.get("role", "message"))), text=_content(event.sent))
        case ResponseEvent():
            return _response(event)
        case ToolResultEvent():
            return _result(event)
        case RetryEvent():
            reason = one_line(event.reason, 500)
            return Shown(
                "retry", f"Step {event.step}: sent again after {wording.duration(event.wait_seconds)}: {reason}"
            )
        case SegmentEvent():
            kept = f"{event.dropped} messages were left behind, {event.kept} carried over"
            return Shown("segment", f"Segment {event.number}: {kept}", text=one_line(event.reason, 500))
        case NoticeEvent():
            return Shown("notice", f"Step {event.step}: {event.kind.replace('_', ' ')}", text=one_line(event.text, 500))
        case _:
            return None


def _response(event: ResponseEvent) -> Shown:
    received = event.received
    figures = [wording.tokens(event.usage), wording.duration(event.seconds)]
    if event.requests > 1:
        figures.append(f"{event.requests} requests")
    if event.discarded:
        figures.append("no part of the conversation")
    if event.differences:
        figures.append(f"sent back differently: {one_line(', '.join(event.differences))}")
    return Shown(
        "response",
        f"Step {event.step}",
        figures=" · ".join(figures),
        thinking=shortened(received.reasoning or "", _CHARACTERS),
        text=shortened(received.content or "", _CHARACTERS),
        calls=[ShownCall(one_line(call.name), _arguments(call.arguments)) for call in received.tool_calls],
    )


def _result(event: ToolResultEvent) -> Shown:
    figures = [] if event.exit_code is None else [f"exit {event.exit_code}"]
    figures += ["denied"] if event.denied else []
    failed = event.is_error or event.denied or bool(event.exit_code)
    title = f"{one_line(event.name)} answered"
    figures.append(wording.duration(event.seconds))
    return Shown("result", title, figures=" · ".join(figures), text=_content(event.sent), failed=failed)


def _arguments(text: str) -> list[tuple[str, str]]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return [("", shortened(text, _CHARACTERS))]
    if not isinstance(value, dict):
        return [("", shortened(text, _CHARACTERS))]
    named = cast("dict[str, Any]", value)
    return [(one_line(name), shortened(_text(part), _CHARACTERS)) for name, part in named.items()]


def message_text(message: dict[str, Any]) -> str:
    """What a message says, a picture in it as a word."""
    return _text(message.get("content", ""))


def _content(message: dict[str, Any]) -> str:
    return shortened(message_text(message), _CHARACTERS)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_part(part) for part in cast("list[Any]", value))
    return value if isinstance(value, str) else visible(json.dumps(value, indent=1, default=str))


def _part(part: Any) -> str:
    """A part of a message: its text, or that there is a picture, whose bytes nobody reads."""
    if not isinstance(part, dict):
        return visible(str(part))
    named = cast("dict[str, Any]", part)
    return str(named["text"]) if "text" in named else f"[{one_line(str(named.get('type', 'part')))}]"
