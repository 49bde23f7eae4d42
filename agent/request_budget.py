"""How many requests a backend gets at once: a fixed number, or as many as do it good.

The adaptive number is found from the outside, by what the server makes of it: it grows by steps, each of which has to
pay in tokens that come out in a second, and shrinks when the server refuses (429, 503) or lets requests queue, which
shows in the time to the first token. The rule is that of congestion control in networks (slow start and multiplicative
decrease: Jacobson, 1988; the delay as the earlier sign: Brakmo and Peterson's Vegas, 1995), with one round for each
window of as many answers as there are places.
"""

import asyncio
import contextlib
import statistics
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

_MOST = 1024
_SMALLEST_WINDOW = 6
_GAIN, _LEAP_GAIN = 1.03, 1.2
"""More tokens a second than before by this factor: a step up, or a leap to twice as many, has paid."""
_QUEUEING = 2.0
"""Times to the first token longer than the shortest by this factor, and by `_NOISE`: the server lets requests wait."""
_NOISE = 0.25
_HOLD = 8
"""Windows in which nothing is tried after a step up that did not pay."""


@dataclass
class Answer:
    """What came of one request. Times in seconds, of the event loop's clock."""

    began: float
    first_token: float | None = None
    ended: float = 0.0
    output_tokens: int = 0
    refused: bool = False
    """The server said that it had too much to do."""

    def take(self, first_token_seconds: float | None, output_tokens: int | None, *, whole: bool) -> None:
        """Take what came; a whole answer of a server that does not count tokens stands for one."""
        self.first_token = None if first_token_seconds is None else self.began + first_token_seconds
        self.output_tokens = output_tokens or int(whole)


class Limit(Protocol):
    """Decides how many requests there may be at once."""

    @property
    def number(self) -> int | None:
        """None: any number."""
        ...

    def learn(self, answer: Answer, *, saturated: bool) -> None:
        """Take what came of a request; `saturated`: all places were taken meanwhile."""
        ...


@dataclass
class Fixed:
    """What a person said."""

    number: int | None = None

    def learn(self, answer: Answer, *, saturated: bool) -> None:
        """Nothing."""


@dataclass
class Adaptive:
    """As many as do the server good."""

    number: int = 2
    _window: list[Answer] = field(default_factory=list[Answer])
    _saturated: bool = False
    _before: tuple[int, float] | None = None
    """The number that was there before the last step up, and the tokens a second that came of it."""
    _shortest: float | None = None
    """The shortest median of times to the first token."""
    _shrunk_at: float | None = None
    _leaps: bool = True
    """Until it has once been too much."""
    _held: int = 0
    """Windows in which nothing is tried."""

    def learn(self, answer: Answer, *, saturated: bool) -> None:
        """Take what came of a request, and change the number at the end of a window."""
        if self._shrunk_at is not None and answer.began < self._shrunk_at:
            return  # it says what the number before was like
        if answer.refused:
            self._shrink(answer.ended, self.number // 2)
            return
        self._window.append(answer)
        self._saturated = self._saturated or saturated
        if len(self._window) >= max(self.number, _SMALLEST_WINDOW):
            window, was_saturated = self._window, self._saturated
            self._window, self._saturated = [], False
            self._judge(window, saturated=was_saturated)

    def _judge(self, window: list[Answer], *, saturated: bool) -> None:
        rate, delay = _rate(window), _delay(window)
        if delay is not None:
            self._shortest = delay if self._shortest is None else min(self._shortest, delay)
            if delay > self._shortest * _QUEUEING + _NOISE:
                self._shrink(window[-1].ended, self.number * 3 // 4)
                return
        if not saturated:  # more places would not be used
            return
        if self._before is not None and rate < self._before[1] * (_LEAP_GAIN if self._leaps else _GAIN):
            self.number, self._before = self._before[0], None
            self._leaps, self._held = False, _HOLD
        elif self._held:
            self._held -= 1
        else:
            self._before = (self.number, rate)
            self.number = min(_MOST, self.number * 2 if self._leaps else self.number + max(1, self.number // 8))

    def _shrink(self, now: float, number: int) -> None:
        self.number = max(1, number)
        self._shrunk_at, self._before, self._leaps = now, None, False
        self._window, self._saturated = [], False


def _rate(window: list[Answer]) -> float:
    seconds = max(answer.ended for answer in window) - min(answer.ended for answer in window)
    return sum(answer.output_tokens for answer in window) / max(seconds, 1e-3)


def _delay(window: list[Answer]) -> float | None:
    delays = [answer.first_token - answer.began for answer in window if answer.first_token is not None]
    return statistics.median(delays) if delays else None


class RequestBudget:
    """The places for requests to one backend, given in the order in which they are asked for."""

    def __init__(self, limit: Limit | None = None) -> None:
        self._limit = limit or Fixed()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def number(self) -> int | None:
        """How many places there are; None: any number."""
        return self._limit.number

    @property
    def taken(self) -> int:
        """How many requests are out."""
        return self._taken

    def resize(self, number: int) -> None:
        """Have a fixed number from now on."""
        self._limit = Fixed(number)
        self._admit()

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncGenerator[Answer]:
        """Wait for a place, and have it for one request, whose answer is to be filled in."""
        loop = asyncio.get_running_loop()
        await self._acquire()
        answer = Answer(began=loop.time())
        try:
            yield answer
        finally:
            saturated = self.number is not None and self._taken >= self.number
            self._taken -= 1
            answer.ended = loop.time()
            if answer.refused or answer.output_tokens:  # one that was cancelled or failed says nothing
                self._limit.learn(answer, saturated=saturated)
            self._admit()

    async def _acquire(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():
                self._taken -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and (self.number is None or self._taken < self.number):
            waiting = self._waiting.popleft()
            if not waiting.cancelled():
                self._taken += 1
                waiting.set_result(None)
