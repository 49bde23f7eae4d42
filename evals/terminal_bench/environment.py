"""A task's container: its network, its limits, where commands start, and when it is ready."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from evals.terminal_bench.task_file import (
    AgentTable,
    EnvironmentTable,
    Healthcheck,
    NetworkMode,
    TaskFile,
    User,
    VerifierTable,
)
from evals.terminal_bench.variables import filled
from evals.trial import SCRATCH
from runners.command_environment import NON_INTERACTIVE, pinned_beside
from runners.container import ContainerSettings
from runners.docker_engine import in_thread
from runners.docker_sandbox import DockerSandbox
from runners.network_switch import engine_resolvers
from runners.networks import SandboxNetwork, open_network
from runners.sandbox_options import PROCESSES, Capacity, NetworkKind, SandboxOptions, size_in_bytes
from tools.sandbox import Sandbox, SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

IDLE = ("sh", "-c", "sleep infinity")
_NETWORKS: dict[str, NetworkKind] = {"public": "bridge", "no-network": "none", "allowlist": "allowlist"}


@dataclass(frozen=True)
class TaskLimits:
    """What a person says about every task of a run; None: as the task has it."""

    cpus: float | None = None
    memory: str | None = None
    """As `runners.sandbox_options.size` returns it."""
    processes: int | None = PROCESSES
    timeout_multiplier: float = 1.0
    """Of the times that tasks give to agents and to tests."""
    clipped_to: Capacity | None = None
    """What the engine has, where who asks for more gets that; None: whoever asks for more is refused."""

    def description(self) -> dict[str, Any]:
        """For a manifest."""
        return {**vars(self), "clipped_to": vars(self.clipped_to) if self.clipped_to else None}

    def options(self, environment: EnvironmentTable, phase: AgentTable | VerifierTable | None = None) -> SandboxOptions:
        """What holds for a task's container, in a phase of its own. Raises SandboxOptionError."""
        mode, hosts = network_in(environment, phase)
        cpus = self.cpus or environment.cpus
        memory = self.memory or (f"{environment.memory_mb}m" if environment.memory_mb else None)
        most = self.clipped_to
        if most and most.cpus and cpus:
            cpus = min(cpus, most.cpus)
        if most and most.memory and memory and size_in_bytes(memory, "memory") > most.memory:
            memory = str(most.memory)
        gpus = environment.gpus or 0
        return SandboxOptions.parse(
            _NETWORKS[mode], hosts, cpus=cpus, memory=memory, processes=self.processes, gpus=gpus
        )

    def all_options(self, file: TaskFile) -> Iterator[SandboxOptions]:
        """What holds in each phase of a task. Raises SandboxOptionError."""
        yield self.options(file.environment)
        for part in (file, *(file.steps or ())):
            yield self.options(file.environment, part.agent)
            yield self.options(part.verifier.environment or file.environment, part.verifier)


def network_in(
    environment: EnvironmentTable, phase: AgentTable | VerifierTable | None = None
) -> tuple[NetworkMode, tuple[str, ...]]:
    """The network of a phase, and the hosts on its list; a list without hosts lets nobody reach anything."""
    mode, hosts = environment.baseline, environment.allowed_hosts
    if phase and phase.network_mode:
        mode, hosts = phase.network_mode, hosts if phase.allowed_hosts is None else phase.allowed_hosts
    if mode != "allowlist":
        return mode, ()
    return (mode, tuple(hosts)) if hosts else ("no-network", ())


@dataclass
class Networks:
    """The networks of a run's containers: one for each list of hosts, made when it is needed first."""

    client: "DockerClient"
    run: str
    stack: AsyncExitStack
    opened: list[SandboxNetwork] = field(default_factory=list[SandboxNetwork])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _resolvers: tuple[str, ...] = ()

    async def of(self, options: SandboxOptions, *, ours: bool = False) -> SandboxNetwork:
        """The network of a container with these options; `ours` as `open_network` has it.

        Raises SandboxError, SandboxOptionError.
        """
        async with self._lock:
            for network in self.opened:
                if network.options == options and (network.is_ours or not (ours and network.has_way_out)):
                    return network
            opening = open_network(self.client, options, run=self.run, ours=ours)
            network = await self.stack.enter_async_context(opening)
            self.opened.append(network)
            return network

    async def resolvers(self, image: str) -> tuple[str, ...]:
        """The name servers for containers that change networks. `image`: any that is here. Raises SandboxError."""
        async with self._lock:
            self._resolvers = self._resolvers or await engine_resolvers(self.client, image)
            return self._resolvers


