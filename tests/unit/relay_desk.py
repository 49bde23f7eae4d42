"""What the tests of the relay share: one in front of a backend, an agent's client, and what was written down."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from pydantic import TypeAdapter

from agent.chat_backend import ChatBackend
from agent.limits import Budget
from agent.redaction import Redacting
from agent.relay.ledger import CONVERSATIONS, REQUESTS, TrialLedger
from agent.relay.recording import Setting
from agent.relay.server import Relay, open_relay
from agent.session import Recorder
from results.json_lines import read_lines
from results.records.events import BackendDescription, Event
from results.records.manifest import LimitsDescription
from results.records.relay import RelayedRequest
from results.records.usage import Prices
from results.trajectory import TrajectoryWriter, read_trajectory

KEY = "sk-plant3d-0123456789abcdef"
MODEL = "scripted"
Message = dict[str, Any]


@dataclass
class Desk:
    """A relay with one trial."""

    relay: Relay
    ledger: TrialLedger
    url: str
    token: str
    folder: Path
    client: httpx2.AsyncClient = field(init=False)

    async def ask(self, *messages: Message, token: str | None = None, **fields: Any) -> httpx2.Response:
        body = {"model": MODEL, "messages": messages, **fields}
        return await self.client.post("/chat/completions", json=body, headers=self.headers(token))

    async def post(self, body: bytes) -> httpx2.Response:
        return await self.client.post("/chat/completions", content=body, headers=self.headers())

    def headers(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token if token is None else token}"}

    @property
    def trajectory(self) -> Path:
        return self.folder / "trajectory.jsonl"

    def events(self) -> list[Event]:
        return list(read_trajectory(self.trajectory))

    def requests(self) -> list[RelayedRequest]:
        return list(read_lines(self.folder / REQUESTS, TypeAdapter(RelayedRequest)))

    def aside(self, number: int) -> list[Event]:
        return list(read_trajectory(self.folder / CONVERSATIONS / f"{number}.jsonl"))


@asynccontextmanager
async def relayed(
    url: str,
    folder: Path,
    *,
    sampling: Mapping[str, Any] | None = None,
    prices: Prices | None = None,
    **limits: Any,
) -> AsyncGenerator[Desk]:
    """A relay in front of the backend at `url`, for one trial with these limits."""
    description = BackendDescription(base_url=url, model=MODEL, dialect="generic", sampling=dict(sampling or {}))
    backend = ChatBackend(description, KEY)
    with TrajectoryWriter(folder / "trajectory.jsonl") as writer:
        listener = Redacting(Recorder(writer), [KEY])
        setting = Setting("command", description, backend.dialect, "/app", "docker:image")
        budget = Budget(LimitsDescription(**limits), prices)
        ledger = TrialLedger(backend, budget, setting, listener, folder, [KEY])
        async with open_relay() as relay:
            with ledger, relay.trial(ledger) as token:
                address = f"http://127.0.0.1:{await relay.listen('127.0.0.1')}/v1"
                desk = Desk(relay, ledger, address, token, folder)
                async with httpx2.AsyncClient(base_url=address, trust_env=False, timeout=30) as desk.client:
                    yield desk
                await ledger.end()
    await backend.close()


def user(content: str = "Do it.") -> Message:
    return {"role": "user", "content": content}


def message_of(response: httpx2.Response) -> Message:
    assert response.status_code == 200, response.text
    message: Message = response.json()["choices"][0]["message"]
    return message


def results_for(message: Message, text: str = "ok") -> list[Message]:
    return [{"role": "tool", "tool_call_id": call["id"], "content": text} for call in message["tool_calls"]]
