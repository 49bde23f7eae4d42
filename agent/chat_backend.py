"""A backend that speaks the OpenAI chat completions protocol, through the openai SDK.

The SDK gets the body as bytes: its typed path turns 300 turns of history into JSON anew for every request, which
costs 143 ms of CPU where a join costs 3 ms (measured, openai SDK and litellm, November 2026).
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import openai
from openai import AsyncOpenAI, AsyncStream
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from agent.backend import (
    BackendError,
    BackendUnreachableError,
    ContextExhaustedError,
    DeltaListener,
    RetryListener,
)
from agent.conversation import Conversation
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn
from results.records.events import BackendDescription
from results.records.usage import Usage

REASONING_NAMES = ("reasoning_content", "reasoning")
"""Both, since each server reads only one of them and ignores the other in silence."""

_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|model's context length"
    r"|exceeds the available context size|exceeds the context window|prompt is too long",
    re.IGNORECASE,
)
# llama.cpp answers 500 where it means "your request is wrong": sending it again changes nothing.
_HOPELESS = re.compile(r"Jinja Exception|Failed to parse|type_error\.3", re.IGNORECASE)
_MESSAGE_LENGTH = 500


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent, and how long to wait in between, in seconds."""

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0


class _TransientError(Exception):
    """A failure that may pass."""

    def __init__(self, failure: BackendError, retry_after: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.retry_after = retry_after


class ChatBackend:
    """A model behind a chat completions URL. Fulfils `agent.backend.Backend`."""

    def __init__(
        self,
        description: BackendDescription,
        api_key: str = "none",
        *,
        stall_timeout: float = 600.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        """`stall_timeout` is the number of seconds without a byte after which the server counts as stalled."""
        self._description = description
        self._stall_timeout = stall_timeout
        self._retry = retry or RetryPolicy()
        self._client = AsyncOpenAI(
            base_url=description.base_url,
            api_key=api_key,
            max_retries=0,
            timeout=openai.Timeout(stall_timeout, connect=10),
        )

    @property
    def description(self) -> BackendDescription:
        """What goes into the records."""
        return self._description

    @property
    def reasoning_fields(self) -> tuple[str, ...]:
        """The names under which thinking goes back."""
        return REASONING_NAMES

    async def complete(
        self,
        conversation: Conversation,
        on_delta: DeltaListener | None = None,
        on_retry: RetryListener | None = None,
    ) -> AssistantTurn:
        """Send the conversation; failures that may pass are tried again."""
        body = conversation.request_body()
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._retry.attempts),
            wait=self._wait,
            retry=retry_if_exception_type(_TransientError),
            before_sleep=None if on_retry is None else lambda state: _tell_retry(state, on_retry),
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    return await self._request(body, on_delta, attempt.retry_state.attempt_number)
        except _TransientError as error:
            raise error.failure from error
        raise AssertionError("a retry either returns or raises")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _request(self, body: bytes, on_delta: DeltaListener | None, number: int) -> AssistantTurn:
        assembler = TurnAssembler(on_delta)
        try:
            async with asyncio.timeout(None) as watchdog:
                clock = asyncio.get_running_loop().time
                watchdog.reschedule(clock() + self._stall_timeout)
                async with aclosing(self._chunks(body)) as chunks:
                    async for chunk in chunks:
                        watchdog.reschedule(clock() + self._stall_timeout)
                        assembler.add(chunk)
        except TimeoutError as error:
            raise _TransientError(self._stalled(assembler.usage)) from error
        except openai.APIConnectionError as error:
            raise _TransientError(self._connection_failure(error, assembler.usage)) from error
        except openai.APIError as error:
            raise self._classified(error, assembler.usage) from error
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
            failure = BackendError(f"{self._where} sent a chunk that cannot be read: {error}", assembler.usage)
            raise _TransientError(failure) from error
        if assembler.finish_reason is None:
            failure = BackendError(f"{self._where} broke off in the middle of its answer", assembler.usage)
            raise _TransientError(failure)
        return assembler.turn(number)

    async def _chunks(self, body: bytes) -> AsyncGenerator[Mapping[str, Any]]:
        stream = await self._client.post(
            "/chat/completions",
            content=body,
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
            options={"headers": {"Content-Type": "application/json"}},
        )
        async with stream:
            async for chunk in stream:
                yield cast("Mapping[str, Any]", chunk)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _TransientError) and error.retry_after is not None:
            return min(error.retry_after, self._retry.longest_wait)
        jitter = wait_exponential_jitter(
            self._retry.first_wait, self._retry.longest_wait, jitter=self._retry.first_wait
        )
        return jitter(state)

    @property
    def _where(self) -> str:
        return f"the backend at {self._description.base_url}"

    def _stalled(self, usage: Usage) -> BackendError:
        return BackendUnreachableError(f"{self._where} sent nothing for {self._stall_timeout:g} seconds", usage)

    def _connection_failure(self, error: openai.APIConnectionError, usage: Usage) -> BackendError:
        if isinstance(error, openai.APITimeoutError):
            return self._stalled(usage)
        reason = error.__cause__ or error
        return BackendUnreachableError(f"{self._where} cannot be reached: {reason}", usage)

    def _classified(self, error: openai.APIError, usage: Usage) -> Exception:
        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        text = f"{error.message} {error.body or ''}"
        if _OVERFLOW.search(text):
            return ContextExhaustedError(f"the prompt no longer fits the model's context: {error.message}", usage)
        answered = f"answered {status}" if status else "sent an error in its answer"
        failure = BackendError(f"{self._where} {answered}: {error.message[:_MESSAGE_LENGTH]}", usage)
        transient = status is None or status in (408, 409, 425, 429) or status >= 500
        if transient and not _HOPELESS.search(text):
            return _TransientError(failure, _retry_after(error))
        return failure


def _retry_after(error: openai.APIError) -> float | None:
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        return float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None


def _tell_retry(state: RetryCallState, on_retry: RetryListener) -> None:
    reason = str(state.outcome.exception()) if state.outcome else ""
    on_retry(reason, state.next_action.sleep if state.next_action else 0.0)
