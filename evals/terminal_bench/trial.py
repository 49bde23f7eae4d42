"""A trial of Terminal-Bench: an agent works in a container, and the task's tests judge it in there.

Services that the agent left running stay, since tasks are judged on them. The loop is over before the tests begin, and
the command in flight has ended with its whole process tree, so an agent that was too slow finishes nothing.
"""

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.listener import Listener, Listeners
from agent.redaction import Redacting
from agent.session import Recorder
from evals.audit.record import audit_try
from evals.janitor import Janitor
from evals.scheduling.places import Demand
from evals.terminal_bench.agents import CommandTerminalAgent, TerminalAgent
from evals.terminal_bench.compose_trial import main_variables
from evals.terminal_bench.environment import TaskContainers, bring, wait_until_healthy
from evals.terminal_bench.image import TaskImages, agent_image, service_images
from evals.terminal_bench.judging import VERIFIERS, Finding, Judging, SetupFailedError, as_one, step_verdicts
from evals.terminal_bench.part import Part, parts_of
from evals.terminal_bench.per_test import read_reports
from evals.terminal_bench.steps import Steps, StepsDone, not_judged_for
from evals.terminal_bench.task_directory import TaskDirectory
from evals.terminal_bench.trial_container import TrialContainer
from evals.terminal_bench.verifier_place import open_room
from evals.terminal_bench.verifier_run import KEPT_AT
from evals.trial import (
    Harvest,
    Retrying,
    close_try,
    fault_of_ours,
    guarded,
    not_judged,
    with_whole_time,
)
from results.records.audit import TraceAudit
from results.records.events import EndEvent
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, TryDirectory
from results.trajectory import TrajectoryWriter
from runners.docker_sandbox import DockerSandbox
from runners.private_room import PrivateRoom
from runners.sandbox_options import size_in_bytes
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient


_MAKE_FOLDERS = "mkdir -p /logs/agent /logs/artifacts && chmod 777 /logs/agent /logs/artifacts"
_MAKING = 60.0
_UNLIMITED = 3600.0
"""Seconds that an agent is expected to take to which its task sets no limit."""


@dataclass(frozen=True)
class LiveWork(Harvest):
    """What the agent's phase left: the container, with everything that runs in it."""

    sandbox: DockerSandbox | None = None
    rooms: tuple[PrivateRoom | str, ...] = ()
    done: StepsDone | None = None

    @property
    def can_be_judged(self) -> bool:
        """Whether there is a container, and nobody broke the work off."""
        return self.done is not None and self.outcome.error is None


