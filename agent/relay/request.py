"""A chat request of somebody else's agent: what it says, and the body that goes on to the backend.

The body stays as it came, byte for byte. Fields that it lacks are put in front of those that it has.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.conversation import encode

USAGE_OPTION = "stream_options"
_LENGTH_OPTIONS = frozenset({"max_tokens", "max_completion_tokens", "n_predict", "num_predict"})
"""One limit by many names: where an agent has one of them, a second would be refused, or contradict it."""


class RelayRefusal(Exception):  # noqa: N818 - it is an answer
    """A request that the relay answers itself, with an error as the protocol spells it."""

    def __init__(self, message: str, *, status: int = 400, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """The error."""
        kind = "insufficient_quota" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}


@dataclass(frozen=True)
class ChatRequest:
    """What a request says."""

    body: bytes
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    settings: dict[str, Any]
    """Everything beside messages and tools."""

    @property
    def streamed(self) -> bool:
        """Whether the answer is to come as a stream."""
        return self.settings.get("stream") is True

    def lacking(self, stated: Mapping[str, Any]) -> dict[str, Any]:
        """What of `stated` the request does not say itself; and that a stream shall end with its counts."""
        said = set(self.settings)
        lacking = {
            name: value
            for name, value in stated.items()
            if name not in said and not (name in _LENGTH_OPTIONS and said & _LENGTH_OPTIONS)
        }
        if self.streamed and USAGE_OPTION not in said:
            lacking[USAGE_OPTION] = {"include_usage": True}
        return lacking

    def overridden(self, stated: Mapping[str, Any]) -> list[str]:
        """The names of what the request says otherwise than `stated`."""
        return sorted(name for name, value in stated.items() if self.settings.get(name, value) != value)

    def body_with(self, more: Mapping[str, Any]) -> bytes:
        """The body with `more` in front, and everything else as it came."""
        if not more:
            return self.body
        begin = self.body.index(b"{") + 1
        return self.body[:begin] + encode(more)[1:-1] + b"," + self.body[begin:]


def read_request(body: bytes) -> ChatRequest:
    """Read a body. Raises RelayRefusal for what a server could understand in several ways, or not at all."""
    try:
        read: Any = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        message = f"the body is no JSON that every server reads alike: {error}"
        raise RelayRefusal(message) from error
    if not isinstance(read, dict):
        raise RelayRefusal("the body is no JSON object")
    fields = cast("dict[str, Any]", read)
    messages = _objects(fields.get("messages"), "messages")
    if not messages or not all(isinstance(message.get("role"), str) for message in messages):
        raise RelayRefusal("messages: at least one is needed, and each needs a role")
    tools = [] if fields.get("tools") is None else _objects(fields["tools"], "tools")
    settings = {name: value for name, value in fields.items() if name not in ("messages", "tools")}
    return ChatRequest(body, messages, tools, settings)


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in cast("list[Any]", value)):
        message = f"{name}: a list of objects is needed"
        raise RelayRefusal(message)
    return cast("list[dict[str, Any]]", value)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which no name stands twice: of two, servers take different ones, and this looks at one."""
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return read


def _no_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise ValueError(message)
