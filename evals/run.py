"""A run: every trial of it, with separate limits for live agents and for verifications.

So neither waits for the other. Ctrl-C (or SIGTERM, SIGHUP) once: no new trials, and live ones end with their work
kept, and what has been harvested is judged. Twice: verifications are broken off as well; the work stays.

A try whose sandbox failed is followed by another, once the engine answers. What else went wrong would go wrong again:
an image that is not there, a fault of ours; and of a backend, the client has tried each request again already.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent.interrupts import SIGNALS
from evals.agents import TaskAgent
from evals.audit.record import audit_try
from evals.engine_watch import EngineWatch
from evals.images.leases import leased_images
from evals.janitor import Janitor
from evals.session import describe_session
from evals.swebench.dataset import AnyInstance
from evals.swebench.exports import export_predictions
from evals.swebench.judging import SWEBENCH, Judging
from evals.swebench.verifier import Verifier
from evals.trial import AgentPhase, Harvest, Report, Retrying, close_try, judge, not_judged
from results.record_files import DamagedFileError
from results.records.doctor import DoctorReport
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from runners.docker_engine import connect
from runners.networks import open_network
from runners.reaper import Reaping, reap_beside, remove_containers
from runners.sandbox_options import SandboxOptions

T = TypeVar("T")

_REAPER_GRACE = 10.0
PREDICTIONS = "predictions.jsonl"
"""The patches of a run in swebench's format, so that its own tools can grade them again."""


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; what could change its score is in its manifest as well."""

    concurrency: int = 4
    verifications: int = 2
    sandbox: SandboxOptions = field(default_factory=SandboxOptions)
    """The agent's, as the manifest has them; the verifier's are what the protocol says."""
    secrets: frozenset[str] = frozenset()
    """What is taken out of everything that is recorded."""
    doctor: DoctorReport | None = None
    """What was found out about the backend before the start."""
    allow_lost_thinking: bool = False
    """A person wants the run although the backend loses thinking that the agent needs."""
    tries: int = 2
    """How often a trial is tried, and the work of a try judged, while the sandbox or the verifier fails."""
    judging: Judging = SWEBENCH
    """How patches are judged, as the manifest has it."""


@dataclass
class RunResult:
    """How a run ended."""

    finished: int = 0
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
class _Execution:
    run: RunDirectory
    rows: Sequence[AnyInstance]
    phase: AgentPhase
    verifiers: Sequence[Verifier]
    settings: RunSettings
    report: Report
    engine: EngineWatch
    result: RunResult = field(default_factory=RunResult)

    def __post_init__(self) -> None:
        self._agents = asyncio.Semaphore(self.settings.concurrency)
        self._verifications = asyncio.Semaphore(self.settings.verifications)
        self._live: set[asyncio.Task[Any]] = set()
        self._judging: set[asyncio.Task[Any]] = set()
        self._given_up = False

    async def carry_out(self) -> None:
        with _on_interrupt(self._interrupt):
            try:
                async with asyncio.TaskGroup() as group:
                    for attempt in range(1, self.run.manifest.attempts + 1):
                        for row in self.rows:
                            group.create_task(self._trial(row, attempt))
            except ExceptionGroup as failures:  # a full disk, say: one sentence, not a group of them
                raise failures.exceptions[0] from failures

    async def _trial(self, row: AnyInstance, attempt: int) -> None:
        trial = self.run.trial(row.instance_id, attempt)
        verdicts: list[Verdict] = []
        # Held over another try too: while the engine is away, a trial that began now would only lose its first one.
        async with self._agents:
            if self.result.interrupted:
                return
            directory, harvest = await self._agent_phase(row, trial)
        if harvest is not None:
            async with self._verifications:
                verdicts = await self._judge(row, trial, directory, harvest)
        end = directory.end()
        assert end is not None
        self._count(end.outcome)
        await self._audit(row, trial, directory)
        with contextlib.suppress(OSError):  # who watched has gone away; the work goes on
            self.report(trial, end.outcome, verdicts)

    async def _audit(self, row: AnyInstance, trial: TrialDirectory, directory: TryDirectory) -> None:
        try:
            audit = await asyncio.to_thread(audit_try, directory, row.repo)
        except (OSError, DamagedFileError) as error:  # it can be made again at any time
            self.result.warnings.append(f"{row.instance_id} was not audited: {error}")
        else:
            if audit.flags:
                self.result.flagged[trial.task_id, trial.attempt] = audit.flags

    async def _agent_phase(self, row: AnyInstance, trial: TrialDirectory) -> tuple[TryDirectory, Harvest | None]:
        """Let the agent work, in as many tries as it takes and may have. No harvest: the last try is closed."""
        chances = self.settings.tries
        while True:
            directory = trial.start_try()
            harvest = await _in_task(self.phase.carry_out(row, directory), self._live)
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
        self, row: AnyInstance, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest
    ) -> list[Verdict]:
        if self._given_up and harvest.can_be_judged:
            harvest = replace(harvest, outcome=not_judged(harvest.outcome))

        async def may_go_on() -> bool:
            if not await self.engine.answers():
                return False
            self.result.retried.add((trial.task_id, trial.attempt))
            return True

        retrying = Retrying(self.settings.tries, may_go_on)
        return await _in_task(judge(self.verifiers, row, trial, directory, harvest, retrying), self._judging)

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


async def carry_out(
    run: RunDirectory, rows: Sequence[AnyInstance], agent: TaskAgent, settings: RunSettings, report: Report
) -> RunResult:
    """Carry out all trials of `run`, telling `report` of each that ends.

    Raises EngineUnavailableError when there is no Docker engine, ValueError for limits that it cannot set, SandboxError
    when the containers' network cannot be made.
    """
    run_id, janitor = run.manifest.run_id, Janitor()
    with contextlib.closing(await asyncio.to_thread(connect)) as client:
        async with (
            leased_images(client, run_id, (row.image for row in rows)),
            settings.judging.open(client, janitor, run_id, list(run.manifest.verifiers)) as verifiers,
            open_network(client, settings.sandbox, run=run_id) as network,
        ):
            run.append_session(
                describe_session(run, client, settings.concurrency, settings.doctor, settings.allow_lost_thinking)
            )
            phase = AgentPhase(client, agent, janitor, network, run_id, settings.secrets)
            execution = _Execution(run, rows, phase, verifiers, settings, report, EngineWatch())
            reaping = reap_beside(client)
            try:
                await execution.carry_out()
            finally:
                failures = [str(failure) for failure in await janitor.finish()]
                failures += await asyncio.to_thread(remove_containers, client, run_id)
                remarks = export_predictions(run, run.path / PREDICTIONS, attempt=1, force=True).remarks
        result = execution.result
        result.leftovers = [*failures, *network.leftovers]
        result.warnings += [*network.remarks, *(f"{PREDICTIONS}: {remark}" for remark in remarks)]
        result.reaped = await _reaped(reaping)
    return result


async def _reaped(reaping: "Future[Reaping]") -> str:
    """What the reaper removed; it began with the run and has long ended, unless the run was over in no time."""
    with contextlib.suppress(Exception):  # the boundary of what may never fail a run
        async with asyncio.timeout(_REAPER_GRACE):
            return (await asyncio.wrap_future(reaping)).counts
    return ""


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