@dataclass(frozen=True)
class TerminalBenchFlow:
    """Fulfils `evals.trial.TrialFlow`."""

    client: "DockerClient"
    agent: TerminalAgent
    janitor: Janitor
    images: TaskImages
    containers: TaskContainers
    judging: Judging
    secrets: frozenset[str]
    """What is taken out of everything that is recorded."""

    @property
    def judges_what_lies_there(self) -> bool:
        """The tests need the container."""
        return False

    def task_id(self, task: TaskDirectory) -> str:
        """The task's name."""
        return task.name

    def demand(self, task: TaskDirectory) -> Demand:
        """The processors and the memory of the task's container."""
        options = self.containers.limits.options(task.file.environment)
        return Demand(options.cpus or 0.0, size_in_bytes(options.memory, "memory") if options.memory else 0)

    def expected(self, task: TaskDirectory) -> float:
        """Seconds that its agents and its tests may take."""
        parts = task.file.steps or (task.file,)
        return sum((part.agent.timeout_sec or _UNLIMITED) + part.verifier.timeout_sec for part in parts)

    def shared(self, task: TaskDirectory) -> str:
        """Nothing is known of that before images are built."""
        return task.name

    async def carry_out(self, task: TaskDirectory, directory: TryDirectory, watched: Listener) -> LiveWork:
        """Let the agent work on a task, and keep its container for the tests."""
        started, image_ids = time.time(), list[str]()

        async def work(listener: Listener) -> tuple[Outcome, LiveWork]:
            image_ids.append(await self.images.obtain(agent_image(task)))
            for recipe in service_images(task).values():
                await self.images.obtain(recipe)
            return await self._in_container(task, directory, listener)

        with TrajectoryWriter(directory.trajectory_path) as writer:
            listener = Redacting(Listeners(Recorder(writer), watched), self.secrets)
            outcome, live = await guarded(work(listener))
            outcome = with_whole_time(outcome, time.time() - started)
            listener.event(EndEvent(time=time.time(), outcome=outcome))
        image_id = image_ids[0] if image_ids else None
        if live is None:
            return LiveWork(outcome, None, image_id, started)
        return dataclasses.replace(live, outcome=outcome, image_id=image_id, started=started)

    async def judge(
        self,
        task: TaskDirectory,
        trial: TrialDirectory,
        directory: TryDirectory,
        harvest: Harvest,
        retrying: Retrying,  # noqa: ARG002 - tests change what they look at, so they are run once
    ) -> list[Verdict]:
        """Run the task's tests."""
        outcome, found = harvest.outcome, list[Verdict]()
        if not isinstance(harvest, LiveWork):  # it has been judged, and its process died before it could say so
            close_try(trial, directory, harvest, outcome)
            return found
        try:
            if harvest.can_be_judged:
                outcome = await self._judge(task, trial, directory, harvest, found)
        finally:
            self._close(harvest.sandbox, harvest.rooms)
        close_try(trial, directory, harvest, outcome)
        return found

    def audit(self, task: TaskDirectory, directory: TryDirectory) -> TraceAudit:
        """Audit the trajectory."""
        return audit_try(directory, task.name)

    async def _in_container(
        self, task: TaskDirectory, directory: TryDirectory, listener: Listener
    ) -> tuple[Outcome, LiveWork]:
        environment, trial = task.file.environment, f"{task.name}/{directory.path.parents[1].name}"
        parts = parts_of(task)
        container = await TrialContainer.start(self.containers, task, parts, agent_image(task).name, trial)
        sandbox = container.sandbox
        rooms: list[PrivateRoom | str] = []
        try:
            if sandbox.warnings:  # the manifest would state what does not hold
                raise SandboxError("; ".join(sandbox.warnings))
            inside = await container.between(parts[0])
            if isinstance(self.agent, CommandTerminalAgent):  # before the room, which looks for changed programs
                await self.agent.command.install(inside, directory.artifacts)
            if task.files_beside_image:
                await bring(task.files_beside_image, inside)
            for part in parts:
                rooms.append(await self._room(task, part, container))  # noqa: PERF401 - one at a time is closed
            if environment.healthcheck:
                await wait_until_healthy(inside, environment.healthcheck)
            steps = Steps(
                self.client, self.agent, self.containers, self.judging, self.secrets, task, directory, container
            )
            done = await steps.carry_out(list(zip(parts, rooms, strict=True)), listener)
        except BaseException:
            self._close(sandbox, rooms)
            raise
        if done.outcome.error is not None:
            self._close(sandbox, rooms)
            return done.outcome, LiveWork(done.outcome, None, None, 0.0)
        return done.outcome, LiveWork(done.outcome, None, None, 0.0, done.left_running, sandbox, tuple(rooms), done)

    async def _room(self, task: TaskDirectory, part: Part, container: TrialContainer) -> PrivateRoom | str:
        room: PrivateRoom | str = "the tests run in a container of their own"
        if part.verifier.mode == "shared":
            variables = {**main_variables(task), **self.containers.environment(task.file.environment)}
            room = await open_room(self.client, container.settings, container.sandbox, variables)
        if isinstance(room, str):  # else its setup has made them
            await container.sandbox.exec(_MAKE_FOLDERS, timeout=_MAKING, user="0")
        return room

    async def _judge(
        self, task: TaskDirectory, trial: TrialDirectory, directory: TryDirectory, live: LiveWork, found: list[Verdict]
    ) -> Outcome:
        assert live.done is not None
        outcome, only_last = live.outcome, task.file.multi_step_reward_strategy == "final"
        pending = live.done.pending
        try:
            async with AsyncExitStack() as stack:
                examination = None
                if pending:
                    preparing = self.judging.prepared(task, pending.part, pending.place)
                    examination = await stack.enter_async_context(preparing)
                for name in self.judging.verifiers:
                    number, started = trial.next_verdict_number(), time.time()
                    files = trial.verdict_files(number)
                    findings = dict(live.done.findings.get(name, {}))
                    if examination:
                        findings[examination.part.name] = await examination.judge(name, files)
                    finding = as_one(findings, only_last=only_last, is_whole=pending is not None)
                    verdict = _verdict(finding, name, number, directory.number, live, started, files)
                    verdict = verdict.model_copy(update={"steps": step_verdicts(findings)})
                    trial.append_verdict(verdict)
                    found.append(verdict)
        except (SandboxError, SetupFailedError) as error:
            return not_judged_for(outcome, error)
        except asyncio.CancelledError:
            return not_judged(outcome)
        except Exception as error:  # the boundary of a trial
            return outcome.model_copy(update={"error": "harness", "detail": fault_of_ours(error).detail})
        return outcome

    def _close(self, sandbox: DockerSandbox | None, rooms: Sequence[PrivateRoom | str]) -> None:
        for room in rooms:
            if isinstance(room, PrivateRoom):
                self.janitor.close(room)
        if sandbox:
            self.janitor.close(sandbox)


def _verdict(
    finding: Finding, verifier: str, number: int, try_number: int, live: LiveWork, started: float, files: Path
) -> Verdict:
    return Verdict(
        number=number,
        try_number=try_number,
        verifier=verifier,
        verifier_version=VERIFIERS[verifier],
        status=finding.status,
        reward=finding.reward,
        rewards=finding.rewards,
        resolved=finding.resolved,
        detail=finding.detail,
        flags=[*(live.done.flags if live.done else ()), *finding.flags],
        fail_to_pass=read_reports(files / KEPT_AT),
        image_id=live.image_id,
        started=started,
        ended=time.time(),
    )
