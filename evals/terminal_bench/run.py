"""A run on tasks in Harbor's format."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evals.execution import Execution, ExecutionSettings, RunResult
from evals.images.leases import leased_images
from evals.janitor import Janitor
from evals.manifest import describe_run
from evals.run import reaped
from evals.scheduling.live_run import LiveRun
from evals.scheduling.places import Demand
from evals.session import describe_session
from evals.terminal_bench.agents import CommandTerminalAgent, ModelTerminalAgent, TerminalAgent
from evals.terminal_bench.digest import folder_digest
from evals.terminal_bench.environment import Networks, TaskContainers, TaskLimits
from evals.terminal_bench.image import TaskImages, service_images
from evals.terminal_bench.judging import OFFICIAL, VERIFIERS, Judging
from evals.terminal_bench.mcp_servers import expanded
from evals.terminal_bench.task_directory import TaskDirectory
from evals.terminal_bench.terminus import TerminusTerminalAgent
from evals.terminal_bench.trial import TerminalBenchFlow
from evals.trial import Report
from results.records.doctor import DoctorReport
from results.records.manifest import BenchmarkDescription, Manifest
from results.run_at_work import run_at_work
from results.run_directory import RunDirectory
from runners.docker_engine import connect
from runners.reaper import reap_beside, remove_containers
from runners.sandbox_options import Capacity

if TYPE_CHECKING:
    from docker import DockerClient

_PROCESSORS_SHARED_BY = 2


@dataclass(frozen=True)
class TerminalBenchSettings(ExecutionSettings):
    """How a run is carried out; what could change its score is in its manifest as well."""

    limits: TaskLimits = field(default_factory=TaskLimits)
    clip_resources: bool = False
    """Whether who asks for more than the machine has gets what it has, rather than no run."""
    verifiers: Sequence[str] = (OFFICIAL,)
    secrets: frozenset[str] = frozenset()
    """What is taken out of everything that is recorded."""
    doctor: DoctorReport | None = None
    """What was found out about the backend before the start."""
    allow_lost_thinking: bool = False


def make_manifest(
    run_id: str,
    source: str,
    tasks: Sequence[TaskDirectory],
    agent: TerminalAgent,
    attempts: int,
    limits: TaskLimits,
    verifiers: Sequence[str],
    revision: str | None = None,
) -> Manifest:
    """The manifest of a run on these tasks, which are `revision` of `source`, judged by `verifiers`. Raises OSError."""
    benchmark = BenchmarkDescription(
        name="terminal-bench",
        source=source,
        revision=revision,
        content_sha256=content_sha256(tasks),
        task_ids=[task.name for task in tasks],
    )
    described = agent.model if isinstance(agent, ModelTerminalAgent) else agent
    described = agent.command if isinstance(agent, CommandTerminalAgent) else described
    sandbox: dict[str, Any] = {"limits_of_tasks": "as each task has them", **limits.description()}
    judged = {name: VERIFIERS[name] for name in verifiers}
    manifest = describe_run(run_id, benchmark, described, attempts, judged, sandbox)
    return agent.in_manifest(manifest) if isinstance(agent, TerminusTerminalAgent) else manifest


def content_sha256(tasks: Sequence[TaskDirectory]) -> str:
    """The hash of tasks, in their order. Raises OSError."""
    digests = [f"{task.name} {folder_digest(task.path)}\n" for task in tasks]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


async def carry_out(
    run: RunDirectory,
    tasks: Sequence[TaskDirectory],
    agent: TerminalAgent,
    settings: TerminalBenchSettings,
    report: Report,
    tell: Callable[[str], None],
    live: LiveRun | None = None,
) -> RunResult:
    """Carry out all trials of `run`, telling `report` of each that ends, and `tell` of images that are built.

    `live` is told of all that goes on.

    Raises EngineUnavailableError when there is no Docker engine.
    """
    run_id, janitor = run.manifest.run_id, Janitor()
    with run_at_work(run), contextlib.closing(await asyncio.to_thread(connect)) as client:
        names = (recipe.name for task in tasks for recipe in service_images(task).values())
        async with leased_images(client, run_id, names), AsyncExitStack() as stack:
            run.append_session(
                describe_session(
                    run, client, settings.concurrency, settings.doctor, settings.allow_lost_thinking, settings.command
                )
            )
            networks = Networks(client, run_id, stack)
            relayed = isinstance(agent, CommandTerminalAgent)
            containers = TaskContainers(client, networks, settings.limits, run_id, dict(os.environ), relayed)
            images = TaskImages(client, tell)
            judging = Judging(client, janitor, images, containers, list(run.manifest.verifiers))
            with_tools = tasks if isinstance(agent, ModelTerminalAgent) else ()
            secrets = settings.secrets.union(*(_secrets(task, containers) for task in with_tools))
            flow = TerminalBenchFlow(client, agent, janitor, images, containers, judging, secrets)
            room = await _room(client)
            execution = Execution(run, tasks, flow, settings, report, live or LiveRun(), room)
            reaping = reap_beside(client)
            try:
                await execution.carry_out()
            finally:
                failures = [str(failure) for failure in await janitor.finish()]
                failures += await asyncio.to_thread(remove_containers, client, run_id)
        result = execution.result
        result.leftovers = [*failures, *(leftover for network in networks.opened for leftover in network.leftovers)]
        result.warnings += [remark for network in networks.opened for remark in network.remarks]
        result.reaped = await reaped(reaping)
    return result


async def _room(client: "DockerClient") -> Demand:
    """What tasks whose containers live at the same time may declare: all memory, and processors twice.

    Agents wait for their models most of the time. Raises SandboxError.
    """
    has = await Capacity.ask(client)
    return Demand(_PROCESSORS_SHARED_BY * has.cpus, has.memory)


def _secrets(task: TaskDirectory, containers: TaskContainers) -> frozenset[str]:
    """What a task's MCP servers are called with that may be a key."""
    servers = expanded(task.file.environment.mcp_servers, containers.variables)
    return frozenset[str]().union(*(server.secrets() for server in servers))
