"""The parts of a task, one after the other in one container: its steps, or the whole task as the only one.

Each is a piece of work of its own for the agent. All but the last are judged on the way, since what was earned decides
whether the next one begins; the last is judged by the trial, when a verification is free.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.listener import Listener
from agent.redaction import Redacting
from agent.session import Recorder
from evals.atif.earlier import read_earlier
from evals.terminal_bench.agents import Assignment, ModelTerminalAgent, TerminalAgent
from evals.terminal_bench.artifacts import collect
from evals.terminal_bench.compose_task import MAIN
from evals.terminal_bench.environment import TaskContainers, bring, wait_until_healthy
from evals.terminal_bench.judging import OFFICIAL, Finding, Judging, SetupFailedError, Workplace
from evals.terminal_bench.mcp_servers import in_container
from evals.terminal_bench.part import Part
from evals.terminal_bench.skills import with_skills
from evals.terminal_bench.survivors import survivors
from evals.terminal_bench.task_directory import TaskDirectory
from evals.terminal_bench.task_file import CollectHook
from evals.terminal_bench.terminus import TerminusTerminalAgent
from evals.terminal_bench.trial_container import TrialContainer
from evals.terminal_bench.variables import filled
from evals.trial import broken_by_the_agent
from evals.trial_agent import for_trial
from results.records.events import EndEvent
from results.records.outcome import Outcome, TimeSplit
from results.records.usage import Usage
from results.run_directory import TryDirectory
from results.trajectory import TrajectoryWriter
from runners.docker_sandbox import DockerSandbox
from runners.private_room import PrivateRoom
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

_SETUP = "setup.sh"
_SETTING_UP = 600.0
_EMPTY_LOGS = 'for logs in /logs/agent /logs/artifacts; do rm -rf "$logs"/* "$logs"/.[!.]* "$logs"/..?*; done'
_EMPTYING = 60.0
Findings = dict[str, dict[str, Finding]]
"""By verifier, and by the name of the part."""


class StepSetupError(SandboxError):
    """A step's setup.sh that failed: in a first step the task's or this machine's fault, later maybe the agent's."""


@dataclass(frozen=True)
class PartWork:
    """What an agent left of one part, to be judged where it lies."""

    part: Part
    place: Workplace


@dataclass(frozen=True)
class StepsDone:
    """How far the parts went."""

    outcome: Outcome
    pending: PartWork | None = None
    """The part that has yet to be judged; None where a gate was not passed before it."""
    findings: Findings = field(default_factory=Findings)
    """On the parts before."""
    flags: tuple[str, ...] = ()
    """What a person should look at before they believe the tests."""
    left_running: tuple[str, ...] = ()
    """The command lines of what the agent left running."""


@dataclass(frozen=True)
class Steps:
    """The parts of one task, one after the other in one container; all but the last are judged on the way."""

    client: "DockerClient"
    agent: TerminalAgent
    containers: TaskContainers
    judging: Judging
    secrets: frozenset[str]
    task: TaskDirectory
    directory: TryDirectory
    container: TrialContainer

    async def carry_out(self, parts: Sequence[tuple[Part, PrivateRoom | str]], listener: Listener) -> "StepsDone":
        """Let the agent work on each, as far as the gates let it. Raises SandboxError."""
        outcomes, flags, findings = list[Outcome](), list[str](), Findings()
        pending: PartWork | None = None
        of_image = await self._running() if self.container.settings.entrypoint else []
        for part, room in parts:
            try:
                outcome = await self._work_on(part, listener, is_first=not outcomes)
            except StepSetupError as error:
                if not outcomes:
                    raise
                for verifier in self.judging.verifiers:
                    findings.setdefault(verifier, {})[part.name] = Finding("no_results", str(error))
                break
            outcomes.append(outcome)
            if outcome.error is not None:
                break
            flags += await self._run_hooks(part)
            pending = PartWork(part, await self._left(part, room))
            if part is parts[-1][0]:
                break
            try:
                of_part = await self._judge(pending)
            except SetupFailedError as error:
                outcomes[-1] = not_judged_for(outcome, error)
                break
            pending = None
            for verifier, finding in of_part.items():
                findings.setdefault(verifier, {})[part.name] = finding
            if not part.lets_on(of_part[OFFICIAL].rewards):
                break
        outcome = merged(outcomes)
        if outcome.error is not None:
            return StepsDone(outcome)
        left = Counter(await self._running()) - Counter(of_image)
        return StepsDone(outcome, pending, findings, tuple(flags), tuple(left.elements()))

    async def _running(self) -> list[str]:
        return await survivors(self.client, self.container.sandbox.container_id)

    async def _work_on(self, part: Part, listener: Listener, *, is_first: bool) -> Outcome:
        sandbox = await self.container.between(part)
        if not is_first:
            await sandbox.exec(_EMPTY_LOGS, timeout=_EMPTYING, user="0")
        if part.workdir:
            await prepare(sandbox, part.workdir)
        if part.healthcheck:
            await wait_until_healthy(sandbox, part.healthcheck)
        sandbox = await self.container.for_agent(part)
        assignment = await self._assignment(part, sandbox)
        agent = self.agent
        if isinstance(agent, ModelTerminalAgent | TerminusTerminalAgent):
            agent = replace(agent, model=for_trial(agent.model, self.directory, self.task.name, part.name))
        if not part.name:
            outcome = await agent.work(assignment, sandbox, listener)
        else:
            outcome = await self._recorded(part.name, agent, assignment, sandbox)
        if outcome.error == "sandbox" and await sandbox.is_broken_inside():
            return broken_by_the_agent(outcome)
        return outcome

    async def _recorded(
        self, name: str, agent: TerminalAgent, assignment: Assignment, sandbox: DockerSandbox
    ) -> Outcome:
        """Work on a step, which is a conversation of its own."""
        folder = self.directory.path / "steps" / name
        folder.mkdir(parents=True)
        with TrajectoryWriter(folder / "trajectory.jsonl") as writer:
            listener = Redacting(Recorder(writer), self.secrets)
            outcome = await agent.work(assignment, sandbox, listener)
            listener.event(EndEvent(time=time.time(), outcome=outcome))
        return outcome

    async def _run_hooks(self, part: Part) -> list[str]:
        """Run what puts work where artifacts are collected. Flags for what failed. Raises SandboxError."""
        told = [
            await _run_hook(await self.container.service(hook.service, part), hook) for hook in part.verifier.collect
        ]
        return [flag for flag in told if flag]

    async def _left(self, part: Part, room: PrivateRoom | str) -> Workplace:
        folder = self._folder(part)
        services = {artifact.service for artifact in part.artifacts} - {None, MAIN}
        sandboxes = {name: await self.container.service(name, part) for name in services if name}
        collected = await collect(await self.container.between(part), part.artifacts, folder, sandboxes)
        has_room = isinstance(room, PrivateRoom)
        return Workplace(self.container, room if has_room else None, "" if has_room else room, collected, folder)

    async def _judge(self, work: PartWork) -> dict[str, Finding]:
        found: dict[str, Finding] = {}
        async with self.judging.prepared(self.task, work.part, work.place) as examination:
            for verifier in self.judging.verifiers:
                files = self._folder(work.part) / f"judged-{verifier}"
                files.mkdir()
                found[verifier] = await examination.judge(verifier, files)
        return found

    def _folder(self, part: Part) -> Path:
        """Where a part's artifacts are kept."""
        folder = self.directory.artifacts / "steps" / part.name if part.name else self.directory.artifacts
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def _assignment(self, part: Part, sandbox: DockerSandbox) -> Assignment:
        containers, seconds = self.containers, part.agent.timeout_sec
        environment = self.task.file.environment
        instruction = part.instruction
        if environment.skills_dir:
            instruction = await with_skills(instruction, environment.skills_dir, sandbox)
        return Assignment(
            instruction=instruction,
            image=self.container.settings.image,
            seconds=None if seconds is None else seconds * containers.limits.timeout_multiplier,
            task=self.task.path,
            solution=part.solution,
            solution_environment=filled(self.task.file.solution.env, containers.variables, "[solution].env"),
            artifacts=self._folder(part),
            network=self.container.network_of_agent(part),
            servers=in_container(environment.mcp_servers, containers.variables, sandbox),
            earlier=tuple(read_earlier(part.earlier)) if part.earlier else (),
        )


