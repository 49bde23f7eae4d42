"""What every trial has in common, whatever the benchmark: its parts, and how its try ends.

A trial goes from left to right: sandbox up, agent, harvest; then the verdict, which is appended before `end.json`
closes the try. What goes wrong is in the outcome of the try; nothing of it ends other trials.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agent.listener import Listener
from evals.scheduling.places import Demand
from results.records.audit import TraceAudit
from results.records.outcome import ErrorSource, Outcome, TimeSplit, TryEnd
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, TryDirectory
from runners.docker_engine import ImageUnavailableError
from tools.sandbox import SandboxError

SCRATCH = "/var/outputs"
"""Not below /tmp, which agents clean: the state that a diff is made against lies there."""
T = TypeVar("T")
TaskT = TypeVar("TaskT", contravariant=True)


@dataclass(frozen=True)
class Harvest:
    """What the agent's phase left."""

    outcome: Outcome
    patch: bytes | None
    """None when nothing could be harvested, and where no patch is judged."""
    image_id: str | None
    started: float
    left_running: tuple[str, ...] = ()
    """The command lines of what still ran when the agent was done, where that is judged as well."""

    @property
    def can_be_judged(self) -> bool:
        """Whether there is work, and nobody broke it off."""
        return self.patch is not None and self.outcome.error is None


@dataclass(frozen=True)
class Retrying:
    """How often each verifier may go at a work, the first time included, while the judging itself fails."""

    tries: int
    may_go_on: Callable[[], Awaitable[bool]]
    """Asked after a failure, and waits where waiting may help."""


class TrialFlow(Protocol[TaskT]):
    """How the trials of one benchmark go."""

    @property
    def judges_what_lies_there(self) -> bool:
        """Whether work is judged that lies in the try's folder; else it needs the container, which dies with us."""
        ...

    def task_id(self, task: TaskT) -> str:
        """What the task is called in a run."""
        ...

    def demand(self, task: TaskT) -> Demand:
        """What the task declares that its containers take, as long as any of them lives."""
        ...

    def expected(self, task: TaskT) -> float:
        """How long the task takes beside others of its benchmark, in any unit."""
        ...

    def shared(self, task: TaskT) -> str:
        """What tasks have in common whose images share layers."""
        ...

    async def carry_out(self, task: TaskT, directory: TryDirectory, watched: Listener) -> Harvest:
        """Let the agent work, and leave `trajectory.jsonl` and what it made in the try's folder. Never raises.

        `watched` is told of the work as well.
        """
        ...

    async def judge(
        self, task: TaskT, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, retrying: Retrying
    ) -> list[Verdict]:
        """Append the verdicts on a try, and close the try. None where there is nothing to judge, or no judge.

        A verifier that has judged the try before does not do so again.
        """
        ...

    def audit(self, task: TaskT, directory: TryDirectory) -> TraceAudit:
        """Audit what was done in a try, and write it down. Blocking. Raises DamagedFileError, OSError."""
        ...


Report = Callable[[TrialDirectory, Outcome, Sequence[Verdict]], None]
"""Told of each trial that is over, with the verdicts on its last try."""


async def guarded(work: Awaitable[tuple[Outcome, T]]) -> tuple[Outcome, T | None]:
    """What `work` comes to, or how it failed: the boundary of a trial, whose faults must not end the others."""
    try:
        return await work
    except ImageUnavailableError as error:
        return failed("image", error), None
    except SandboxError as error:
        return failed("sandbox", error), None
    except asyncio.CancelledError:
        return Outcome(exit="interrupted", error="cancelled", detail="interrupted before the agent began"), None
    except Exception as error:  # the boundary itself
        return fault_of_ours(error), None


def close_try(trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, outcome: Outcome) -> None:
    """Write the try's end, which is the last that is written of it; one that is there stays."""
    if directory.end() is not None:
        return
    directory.write_end(
        TryEnd(
            task_id=trial.task_id,
            attempt=trial.attempt,
            number=directory.number,
            outcome=outcome,
            started=harvest.started,
            ended=time.time(),
            patch_sha256=None if harvest.patch is None else sha256(harvest.patch),
            image_id=harvest.image_id,
            left_running=list(harvest.left_running),
        )
    )


def not_judged(outcome: Outcome) -> Outcome:
    """The outcome of a trial whose verification was broken off."""
    return outcome.model_copy(update={"error": "cancelled", "detail": "interrupted before the work was judged"})


def failed(source: ErrorSource, error: Exception) -> Outcome:
    """The outcome of a try that an error broke off."""
    return Outcome(exit="error", error=source, detail=str(error))


def fault_of_ours(error: Exception) -> Outcome:
    """The outcome of a try in which the harness failed."""
    return Outcome(exit="error", error="harness", detail=f"Unbroken itself failed: {type(error).__name__}: {error}")


def with_whole_time(outcome: Outcome, seconds: float) -> Outcome:
    """Count what came before and after the agent's own work as the harness's time."""
    split = outcome.time
    harness = max(split.harness, seconds - split.model - split.tools)
    return outcome.model_copy(update={"time": TimeSplit(model=split.model, tools=split.tools, harness=harness)})


def broken_by_the_agent(outcome: Outcome) -> Outcome:
    """No error of the sandbox's: with another try for what it destroyed, an agent could have as many as it likes."""
    detail = f"the agent broke its own container, so there is no work to judge: {outcome.detail}"
    return outcome.model_copy(update={"error": None, "detail": detail})


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end (it has a deadline of its own), however often it is asked to stop."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def sha256(data: bytes) -> str:
    """The hash by which a work is known in records."""
    return hashlib.sha256(data).hexdigest()
