"""The trials of a run, with separate limits for live agents and for verifications, so that neither waits for the other.

Ctrl-C (or SIGTERM, SIGHUP) once: no new trials, and live ones end with their work kept, and what has been harvested is
judged. Twice: verifications are broken off as well; the work stays.

Trials that an earlier start of the run has finished are left alone (`evals.resume`).

A try whose sandbox failed is followed by another, once the engine answers. What else went wrong would go wrong again:
an image that is not there, a fault of ours; and of a backend, the client has tried each request again already.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from agent.interrupts import SIGNALS
from evals.engine_watch import EngineWatch
from evals.resume import is_finished, left_work
from evals.trial import Harvest, Report, Retrying, TrialFlow, close_try, not_judged
from results.record_files import DamagedFileError
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory

T = TypeVar("T")
TaskT = TypeVar("TaskT")


@dataclass(frozen=True)
class ExecutionSettings:
    """How many trials at once, and how often each."""

    concurrency: int = 4
    verifications: int = 2
    tries: int = 2
    """How often a trial is tried, and the work of a try judged, while the sandbox or the verifier fails."""
    command: tuple[str, ...] = ()
    """The arguments by which the run was started, without secrets."""


@dataclass
class RunResult:
    """How a run ended."""

    finished: int = 0
    finished_before: int = 0
    """By an earlier start of the run."""
    errors: int = 0
    interrupted: bool = False
    leftovers: list[str] = field(default_factory=list[str])
    """Why containers and networks could not be removed."""
    warnings: list[str] = field(default_factory=list[str])
    """What a person should know, of the containers' network say."""
    flagged: dict[tuple[str, int], list[str]] = field(default_factory=dict[tuple[str, int], list[str]])
    """Tasks and attempts in which the audit of the trajectory found a leak or cheating, and the rules."""
    retried: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Tasks and attempts that got another try, or whose work was judged once more."""
    reaped: str = ""
    """What runs that are dead had left behind, and is gone now: `2 containers, 1 folder`."""


@dataclass
class Execution(Generic[TaskT]):
    """The trials of a run, under its limits."""

    run: RunDirectory
    tasks: Sequence[TaskT]
    flow: TrialFlow[TaskT]
    settings: ExecutionSettings
    report: Report
    engine: EngineWatch = field(default_factory=EngineWatch)
    result: RunResult = field(default_factory=RunResult)

    def __post_init__(self) -> None:
        self._agents = asyncio.Semaphore(self.settings.concurrency)
        self._verifications = asyncio.Semaphore(self.settings.verifications)
        self._live: set[asyncio.Task[Any]] = set()
        self._judging: set[asyncio.Task[Any]] = set()
        self._given_up = False

    async def carry_out(self) -> None:
        """Carry out all of them."""
        with _on_interrupt(self._interrupt):
            try:
                pending = await asyncio.to_thread(self._pending)
                async with asyncio.TaskGroup() as group:
                    for task, trial in pending:
                        # Taken here, so that a trial costs no memory before it is its turn.
                        await self._agents.acquire()
                        if self.result.interrupted:
                            break
                        group.create_task(self._trial(task, trial))
            except ExceptionGroup as failures:  # a full disk, say: one sentence, not a group of them
                raise failures.exceptions[0] from failures

    def _pending(self) -> list[tuple[TaskT, TrialDirectory]]:
        """The trials that have yet to be done, the first attempts at all tasks before the second ones."""
        attempts = range(1, self.run.manifest.attempts + 1)
        trials = [
            (task, self.run.trial(self.flow.task_id(task), attempt)) for attempt in attempts for task in self.tasks
        ]
        verifiers = self.run.manifest.verifiers
        pending = [(task, trial) for task, trial in trials if not is_finished(trial, verifiers)]
        self.result.finished_before = len(trials) - len(pending)
        return pending

    async def _trial(self, task: TaskT, trial: TrialDirectory) -> None:
        """Carry it out, on one of the places for agents until the agent is done.

        The place is held over another try too: while the engine is away, a trial that began now would only lose its
        first one.
        """
        try:
            left = await asyncio.to_thread(left_work, trial)
            if left and (self.flow.judges_what_lies_there or left.judged_by):
                directory, harvest = left.directory, left.harvest
            elif self.result.interrupted:
                return
            else:
                directory, harvest = await self._agent_phase(task, trial)
        finally:
            self._agents.release()
        verdicts: list[Verdict] = []
        if harvest is not None:
            async with self._verifications:
                verdicts = await self._judge(task, trial, directory, harvest)
        outcome = await asyncio.to_thread(self._outcome, trial, directory)
        self._count(outcome)
        await self._audit(task, trial, directory)
        with contextlib.suppress(OSError):  # who watched has gone away; the work goes on
            self.report(trial, outcome, verdicts)

    def _outcome(self, trial: TrialDirectory, directory: TryDirectory) -> Outcome:
        """How a try ended; without the error that once kept it from a verdict, where it has one now."""
        end = directory.end()
        assert end is not None
        if end.outcome.error is not None and is_finished(trial, self.run.manifest.verifiers):
            return end.outcome.model_copy(update={"error": None})
        return end.outcome

    async def _audit(self, task: TaskT, trial: TrialDirectory, directory: TryDirectory) -> None:
        try:
            audit = await asyncio.to_thread(self.flow.audit, task, directory)
        except (OSError, DamagedFileError) as error:  # it can be made again at any time
            self.result.warnings.append(f"{trial.task_id} was not audited: {error}")
        else:
            if audit.flags:
                self.result.flagged[trial.task_id, trial.attempt] = audit.flags

    async def _agent_phase(self, task: TaskT, trial: TrialDirectory) -> tuple[TryDirectory, Harvest | None]:
        """Let the agent work, in as many tries as it takes and may have. No harvest: the last try is closed."""
        chances = self.settings.tries
        while True:
            directory = trial.start_try()
            harvest = await _in_task(self.flow.carry_out(task, directory), self._live)
            chances -= 1
            if harvest.outcome.error != "sandbox" or not chances or self.result.interrupted:
                return directory, harvest
            close_try(trial, directory, harvest, harvest.outcome)
            try:
                if not await _in_task(self.engine.answers(), self._live):
                    return directory, None
            except asyncio.CancelledError:
                if self.result.interrupted:
                    return directory, None
                raise
            self.result.retried.add((trial.task_id, trial.attempt))

    async def _judge(
        self, task: TaskT, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest
    ) -> list[Verdict]:
        if self._given_up and harvest.can_be_judged:
            harvest = replace(harvest, outcome=not_judged(harvest.outcome))

        async def may_go_on() -> bool:
            if not await self.engine.answers():
                return False
            self.result.retried.add((trial.task_id, trial.attempt))
            return True

        retrying = Retrying(self.settings.tries, may_go_on)
        return await _in_task(self.flow.judge(task, trial, directory, harvest, retrying), self._judging)

    def _count(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self.result.finished += 1
        else:
            self.result.errors += 1

    def _interrupt(self) -> None:
        self._given_up = self.result.interrupted
        self.result.interrupted = True
        for task in (*self._live, *(self._judging if self._given_up else ())):
            task.cancel()


async def _in_task(work: Coroutine[Any, Any, T], those: set[asyncio.Task[Any]]) -> T:
    """Await `work` in a task of its own among `those`, so that an interrupt reaches it alone."""
    task = asyncio.create_task(work)
    those.add(task)
    try:
        return await task
    finally:
        those.discard(task)


@contextlib.contextmanager
def _on_interrupt(handler: Callable[[], None]) -> Generator[None]:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError):  # no signals here, or not the main thread
        for number in SIGNALS:
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            for number in SIGNALS:
                loop.remove_signal_handler(number)