def merged(outcomes: Sequence[Outcome]) -> Outcome:
    """What several pieces of work came to together: how the last one ended, and what all of them took."""
    if len(outcomes) == 1:
        return outcomes[0]
    costs = [outcome.cost for outcome in outcomes]
    usage, counts = Usage(), Counter[str]()
    for outcome in outcomes:
        usage += outcome.usage
        counts.update(outcome.counts)
    return outcomes[-1].model_copy(
        update={
            "steps": sum(outcome.steps for outcome in outcomes),
            "usage": usage,
            "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
            "time": TimeSplit(
                model=sum(outcome.time.model for outcome in outcomes),
                tools=sum(outcome.time.tools for outcome in outcomes),
                harness=sum(outcome.time.harness for outcome in outcomes),
            ),
            "counts": dict(counts),
        }
    )


def not_judged_for(outcome: Outcome, error: Exception) -> Outcome:
    """The outcome of a trial whose tests could not be run."""
    return outcome.model_copy(update={"error": "verifier", "detail": f"the work was not judged: {error}"})


async def prepare(sandbox: DockerSandbox, workdir: Path) -> None:
    """Copy what a step begins with to where commands start, and run its setup.sh. Raises SandboxError."""
    await bring(workdir, sandbox)
    if (workdir / _SETUP).is_file():
        ran = await sandbox.exec(f"bash {_SETUP}", timeout=_SETTING_UP)
        if ran.exit_code != 0:
            how = "it took too long" if ran.timed_out else f"exit {ran.exit_code}"
            said = ran.output[-500:].decode(errors="replace").strip()
            message = f"{workdir / _SETUP} failed ({how}): {said}"
            raise StepSetupError(message)


async def _run_hook(sandbox: DockerSandbox, hook: CollectHook) -> str:
    """Why it failed; empty where it did not.

    Raises SandboxError where the container or its engine is gone: what the agent breaks in there is no reason for
    another try.
    """
    user = None if hook.user is None else str(hook.user)
    try:
        ran = await sandbox.exec(hook.command, timeout=hook.timeout_sec, user=user)
    except SandboxError as error:
        if hook.service == MAIN and not await sandbox.is_running():
            raise
        return f"collect: {error}: {hook.command[:80]}"
    how = "took too long" if ran.timed_out else f"exit {ran.exit_code}"
    return "" if ran.exit_code == 0 else f"collect: {how}: {hook.command[:80]}"
