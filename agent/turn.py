"""A model's turn, and the message that goes back for it."""

import json
from dataclasses import dataclass, field
from typing import Any

from results.records.events import Received, ToolCallRecord
from results.records.usage import Usage


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
    seconds: float = 0.0
    first_token_seconds: float | None = None
    requests: int = 1

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
        )


@dataclass(frozen=True)
class SentTurn:
    """The message that stands for a turn in every later request, and where it is not what was received."""

    message: dict[str, Any]
    call_ids: tuple[str, ...]
    differences: tuple[str, ...]


def sent_turn(turn: AssistantTurn, step: int, reasoning_fields: tuple[str, ...]) -> SentTurn:
    """Fix what goes back for `turn`.

    It equals what came, but for what servers refuse in a history: a call without an id gets one, and arguments that
    are no JSON object become `{}` (llama.cpp answers 500 to them; the model reads its own text in the result).
    Thinking goes back under every name in `reasoning_fields`, since servers read different ones.
    """
    differences: list[str] = []
    message: dict[str, Any] = {"role": "assistant", "content": _content(turn)}
    if turn.reasoning is not None:
        message |= dict.fromkeys(reasoning_fields, turn.reasoning)
    calls = [_sent_call(call, f"call_{step}_{index}", differences) for index, call in enumerate(turn.tool_calls, 1)]
    if calls:
        message["tool_calls"] = calls
    return SentTurn(message, tuple(call["id"] for call in calls), tuple(differences))


def _content(turn: AssistantTurn) -> str | None:
    if turn.content is None and not turn.tool_calls:
        return ""  # llama.cpp refuses a message with neither content nor calls
    return turn.content


def _sent_call(call: ToolCall, fallback_id: str, differences: list[str]) -> dict[str, Any]:
    if not call.id:
        differences.append("missing_call_id")
    arguments = call.arguments
    if not _is_json_object(arguments):
        differences.append("arguments_not_an_object" if arguments else "empty_arguments")
        arguments = "{}"
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id or fallback_id, "type": "function", "function": function}


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
