"""What a failed request means: nobody there, no room left, wrong for good, or worth another try.

Which words and which statuses mean what is the dialect's to say.
"""

import email.utils
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import httpx2
import openai

from agent.backend import BackendError, BackendUnreachableError, ContextExhaustedError
from agent.backend_choice import KEY_VARIABLE
from agent.dialects.dialect import Dialect
from agent.dialects.patterns import matches_any
from agent.overflow import read_overflow
from agent.waits import Awaited, StalledError
from results.visible_text import one_line

_MESSAGE_LENGTH = 500
_SHORTEST_SECRET = 8
_HIDDEN = "[API key]"
_KEY_ADVICE = f"; a key is taken from the variable {KEY_VARIABLE}, or from the one that --api-key-env names"

_SILENCES: Mapping[Awaited, str] = {
    "headers": "sent no headers for {:g} seconds: is its only slot busy, or does it read a long prompt?",
    "whole": "did not finish its answer, which is not streamed, within {:g} seconds",
    "first_token": "began to answer, but sent no token for {:g} seconds: does it read a long prompt?",
    "next_token": "stopped in the middle of its answer: it sent no token for {:g} seconds",
    "end": "did not end its answer for {:g} seconds",
}


_AWAY = (502, 503, 504)
"""What a proxy says whose server is gone, and llama.cpp while it loads a model."""


class TransientError(Exception):
    """A failure that may pass. `retry_after` is the number of seconds that the server asks to wait.

    `is_away`: there is no server, or one that says that it cannot serve yet, as while it loads a model.
    """

    def __init__(self, failure: BackendError, retry_after: float | None = None, *, is_away: bool = False) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.retry_after = retry_after
        self.is_away = is_away


class FailureReader:
    """Turns what went wrong at one address into one sentence without the `secret`, and the class that fits it."""

    def __init__(self, address: str, secret: str, dialect: Dialect) -> None:
        self._where = f"the backend at {address}"
        self._secret = secret
        self._dialect = dialect

    def read(self, error: Exception | None, *, answered: bool) -> BackendError | TransientError:
        """Read `error`, or None for an answer that ended too early. `answered`: whether one had begun."""
        match error:
            case StalledError():
                return self._silence(error)
            case openai.APITimeoutError() | httpx2.TimeoutException():
                sentence = f"{self._where} cannot be reached: it does not take the connection"
                return TransientError(BackendUnreachableError(sentence), is_away=True)
            case openai.APIConnectionError() | httpx2.RequestError() if status := _status_before_break(error):
                return self._broken_refusal(status)
            case openai.APIConnectionError() | httpx2.RequestError() if not answered:
                reason = self._clean(str(_origin(error)))
                sentence = f"{self._where} cannot be reached: {reason}"
                return TransientError(BackendUnreachableError(sentence), is_away=True)
            case None | openai.APIConnectionError() | httpx2.RequestError():
                return TransientError(BackendError(f"{self._where} broke off in the middle of its answer"))
            case openai.APIError():
                return self._refusal(error)
            case _:
                problem = self._clean(str(error))
                return TransientError(BackendError(f"{self._where} sent an answer that cannot be read: {problem}"))

    def hide_key(self, data: bytes) -> bytes:
        """`data` without the secret, which a server may repeat in what it says."""
        if len(self._secret) < _SHORTEST_SECRET:
            return data
        return data.replace(self._secret.encode(), _HIDDEN.encode())

    def _silence(self, error: StalledError) -> BackendError | TransientError:
        if error.awaited is None:
            sentence = f"{self._where} did not finish within the {error.seconds:g} seconds that a step may take"
            return BackendUnreachableError(sentence)
        sentence = _SILENCES[error.awaited].format(error.seconds)
        return TransientError(BackendUnreachableError(f"{self._where} {sentence}"))

    def _refusal(self, error: openai.APIError) -> BackendError | TransientError:
        status = _status(error)
        said = _said(error)
        text = f"{said} {error.code} {error.type}"
        if matches_any(self._dialect.overflow.patterns, text):
            sentence = f"{self._where} has no room for the prompt in the model's context: {self._clean(said)}"
            size = read_overflow(said, error.body)
            return ContextExhaustedError(sentence, prompt_tokens=size.prompt, context_window=size.window)
        answered = f"answered {status}" if isinstance(error, openai.APIStatusError) else "sent an error in its answer"
        advice = _KEY_ADVICE if status == 401 else ""
        failure = BackendError(f"{self._where} {answered}: {self._clean(said)}{advice}")
        may_pass = status is None or status in self._dialect.failures.passing
        if may_pass and not matches_any(self._dialect.failures.hopeless, text):
            return TransientError(failure, _retry_after(error), is_away=status in _AWAY)
        return failure

    def _broken_refusal(self, status: int) -> BackendError | TransientError:
        failure = BackendError(f"{self._where} answered {status}, and broke off before it said why")
        return TransientError(failure) if status in self._dialect.failures.passing else failure

    def _clean(self, text: str) -> str:
        if len(self._secret) >= _SHORTEST_SECRET:
            text = text.replace(self._secret, _HIDDEN)
        return one_line(text, _MESSAGE_LENGTH)


def _origin(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _status_before_break(error: BaseException) -> int | None:
    """The HTTP status of an error whose body never came whole."""
    current: BaseException | None = error
    while current is not None and not isinstance(current, httpx2.HTTPStatusError):
        current = current.__cause__ or current.__context__
    return None if current is None else current.response.status_code


def _status(error: openai.APIError) -> int | None:
    """The HTTP status, or the one that an error within an answer names."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code
    code = str(error.code)
    return int(code) if code.isdecimal() and len(code) == 3 else None


def _said(error: openai.APIError) -> str:
    """What the server says went wrong: `message` of its error, `detail` of FastAPI, or the body as it is.

    OpenRouter says "Provider returned error", and what that one said as `metadata.raw`.
    """
    body: Any = error.body
    raw: object = None
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, Any]", body)
        body = fields.get("message") or fields.get("detail") or fields
        metadata = fields.get("metadata")
        raw = cast("Mapping[str, Any]", metadata).get("raw") if isinstance(metadata, Mapping) else None
    said = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False) if body else error.message
    return f"{said}: {raw}" if isinstance(raw, str) and raw not in said else said


def _retry_after(error: openai.APIError) -> float | None:
    """The wait that a server asks for, in seconds: a number, or a date (RFC 9110, 10.2.3), read by its own clock."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    for value, unit in ((headers.get("retry-after-ms"), 1000.0), (headers.get("retry-after"), 1.0)):
        seconds = _number(value or "") / unit
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    until = _date(headers.get("retry-after"))
    if until is None:
        return None
    seconds = (until - (_date(headers.get("date")) or datetime.now(UTC))).total_seconds()
    return seconds if seconds >= 0 else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _date(text: str | None) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
