"""What turns a task of Terminal-Bench into work: the model in our loop, the task's own solution, or nothing at all."""

import dataclasses
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.earlier import Earlier
from agent.listener import Listener
from agent.loop import Instructions
from evals.agents import ModelAgent, tell_start
from evals.command_agent import CommandAgent, CommandPlace
from evals.swebench.prompt_sets import fill
from evals.terminal_bench.mcp_servers import TaskServers
from evals.terminal_bench.shipped_files import shipped
from evals.terminal_bench.task_directory import SOLUTION_ENTRY
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome, TimeSplit
from runners.networks import SandboxNetwork
from tools.sandbox import Sandbox

SOLUTION_OUTPUT = "solution.txt"
_FOR_SOLUTIONS = {"DEBIAN_FRONTEND": "noninteractive"}
_NO_LIMIT = 7 * 24 * 3600.0
_KEPT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Assignment:
    """What an agent has to do, and where."""

    instruction: str
    image: str
    seconds: float | None
    """What the task gives it; None: no limit of the task's."""
    task: Path
    """The task's folder."""
    solution: Path
    """The folder of the task's own solution, which only the gold agent looks at."""
    solution_environment: dict[str, str]
    artifacts: Path
    """Where an agent leaves what is kept beside the trajectory."""
    network: SandboxNetwork
    """In which the container is while the agent works."""
    servers: AbstractAsyncContextManager[TaskServers]
    """The task's MCP servers, for as long as the agent works; only the default agent has tools to give to a model."""
    earlier: tuple[Earlier, ...] = ()
    """The conversation that the agent goes on from."""


class TerminalAgent(Protocol):
    """Works on one task after the other, several at a time."""

    @property
    def name(self) -> str:
        """`default`, `gold`, `nop`, `terminus` or `command`."""
        ...

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Do what is asked, and say how it ended. Never raises for what the work itself does."""
        ...


@dataclass(frozen=True)
class ModelTerminalAgent:
    """A model in our loop, which has the time that a person says, else what the task gives."""

    model: ModelAgent

    @property
    def name(self) -> str:
        """The loop's."""
        return self.model.name

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Run the loop."""
        prompts = self.model.prompts
        values = {"directory": sandbox.working_directory, "problem_statement": assignment.instruction}
        told = Instructions(prompts.system, fill(prompts.task, values), earlier=assignment.earlier)
        limits = limits_for(self.model.limits, assignment.seconds)
        async with assignment.servers as task:
            model = dataclasses.replace(self.model, limits=limits, mcp=(*self.model.mcp, *task.servers))
            return await model.run(told, sandbox, assignment.image, listener, task.started)


@dataclass(frozen=True)
class CommandTerminalAgent:
    """A command in the container, which asks the model through the relay."""

    command: CommandAgent

    @property
    def name(self) -> str:
        """That of all of them."""
        return self.command.name

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Run the command. Raises SandboxError."""
        place = CommandPlace(sandbox, assignment.network, assignment.image, assignment.artifacts)
        return await self.command.run(assignment.instruction, place, assignment.seconds, listener)


@dataclass(frozen=True)
class SolutionAgent:
    """Runs the task's own solution: where that earns nothing, the task or this machine is broken."""

    name: str = "gold"

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Run `solve.sh` in the time that the task gives."""
        tell_start(self.name, sandbox, assignment.image, listener)
        if not (assignment.solution / SOLUTION_ENTRY).is_file():
            return Outcome(exit="submitted", detail=f"the task has no solution/{SOLUTION_ENTRY}: nothing was done")
        started = time.monotonic()
        with shipped(assignment.solution, assignment.task) as solution:
            await sandbox.upload(solution, "/solution")
        entry = f"/solution/{SOLUTION_ENTRY}"
        ran = await sandbox.exec(
            f"chmod +x {entry}; exec {entry}",
            timeout=assignment.seconds or _NO_LIMIT,
            environment={**_FOR_SOLUTIONS, **assignment.solution_environment},
        )
        (assignment.artifacts / SOLUTION_OUTPUT).write_bytes(ran.output[:_KEPT])
        split = TimeSplit(tools=time.monotonic() - started)
        if ran.timed_out:
            return Outcome(exit="limit:time", detail=f"{SOLUTION_ENTRY} took longer than the task gives", time=split)
        detail = f"{SOLUTION_ENTRY} ended with {ran.exit_code}" if ran.exit_code else ""
        return Outcome(exit="submitted", detail=detail, time=split)


@dataclass(frozen=True)
class IdleAgent:
    """Does nothing: what it earns, nobody had to work for."""

    name: str = "nop"

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Leave everything as it is."""
        tell_start(self.name, sandbox, assignment.image, listener)
        return Outcome(exit="submitted")


def limits_for(limits: LimitsDescription, seconds: float | None) -> LimitsDescription:
    """The limits in which an agent works: the time is what a person says, else what the task gives.

    A published setting may give more time than tasks do (3 hours for Qwen3.6), as `override_timeout_sec` of Harbor.
    """
    return limits if limits.seconds is not None else limits.model_copy(update={"seconds": seconds})
