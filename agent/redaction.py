"""Keeps secrets out of whatever is recorded or shown."""

import json
from collections.abc import Collection

from agent.backend import DeltaKind
from agent.listener import Listener
from results.record_files import decode, encode
from results.records.events import EVENT, Event

REDACTED = "[redacted]"


def redacted(text: str, secrets: Collection[str]) -> str:
    """`text` with each of `secrets` replaced."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


class Redacting:
    """A listener that passes everything on, with each of `secrets` replaced."""

    def __init__(self, listener: Listener, secrets: Collection[str]) -> None:
        self._listener = listener
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._written = [json.dumps(secret, ensure_ascii=False)[1:-1].encode() for secret in self._secrets]

    def event(self, event: Event) -> None:
        """Pass on an event without secrets."""
        if self._written:
            event = self._redacted(event)
        self._listener.event(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Pass on a piece of a response; a secret that comes in several pieces is only found in the event."""
        self._listener.delta(kind, redacted(text, self._secrets))

    def output(self, data: bytes) -> None:
        """Pass on a piece of output."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), REDACTED.encode())
        self._listener.output(data)

    def _redacted(self, event: Event) -> Event:
        line = encode(event)
        if not any(secret in line for secret in self._written):
            return event
        for secret in self._written:
            line = line.replace(secret, REDACTED.encode())
        return decode(line, EVENT)
