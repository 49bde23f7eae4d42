"""A model's turn, and the message that goes back for it."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

from agent.conversation import sendable
from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.dialect import Dialect
from results.records.events import Received, ToolCallRecord
from results.records.usage import Usage

IN_CONTENT = "content"
"""The `reasoning_field` of thinking that came as `<think>` within the content."""


@dataclass(frozen=True)
class ToolCall:
    """A call as the model wrote it; `arguments` is its text, byte for byte."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class AssistantTurn:
    """One response, as it was received. None for a field that did not come, "" for one that came empty."""

    reasoning: str | None = None
    reasoning_field: str | None = None
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    """Of all `requests`: a failed one has been paid for as well."""
    answer_usage: Usage = field(default_factory=Usage)
    """Of the one that was answered: how long the prompt was, and how much was written."""
    first_token_seconds: float | None = None
    requests: int = 1
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    """What behaviours of the dialect collected, to send it back."""
    stopped: str | None = None
    """Why the response was broken off by us: thinking that does not end."""

    @property
    def is_cut(self) -> bool:
        """Whether the output limit ended it."""
        return self.finish_reason == "length"

    def received(self) -> Received:
        """The record of what came."""
        return Received(
            reasoning=self.reasoning,
            reasoning_field=self.reasoning_field,
            content=self.content,
            tool_calls=[
                ToolCallRecord(id=call.id, name=call.name, arguments=call.arguments) for call in self.tool_calls
            ],
            finish_reason=self.finish_reason,
            extras=self.extras,
        )


@dataclass(frozen=True)
class SentCall:
    """A call as it stands in the conversation, and what it asks for."""

    id: str
    written: ToolCall
    sent_arguments: str
    arguments: dict[str, Any]
    problem: str | None = None
    """Why the arguments cannot be read, so that `{}` is sent in their place and nothing may be run."""


@dataclass(frozen=True)
class SentTurn:
    """The message that stands for a turn in every later request, and where it is not what was received."""

    message: dict[str, Any]
    calls: tuple[SentCall, ...]
    differences: tuple[str, ...]


def sent_turn(turn: AssistantTurn, step: int, dialect: Dialect) -> SentTurn:
    """Fix what goes back for `turn`.

    It equals what came, but for what servers refuse in a history: a call without an id of its own gets one;
    arguments that are no JSON object become `{}` (llama.cpp answers 500 to them; the model reads its own text in the
    result); half a character becomes U+FFFD; and a turn with neither content nor calls has an empty content.
    Thinking goes back under every name that the dialect states, since servers read different ones; then its
    behaviours change what they have to.
    """
    differences: list[str] = []
    message: dict[str, Any] = {"role": "assistant", "content": _content(turn, differences)}
    _add_reasoning(message, turn, dialect, differences)
    calls = _sent_calls(turn.tool_calls, step, differences)
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _whole(call.written.name, differences), "arguments": call.sent_arguments},
            }
            for call in calls
        ]
    for name in dialect.behaviours:
        BEHAVIOURS[name]().send(message, turn, differences)
    return SentTurn(message, calls, tuple(differences))


def _add_reasoning(message: dict[str, Any], turn: AssistantTurn, dialect: Dialect, differences: list[str]) -> None:
    if turn.reasoning is None:
        return
    reasoning = _whole(turn.reasoning, differences)
    stays = turn.reasoning_field == IN_CONTENT and dialect.reasoning.inline == "keep"
    if dialect.reasoning.sent_inline or stays:
        message["content"] = f"<think>\n{reasoning}\n</think>\n\n{message['content'] or ''}"
    if stays:  # under a name as well, a template would render it twice
        return
    if turn.reasoning_field == IN_CONTENT:
        differences.append("inline_thinking")
    if dialect.reasoning.sent_inline:
        differences.append("reasoning_sent_inline")
    message |= dict.fromkeys(dialect.reasoning.sent, reasoning)


def _content(turn: AssistantTurn, differences: list[str]) -> str | None:
    if turn.content is not None:
        return _whole(turn.content, differences)
    if turn.tool_calls:
        return None
    differences.append("no_content")  # llama.cpp refuses a message with neither content nor calls
    return ""


def _whole(text: str, differences: list[str]) -> str:
    whole = sendable(text)
    if whole != text:
        differences.append("lone_surrogate")
    return whole


def _sent_calls(calls: tuple[ToolCall, ...], step: int, differences: list[str]) -> tuple[SentCall, ...]:
    given = {call.id for call in calls}
    used: set[str] = set()
    sent: list[SentCall] = []
    for number, call in enumerate(calls, 1):
        call_id = _whole(call.id, differences)
        if not call_id or call_id in used:
            differences.append("repeated_call_id" if call_id else "missing_call_id")
            call_id = f"call_{step}_{number}"
            while call_id in given:
                call_id += "_"
        used.add(call_id)
        sent.append(_sent_call(call, call_id, differences))
    return tuple(sent)


def _sent_call(call: ToolCall, call_id: str, differences: list[str]) -> SentCall:
    if not call.arguments.strip():
        differences.append("empty_arguments")
        return SentCall(call_id, call, "{}", {})
    try:
        return SentCall(call_id, call, call.arguments, _read_object(call.arguments))
    except ValueError as error:
        differences.append("arguments_not_an_object")
        return SentCall(call_id, call, "{}", {}, problem=str(error))


def _read_object(text: str) -> dict[str, Any]:
    """Read a JSON object as strictly as servers do. Raises ValueError."""
    try:
        value: Any = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # no infinity, and no half of a character
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - the text is wrong, not a type of ours
    return cast("dict[str, Any]", value)
