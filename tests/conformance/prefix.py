"""Measures the prefix on rendered text: prompt N and what was generated have to be the beginning of prompt N + 1.

What is lost goes to its cause. Causes that a client can avoid are told from those that lie in the template, in the
server, or in what the protocol cannot carry.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any

from conformance.faults import Fault
from conformance.ingress import carries_reasoning
from conformance.rendering import Segment
from conformance.tokens import Tokens, common

if TYPE_CHECKING:
    from conformance.exchange import Exchange

_IMAGES = re.compile(r"<\|image:[0-9a-f]+\|>")


class Cause(Enum):
    """Why a part of the prefix is not there any more."""

    SYSTEM_CHANGED = "the system message is another"
    TOOLS_CHANGED = "the tools are others, or in another order"
    MESSAGE_CHANGED = "a user or tool message was edited"
    MESSAGE_REMOVED = "a message is gone, or has another role"
    MESSAGE_ADDED = "something stands where nothing was"
    IMAGE_CHANGED = "an image has other bytes, or another address"
    REASONING_NOT_SENT = "thinking came out, and was not sent back"
    REASONING_UNREAD = "thinking was sent back under a name that this server does not read"
    REASONING_CHANGED = "thinking was sent back altered"
    REASONING_NOT_PRESERVED = "the request does not ask for thinking before the last user message to stay"
    CONTENT_CHANGED = "content was sent back altered"
    CALLS_CHANGED = "a call is gone, added, or renamed"
    ARGUMENTS_CHANGED = "arguments were sent back altered"
    # The client cannot help these.
    REASONING_WITHHELD = "thinking did not come out of the server"
    REASONING_NOT_CARRIED = "the server takes no thinking back"
    REASONING_IGNORED = "the server drops earlier thinking, whatever is asked"
    TEMPLATE_WHITESPACE = "the template trims what the model wrote"
    TEMPLATE_ARGUMENTS = "the template writes arguments otherwise than the model"
    CALL_STRANDED = "the model left a call where no parser takes it"
    GENERATION_CUT = "the answer was cut by a limit"
    SERVER_TRUNCATED = "the server dropped messages"

    @property
    def avoidable(self) -> bool:
        """Whether the client can do something about it."""
        members = list(Cause)
        return members.index(self) < members.index(Cause.REASONING_WITHHELD)


@dataclass(frozen=True)
class Loss:
    """A difference between the prompt as it should begin and as it does."""

    cause: Cause
    message: int
    """The index in the request's messages; -1: the tools."""
    part: str
    expected: str
    found: str | None
    """None: the part is not there."""


@dataclass(frozen=True)
class PrefixReport:
    """How much of an exchange the next prompt begins with."""

    previous: int
    """The number of the exchange that this one goes on from."""
    expected_tokens: int
    lost_tokens: int
    lost_characters: int
    losses: tuple[Loss, ...]
    """In order; the first is where the cache ends."""

    @property
    def cause(self) -> Cause | None:
        """Why the prefix broke; None where it holds."""
        return self.losses[0].cause if self.losses else None

    @property
    def avoidable(self) -> tuple[Loss, ...]:
        """What the client could have avoided."""
        return tuple(loss for loss in self.losses if loss.cause.avoidable)


def predecessor(journal: Sequence["Exchange"], exchange: "Exchange") -> "Exchange | None":
    """The exchange that this one goes on from: the latest of the same conversation that is not longer."""
    key, length = _conversation(exchange), len(exchange.body["messages"])
    for other in reversed(journal):
        if other is exchange or not other.prompt or len(other.body["messages"]) > length:
            continue
        if _conversation(other) == key:
            return other
    return None


def measure(old: "Exchange", new: "Exchange", encode: Callable[[str], Tokens]) -> PrefixReport:
    """What `new` has lost of `old`."""
    expected = _expected(old, new)
    assert new.prompt is not None
    found = {segment.place: segment for segment in new.prompt.segments[:-1]}
    known = {segment.place for segment in expected}
    last = expected[-1].message if expected else -1
    losses: list[Loss] = []
    for segment in expected:
        other = found.get(segment.place)
        if other is None or not _begins(other, segment):
            cause = _cause(segment, other, old, new)
            losses.append(Loss(cause, segment.message, segment.kind, segment.text, other.text if other else None))
    for place, other in found.items():
        if other.message <= last and place not in known and other.text:
            cause = Cause.CALLS_CHANGED if other.kind == "call" else Cause.MESSAGE_ADDED
            losses.append(Loss(_no_client(old, new, other.message) or cause, other.message, other.kind, "", other.text))
    losses.sort(key=lambda loss: loss.message)
    wanted, text = "".join(segment.text for segment in expected), new.prompt_text
    shared = len(wanted) if text.startswith(wanted) else _shared(wanted, text)
    tokens = tuple(chain.from_iterable(encode(segment.text) for segment in expected))
    lost = len(tokens) - common(tokens, new.tokens) if shared < len(wanted) else 0
    return PrefixReport(old.number, len(tokens), lost, len(wanted) - shared, tuple(losses) if lost else ())


