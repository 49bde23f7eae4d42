"""Sends a response, with the faults that act on the bytes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from conformance.faults import ActiveFault, Fault

COMMENT = b": OPENROUTER PROCESSING\n\n"

Pause = Callable[[float], Awaitable[None]]


@dataclass
class Sending:
    """An ASGI application that sends one response: `events` one write each, or `body` as a whole."""

    status: int
    headers: dict[str, str]
    events: Sequence[bytes]
    streamed: bool
    pause: Pause
    faults: Sequence[ActiveFault] = ()
    comments: bool = False
    sent: Callable[[], None] = field(default=lambda: None)
    """Called when everything is about to have been sent as it should be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        faults = {active.kind: active for active in self.faults}
        if stall := faults.get(Fault.STALL_BEFORE_HEADERS):
            await self.pause(stall.seconds)
        writes = self._writes(faults)
        whole = b"".join(self.events)
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        if not self.streamed:
            headers.append((b"content-length", str(len(whole)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if stall := faults.get(Fault.STALL_BEFORE_FIRST_TOKEN):
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await self.pause(stall.seconds)
        for write in writes:
            if isinstance(write, float):
                await self.pause(write)
                continue
            await send({"type": "http.response.body", "body": write, "more_body": True})
            await asyncio.sleep(0)
        if _breaks_off(faults):
            return  # uvicorn closes a connection whose response was not completed
        self.sent()
        await send({"type": "http.response.body", "body": b""})

    def _writes(self, faults: dict[Fault, ActiveFault]) -> list[bytes | float]:
        """What is written, in order; a number is a pause."""
        events: list[bytes | float] = list(self.events)
        if self.streamed:
            events = _with_events(events, faults, comments=self.comments)
            if (cut := faults.get(Fault.DISCONNECT)) is not None:
                events = events[: cut.at]
        elif Fault.DISCONNECT in faults:
            whole = b"".join(self.events)
            events = [whole[: len(whole) // 2]]
        if (cut := faults.get(Fault.DISCONNECT_AT_BYTE)) is not None:
            events = [_bytes(events)[: cut.at]]
        if Fault.ONE_GIANT_CHUNK in faults:
            return [_bytes(events)]
        if Fault.ONE_BYTE_WRITES in faults:
            return [bytes([byte]) for byte in _bytes(events)]
        if Fault.SPLIT_UTF8 in faults:
            return list(split_inside_characters(_bytes(events)))
        return events


def split_inside_characters(data: bytes) -> list[bytes]:
    """`data` cut inside every character of several bytes."""
    cuts = [place for place in range(1, len(data)) if data[place] & 0xC0 == 0x80 and data[place - 1] & 0xC0 == 0xC0]
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _with_events(
    events: list[bytes | float], faults: dict[Fault, ActiveFault], *, comments: bool
) -> list[bytes | float]:
    if comments:
        events = [part for event in events for part in (COMMENT, event)]
    extra: list[tuple[Fault, bytes | float]] = [
        (Fault.EMPTY_CHOICES, b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","choices":[]}\n\n'),
        (Fault.GARBAGE_EVENT, b'data: {"choices":[{"index":0,"delta":{"content":\n\n'),
    ]
    for kind, event in extra:
        if active := faults.get(kind):
            events.insert(active.at, f"data: {active.text}\n\n".encode() if active.text else event)
    if active := faults.get(Fault.STALL_BETWEEN_TOKENS):
        events.insert(active.at, active.seconds)
    if active := faults.get(Fault.ERROR_EVENT):
        body = active.text or '{"error":{"message":"The model crashed.","type":"server_error","code":500}}'
        events = [*events[: active.at], f"data: {body}\n\n".encode()]
    return events


def _breaks_off(faults: dict[Fault, ActiveFault]) -> bool:
    return bool(faults.keys() & {Fault.DISCONNECT, Fault.DISCONNECT_AT_BYTE})


def _bytes(events: list[bytes | float]) -> bytes:
    return b"".join(event for event in events if isinstance(event, bytes))
