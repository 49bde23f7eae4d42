"""What the tests of the loop share: an agent with a real server and a real shell, and a log of all it did."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripted_client import script

from agent.approval import Approval
from agent.backend import DeltaKind
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.limits import Budget
from agent.loop import Agent, Instructions
from agent.scripted.script import Script
from agent.scripted.server import serve
from agent.waits import Waits
from results.records.events import (
    BackendDescription,
    Event,
    ResponseEvent,
    ToolResultEvent,
)
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from runners.local_sandbox import LocalSandbox
from tools.toolset import make_toolset

TASK = Instructions("You work in a repository.", "Mend it.")
THINKING = {"chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True}}
DONE_REPLY = {"content": "Done."}


@dataclass
class Log:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list[Event])
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    printed: asyncio.Event = field(default_factory=asyncio.Event)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        self.spoken.set()

    def output(self, data: bytes) -> None:
        self.printed.set()

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def responses(self) -> list[ResponseEvent]:
        return [event for event in self.events if isinstance(event, ResponseEvent)]

    @property
    def results(self) -> list[ToolResultEvent]:
        return [event for event in self.events if isinstance(event, ToolResultEvent)]

    @property
    def answers(self) -> list[str]:
        """What the model was told, without the header line."""
        return [str(event.sent["content"]).partition("\n")[2] for event in self.results]


@dataclass
class Desk:
    """An agent about to work, and what will be known of its work."""

    agent: Agent
    log: Log
    url: str
    directory: Path

    async def work(self, instructions: Instructions = TASK) -> Outcome:
        return await self.agent.run(instructions)


@asynccontextmanager
async def desk_at(url: str, directory: Path, **settings: Any) -> AsyncGenerator[Desk]:
    description = BackendDescription(
        base_url=url,
        model=settings.get("model", "m"),
        dialect=settings.get("dialect", "generic"),
        sampling={**THINKING, **settings.get("sampling", {})},
        context_window=settings.get("window"),
        vision=settings.get("vision"),
    )
    retry = RetryPolicy(attempts=settings.get("attempts", 2), first_wait=0.001)
    backend = ChatBackend(description, retry=retry, waits=Waits.of_silence(30))
    sandbox = LocalSandbox(directory)
    log = Log()
    agent = Agent(
        backend=backend,
        toolset_name="bash+editor",
        toolset=settings.get("toolset") or make_toolset("bash+editor"),
        sandbox=sandbox,
        sandbox_name="local",
        budget=Budget(LimitsDescription(**settings.get("limits", {})), settings.get("prices")),
        approval=settings.get("approval") or Approval("all"),
        listener=log,
    )
    try:
        yield Desk(agent, log, url, directory)
    finally:
        await sandbox.close()
        await backend.close()


@asynccontextmanager
async def desk(directory: Path, scripted: Script, **settings: Any) -> AsyncGenerator[Desk]:
    async with serve(scripted) as url, desk_at(url, directory, **settings) as result:
        yield result


async def work(directory: Path, *replies: dict[str, Any], **settings: Any) -> tuple[Outcome, Log]:
    async with desk(directory, script(*replies), **settings) as here:
        return await here.work(), here.log


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"reasoning": "Hm.", "tool_calls": list(calls), **fields}


def edit(**arguments: Any) -> dict[str, Any]:
    return {"name": "str_replace_editor", "arguments": arguments}
