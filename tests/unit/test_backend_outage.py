"""A server that was there and has gone away is waited for, as long as its outage may last, and no other failure is."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from backend_desk import backend_at, conversation
from faulty_server import GOOD, FaultyServer, faulty, http_error, unused_url

from agent.backend import BackendError, BackendUnreachableError
from agent.chat_backend import RetryPolicy

LOADING = http_error(503, {"error": {"message": "Loading model"}})
BROKEN = http_error(500, {"error": {"message": "Broken"}})
PATIENT = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.01, outage=30)


async def test_one_that_loads_its_model_again_is_waited_for() -> None:
    async with faulty(GOOD, *[LOADING] * 20, GOOD) as server, backend_at(server.url, retry=PATIENT) as backend:
        await backend.complete(conversation())
        told: list[str] = []
        turn = await backend.complete(conversation(), on_retry=lambda reason, _: told.append(reason))
    assert (turn.content, turn.requests, len(told)) == ("Hello.", 21, 20)


async def test_one_that_is_gone_and_comes_back_is_waited_for() -> None:
    gone = asyncio.Event()

    def tell(_reason: str, _wait: float) -> None:
        gone.set()

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(faulty(GOOD))
        async with backend_at(server.url, retry=PATIENT) as backend:
            await backend.complete(conversation())
            await stack.aclose()
            asked = asyncio.create_task(backend.complete(conversation(), on_retry=tell))
            await gone.wait()
            port = int(server.url.split(":")[2].split("/")[0])
            async with await asyncio.start_server(FaultyServer([GOOD]).serve, "127.0.0.1", port):
                assert (await asked).content == "Hello."


async def test_it_is_not_waited_for_without_end() -> None:
    short = RetryPolicy(attempts=3, first_wait=0.01, longest_wait=0.01, outage=0.2)
    async with faulty(GOOD, LOADING) as server, backend_at(server.url, retry=short) as backend:
        await backend.complete(conversation())
        with pytest.raises(BackendError, match=r"Loading model; it was waited for 0\.2 seconds"):
            await backend.complete(conversation())
    assert len(server.requests) > 1 + short.attempts


async def test_one_that_never_answered_is_not() -> None:
    tried: list[str] = []
    async with backend_at(unused_url(), retry=PATIENT) as backend:
        with pytest.raises(BackendUnreachableError):
            await backend.complete(conversation(), on_retry=lambda reason, _: tried.append(reason))
    assert len(tried) == PATIENT.attempts - 1


async def test_what_fails_otherwise_has_its_tries_and_no_more() -> None:
    async with faulty(GOOD, *[LOADING] * 5, BROKEN) as server, backend_at(server.url, retry=PATIENT) as backend:
        await backend.complete(conversation())
        with pytest.raises(BackendError, match="Broken"):
            await backend.complete(conversation())
    assert len(server.requests) == 1 + 5 + PATIENT.attempts
