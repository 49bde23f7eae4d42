"""Why a prompt leaves the one before it: a closed list of causes, each with what can be done about it.

Found for each kind of part by comparing three things: what the model wrote, what was sent back for it, and what the
template made of that. Where the first two differ it was the client, and it can be avoided.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.prefix.parts import Argument, Call, Parts, message_parts
from agent.prefix.renderers import Message

Cause = Literal[
    "reasoning_dropped",
    "reasoning_changed",
    "trimmed_whitespace",
    "arguments_reordered",
    "array_spacing",
    "python_boolean",
    "number_rewritten",
    "string_newline_stripped",
    "arguments_unreadable",
    "call_moved_out_of_thinking",
    "call_moved_out_of_content",
    "system_changed",
    "tools_changed",
    "history_edited",
    "old_thinking_dropped_by_template",
    "template_trims",
    "other",
]

_TOKEN_OF_JSON = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[^\s"\']+')
_PYTHON_WORD = re.compile(r"\b(True|False|None)\b")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_BY_TEMPLATE: dict[Cause, Cause] = {"trimmed_whitespace": "template_trims", "history_edited": "other"}
"""What a difference is called that is no work of the client."""
_JSON_STRING = re.compile(r'"(?:\\.|[^"\\])*"')


@dataclass(frozen=True)
class Finding:
    """A cause, and whether a client can avoid it."""

    cause: Cause
    avoidable: bool


@dataclass(frozen=True)
class Place:
    """Where in a turn: in its thinking, its text, or one of its calls, and there in one argument, if in any."""

    part: Literal["reasoning", "content", "call"]
    call: int = 0
    number: int | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Its position among the parts of a turn."""
        return ("reasoning", "content", "call").index(self.part), self.call


def client_change(written: Parts, sent: Parts) -> tuple[Place, Finding] | None:
    """The first part that went back as something else than the model wrote."""
    if (cause := _changed_reasoning(written, sent)) is not None:
        return Place("reasoning"), cause
    if (cause := _changed_content(written, sent)) is not None:
        return Place("content"), cause
    for number, call in enumerate(written.calls):
        back = sent.calls[number] if number < len(sent.calls) else None
        if (cause := _changed_call(call, back)) is not None:
            return Place("call", number), cause
    if len(sent.calls) > len(written.calls):
        return Place("call", len(written.calls)), Finding("history_edited", avoidable=True)
    return None


def template_change(written: Parts, place: Place, rendered: str) -> Finding:
    """Why a template writes a part differently that went back as it came; `rendered` is what it makes of it."""
    if place.part != "call":
        text = written.reasoning if place.part == "reasoning" else written.content
        trimmed = _without_space(rendered).startswith(_without_space(text))
        return Finding("template_trims" if trimmed else "other", avoidable=False)
    call = written.calls[place.call]
    if place.number is None:
        return _rewritten_object(call, rendered)
    cause = _rewritten_value((call.arguments or ())[place.number], rendered)
    return Finding(_BY_TEMPLATE.get(cause, cause), avoidable=False)


def message_change(before: Message, after: Message | None) -> Finding:
    """Why a message is not what it was in the request before."""
    if after is None or before["role"] != after["role"]:
        return Finding("history_edited", avoidable=True)
    if before["role"] == "system":
        return Finding("system_changed", avoidable=True)
    if before["role"] == "assistant" and (change := client_change(message_parts(before), message_parts(after))):
        return Finding(change[1].cause, avoidable=True)
    return Finding("history_edited", avoidable=True)


def _changed_reasoning(written: Parts, sent: Parts) -> Finding | None:
    before, after = written.reasoning, sent.reasoning
    if before == after:
        return None
    if "<tool_call>" in before and "<tool_call>" not in after and len(sent.calls) > len(written.calls):
        return Finding("call_moved_out_of_thinking", avoidable=False)
    if before.strip() and not after.strip():
        return Finding("reasoning_dropped", avoidable=True)
    return Finding("trimmed_whitespace" if before.strip() == after.strip() else "reasoning_changed", avoidable=True)


def _changed_content(written: Parts, sent: Parts) -> Finding | None:
    before, after = written.content, sent.content
    if before == after:
        return None
    if "<tool_call>" in before and "<tool_call>" not in after and len(sent.calls) > len(written.calls):
        return Finding("call_moved_out_of_content", avoidable=False)
    return Finding("trimmed_whitespace" if before.strip() == after.strip() else "history_edited", avoidable=True)


def _changed_call(written: Call, sent: Call | None) -> Finding | None:
    if written.arguments is None:
        return Finding(_unreadable(written.text), avoidable=False)
    if sent is None or sent.arguments is None or written.name != sent.name:
        return Finding("history_edited", avoidable=True)
    if written.keys != sent.keys:
        reordered = sorted(written.keys) == sorted(sent.keys)
        return Finding("arguments_reordered" if reordered else "history_edited", avoidable=True)
    for before, after in zip(written.arguments, sent.arguments, strict=True):
        if before.text != after.text or isinstance(before.value, str) != isinstance(after.value, str):
            return Finding(_rewritten_value(before, after.text), avoidable=True)
    return None


def _unreadable(text: str) -> Cause:
    """Arguments that are no JSON object: because of Python's words for true, false and null alone, or anyhow."""
    json_words = _PYTHON_WORD.sub(lambda match: _PYTHON_WORDS[match[0]], text)
    try:
        json.loads(json_words)
    except (ValueError, RecursionError):
        return "arguments_unreadable"
    return "python_boolean"


def _rewritten_object(call: Call, rendered: str) -> Finding:
    """All arguments of a call as one JSON object, or parameters that come in another order."""
    positions = [rendered.find(key) for key in call.keys]
    if -1 not in positions and positions != sorted(positions):
        return Finding("arguments_reordered", avoidable=False)
    return Finding(_respelled(call.text, rendered), avoidable=False)


def _rewritten_value(written: Argument, other: str) -> Cause:
    """What became of one argument."""
    if not isinstance(written.value, str):
        return _respelled(written.raw, other)
    if written.value == other:
        return "other"
    if written.value.strip("\r\n") == other.strip("\r\n"):
        return "string_newline_stripped"
    return "trimmed_whitespace" if written.value.strip() == other.strip() else "history_edited"


def _respelled(written: str, other: str) -> Cause:
    """How two spellings of one JSON value differ."""
    if _python_words(other) != _python_words(written):
        return "python_boolean"
    ours, theirs = _TOKEN_OF_JSON.findall(written), _TOKEN_OF_JSON.findall(other)
    if "".join(ours) == "".join(theirs):
        return "array_spacing"
    return "number_rewritten" if _same_value(written, other) else "other"


def _python_words(text: str) -> Sequence[str]:
    return _PYTHON_WORD.findall(_JSON_STRING.sub("", text))


def _same_value(written: str, other: str) -> bool:
    values: list[Any] = []
    for text in (written, other):
        try:
            values.append(json.loads(text))
        except (ValueError, RecursionError):
            return False
    return values[0] == values[1]


def _without_space(text: str) -> str:
    return "".join(text.split())
