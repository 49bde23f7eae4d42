"""How long a backend is waited for: a limit for each thing that is waited for, since they differ by hours.

A cold prefill or a busy slot is silent for minutes before the first token; behind it the same silence means that the
server is dead.
"""

import asyncio
import math
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

Awaited = Literal["headers", "whole", "first_token", "next_token", "end"]
"""What comes next: the beginning of an answer; all of one that is not streamed; its first token; another one; or
nothing but the usage."""


@dataclass(frozen=True)
class Waits:
    """The limits, in seconds.

    None of them is put off by a ping (a comment in the event stream): it says that something in front of the model
    lives, and servers and proxies were seen to send them for ever (bifrost issue 6784).
    """

    connect: float = 10.0
    headers: float = 1800.0
    """llama.cpp sends none until a slot is free (78 s seen with one slot), and some servers none before the prefill."""
    whole: float = 7200.0
    """For an answer that is not streamed, from the request to its last byte: 81,920 tokens at 20 a second are 4096."""
    first_token: float = 1800.0
    """From the headers on. Cold prefills were seen to take 300 s at 124K tokens, and 8 minutes (llama.cpp 20225)."""
    between_tokens: float = 600.0
    """vLLM is silent for 30 to 120 s while it parses a call (issue 30439). Every event but a ping is a token here."""
    end: float = 10.0
    """For the usage, behind the finish reason; then the turn is taken without it."""
    total: float | None = None
    """For one step, with every try and the waits between them."""

    @classmethod
    def of_silence(cls, seconds: float) -> "Waits":
        """No silence is waited out for longer than `seconds`, whatever is waited for."""
        return cls(headers=seconds, whole=seconds, first_token=seconds, between_tokens=seconds)

    def limit(self, awaited: Awaited) -> float:
        """The limit on a wait for that."""
        return {
            "headers": self.headers,
            "whole": self.whole,
            "first_token": self.first_token,
            "next_token": self.between_tokens,
            "end": self.end,
        }[awaited]


class StalledError(Exception):
    """What was waited for did not come within its limit in seconds; `awaited` None: the step took too long in all."""

    def __init__(self, awaited: Awaited | None, seconds: float) -> None:
        super().__init__(f"no {awaited or 'end'} within {seconds:g} seconds")
        self.awaited: Awaited | None = awaited
        self.seconds = seconds


class Patience:
    """Waits for one answer, as an `async with` around all that is awaited for it. Raises StalledError.

    Every token puts the end off, so that only writes a number down; one timer looks at it when the last end is there.
    """

    def __init__(self, waits: Waits, step_started: float, awaited: Awaited) -> None:
        """`step_started` is the loop's time at which the step began whose `total` counts."""
        self._waits = waits
        self._latest = math.inf if waits.total is None else step_started + waits.total
        self._awaited: Awaited = awaited
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._end = self._end_of_wait()

    def now_for(self, awaited: Awaited) -> None:
        """The last thing has come; now wait for this. Another token is waited for anew, everything else once."""
        if awaited == self._awaited and awaited != "next_token":
            return
        self._awaited = awaited
        self._end = self._end_of_wait()
        if self._timer and self._end < self._timer.when():
            self._timer.cancel()
            self._look()

    async def __aenter__(self) -> "Patience":
        await self._timeout.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            if self._end == self._latest:
                raise StalledError(None, self._waits.total or 0.0) from timeout
            raise StalledError(self._awaited, self._waits.limit(self._awaited)) from timeout

    def _look(self) -> None:
        """End the wait if it is time; look again when it will be."""
        if self._loop.time() >= self._end:
            self._timer = None
            self._timeout.reschedule(self._end)
        else:
            self._timer = self._loop.call_at(self._end, self._look)

    def _end_of_wait(self) -> float:
        return min(self._loop.time() + self._waits.limit(self._awaited), self._latest)