def _expected(old: "Exchange", new: "Exchange") -> list[Segment]:
    assert old.prompt is not None
    segments = list(old.prompt.segments[:-1])
    goes_on = len(new.body["messages"]) > len(old.body["messages"])
    if goes_on and old.generation and old.delivered:
        segments += [segment for segment in old.generation.segments if segment.text]
    return segments


def _begins(other: Segment, segment: Segment) -> bool:
    return other.text == segment.text or (segment.kind == "close" and other.text.startswith(segment.text))


def _conversation(exchange: "Exchange") -> str:
    first = next((message for message in exchange.body["messages"] if message.get("role") == "user"), None)
    return json.dumps(first and first.get("content"), sort_keys=True)


def _no_client(old: "Exchange", new: "Exchange", message: int) -> Cause | None:
    """The cause where nothing in a message can be the client's doing."""
    if new.truncated or old.truncated:
        return Cause.SERVER_TRUNCATED
    if message < len(old.body["messages"]) or old.generation is None:
        return None
    if old.generation.stranded:
        return Cause.CALL_STRANDED
    return Cause.GENERATION_CUT if old.generation.cut else None


def _shared(wanted: str, text: str) -> int:
    """The length of the common beginning."""
    low, high = 0, min(len(wanted), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if wanted.startswith(text[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low


def _cause(segment: Segment, other: Segment | None, old: "Exchange", new: "Exchange") -> Cause:
    if elsewhere := _no_client(old, new, segment.message):
        return elsewhere
    if segment.kind == "tools":
        return Cause.TOOLS_CHANGED
    if segment.kind == "system":
        return Cause.SYSTEM_CHANGED
    message = _message(new, segment.message)
    if message is None or (segment.kind not in ("user", "tool") and message.get("role") != "assistant"):
        return Cause.MESSAGE_REMOVED
    if segment.kind in ("user", "tool"):
        if other is None:
            return Cause.MESSAGE_REMOVED
        same = _IMAGES.sub("", segment.text) == _IMAGES.sub("", other.text)
        return Cause.IMAGE_CHANGED if same else Cause.MESSAGE_CHANGED
    if segment.kind == "reasoning":
        return _reasoning_cause(segment, other, old, new, message)
    if segment.kind == "call":
        return _call_cause(segment, other, old, message)
    if other is not None and other.text.strip() == segment.text.strip():
        return Cause.TEMPLATE_WHITESPACE
    return Cause.CONTENT_CHANGED


def _reasoning_cause(
    segment: Segment, other: Segment | None, old: "Exchange", new: "Exchange", message: dict[str, Any]
) -> Cause:
    thought = _inside(segment)
    assert new.request is not None
    seen = next((seen for seen in new.request.messages if seen.index == segment.message), None)
    received = seen.reasoning.strip() if seen else ""
    if thought and not received:
        fresh = segment.message == len(old.body["messages"])
        if not new.behaviour.reasoning.carries:
            return Cause.REASONING_NOT_CARRIED
        if carries_reasoning(message):
            return Cause.REASONING_UNREAD
        if fresh and not _came_out(old):
            return Cause.REASONING_WITHHELD
        return Cause.REASONING_NOT_SENT
    if other is None:
        asked = new.behaviour.preserve.mode == "request"
        return Cause.REASONING_NOT_PRESERVED if asked else Cause.REASONING_IGNORED
    return Cause.TEMPLATE_WHITESPACE if received == thought else Cause.REASONING_CHANGED


def _came_out(old: "Exchange") -> bool:
    form = old.behaviour.reasoning
    if Fault.REASONING_RENAMED in old.faults:
        return False
    return bool(
        form.emitted_as or form.inline or form.details or (form.signatures and old.generation and old.generation.calls)
    )


def _call_cause(segment: Segment, other: Segment | None, old: "Exchange", message: dict[str, Any]) -> Cause:
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    if other is None or segment.number >= len(calls):
        return Cause.CALLS_CHANGED
    before = _message(old, segment.message)
    if before is not None:
        emitted = before["tool_calls"][segment.number]["function"]
    else:
        assert old.generation is not None
        call = old.generation.calls[segment.number]
        emitted = {"name": call.name, "arguments": call.arguments}
    sent = calls[segment.number]["function"]
    if sent["name"] != emitted["name"]:
        return Cause.CALLS_CHANGED
    same = _canonical(sent["arguments"]) == _canonical(emitted["arguments"])
    return Cause.TEMPLATE_ARGUMENTS if same else Cause.ARGUMENTS_CHANGED


def _canonical(arguments: Any) -> str:
    """Arguments without regard to spaces; the order of keys counts."""
    try:
        return json.dumps(json.loads(arguments) if isinstance(arguments, str) else arguments)
    except ValueError:
        return str(arguments)


def _inside(segment: Segment) -> str:
    return segment.text.removeprefix("<think>").split("</think>")[0].strip()


def _message(exchange: "Exchange", index: int) -> dict[str, Any] | None:
    messages: list[dict[str, Any]] = exchange.body["messages"]
    return messages[index] if 0 <= index < len(messages) else None
