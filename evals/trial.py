"""One try at one task, from left to right: sandbox up, agent, harvest; then the verdict.

The work is harvested on every exit: done, at a limit, interrupted, or broken off by an error. The verdict is
appended before `end.json` closes the try. A verifier that fails judges the same work once more, in the same try:
what an agent did is not done again for that.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from agent.listener import Listener
from agent.redaction import Redacting
from agent.session import Recorder, patch_event
from agent.workspace import Workspace, WorkspaceError
from evals.agents import TaskAgent
from evals.janitor import Janitor
from evals.swebench import clean_room
from evals.swebench.dataset import Row
from evals.swebench.grading import GraderError
from evals.swebench.judgement import verdict
from evals.swebench.tasks import DIRECTORY
from evals.swebench.verifier import Verifier
from results.records.events import EndEvent
from results.records.outcome import ErrorSource, Outcome, TimeSplit, TryEnd
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, TryDirectory
from results.trajectory import TrajectoryWriter
from runners.docker_engine import ImageUnavailableError, ensure_image, in_thread
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.networks import SandboxNetwork
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

HARVEST_TIMEOUT = 300.0
SCRATCH = "/var/outputs"
"""Not below /tmp, which agents clean: the state that the diff is made against lies there."""
T = TypeVar("T")


@dataclass(frozen=True)
class AgentPhase:
    """What every try of a run works with."""

    client: "DockerClient"
    agent: TaskAgent
    janitor: Janitor
    network: SandboxNetwork
    run: str
    secrets: frozenset[str]
    """What is taken out of everything that is recorded."""

    async def carry_out(self, row: Row, directory: TryDirectory) -> "Harvest":
        """Let the agent work on `row`, and leave `trajectory.jsonl` and `patch.diff` in the try's folder."""
        started = time.time()
        with TrajectoryWriter(directory.trajectory_path) as writer:
            listener = Redacting(Recorder(writer), self.secrets)
            image_id = None
            patch: bytes | None = None
            try:
                image_id = await in_thread(ensure_image, self.client, row.image)
                outcome, patch = await self._in_sandbox(row, directory, listener)
            except ImageUnavailableError as error:
                outcome = _error("image", error)
            except SandboxError as error:
                outcome = _error("sandbox", error)
            except asyncio.CancelledError:
                outcome = Outcome(exit="interrupted", error="cancelled", detail="interrupted before the agent began")
            except Exception as error:  # the boundary of a trial: a fault of ours must not end the others
                outcome = _fault_of_ours(error)
            outcome = _with_whole_time(outcome, time.time() - started)
            if patch is not None:
                directory.write_patch(patch)
                listener.event(patch_event(patch))
            listener.event(EndEvent(time=time.time(), outcome=outcome))
        return Harvest(outcome, patch, image_id, started)

    async def _in_sandbox(self, row: Row, directory: TryDirectory, listener: Listener) -> tuple[Outcome, bytes | None]:
        attempt = directory.path.parents[1].name
        settings = self.network.container(
            ContainerSettings(
                image=row.image,
                directory=DIRECTORY,
                run=self.run,
                trial=f"{row.instance_id}/{attempt}",
                user="root",
                scratch=SCRATCH,
            )
        )
        sandbox = await DockerSandbox.start(self.client, settings)
        try:
            if sandbox.warnings:  # the manifest would state what does not hold
                raise SandboxError("; ".join(sandbox.warnings))
            await clean_room.clean(sandbox, row.base_commit, row.image)
            workspace = Workspace(sandbox)
            base = await workspace.snapshot()
            outcome = await self.agent.work(row, sandbox, listener)
            outcome, patch = await _uninterrupted(_harvest(workspace, base, outcome))
            if outcome.error == "sandbox" and await sandbox.is_broken_inside():
                return _broken_by_the_agent(outcome), b""
            return outcome, patch
        except WorkspaceError as error:
            return _error("image", error), None
        finally:
            self.janitor.close(sandbox)


@dataclass(frozen=True)
class Harvest:
    """What the agent's phase left. `patch` is None when nothing could be harvested."""

    outcome: Outcome
    patch: bytes | None
    image_id: str | None
    started: float

    @property
    def can_be_judged(self) -> bool:
        """Whether there is work, and nobody broke it off."""
        return self.patch is not None and self.outcome.error is None


Again = Callable[[], Awaitable[bool]]
"""Asked after an error, and waits where waiting may help: whether to go at it once more."""


