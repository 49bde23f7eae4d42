"""A trial of SWE-bench: an agent works on a repository, and its patch is judged in fresh containers.

The work is harvested on every exit: done, at a limit, interrupted, or broken off by an error. A verifier that fails
judges the same work once more, in the same try: what an agent did is not done again for that.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.listener import Listener, Listeners
from agent.redaction import Redacting
from agent.session import Recorder, patch_event, with_left_out
from agent.workspace import Diff, PatchTooLargeError, Workspace, WorkspaceError
from evals.agents import TaskAgent
from evals.audit.record import audit_try
from evals.command_agent import CommandAgent, CommandPlace
from evals.images.using import use_image
from evals.janitor import Janitor
from evals.resume import verdicts_on
from evals.scheduling.places import NOTHING, Demand
from evals.swebench import clean_room
from evals.swebench.dataset import AnyInstance
from evals.swebench.grading import GraderError
from evals.swebench.judgement import verdict
from evals.swebench.tasks import directory_of, task_text
from evals.swebench.verifier import Verifier
from evals.trial import (
    SCRATCH,
    Harvest,
    Retrying,
    broken_by_the_agent,
    close_try,
    failed,
    fault_of_ours,
    guarded,
    not_judged,
    sha256,
    uninterrupted,
    with_whole_time,
)
from evals.trial_agent import for_trial
from results.records.audit import TraceAudit
from results.records.events import EndEvent
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, TryDirectory
from results.trajectory import TrajectoryWriter
from runners.command_environment import NON_INTERACTIVE, pinned_beside
from runners.docker_engine import image_variables, in_thread
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.networks import SandboxNetwork
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

HARVEST_TIMEOUT = 300.0
_MINUTES = {"<15 min fix": 15.0, "15 min - 1 hour": 60.0, "1-4 hours": 240.0, ">4 hours": 480.0}
"""What annotators estimated that an engineer needs, as SWE-bench Verified spells it."""


@dataclass(frozen=True)
class AgentPhase:
    """What every try of a run works with."""

    client: "DockerClient"
    agent: TaskAgent | CommandAgent
    janitor: Janitor
    network: SandboxNetwork
    run: str
    secrets: frozenset[str]
    """What is taken out of everything that is recorded."""

    async def carry_out(self, row: AnyInstance, directory: TryDirectory, watched: Listener) -> "Harvest":
        """Let the agent work on `row`, and leave `trajectory.jsonl` and `patch.diff` in the try's folder."""
        started, image_ids = time.time(), list[str]()

        async def work(listener: Listener) -> tuple[Outcome, Diff | None]:
            image_ids.append(await in_thread(use_image, self.client, row.image))
            return await self._in_sandbox(row, directory, listener)

        with TrajectoryWriter(directory.trajectory_path) as writer:
            listener = Redacting(Listeners(Recorder(writer), watched), self.secrets)
            outcome, diff = await guarded(work(listener))
            outcome = with_whole_time(outcome, time.time() - started)
            if diff is not None:
                directory.write_patch(diff.patch)
                listener.event(patch_event(diff))
            listener.event(EndEvent(time=time.time(), outcome=outcome))
        return Harvest(outcome, diff.patch if diff else None, image_ids[0] if image_ids else None, started)

    async def _in_sandbox(
        self, row: AnyInstance, directory: TryDirectory, listener: Listener
    ) -> tuple[Outcome, Diff | None]:
        attempt = directory.path.parents[1].name
        declared = await in_thread(image_variables, self.client, row.image)
        settings = self.network.container(
            ContainerSettings(
                image=row.image,
                directory=directory_of(row),
                run=self.run,
                trial=f"{row.instance_id}/{attempt}",
                user="root",
                environment={**NON_INTERACTIVE, **pinned_beside(declared)},
                scratch=SCRATCH,
            )
        )
        sandbox = await DockerSandbox.start(self.client, settings)
        try:
            if sandbox.warnings:  # the manifest would state what does not hold
                raise SandboxError("; ".join(sandbox.warnings))
            if row.kind == "pro":
                await clean_room.go_to_base(sandbox, row.base_commit)
            await clean_room.clean(sandbox, row.base_commit, row.image)
            if isinstance(self.agent, CommandAgent):
                await self.agent.install(sandbox, directory.artifacts)
            workspace = Workspace(sandbox)
            base = await workspace.snapshot()
            outcome = await self._work(row, sandbox, directory, listener)
            outcome, diff = await uninterrupted(_harvest(workspace, base, outcome))
            if outcome.error == "sandbox" and await sandbox.is_broken_inside():
                return broken_by_the_agent(outcome), Diff(b"")
            return outcome, diff
        except WorkspaceError as error:
            return failed("image", error), None
        finally:
            self.janitor.close(sandbox)

    async def _work(
        self, row: AnyInstance, sandbox: DockerSandbox, directory: TryDirectory, listener: Listener
    ) -> Outcome:
        if isinstance(self.agent, CommandAgent):
            place = CommandPlace(sandbox, self.network, row.image, directory.artifacts)
            return await self.agent.run(task_text(row), place, None, listener)
        return await for_trial(self.agent, directory, row.instance_id).work(row, sandbox, listener)


