"""The container of a trial as each phase finds it: which network it is in, who works there, and what is set.

`[environment]` is the baseline: the container starts in it, and setting up, health checks, hooks and artifacts have it.
`[agent]` and `[verifier]`, and those of a step, override it for as long as they last (Harbor 0.25.0). Where no phase
has a network of its own, and no step a user of its own, there is one network, one shell, and nothing to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evals.terminal_bench.compose_task import MAIN, compose_file_of
from evals.terminal_bench.compose_trial import main_settings, start_project
from evals.terminal_bench.environment import TaskContainers
from evals.terminal_bench.part import Part
from evals.terminal_bench.task_directory import TaskDirectory
from runners.compose import ComposeProject
from runners.container import ContainerSettings
from runners.docker_sandbox import DockerSandbox
from runners.network_switch import NetworkSwitch, phase_environment, switchable
from runners.networks import SandboxNetwork


@dataclass(frozen=True)
class PhaseNetworks:
    """The networks of a trial's phases."""

    baseline: SandboxNetwork
    agents: Mapping[str, SandboxNetwork]
    """By the name of the part."""
    verifiers: Mapping[str, SandboxNetwork]
    """Of those that judge in the agent's container."""

    @property
    def all(self) -> list[SandboxNetwork]:
        """Each of them once, the baseline first."""
        networks = (self.baseline, *self.agents.values(), *self.verifiers.values())
        return list({network.name: network for network in networks}.values())

    @property
    def change(self) -> bool:
        """Whether there is more than one."""
        return len(self.all) > 1

    def variables(self, network: SandboxNetwork) -> Mapping[str, str]:
        """What is set for what is started in a phase, beside what is set in the whole container."""
        return phase_environment(network) if self.change else {}


async def phase_networks(containers: TaskContainers, task: TaskDirectory, parts: Sequence[Part]) -> PhaseNetworks:
    """The networks of a task's phases. Raises SandboxError, SandboxOptionError."""
    limits, environment = containers.limits, task.file.environment
    baseline = limits.options(environment)
    agents = {part.name: containers.for_agents(limits.options(environment, part.agent)) for part in parts}
    shared = [part for part in parts if part.verifier.mode == "shared"]
    verifiers = {part.name: limits.options(environment, part.verifier) for part in shared}
    ours = any(options != baseline for options in (*agents.values(), *verifiers.values()))
    networks = containers.networks
    return PhaseNetworks(
        await networks.of(baseline, ours=ours),
        {name: await networks.of(options, ours=ours) for name, options in agents.items()},
        {name: await networks.of(options, ours=ours) for name, options in verifiers.items()},
    )


@dataclass
class TrialContainer:
    """A container that goes from phase to phase. Close its sandbox, and it is gone."""

    sandbox: DockerSandbox
    """The container's own."""
    settings: ContainerSettings
    """What it was made with."""
    plain: ContainerSettings
    """The same without a network."""
    networks: PhaseNetworks
    switch: NetworkSwitch
    project: ComposeProject | None = None
    """The containers around it."""
    _views: dict[tuple[str, tuple[tuple[str, str], ...]], DockerSandbox] = field(
        default_factory=dict[tuple[str, tuple[tuple[str, str], ...]], DockerSandbox]
    )

    _services: dict[str, DockerSandbox] = field(default_factory=dict[str, DockerSandbox])

    @classmethod
    async def start(
        cls, containers: TaskContainers, task: TaskDirectory, parts: Sequence[Part], image: str, trial: str
    ) -> "TrialContainer":
        """Start it, in the baseline. Raises SandboxError, SandboxOptionError, MissingVariableError."""
        users = {part.agent.user for part in parts}
        plain = await containers.plain_settings(
            task.file.environment, image, trial, user=parts[0].agent.user if len(users) == 1 else None, unattended=True
        )
        plain = main_settings(task, plain) if compose_file_of(task) else plain
        networks = await phase_networks(containers, task, parts)
        settings = networks.baseline.container(plain)
        if networks.change:
            can_ask = any(network.has_way_out for network in networks.all)
            resolvers = await containers.networks.resolvers(image) if can_ask else ()
            settings = switchable(plain, networks.all, resolvers)
        sandbox, project = await _start(containers, task, settings)
        switch = NetworkSwitch(containers.client, sandbox.container_id, networks.baseline)
        return cls(sandbox, settings, plain, networks, switch, project)

    async def between(self, part: Part) -> DockerSandbox:
        """The container in its baseline, as the user of this part's agent. Raises SandboxError."""
        await self.switch.to(self.networks.baseline)
        return await self._view(part, self.networks.baseline)

    async def for_agent(self, part: Part) -> DockerSandbox:
        """The container for the time in which the agent works. Raises SandboxError."""
        network = self.network_of_agent(part)
        await self.switch.to(network)
        return await self._view(part, network)

    def network_of_agent(self, part: Part) -> SandboxNetwork:
        """In which the container is while the agent works."""
        return self.networks.agents[part.name]

    async def for_tests(self, part: Part) -> Mapping[str, str]:
        """Let the network of the tests hold. Returns what has to be set for them because of it. Raises SandboxError."""
        network = self.networks.verifiers[part.name]
        await self.switch.to(network)
        return self.switch.environment if self.networks.change else network.environment

    async def service(self, name: str, part: Part) -> DockerSandbox:
        """Another container of the task's, as its image's user has it. Raises SandboxError."""
        if name == MAIN:
            return await self.between(part)
        assert self.project is not None
        if name not in self._services:
            settings = replace(self.plain, directory="/", user="", environment={}, volumes=())
            self._services[name] = await self.project.service(name, settings)
        return self._services[name]

    def settings_for_tests(self, part: Part) -> ContainerSettings:
        """The settings of another container of this kind, in which the tests alone run."""
        network = self.networks.verifiers.get(part.name, self.networks.baseline)
        return network.container(self.plain)

    async def _view(self, part: Part, network: SandboxNetwork) -> DockerSandbox:
        variables, user = self.networks.variables(network), "" if part.agent.user is None else str(part.agent.user)
        user = "" if user == self.settings.user else user
        if not variables and not user:
            return self.sandbox
        key = user, tuple(sorted(variables.items()))
        if key not in self._views:
            self._views[key] = await self.sandbox.view(user=user, variables=variables)
        return self._views[key]


async def _start(
    containers: TaskContainers, task: TaskDirectory, settings: ContainerSettings
) -> tuple[DockerSandbox, ComposeProject | None]:
    if compose_file_of(task):
        return await start_project(containers.client, task, settings)
    return await DockerSandbox.start(containers.client, settings), None
