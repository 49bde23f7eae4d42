"""A backend that speaks the OpenAI chat completions protocol, through the openai SDK.

The SDK gets the body as bytes: its typed path turns 300 turns of history into JSON anew for every request, which
costs 143 ms of CPU where a join costs 3 ms (measured, openai SDK and litellm, November 2026).
"""

import ssl
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from agent.backend import BackendError, DeltaListener, RetryListener
from agent.backend_failures import FailureReader, TransientError
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.dialects.registry import load_dialect
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn
from results.records.events import BackendDescription
from results.records.usage import Usage

_CONNECT_TIMEOUT = 10.0
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent, and how long to wait in between, in seconds."""

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_stated_wait: float = 300.0
    """A server that says itself when to come back is believed up to here."""


class ChatBackend:
    """A model behind a chat completions URL. Fulfils `agent.backend.Backend`."""

    def __init__(
        self,
        description: BackendDescription,
        api_key: str = "none",
        *,
        stall_timeout: float = 600.0,
        retry: RetryPolicy | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """`stall_timeout` is the number of seconds without a byte after which the server counts as stalled.

        Raises ValueError for a key that no HTTP header can hold.
        """
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key holds a character that no key has: a line end, or one beyond ASCII")
        self._description = description
        self._dialect = dialect or load_dialect(description.dialect)
        self._retry = retry or RetryPolicy()
        self._failures = FailureReader(description.base_url, stall_timeout, api_key)
        self._client = AsyncOpenAI(
            base_url=description.base_url,
            api_key=api_key,
            max_retries=0,
            timeout=openai.Timeout(stall_timeout, connect=_CONNECT_TIMEOUT),
            http_client=_http_client(description.base_url),
        )

    @property
    def description(self) -> BackendDescription:
        """What goes into the records."""
        return self._description

    @property
    def dialect(self) -> Dialect:
        """How its server family speaks."""
        return self._dialect

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
            retry=retry_if_exception_type(TransientError),
            before_sleep=None if on_retry is None else lambda state: _tell_retry(state, on_retry),
            reraise=True,
        )
        usages: list[Usage] = []
        try:
            async for attempt in attempts:
                with attempt:
                    turn = await self._request(body, on_delta, usages)
                    return replace(turn, usage=sum(usages, Usage()), requests=len(usages))
        except (TransientError, BackendError) as error:
            failure = error.failure if isinstance(error, TransientError) else error
            failure.usage = sum(usages, Usage())
            raise failure from error.__cause__
        raise AssertionError("a retry either returns or raises")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _request(self, body: bytes, on_delta: DeltaListener | None, usages: list[Usage]) -> AssistantTurn:
        """Send one request; what it used is added to `usages` even when it fails."""
        assembler = TurnAssembler(on_delta)
        problem: Exception | None = None
        answered = False
        try:
            async with await self._open(body) as stream:
                answered = True
                async for chunk in stream:
                    assembler.add(chunk)
        except (openai.APIError, httpx2.TransportError, ValueError, RecursionError) as error:
            problem = error
        finally:
            usages.append(assembler.usage)
        if assembler.is_complete:  # what goes wrong behind the end of the turn takes nothing from it
            return assembler.turn()
        raise self._failures.read(problem, answered=answered) from problem

    async def _open(self, body: bytes) -> AsyncStream[object]:
        return await self._client.post(
            "/chat/completions",
            content=body,
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
            options={"headers": {"Content-Type": "application/json"}},
        )

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return min(error.retry_after, self._retry.longest_stated_wait)
        jitter = wait_exponential_jitter(
            multiplier=self._retry.first_wait, max=self._retry.longest_wait, jitter=self._retry.first_wait
        )
        return jitter(state)


def _http_client(url: str) -> httpx2.AsyncClient:
    """A client that follows no redirect: one would carry the conversation to wherever it points."""
    address = urlsplit(url)
    if address.scheme == "http" and address.hostname in _THIS_MACHINE:
        # A proxy of the environment is for the way out, and certificates, which take 70 ms to load, are for TLS.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return openai.DefaultAsyncHttpxClient(trust_env=False, verify=tls, follow_redirects=False)
    return openai.DefaultAsyncHttpxClient(follow_redirects=False)


def _tell_retry(state: RetryCallState, on_retry: RetryListener) -> None:
    reason = str(state.outcome.exception()) if state.outcome else ""
    on_retry(reason, state.next_action.sleep if state.next_action else 0.0)