@dataclass(frozen=True)
class SwebenchFlow:
    """Fulfils `evals.trial.TrialFlow`."""

    phase: AgentPhase
    verifiers: Sequence[Verifier]

    @property
    def judges_what_lies_there(self) -> bool:
        """A patch."""
        return True

    def task_id(self, task: AnyInstance) -> str:
        """The instance's id."""
        return task.instance_id

    def demand(self, task: AnyInstance) -> Demand:  # noqa: ARG002 - the protocol
        """Nothing: instances declare nothing."""
        return NOTHING

    def expected(self, task: AnyInstance) -> float:
        """Minutes, where the dataset has people's estimates (Verified's `difficulty`)."""
        return _MINUTES.get(str(getattr(task, "difficulty", "")), 0.0)

    def shared(self, task: AnyInstance) -> str:
        """The repository: images of its instances have an environment in common."""
        return task.repo

    async def carry_out(self, task: AnyInstance, directory: TryDirectory, watched: Listener) -> Harvest:
        """Let the agent work on a row."""
        return await self.phase.carry_out(task, directory, watched)

    async def judge(
        self, task: AnyInstance, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, retrying: Retrying
    ) -> list[Verdict]:
        """Judge the patch."""
        return await judge(self.verifiers, task, trial, directory, harvest, retrying)

    def audit(self, task: AnyInstance, directory: TryDirectory) -> TraceAudit:
        """Audit the trajectory."""
        return audit_try(directory, task.repo)


async def judge(
    verifiers: Sequence[Verifier],
    row: AnyInstance,
    trial: TrialDirectory,
    directory: TryDirectory,
    harvest: Harvest,
    retrying: Retrying,
) -> list[Verdict]:
    """Append the verdicts on a try, and close the try. None where there is nothing to judge, or no judge."""
    outcome, found = harvest.outcome, list[Verdict]()
    if harvest.can_be_judged:
        try:
            judged_by = verdicts_on(trial, directory)
            asked = [verifier for verifier in verifiers if verifier.name not in judged_by]
            outcome = await judge_all(asked, row, trial, directory, harvest, retrying, found)
        except asyncio.CancelledError:
            outcome = not_judged(harvest.outcome)
    close_try(trial, directory, harvest, outcome)
    return found


async def judge_all(
    verifiers: Sequence[Verifier],
    row: AnyInstance,
    trial: TrialDirectory,
    directory: TryDirectory,
    harvest: Harvest,
    retrying: Retrying,
    found: list[Verdict],
) -> Outcome:
    """Append the verdict of each verifier to the trial and to `found`, or say in the outcome why one is missing.

    Where the verifier fails, or swebench finds in the log that the environment did, the patch is judged again, in a
    fresh container.
    """
    outcome = harvest.outcome
    for verifier in verifiers:
        outcome, verdict = await _judge_once(verifier, row, trial, directory, harvest)
        for _ in range(retrying.tries - 1):
            has_failed = outcome.error == "verifier" or (verdict is not None and verdict.infrastructure)
            if not has_failed or not await retrying.may_go_on():
                break
            outcome, verdict = await _judge_once(verifier, row, trial, directory, harvest)
        if verdict is None:
            break
        found.append(verdict)
    return outcome


async def _judge_once(
    verifier: Verifier, row: AnyInstance, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest
) -> tuple[Outcome, Verdict | None]:
    """Append the verdict on a patch, or say in the outcome why there is none."""
    assert harvest.patch is not None
    number = trial.next_verdict_number()
    started = time.time()
    try:
        judgement = await verifier.judge(row, harvest.patch, trial.verdict_files(number))
        found = verdict(
            judgement,
            number=number,
            try_number=directory.number,
            verifier=verifier.name,
            verifier_version=verifier.version,
            patch_sha256=sha256(harvest.patch),
            image_id=harvest.image_id or "",
            started=started,
        )
        trial.append_verdict(found)
    except (SandboxError, GraderError) as error:
        detail = f"the work was not judged: {error}"
        return harvest.outcome.model_copy(update={"error": "verifier", "detail": detail}), None
    except Exception as error:  # the boundary of a trial, as above
        update = {"error": "harness", "detail": fault_of_ours(error).detail}
        return harvest.outcome.model_copy(update=update), None
    return harvest.outcome, found


async def _harvest(workspace: Workspace, base: str, outcome: Outcome) -> tuple[Outcome, Diff | None]:
    try:
        async with asyncio.timeout(HARVEST_TIMEOUT):
            diff = await workspace.diff(base)
        return with_left_out(outcome, diff), diff
    except (SandboxError, WorkspaceError, TimeoutError) as error:
        if outcome.error is not None:
            return outcome, None
        if isinstance(error, PatchTooLargeError):  # the agent's doing, so it gets no other try for it
            detail = f"the work is judged as an empty patch: {error}"
            return outcome.model_copy(update={"detail": detail}), Diff(b"")
        detail = f"the work could not be harvested: {error}"
        return outcome.model_copy(update={"error": "sandbox", "detail": detail}), None
