"""A backend that speaks the OpenAI chat completions protocol, on the connections of the openai SDK.

The body goes out as bytes, in pieces: the SDK's typed path turns 300 turns of history into JSON anew for every
request, which costs 143 ms of CPU (measured, November 2026). Errors are the SDK's.
"""

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx2
import openai
from openai import AsyncOpenAI
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential_jitter,
    wait_random,
)
from tenacity.stop import stop_base

from agent.addresses import http_client
from agent.backend import BackendError, DeltaListener, RetryListener, ThinkingWatch, UsageListener
from agent.backend_failures import FailureReader, TransientError
from agent.conversation import Conversation, encode
from agent.dialects.asking import address_of
from agent.dialects.dialect import Dialect
from agent.dialects.patterns import values_at
from agent.dialects.registry import load_dialect
from agent.event_stream import read_events
from agent.repetition import EndlessThinkingError
from agent.request_budget import Answer, RequestBudget
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn
from agent.waits import Patience, StalledError, Waits
from results.records.events import BackendDescription
from results.records.usage import Usage

_COUNTING_TIMEOUT = 30.0
_DRAIN_TIMEOUT = 0.1
_TOO_MUCH = (429, 503, 529)
"""By these a server says that it has more to do than it can; 529 is Anthropic's, and OpenRouter passes it on."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent, and how long to wait in between, in seconds."""

    attempts: int = 6
    first_wait: float = 0.5
    """Doubled with every try. A random share of it is added to each wait, so that trials do not come back at once."""
    longest_wait: float = 30.0
    longest_stated_wait: float = 300.0
    """A server that says itself when to come back is believed up to here."""
    outage: float = 0.0
    """How long a server is waited for that has answered before and is away now, whatever number of tries that takes."""


@dataclass
class _Step:
    """One turn that is asked for, as often as it takes."""

    conversation: Conversation
    on_delta: DeltaListener | None
    guard: ThinkingWatch | None
    on_usage: UsageListener | None
    started: float = field(init=False)
    usages: list[Usage] = field(default_factory=list[Usage])
    """One for each try."""
    failed: TransientError | None = None
    """The last try that failed."""
    failures: int = 0
    """How many did, without those of an outage that is waited for."""
    away_since: float | None = None
    """When that began, in the time of the event loop."""

    def __post_init__(self) -> None:
        self.started = asyncio.get_running_loop().time()

    def fail(self, error: TransientError, *, is_outage: bool) -> None:
        """A try has failed; in an outage, the others are not counted against the next."""
        self.failed = error
        if not is_outage:
            self.failures += 1
            self.away_since = None
        elif self.away_since is None:
            self.away_since = asyncio.get_running_loop().time()

    def count(self, assembler: TurnAssembler) -> None:
        """Take what a try used. One that broke off before its counts came has been paid for as well."""
        used = assembler.usage
        if used == Usage() and assembler.has_begun and not assembler.is_complete:
            used = Usage(unreported=1)
        self.usages.append(used)
        if self.on_usage:
            self.on_usage(used)

    @property
    def usage(self) -> Usage:
        """Of all tries together."""
        return sum(self.usages, Usage())


@dataclass(frozen=True)
class _Exhausted(stop_base):
    """Whether a step has had its tries, or its time, or an outage has had it."""

    step: _Step
    retry: RetryPolicy
    total: float | None

    def __call__(self, retry_state: RetryCallState) -> bool:
        spent = asyncio.get_running_loop().time() - self.step.started
        if self.total is not None and spent + retry_state.upcoming_sleep >= self.total:
            return True
        if self.step.away_since is not None:
            return asyncio.get_running_loop().time() - self.step.away_since >= self.retry.outage
        return self.step.failures >= self.retry.attempts


