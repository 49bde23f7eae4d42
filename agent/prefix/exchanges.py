"""The requests of a trajectory, each with its messages exactly as they were sent, and what came of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from pydantic import BaseModel

from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.dialects.registry import GENERIC, DialectError, load_dialect
from agent.prefix.renderers import Message
from agent.redaction import REDACTED
from agent.request import request_head
from agent.turn import AssistantTurn, ToolCall, sent_turn
from results.records.events import (
    Event,
    MessageEvent,
    Received,
    RequestEvent,
    ResponseEvent,
    SegmentEvent,
    StartEvent,
    ToolResultEvent,
)

FLAG_NAMES = ("enable_thinking", "preserve_thinking", "reasoning_effort")
"""Template flags that some dialects send beside the messages, and others within `chat_template_kwargs`."""


class ExchangeError(ValueError):
    """The events are no trajectory of requests; the message says what is missing."""


class Bodies(BaseModel):
    """Whether the body of each request begins with the body of the one before it, within a segment.

    `proved`: every body was put together anew, message by message, and has the recorded hash. `lengths`: the bodies
    cannot be put together, but each is longer than the one before by what was appended. `broken`: neither.
    `unknown`: nothing to check.
    """

    status: Literal["proved", "lengths", "broken", "unknown"]
    step: int | None = None
    """The first request that is not what it should be."""
    detail: str = ""


@dataclass(frozen=True)
class Exchange:
    """A request, and what the model generated for it."""

    step: int
    messages: tuple[Message, ...]
    tools: Sequence[Mapping[str, Any]]
    flags: Mapping[str, Any]
    """What the template is told beside messages and tools."""
    received: Received | None = None
    """None: nothing came, or it is no part of the conversation."""
    prompt_tokens: int | None = None
    segment: int = 1


@dataclass
class Recorded:
    """What a trajectory holds."""

    exchanges: list[Exchange]
    bodies: Bodies
    skipped: int = 0
    """How many requests stand apart, their messages not recorded: those that ask for a summary."""


def recorded_exchanges(events: Iterable[Event], preserve: bool | None = None) -> Recorded:
    """Rebuild every request of a trajectory.

    `preserve` takes the place of what was sent as `preserve_thinking`, to see what the other choice would have cost.
    Raises ExchangeError for a trajectory without a start.
    """
    rebuilding: _Rebuilding | None = None
    for event in events:
        if rebuilding is not None:
            rebuilding.take(event)
        elif isinstance(event, StartEvent):
            rebuilding = _Rebuilding(event, preserve)
    if rebuilding is None:
        raise ExchangeError("there is no start event in it, so it is no trajectory of an agent")
    return rebuilding.recorded()


def template_flags(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """What reaches the template of the fields of a request."""
    direct = {name: sampling[name] for name in FLAG_NAMES if name in sampling}
    return {**direct, **cast("dict[str, Any]", sampling.get("chat_template_kwargs") or {})}


@dataclass
class _Rebuilding:
    start: StartEvent
    preserve: bool | None
    messages: list[Message] = field(default_factory=list[Message])
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    segment: int = 1
    skipped: int = 0
    pending: bool = False
    """Whether the last exchange waits for its response."""

    def __post_init__(self) -> None:
        sampling = {} if self.start.backend is None else self.start.backend.sampling
        self.flags = template_flags(sampling)
        if self.preserve is not None:
            self.flags["preserve_thinking"] = self.preserve
        self.bodies = _BodyCheck(self.start)

    def take(self, event: Event) -> None:
        """Go on by one event."""
        match event:
            case MessageEvent() | ToolResultEvent():
                self._append(event.sent)
            case RequestEvent():
                self._request(event)
            case ResponseEvent():
                self._response(event)
            case SegmentEvent():
                self.segment += 1
                self.messages = []
                self.bodies.begin()
            case _:
                pass

    def recorded(self) -> Recorded:
        """What came of it."""
        return Recorded(self.exchanges, self.bodies.result(), self.skipped)

    def _append(self, message: Message) -> None:
        self.messages.append(message)
        self.bodies.append(message)

    def _request(self, event: RequestEvent) -> None:
        self.pending = event.messages == len(self.messages)
        if not self.pending:
            self.skipped += 1
            return
        self.bodies.check(event)
        self.exchanges.append(
            Exchange(event.step, tuple(self.messages), self.start.tools, self.flags, segment=self.segment)
        )

    def _response(self, event: ResponseEvent) -> None:
        if self.pending:
            received = None if event.discarded else event.received
            # Of several requests for one response the tokens were added up.
            tokens = event.usage.prompt_tokens if event.requests == 1 else None
            self.exchanges[-1] = replace(self.exchanges[-1], received=received, prompt_tokens=tokens)
        self.pending = False
        if not event.discarded:
            self._append(_sent_message(event, self.start))


def _sent_message(event: ResponseEvent, start: StartEvent) -> Message:
    """The message that went back for a response: as recorded, or where it is not, made as it was then."""
    if event.sent is not None:
        return event.sent
    received = event.received
    turn = AssistantTurn(
        reasoning=received.reasoning,
        reasoning_field=received.reasoning_field,
        content=received.content,
        tool_calls=tuple(ToolCall(call.id, call.name, call.arguments) for call in received.tool_calls),
        finish_reason=received.finish_reason,
        extras=received.extras,
    )
    return sent_turn(turn, event.step, _dialect(start)).message


def _dialect(start: StartEvent) -> Dialect:
    """The dialect of then. One that is not here any more is taken for the generic one; the hashes tell if that fits."""
    try:
        return load_dialect(GENERIC if start.backend is None else start.backend.dialect)
    except DialectError:
        return load_dialect(GENERIC)


class _BodyCheck:
    """Puts the bodies of the requests together anew, and compares them with what was recorded of them."""

    def __init__(self, start: StartEvent) -> None:
        self._start = start
        self._checked = 0
        self._hashes = True
        self._secret = False
        self._broken: int | None = None
        self.begin()

    def begin(self) -> None:
        """A new segment."""
        head = {} if self._start.backend is None else request_head(self._start.backend)
        self._conversation = Conversation(head, self._start.tools)
        self._offset: int | None = None

    def append(self, message: Message) -> None:
        """A message more."""
        self._secret = self._secret or REDACTED in str(message)
        self._conversation.append(message)

    def check(self, event: RequestEvent) -> None:
        """A request went out."""
        self._checked += 1
        same = self._conversation.request_sha256() == event.sha256
        offset = event.bytes - self._conversation.request_bytes
        # What could be put together once can be put together again, unless something has changed.
        changed = (self._hashes and not same) if self._checked > 1 else False
        grown = self._offset is None or offset == self._offset
        if (changed or not grown) and self._broken is None:
            self._broken = event.step
        self._hashes = self._hashes and same
        self._offset = offset

    def result(self) -> Bodies:
        """What was found."""
        if not self._checked:
            return Bodies(status="unknown", detail="there are no requests in it")
        if self._hashes:
            return Bodies(status="proved")
        if self._secret:
            detail = "a secret was taken out of the recorded messages, so the bodies cannot be put together"
            return Bodies(status="unknown", detail=detail)
        if self._broken is None:
            return Bodies(status="lengths")
        detail = "its body is not the one before and the recorded messages: something that was sent before has changed"
        return Bodies(status="broken", step=self._broken, detail=detail)
