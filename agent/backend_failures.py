"""What a failed request means: nobody there, no room left, wrong for good, or worth another try.

The words of the patterns are those that servers were seen to send, or that their sources hold (November 2026).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

import httpx2
import openai

from agent.backend import BackendError, BackendUnreachableError, ContextExhaustedError
from results.visible_text import one_line

_OVERFLOW = re.compile(
    r"context_length_exceeded"  # OpenAI
    r"|exceed_context_size|exceeds the available context size"  # llama.cpp
    r"|(maximum|model's) context length"  # vLLM, SGLang, OpenRouter, DeepSeek
    r"|(exceeds|greater than) the context (length|window)"  # Ollama, LM Studio, OpenAI
    r"|prompt is too long|exceeded model token limit|input token count .{1,40} exceeds",  # Anthropic, Moonshot, Gemini
    re.IGNORECASE,
)
# llama.cpp answers 500 where it means "your request is wrong": sending it again changes nothing. What it says of
# text that the model wrote ("Failed to parse input", type_error.316) may well pass with another sample.
_HOPELESS = re.compile(
    r"Jinja Exception|Failed to parse (?!input)|requires --jinja|type_error\.30|Unknown \(built-in\) filter",
    re.IGNORECASE,
)
_PASSING = (408, 409, 425, 429)
_MESSAGE_LENGTH = 500
_SHORTEST_SECRET = 8


class TransientError(Exception):
    """A failure that may pass. `retry_after` is the number of seconds that the server asks to wait."""

    def __init__(self, failure: BackendError, retry_after: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.retry_after = retry_after


class FailureReader:
    """Turns what went wrong at one address into one sentence without the `secret`, and the class that fits it."""

    def __init__(self, address: str, stall_timeout: float, secret: str) -> None:
        self._where = f"the backend at {address}"
        self._stall_timeout = stall_timeout
        self._secret = secret

    def read(self, error: Exception | None, *, answered: bool) -> BackendError | TransientError:
        """Read `error`, or None for a stream that ended too early. `answered`: whether a response had begun."""
        match error:
            case openai.APITimeoutError() | httpx2.TimeoutException():
                return TransientError(self._silence(error))
            case openai.APIConnectionError() | httpx2.TransportError() if not answered:
                reason = self._clean(str(_origin(error)))
                return TransientError(BackendUnreachableError(f"{self._where} cannot be reached: {reason}"))
            case None | openai.APIConnectionError() | httpx2.TransportError():
                return TransientError(BackendError(f"{self._where} broke off in the middle of its answer"))
            case openai.APIError():
                return self._refusal(error)
            case _:
                problem = self._clean(str(error))
                return TransientError(BackendError(f"{self._where} sent a chunk that cannot be read: {problem}"))

    def _silence(self, error: Exception) -> BackendError:
        if isinstance(_origin(error), httpx2.ConnectTimeout) or isinstance(error.__cause__, httpx2.ConnectTimeout):
            return BackendUnreachableError(f"{self._where} cannot be reached: it does not take the connection")
        return BackendUnreachableError(f"{self._where} sent nothing for {self._stall_timeout:g} seconds")

    def _refusal(self, error: openai.APIError) -> BackendError | TransientError:
        status = _status(error)
        said = self._clean(_said(error))
        text = f"{said} {error.code} {error.type}"
        if _OVERFLOW.search(text):
            return ContextExhaustedError(f"{self._where} has no room for the prompt in the model's context: {said}")
        answered = f"answered {status}" if isinstance(error, openai.APIStatusError) else "sent an error in its answer"
        failure = BackendError(f"{self._where} {answered}: {said}")
        may_pass = status is None or status in _PASSING or status >= 500
        if may_pass and not _HOPELESS.search(text):
            return TransientError(failure, _retry_after(error))
        return failure

    def _clean(self, text: str) -> str:
        if len(self._secret) >= _SHORTEST_SECRET:
            text = text.replace(self._secret, "[API key]")
        return one_line(text, _MESSAGE_LENGTH)


def _origin(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _status(error: openai.APIError) -> int | None:
    """The HTTP status, or the one that an error within a stream names."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code
    return int(error.code) if error.code and error.code.isdecimal() else None


def _said(error: openai.APIError) -> str:
    """What the server says went wrong: `message` of its error, `detail` of FastAPI, or the body as it is."""
    body: Any = error.body
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, Any]", body)
        body = fields.get("message") or fields.get("detail") or fields
    if isinstance(body, str):
        return body
    return json.dumps(body, ensure_ascii=False) if body else error.message


def _retry_after(error: openai.APIError) -> float | None:
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