@dataclass(frozen=True)
class TaskContainers:
    """How the containers of a run's tasks are set up."""

    client: "DockerClient"
    networks: Networks
    limits: TaskLimits
    run: str
    variables: Mapping[str, str]
    """What tasks may ask for of this machine's environment."""
    relayed: bool = False
    """Whether the agent runs in the container, and asks its model through a relay: then no network means that alone."""

    async def plain_settings(
        self, table: EnvironmentTable, image: str, trial: str, *, user: User | None, unattended: bool
    ) -> ContainerSettings:
        """The settings of a container, but for its network and limits.

        `unattended`: an agent's, whose programs are told that nobody is there. Raises SandboxError and
        MissingVariableError.
        """
        made_for = await image_settings(self.client, image)
        for_agents = {**NON_INTERACTIVE, **pinned_beside(made_for.variables)} if unattended else {}
        return ContainerSettings(
            image=image,
            directory=table.workdir or made_for.directory,
            entrypoint=made_for.entrypoint,
            environment={**for_agents, **self.environment(table)},
            run=self.run,
            trial=trial,
            user="" if user is None else str(user),
            scratch=SCRATCH,
            rights="usual",
            volumes=("/logs", "/logs/agent", "/logs/artifacts", "/tests"),
        )

    def environment(self, table: EnvironmentTable) -> dict[str, str]:
        """What a task sets for every process of a container. Raises MissingVariableError."""
        return filled(table.env, self.variables, "[environment].env")

    def for_agents(self, options: SandboxOptions) -> SandboxOptions:
        """What holds while an agent works in a container for which a task has these."""
        return options.with_host() if self.relayed else options


@dataclass(frozen=True)
class ImageSettings:
    """What an image says about the containers that are made of it."""

    directory: str
    """Where commands start."""
    user: str
    """As USER is written; empty for root."""
    entrypoint: tuple[str, ...]
    """What its containers run; none where it only says what is run unless something else is asked for (CMD)."""
    variables: tuple[str, ...]
    """What it sets in them, each `NAME=value`."""


async def image_settings(client: "DockerClient", image: str) -> ImageSettings:
    """What an image says. Raises SandboxError.

    The format's containers run `sh -c "sleep infinity"` as CMD, so an image's ENTRYPOINT is what starts its services.
    """
    api: Any = client.api
    inspected: dict[str, dict[str, Any]] = await in_thread(api.inspect_image, image)
    said = inspected["Config"]
    entrypoint: list[str] = said.get("Entrypoint") or []
    starts = (*entrypoint, *IDLE) if entrypoint else ()
    return ImageSettings(said.get("WorkingDir") or "/", said.get("User") or "", starts, tuple(said.get("Env") or ()))


async def bring(folder: Path, sandbox: DockerSandbox) -> None:
    """Copy what lies in a folder to where a container's commands start. Raises SandboxError."""
    for each in sorted(folder.iterdir()):
        await sandbox.upload(each, str(PurePosixPath(sandbox.working_directory, each.name)))


async def wait_until_healthy(sandbox: Sandbox, check: Healthcheck) -> None:
    """Wait for the first success of a task's health check, as Docker counts them. Raises SandboxError."""
    started, failures = time.monotonic(), 0
    while True:
        result = await sandbox.exec(check.command, timeout=check.timeout_sec)
        if result.exit_code == 0:
            return
        is_starting = time.monotonic() - started < check.start_period_sec
        failures += not is_starting
        if failures >= check.retries:
            said = result.output[-500:].decode(errors="replace").strip()
            how = "it took too long" if result.timed_out else f"exit {result.exit_code}"
            message = f"the container did not get ready: {check.command} failed {failures} times ({how}): {said}"
            raise SandboxError(message)
        await asyncio.sleep(check.start_interval_sec if is_starting else check.interval_sec)
