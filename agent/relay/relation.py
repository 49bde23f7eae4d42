"""What a request is to those before it: which conversation it goes on with, and whether it leaves that as it was.

An agent may hold several conversations, one after the other or side by side, and nothing on the wire names them. They
are told apart by what they begin with.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.prefix.causes import message_change
from results.records.relay import Relation

_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True)
class Said:
    """Messages and tools of a request, with the bytes by which they are compared."""

    messages: Sequence[dict[str, Any]]
    tools: Sequence[dict[str, Any]]
    encoded: tuple[bytes, ...]
    encoded_tools: bytes

    @classmethod
    def of(cls, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> "Said":
        """The order of keys counts, since templates write objects as they come; the spaces between them do not."""
        return cls(messages, tools, tuple(_encoded(message) for message in messages), _encoded(tools))

    @property
    def opening(self) -> int:
        """How many messages stand before the first that is not the system's."""
        return next(
            (number for number, one in enumerate(self.messages) if one["role"] not in _INSTRUCTING), len(self.messages)
        )


@dataclass(frozen=True)
class Continuation:
    """How a request goes on with the one before it in its conversation."""

    relation: Relation
    kept: int
    """Messages, from the first, that are the same."""
    cause: str = ""


def continuation(before: Said, now: Said, first: int) -> Continuation | None:
    """How `now` goes on with `before`; None where it is of another conversation.

    `first`: how many messages the first request of that conversation had. Two conversations may begin alike, so that
    what they share of that says nothing; what was said since then is of one conversation alone.
    """
    kept = _common(before.encoded, now.encoded)
    whole = kept == len(before.encoded)
    if whole and before.encoded_tools == now.encoded_tools:
        return Continuation("extends" if len(now.encoded) > kept else "repeats", kept)
    if whole:  # the same with other tools, and nothing more, is a question beside it
        return Continuation("changes", kept, "tools_changed") if len(now.encoded) > kept else None
    if _is_same_work(before, now, first):
        return Continuation("changes", kept, "system_changed")
    since = zip(before.encoded[first:], now.encoded[first:], strict=False)
    if kept >= first or any(one == other for one, other in since):
        after = now.messages[kept] if kept < len(now.messages) else None
        return Continuation("changes", kept, message_change(dict(before.messages[kept]), after).cause)
    return None


def closest(befores: Iterable[tuple[int, Said, int]], now: Said) -> tuple[int, Continuation] | None:
    """Which of several conversations `now` goes on with: the one of which it keeps most.

    Of each: its number, its last request, and how many messages its first one had.
    """
    found = [(number, one) for number, said, first in befores if (one := continuation(said, now, first)) is not None]
    return max(found, key=lambda one: (one[1].relation != "changes", one[1].kept, one[0]), default=None)


def _is_same_work(before: Said, now: Said, first: int) -> bool:
    """Whether they go on alike behind what the system says, and that alone is another."""
    if before.encoded[: before.opening] == now.encoded[: now.opening]:
        return False
    work, more = before.encoded[before.opening :], now.encoded[now.opening :]
    shared, begun = _common(work, more), first - before.opening
    return shared > begun or begun <= shared == len(work) < len(more)


def _common(left: Sequence[bytes], right: Sequence[bytes]) -> int:
    return next(
        (number for number, (one, other) in enumerate(zip(left, right, strict=False)) if one != other),
        min(len(left), len(right)),
    )


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
