"""The trials of a run, with separate budgets for live sandboxes and for verifications: neither waits for the other.

A third one, of requests, is the backend's (`agent.request_budget`). A sandbox that its work is judged in counts among
those of agents until there is a place for its verification; what its task declares is taken until it is gone.

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
from agent.request_budget import RequestBudget
from evals.engine_watch import EngineWatch
from evals.resume import is_finished, left_work
from evals.scheduling.control import Budgets, heeding
from evals.scheduling.live_run import LiveRun
from evals.scheduling.order import in_order
from evals.scheduling.places import NOTHING, Demand, Places
from evals.trial import Harvest, Report, Retrying, TrialFlow, close_try, not_judged
from results.record_files import DamagedFileError
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.shared_storage import SharedStorageError, storage_of

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
    requests: RequestBudget | None = None
    """The backend's, where there is one."""


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
    live: LiveRun = field(default_factory=LiveRun)
    room: Demand = NOTHING
    """What the tasks whose containers live at the same time may declare together."""
    engine: EngineWatch = field(default_factory=EngineWatch)
    result: RunResult = field(default_factory=RunResult)

    def __post_init__(self) -> None:
        self._room = Places(room=self.room)
        self._agents = Places(self.settings.concurrency)
        self._verifications = Places(self.settings.verifications)
        self._budgets = Budgets(self._agents, self._verifications, self.settings.requests)
        self._live: set[asyncio.Task[Any]] = set()
        self._judging: set[asyncio.Task[Any]] = set()
        self._given_up = False
        self._storage = storage_of(self.run)

    async def carry_out(self) -> None:
        """Carry out all of them."""
        with _on_interrupt(self.interrupt):
            try:
                pending = await asyncio.to_thread(self._pending)
                heeded = heeding(self.run.path, self._budgets, self.live, len(pending))
                async with heeded, asyncio.TaskGroup() as group:
                    await self._begin(pending, group)
            except ExceptionGroup as failures:  # a full disk, say: one sentence, not a group of them
                raise failures.exceptions[0] from failures

    async def _begin(self, pending: Sequence[tuple[TaskT, TrialDirectory]], group: asyncio.TaskGroup) -> None:
        """Begin one trial after the other, each when there is a place for it: before that, it costs no memory."""
        for task, trial in pending:
            demand = self.flow.demand(task)
            await self._room.acquire(demand)
            await self._agents.acquire()
            if self.result.interrupted:
                break
            group.create_task(self._trial(task, trial, demand))

    def _pending(self) -> list[tuple[TaskT, TrialDirectory]]:
        """The trials that have yet to be done, in the order in which they begin."""
        ordered = in_order(self.tasks, self.run.manifest.attempts, self.flow.expected, self.flow.shared)
        trials = [(task, self.run.trial(self.flow.task_id(task), attempt)) for task, attempt in ordered]
        verifiers = self.run.manifest.verifiers
        pending = [(task, trial) for task, trial in trials if not is_finished(trial, verifiers)]
        self.result.finished_before = len(trials) - len(pending)
        return pending

    async def _trial(self, task: TaskT, trial: TrialDirectory, demand: Demand) -> None:
        """Carry it out on the place that it has been given, and judge what comes of it."""
        with contextlib.ExitStack() as room, contextlib.ExitStack() as agents_place:
            room.callback(self._room.release, demand)
            agents_place.callback(self._agents.release)
            worked = await self._work(task, trial)
            if worked is None:
                return
            directory, harvest = worked
            if self.flow.judges_what_lies_there:
                agents_place.close()
            verdicts = await self._verdicts(task, trial, directory, harvest, agents_place) if harvest else []
        outcome = await asyncio.to_thread(self._outcome, trial, directory)
        self._count(outcome)
        await self._audit(task, trial, directory)
        await self._send(trial)
        with contextlib.suppress(OSError):  # who watched has gone away; the work goes on
            self.live.ends(trial, outcome, verdicts)
            self.report(trial, outcome, verdicts)

    async def _work(self, task: TaskT, trial: TrialDirectory) -> tuple[TryDirectory, Harvest | None] | None:
        """What an agent has done, now or before; None where it is not to begin any more.

        The place is held over another try too: while the engine is away, a trial that began now would only lose its
        first one.
        """
        left = await asyncio.to_thread(left_work, trial)
        if left and (self.flow.judges_what_lies_there or left.judged_by):
            return left.directory, left.harvest
        return None if self.result.interrupted else await self._agent_phase(task, trial)

    async def _verdicts(
        self,
        task: TaskT,
        trial: TrialDirectory,
        directory: TryDirectory,
        harvest: Harvest,
        agents_place: contextlib.ExitStack,
    ) -> list[Verdict]:
        self.live.enters(trial, "waiting")
        async with self._verifications.one():
            agents_place.close()
            self.live.enters(trial, "judging")
            return await self._judge(task, trial, directory, harvest)

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

    async def _send(self, trial: TrialDirectory) -> None:
        """Send a trial that is over to where its run is shared."""
        if self._storage:
            try:
                await asyncio.to_thread(self._storage.send, trial.path)
            except SharedStorageError as error:  # the end of the run sends what is missing
                self.result.warnings.append(f"{trial.task_id} was not sent at once: {error}")

    async def _agent_phase(self, task: TaskT, trial: TrialDirectory) -> tuple[TryDirectory, Harvest | None]:
        """Let the agent work, in as many tries as it takes and may have. No harvest: the last try is closed."""
        chances = self.settings.tries
        while True:
            directory = trial.start_try()
            self.live.enters(trial, "sandbox")
            watched = self.live.listener(trial)
            harvest = await _in_task(self.flow.carry_out(task, directory, watched), self._live)
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

    def interrupt(self) -> None:
        """Begin nothing more, and end what agents do; the second time, verifications as well."""
        self._given_up = self.result.interrupted
        self.result.interrupted = True
        self._agents.pause(paused=False)  # whoever waits there has to learn of it
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
