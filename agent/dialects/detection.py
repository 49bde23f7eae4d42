"""Recognises a server's family: by its host name, or else by the signs that the dialects state.

A server that shows no sign is `generic`, and the reason says what it did show; a guess would send it flags and
fields that it drops in silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.dialects.asking import Asked, Reply, Server
from agent.dialects.dialect import Dialect, Sign
from agent.dialects.patterns import matches_any, values_at
from agent.dialects.registry import GENERIC, all_dialects
from results.visible_text import one_line

_SHOWN = 60


@dataclass(frozen=True)
class Detected:
    """A dialect's name, and how it was recognised, in a few words."""

    name: str
    how: str


def detect(server: Server) -> Detected:
    """Which dialect the server speaks. Asks it, at its own address only, for the signs of every dialect at once."""
    dialects = all_dialects()
    for dialect in dialects:
        if matches_any(dialect.detection.hosts, server.host):
            return Detected(dialect.name, f"recognised by its host name, {server.host}")
    ordered = in_order([dialect for dialect in dialects if dialect.detection.signs])
    unanswered = server.ask_all(asked for dialect in ordered for asked in _questions(dialect.detection.signs))
    for dialect in ordered:
        for sign in dialect.detection.signs:
            if (seen := _shows(server, sign)) is not None:
                return Detected(dialect.name, f"recognised by {seen}")
    return Detected(GENERIC, _why_generic(server, unanswered))


def in_order(dialects: Sequence[Dialect]) -> list[Dialect]:
    """The dialects in the order in which they are tried: each before those that it names in `before`."""
    left, ordered = list(dialects), list[Dialect]()
    while left:
        # One that waits for nobody; in a circle there is none, and the first has to do.
        first = next((one for one in left if not any(one.name in other.detection.before for other in left)), left[0])
        left.remove(first)
        ordered.append(first)
    return ordered


def _questions(signs: Sequence[Sign]) -> Iterator[Asked]:
    for sign in signs:
        yield Asked(sign.url)
        yield from _questions(sign.also)


def _shows(server: Server, sign: Sign) -> str | None:
    """What it shows of that sign, in words; None where a part of it is missing."""
    reply = server.said(Asked(sign.url))
    seen = None if reply is None else _seen(reply, sign)
    if seen is None or any(_shows(server, more) is None for more in sign.also):
        return None
    return f"{seen} of {sign.url}"


def _seen(reply: Reply, sign: Sign) -> str | None:
    if sign.header is not None:
        value = reply.headers.get(sign.header.lower())
        return _matched(f"the header {sign.header}", [] if value is None else [value], sign.says)
    if not reply.is_good:
        return None
    if sign.lacks is not None and (reply.json is None or list(values_at(reply.json, sign.lacks))):
        return None
    if sign.at is not None:
        return _matched(sign.at, list(values_at(reply.json, sign.at)), sign.says)
    if sign.says is not None:
        return _matched("the text", [reply.text], sign.says)
    return "what is missing"


def _matched(where: str, values: Sequence[object], says: str | None) -> str | None:
    if says is None:
        return where if values else None
    texts = [str(value) for value in values if isinstance(value, str | int | float)]
    found = next((text for text in texts if matches_any((says,), text)), None)
    return None if found is None else f'"{one_line(found, _SHOWN)}" at {where}'


def _why_generic(server: Server, unanswered: Sequence[Asked]) -> str:
    owners = sorted({one_line(owner, _SHOWN) for owner in _owners(server) if isinstance(owner, str)})
    why = "no sign of a family that is known"
    if owners:
        why += f"; its models are owned by {', '.join(owners[:5])}"
    if unanswered:
        why += f"; no answer to {', '.join(asked.place for asked in unanswered)}"
    return why


def _owners(server: Server) -> Iterator[Any]:
    reply = server.said(Asked("models"))
    yield from values_at(reply.json, "data[].owned_by") if reply else ()
