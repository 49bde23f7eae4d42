"""What turns a task into work: the model in our loop, the benchmark's own solution, or nothing at all."""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from agent.approval import Approval
from agent.backend import Backend
from agent.limits import Budget
from agent.listener import Listener
from agent.loop import Agent, Instructions
from agent.workspace import Workspace, WorkspaceError
from evals.preflight import ThinkingNeed
from evals.swebench.dataset import AnyInstance
from evals.swebench.prompt_sets import Prompts
from evals.swebench.tasks import instructions
from results.records.events import StartEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome, TimeSplit
from results.records.usage import Prices
from tools.mcp_program import StartProgram
from tools.mcp_servers import McpError, McpServer
from tools.mcp_toolset import OpenToolset, open_toolset
from tools.sandbox import Sandbox


class TaskAgent(Protocol):
    """Works on one task after the other, several at a time."""

    @property
    def name(self) -> str:
        """`default`, `gold` or `nop`."""
        ...

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Work on the task in the sandbox, and say how it ended. Never raises for what the work itself does."""
        ...


@dataclass(frozen=True)
class ModelAgent:
    """A model in our loop."""

    backend: Backend
    toolset: str
    prompts: Prompts
    limits: LimitsDescription
    prices: Prices | None
    mcp: tuple[McpServer, ...] = ()
    """Servers whose tools the model gets besides; each trial starts its own."""
    seed: int | None = None
    """The run's, from which those of trials follow; None: nobody wants any, or the server takes none."""
    name: str = "default"
    needs: tuple[ThinkingNeed, ...] = ("tool_turns",)
    """What of the model's thinking has to survive: our loop sends no user message after the first."""

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Run the loop on a row."""
        return await self.run(instructions(self.prompts, row), sandbox, row.image, listener)

    async def run(
        self,
        told: Instructions,
        sandbox: Sandbox,
        image: str,
        listener: Listener,
        started: Mapping[str, StartProgram] | None = None,
    ) -> Outcome:
        """Run the loop; every call is allowed, since a container of its own is what it can harm.

        `started`: how the programs of MCP servers are started that do not run on this machine.
        """
        try:
            async with self.open_toolset(started) as toolset:
                agent = Agent(
                    backend=self.backend,
                    toolset_name=toolset.name,
                    toolset=toolset.tools,
                    sandbox=sandbox,
                    sandbox_name=f"docker:{image}",
                    budget=Budget(self.limits, self.prices),
                    approval=Approval("all"),
                    listener=listener,
                )
                return await agent.run(told)
        except McpError as error:
            return Outcome(exit="error", error="harness", detail=str(error))

    def open_toolset(
        self, started: Mapping[str, StartProgram] | None = None
    ) -> AbstractAsyncContextManager[OpenToolset]:
        """Open the tools of one trial. Raises McpError for a server that cannot be had."""
        from runners.command_environment import local_environment
        from runners.marked_processes import MARK, new_mark

        environment = {**local_environment(), MARK: new_mark()} if self.mcp else {}
        return open_toolset(self.toolset, self.mcp, environment=environment, started=started)


@dataclass(frozen=True)
class GoldAgent:
    """Applies the benchmark's own solution: what it does not resolve, nobody can."""

    name: str = "gold"

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Apply the row's patch."""
        started = time.monotonic()
        tell_start(self.name, sandbox, row.image, listener)
        try:
            await Workspace(sandbox).apply(row.patch.encode())
        except WorkspaceError as error:
            return Outcome(exit="error", error="image", detail=str(error))
        return Outcome(exit="submitted", time=TimeSplit(tools=time.monotonic() - started))


@dataclass(frozen=True)
class NopAgent:
    """Does nothing: what it resolves was never broken."""

    name: str = "nop"

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Leave everything as it is."""
        tell_start(self.name, sandbox, row.image, listener)
        return Outcome(exit="submitted")


def tell_start(name: str, sandbox: Sandbox, image: str, listener: Listener) -> None:
    """Record that an agent begins which needs no model."""
    listener.event(
        StartEvent(
            time=time.time(),
            agent=name,
            backend=None,
            toolset="",
            tools=[],
            directory=sandbox.working_directory,
            sandbox=f"docker:{image}",
        )
    )