class ChatBackend:
    """A model behind a chat completions URL. Fulfils `agent.backend.Backend`."""

    def __init__(
        self,
        description: BackendDescription,
        api_key: str = "none",
        *,
        waits: Waits | None = None,
        retry: RetryPolicy | None = None,
        dialect: Dialect | None = None,
        requests: RequestBudget | None = None,
    ) -> None:
        """`dialect` stands for the one that the description names; `requests`: how many there may be at once.

        Raises ValueError for a key that no HTTP header can hold.
        """
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key holds a character that no key has: a line end, or one beyond ASCII")
        self._description = description
        self._dialect = dialect or load_dialect(description.dialect)
        self._waits = waits or Waits()
        self._retry = retry or RetryPolicy()
        self._requests = requests or RequestBudget()
        self._has_answered = False
        self._failures = FailureReader(description.base_url, api_key, self._dialect)
        self._url = f"{description.base_url}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._timeout = openai.Timeout(None, connect=self._waits.connect)
        self._http = http_client(description.base_url)
        self._client = AsyncOpenAI(
            base_url=description.base_url,
            api_key=api_key,
            max_retries=0,
            timeout=self._timeout,
            http_client=self._http,
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
        guard: ThinkingWatch | None = None,
        on_usage: UsageListener | None = None,
    ) -> AssistantTurn:
        """Send the conversation; failures that may pass are tried again. See `agent.backend.Backend`."""
        step = _Step(conversation, on_delta, guard, on_usage)
        attempts = AsyncRetrying(
            stop=_Exhausted(step, self._retry, self._waits.total),
            wait=self._wait,
            retry=retry_if_exception_type(TransientError),
            before_sleep=None if on_retry is None else lambda state: _tell_retry(state, on_retry),
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    turn = await self._request(step)
                    return replace(turn, usage=step.usage, answer_usage=turn.usage, requests=len(step.usages))
        except TransientError as error:
            raise self._given_up(error, step) from error.__cause__
        raise AssertionError("a retry either returns or raises")

    @contextlib.asynccontextmanager
    async def forward(self, body: bytes) -> AsyncGenerator[httpx2.Response]:
        """Send somebody else's request as it is, with the key, and give the answer as it comes, whatever its status.

        It waits for its place. Nothing is tried again. Raises BackendError where the server is not reached, or breaks
        off while the answer is read.
        """
        headers = {**self._headers, "Accept-Encoding": "identity"}
        answered = False
        try:
            async with (
                self._requests.place() as answer,
                self._http.stream("POST", self._url, content=body, headers=headers, timeout=self._timeout) as response,
            ):
                answered = True
                answer.refused = response.status_code in _TOO_MUCH
                yield response
                answer.take(None, None, whole=response.is_success)
        except httpx2.RequestError as error:
            failure = self._failures.read(error, answered=answered)
            raise (failure.failure if isinstance(failure, TransientError) else failure) from error

    def hide_key(self, data: bytes) -> bytes:
        """What a server said, without the key, which some repeat."""
        return self._failures.hide_key(data)

    async def count(self, conversation: Conversation) -> int | None:
        """Ask the dialect's counting endpoint; None where there is none, or where it does not count."""
        counting = self._dialect.counting
        if counting is None:
            return None
        request = json.loads(conversation.request_body())
        try:
            async with asyncio.timeout(_COUNTING_TIMEOUT):
                response = await self._client.post(
                    address_of(counting.url, self._description.base_url),
                    content=encode({name: request[name] for name in counting.fields if name in request}),
                    cast_to=httpx2.Response,
                    options={"headers": {"Content-Type": "application/json"}},
                )
            found = next(values_at(response.json(), counting.at), None)
        except (openai.APIError, httpx2.RequestError, TimeoutError, ValueError, RecursionError):
            return None
        return found if isinstance(found, int) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _request(self, step: _Step) -> AssistantTurn:
        """Send one request when there is a place for it; the wait takes nothing from the time that the step has."""
        now = asyncio.get_running_loop().time
        asked = now()
        async with self._requests.place() as answer:
            step.started += now() - asked
            return await self._send(step, answer)

    async def _send(self, step: _Step, answer: Answer) -> AssistantTurn:
        """Send one request; what it used is added to the step, and what it was like to `answer`, even when it fails."""
        assembler = TurnAssembler(self._dialect, step.on_delta, copy.deepcopy(step.guard))
        patience = Patience(self._waits, step.started, "headers" if step.conversation.streamed else "whole")
        problem: Exception | None = None
        answered = False
        try:
            async with patience, self._open(step.conversation) as response:
                answered = True
                await _receive(response, assembler, patience)
        except EndlessThinkingError as stopped:
            return replace(assembler.turn(), stopped=str(stopped))
        except (openai.APIError, httpx2.RequestError, StalledError, ValueError, RecursionError) as error:
            problem = error
            answer.refused = isinstance(error, openai.APIStatusError) and error.status_code in _TOO_MUCH
        finally:
            step.count(assembler)
            answer.take(assembler.first_token_seconds, assembler.usage.output_tokens, whole=assembler.is_complete)
        self._has_answered = self._has_answered or answered
        if assembler.is_complete:  # what goes wrong behind the end of the turn takes nothing from it
            return assembler.turn()
        failure = self._failures.read(problem, answered=answered)
        if isinstance(failure, TransientError):
            step.fail(failure, is_outage=failure.is_away and self._has_answered and self._retry.outage > 0)
        elif step.failed and isinstance(problem, StalledError):
            failure = type(failure)(f"{failure}; before that, {step.failed}")
        raise failure from problem

    @contextlib.asynccontextmanager
    async def _open(self, conversation: Conversation) -> AsyncGenerator[httpx2.Response]:
        """Send a request and wait for the headers, on the SDK's connections.

        Its own `post` spends 1 to 2 ms of CPU on options that never change here. Raises what that raises.
        """
        headers = {**self._headers, "Content-Length": str(conversation.request_bytes)}
        pieces = conversation.request_pieces()
        async with self._http.stream(
            "POST", self._url, content=pieces, headers=headers, timeout=self._timeout
        ) as response:
            if not response.is_success:
                raise await _status_error(response)
            yield response

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            stated = min(error.retry_after, self._retry.longest_stated_wait)
            return stated + wait_random(0, self._retry.first_wait)(state)
        jitter = wait_exponential_jitter(
            multiplier=self._retry.first_wait, max=self._retry.longest_wait, jitter=self._retry.first_wait
        )
        return jitter(state)

    def _given_up(self, error: TransientError, step: _Step) -> BackendError:
        if step.failures >= self._retry.attempts:
            return error.failure
        if step.away_since is not None:
            return type(error.failure)(f"{error.failure}; it was waited for {self._retry.outage:g} seconds")
        reason = f"another try would not fit into the {self._waits.total:g} seconds that a step may take"
        return type(error.failure)(f"{error.failure}; {reason}")


async def _status_error(response: httpx2.Response) -> openai.APIStatusError:
    """The error of a status, as the SDK puts it. Raises what breaks off its body, with the status as its cause."""
    try:
        text = (await response.aread()).decode(errors="replace").strip()
    except httpx2.RequestError as broken:
        sentence = f"status {response.status_code}"
        raise broken from httpx2.HTTPStatusError(sentence, request=response.request, response=response)
    body: Any = text
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(text)
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, Any]", body)
        body = fields.get("error", fields)
    message = text or f"Error code: {response.status_code}"
    return openai.APIStatusError(message, response=response, body=body)