async def judge(
    verifiers: Sequence[Verifier],
    row: Row,
    trial: TrialDirectory,
    directory: TryDirectory,
    harvest: Harvest,
    again: Again,
) -> list[Verdict]:
    """Append the verdicts on a try, and close the try. None where there is nothing to judge, or no judge."""
    outcome, found = harvest.outcome, list[Verdict]()
    if harvest.can_be_judged:
        try:
            outcome = await judge_all(verifiers, row, trial, directory, harvest, again, found)
        except asyncio.CancelledError:
            outcome = not_judged(harvest.outcome)
    close_try(trial, directory, harvest, outcome)
    return found


async def judge_all(
    verifiers: Sequence[Verifier],
    row: Row,
    trial: TrialDirectory,
    directory: TryDirectory,
    harvest: Harvest,
    again: Again,
    found: list[Verdict],
) -> Outcome:
    """Append the verdict of each verifier to the trial and to `found`, or say in the outcome why one is missing.

    Where the verifier fails, or swebench finds in the log that the environment did, the patch is judged `again`.
    """
    outcome = harvest.outcome
    for verifier in verifiers:
        outcome, verdict = await _judge_once(verifier, row, trial, directory, harvest)
        while (outcome.error == "verifier" or (verdict and verdict.infrastructure)) and await again():
            outcome, verdict = await _judge_once(verifier, row, trial, directory, harvest)
        if verdict is None:
            break
        found.append(verdict)
    return outcome


def close_try(trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, outcome: Outcome) -> None:
    """Write the try's end, which is the last that is written of it."""
    directory.write_end(
        TryEnd(
            task_id=trial.task_id,
            attempt=trial.attempt,
            number=directory.number,
            outcome=outcome,
            started=harvest.started,
            ended=time.time(),
            patch_sha256=None if harvest.patch is None else _sha256(harvest.patch),
            image_id=harvest.image_id,
        )
    )


def not_judged(outcome: Outcome) -> Outcome:
    """The outcome of a trial whose verification was broken off."""
    return outcome.model_copy(update={"error": "cancelled", "detail": "interrupted before the work was judged"})


Report = Callable[[TrialDirectory, Outcome, Sequence[Verdict]], None]
"""Told of each trial that is over, with the verdicts on its last try."""


async def _judge_once(
    verifier: Verifier, row: Row, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest
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
            patch_sha256=_sha256(harvest.patch),
            image_id=harvest.image_id or "",
            started=started,
        )
        trial.append_verdict(found)
    except (SandboxError, GraderError) as error:
        detail = f"the work was not judged: {error}"
        return harvest.outcome.model_copy(update={"error": "verifier", "detail": detail}), None
    except Exception as error:  # the boundary of a trial, as above
        update = {"error": "harness", "detail": _fault_of_ours(error).detail}
        return harvest.outcome.model_copy(update=update), None
    return harvest.outcome, found


async def _harvest(workspace: Workspace, base: str, outcome: Outcome) -> tuple[Outcome, bytes | None]:
    try:
        async with asyncio.timeout(HARVEST_TIMEOUT):
            return outcome, await workspace.diff(base)
    except (SandboxError, WorkspaceError, TimeoutError) as error:
        if outcome.error is not None:
            return outcome, None
        detail = f"the work could not be harvested: {error}"
        return outcome.model_copy(update={"error": "sandbox", "detail": detail}), None


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end (it has a deadline of its own), however often it is asked to stop."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def _broken_by_the_agent(outcome: Outcome) -> Outcome:
    """No error of the sandbox's: with another try for what it destroyed, an agent could have as many as it likes."""
    detail = f"the agent broke its own container, so there is no work to judge: {outcome.detail}"
    return outcome.model_copy(update={"error": None, "detail": detail})


def _error(source: ErrorSource, error: Exception) -> Outcome:
    return Outcome(exit="error", error=source, detail=str(error))


def _fault_of_ours(error: Exception) -> Outcome:
    return Outcome(exit="error", error="harness", detail=f"Unbroken itself failed: {type(error).__name__}: {error}")


def _with_whole_time(outcome: Outcome, seconds: float) -> Outcome:
    """Count what the sandbox's start, the clean room and the harvest took as the harness's own time."""
    split = outcome.time
    harness = max(split.harness, seconds - split.model - split.tools)
    return outcome.model_copy(update={"time": TimeSplit(model=split.model, tools=split.tools, harness=harness)})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
