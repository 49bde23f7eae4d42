"""Renders messages as the model would see them, with Qwen3.6's rules.

Thinking is kept behind the last real user message, before it only where it is preserved; texts are trimmed;
arguments are written anew (strings as they are, all else as JSON); preserved and absent thinking is an empty block.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).with_name("chat_template.jinja")
CLOSE = "<|im_end|>"

PartKind = Literal["tools", "system", "user", "tool", "open", "reasoning", "content", "call", "close"]

_WRAPPED = re.compile(r"<tool_response>.*</tool_response>", re.DOTALL)


class Segment(NamedTuple):
    """One part of a prompt: what it is, the message it comes from (-1: the tools), its number among its like."""

    message: int
    kind: PartKind
    number: int
    text: str

    @property
    def place(self) -> tuple[int, str, int]:
        """What tells it from the other segments of a prompt."""
        return self[:3]


class SeenCall(NamedTuple):
    """A call in the history, as it reaches the template."""

    name: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Seen:
    """A message as it reaches the template. `index` counts the messages of the request."""

    index: int
    role: str
    text: str
    reasoning: str = ""
    calls: tuple[SeenCall, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A rendered request."""

    segments: tuple[Segment, ...]
    thinking: bool

    @property
    def text(self) -> str:
        """What the model reads."""
        return "".join(segment.text for segment in self.segments)


def render(messages: Sequence[Seen], tools: Sequence[Any], *, thinking: bool, preserve: bool) -> Prompt:
    """The prompt for a next assistant turn."""
    segments: list[Segment] = []
    system = messages[0] if messages and messages[0].role == "system" else None
    if tools:
        lines = tuple(json.dumps(tool, ensure_ascii=False) for tool in tools)
        segments.append(Segment(-1, "tools", 0, _piece("tools", lines)))
    if system or tools:
        text = system.text.strip() if system else ""
        segments.append(Segment(0 if system else -1, "system", 0, _piece("system", text, not tools)))
    last_question = _last_question(messages)
    for place in range(len(messages)):
        segments += _message(messages, place, keeps=preserve or place > last_question)
    opening = _piece("opening") + ("<think>\n" if thinking else _piece("thinking", ""))
    segments.append(Segment(len(messages), "open", 0, opening))
    return Prompt(tuple(segments), thinking)


def assistant_segments(index: int, reasoning: str | None, content: str, calls: Sequence[str]) -> list[Segment]:
    """An assistant turn of parts that are already written; `reasoning` None: no think block."""
    segments = [Segment(index, "open", 0, _piece("opening"))]
    if reasoning is not None:
        segments.append(Segment(index, "reasoning", 0, _piece("thinking", reasoning)))
    segments.append(Segment(index, "content", 0, content))
    segments += [Segment(index, "call", number, text) for number, text in enumerate(calls)]
    return segments


def write_call(name: str, parameters: Sequence[tuple[str, str]], *, first: bool, after_text: bool) -> str:
    """A call as the model writes it."""
    return _piece("call", name, tuple(parameters), first, after_text)


def parameters_of(arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Arguments as the template writes them."""
    return tuple(
        (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in arguments.items()
    )


def _message(messages: Sequence[Seen], place: int, *, keeps: bool) -> list[Segment]:
    message = messages[place]
    text = message.text.strip()
    if message.role == "user":
        return [Segment(message.index, "user", 0, _piece("user", text))]
    if message.role == "tool":
        opens = place == 0 or messages[place - 1].role != "tool"
        closes = place + 1 == len(messages) or messages[place + 1].role != "tool"
        return [Segment(message.index, "tool", 0, _piece("tool", text, opens, closes))]
    if message.role != "assistant":
        return []
    calls = [
        write_call(call.name, call.parameters, first=not number, after_text=bool(text))
        for number, call in enumerate(message.calls)
    ]
    segments = assistant_segments(message.index, message.reasoning.strip() if keeps else None, text, calls)
    return [*segments, Segment(message.index, "close", 0, CLOSE + "\n")]


def _last_question(messages: Sequence[Seen]) -> int:
    """The place of the last user message that is a person's: not one wrapped as the answer of a tool."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user" and not _WRAPPED.fullmatch(messages[place].text.strip()):
            return place
    return -1


@lru_cache(8192)
def _piece(name: str, *values: Any) -> str:
    return str(getattr(_macros(), name)(*values))


@lru_cache(1)
def _macros() -> Any:
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).module
