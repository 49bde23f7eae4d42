"""Who watches an agent work: the recorded trajectory, a terminal, a program that reads events."""

from typing import Protocol

from agent.backend import DeltaKind
from results.records.events import Event


class Listener(Protocol):
    """Told of everything as it happens. Must not raise."""

    def event(self, event: Event) -> None:
        """An event, complete."""
        ...

    def delta(self, kind: DeltaKind, text: str) -> None:
        """A piece of a response that is streaming in."""
        ...

    def output(self, data: bytes) -> None:
        """A piece of what a command prints."""
        ...


class Listeners:
    """Tells many."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def event(self, event: Event) -> None:
        """Pass on an event."""
        for listener in self._listeners:
            listener.event(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Pass on a piece of a response."""
        for listener in self._listeners:
            listener.delta(kind, text)

    def output(self, data: bytes) -> None:
        """Pass on a piece of output."""
        for listener in self._listeners:
            listener.output(data)
