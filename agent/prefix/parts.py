"""A model's turn in its parts, in the order in which a template writes them: thinking, text, calls."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent.conversation import sendable
from agent.prefix.renderers import REASONING_NAMES, Message
from results.records.events import Received

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Argument:
    """One argument of a call. `raw` is its JSON as it is written in the arguments, spaces and all."""

    key: str
    raw: str
    value: Any

    @property
    def text(self) -> str:
        """How a template that writes strings raw has it from the model."""
        return self.value if isinstance(self.value, str) else self.raw


@dataclass(frozen=True)
class Call:
    """A call. `arguments` is None where they cannot be read."""

    name: str
    text: str
    arguments: tuple[Argument, ...] | None

    @property
    def keys(self) -> list[str]:
        """The names of its arguments, in their order."""
        return [argument.key for argument in self.arguments or ()]


@dataclass(frozen=True)
class Parts:
    """A turn. What did not come is empty."""

    reasoning: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()
    cut: bool = False
    """Whether the model was stopped before it had ended the turn."""


@dataclass(frozen=True)
class Habits:
    """Where a server hands on the white space that stands between the parts of a turn.

    A server that takes it away never shows any, so one turn with some is proof; and then a turn without is proof that
    the model wrote none.
    """

    behind_reasoning: bool = False
    before_content: bool = False
    behind_content: bool = False

    @classmethod
    def of(cls, turns: Iterable[Parts]) -> "Habits":
        """What can be seen in these turns."""
        seen = list(turns)
        return cls(
            any(turn.reasoning[-1:].isspace() for turn in seen),
            any(turn.content[:1].isspace() for turn in seen),
            any(turn.content[-1:].isspace() for turn in seen if turn.calls),
        )


def received_parts(received: Received) -> Parts:
    """What the model wrote, as far as the server tells."""
    reasoning, content = received.reasoning, received.content or ""
    if reasoning is None:
        reasoning, content = _without_inline_thinking(content)
    calls = tuple(_call(call.name, call.arguments) for call in received.tool_calls)
    return Parts(sendable(reasoning), sendable(content), calls, cut=received.finish_reason == "length")


def message_parts(message: Message) -> Parts:
    """What an assistant message of a request says that the model wrote."""
    content = _text(message.get("content"))
    reasoning = next((message[name] for name in REASONING_NAMES if isinstance(message.get(name), str)), None)
    if reasoning is None:
        reasoning, content = _without_inline_thinking(content)
    written = cast("list[Mapping[str, Any]]", message.get("tool_calls") or [])
    calls = [cast("Mapping[str, Any]", call.get("function", {})) for call in written]
    return Parts(reasoning, content, tuple(_call(str(call.get("name")), call.get("arguments", "")) for call in calls))


def read_arguments(text: str) -> tuple[Argument, ...] | None:
    """The arguments in a JSON object, each as it is written; None for what is no JSON object."""
    try:
        if not isinstance(json.loads(text), dict):
            return None
        return tuple(_scan(text))
    except (ValueError, RecursionError, IndexError):
        return None


def _scan(text: str) -> Iterable[Argument]:
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "}":
        key, position = _DECODER.raw_decode(text, position)
        start = _skip(text, _skip(text, position) + 1)
        value, end = _DECODER.raw_decode(text, start)
        yield Argument(key, text[start:end], value)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position


def _call(name: str, arguments: Any) -> Call:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Call(sendable(name), sendable(text), read_arguments(sendable(text) if text.strip() else "{}"))


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = cast("list[Mapping[str, Any]]", content)
        return "".join(str(part.get("text") or "") for part in parts)
    return content if isinstance(content, str) else ""


def _without_inline_thinking(content: str) -> tuple[str, str]:
    """The thinking that stands in front of `</think>`, without the line ends that belong to the tags; and the rest."""
    before, tag, after = content.partition("</think>")
    if not tag:
        return "", content
    return before.removeprefix("<think>").removeprefix("\n").removesuffix("\n"), after.removeprefix("\n\n")
