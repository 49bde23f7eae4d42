"""How often and how long something is tried again that may yet succeed: a registry that is busy, a broken network."""

import random
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying


class ImageError(Exception):
    """Something could not be done with an image; the message says what and why."""

    def __init__(self, message: str, *, transient: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        """Whether it may go well the next time."""
        self.retry_after = retry_after
        """Seconds that the other side asks to wait, where it says so."""


@dataclass(frozen=True)
class Patience:
    """Waits grow from `first` to `longest` seconds, with chance in them, so that many do not come back at once."""

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 900.0
    """A wait that the other side asks for is kept up to here; beyond, it is no use to wait in a command."""

    def retrying(self, stop: threading.Event) -> "Retrying":
        """Calls again what raises an ImageError that is transient; `stop` ends the waiting, and then the calls."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_when_event_set
        from tenacity.nap import sleep_using_event

        return Retrying(
            stop=stop_after_attempt(self.tries) | stop_when_event_set(stop),
            wait=self._wait,
            retry=retry_if_exception(self._is_worth_waiting),
            sleep=sleep_using_event(stop),
            reraise=True,
        )

    def _is_worth_waiting(self, error: BaseException) -> bool:
        return isinstance(error, ImageError) and error.transient and (error.retry_after or 0) <= self.longest_asked

    def _wait(self, state: "RetryCallState") -> float:
        error = state.outcome.exception() if state.outcome else None
        grown = min(self.longest, self.first * 2 ** (state.attempt_number - 1))
        some = random.uniform(grown / 2, grown)  # noqa: S311 - it spreads calls, and hides nothing
        asked = error.retry_after if isinstance(error, ImageError) else None
        return some if asked is None else asked + random.uniform(0, min(1.0, some))  # noqa: S311


def seconds_to_wait(header: str | None) -> float | None:
    """What a `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3). None where there is none that says so."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())