async def _receive(response: httpx2.Response, assembler: TurnAssembler, patience: Patience) -> None:
    """Read an answer of either kind: what was asked for, and what a server then does, are two things."""
    kind = response.headers.get("content-type", "")
    if "html" in kind:
        message = f"it is a web page ({kind}); is the address right?"
        raise ValueError(message)
    if "json" in kind:
        patience.now_for("whole")
        answer = json.loads(await response.aread())
        _raise_error(answer, response)
        assembler.add_whole(answer)
        return
    patience.now_for("first_token")
    pieces = response.aiter_bytes()
    async for data in read_events(pieces):
        if data.startswith("[DONE]"):
            await _drain(pieces)
            return
        chunk = json.loads(data)
        _raise_error(chunk, response)
        assembler.add(chunk)
        if assembler.is_complete:
            patience.now_for("end")
        elif assembler.has_begun:
            patience.now_for("next_token")


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read what is left of a body that has nothing more to say: only then does its connection serve again."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_TIMEOUT):
            async for _ in pieces:
                pass


def _raise_error(answer: object, response: httpx2.Response) -> None:
    """Raise what is an error under status 200: of OpenRouter as `error`, of older vLLM as the object itself."""
    if not isinstance(answer, Mapping):
        return
    fields = cast("Mapping[str, Any]", answer)
    if body := fields.get("error") or (fields if fields.get("object") == "error" else None):
        raise openai.APIError("the answer is an error", response.request, body=body)


def _tell_retry(state: RetryCallState, on_retry: RetryListener) -> None:
    reason = str(state.outcome.exception()) if state.outcome else ""
    on_retry(reason, state.next_action.sleep if state.next_action else 0.0)
