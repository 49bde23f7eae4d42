"""What the tests of the chat backend share: one at an address, and the failure that comes of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from faulty_server import FaultyServer

from agent.backend import BackendError
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import Conversation
from agent.turn import AssistantTurn
from results.records.events import BackendDescription
from results.records.usage import Usage

KEY = "sk-very-secret-0123456789"
POLICY = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.01)


@asynccontextmanager
async def backend_at(url: str, **settings: Any) -> AsyncGenerator[ChatBackend]:
    description = BackendDescription(base_url=url, model="m", dialect="generic")
    settings.setdefault("retry", POLICY)
    backend = ChatBackend(description, KEY, **settings)
    try:
        yield backend
    finally:
        await backend.close()


def conversation(*, stream: bool = True) -> Conversation:
    result = Conversation({"model": "m", "stream": stream}, [])
    result.append({"role": "user", "content": "Grüße 🙂"})
    return result


async def complete(server: FaultyServer, **settings: Any) -> AssistantTurn:
    async with backend_at(server.url, **settings) as backend:
        return await backend.complete(conversation())


async def failure_of(url: str, used: list[Usage] | None = None, **settings: Any) -> BackendError:
    """The failure, which is one sentence that names the address and keeps the key to itself.

    `used` takes what each try used.
    """
    async with backend_at(url, **settings) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.complete(conversation(), on_usage=None if used is None else used.append)
    message = str(caught.value)
    assert url in message
    assert KEY not in message
    assert "\n" not in message
    return caught.value
