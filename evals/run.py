"""A run: every trial of it, with separate limits for live agents and for verifications.

So neither waits for the other. Ctrl-C (or SIGTERM, SIGHUP) once: no new trials, and live ones end with their work
kept, and what has been harvested is judged. Twice: verifications are broken off as well; the work stays.
"""

import asyncio
import contextlib
import json
import os
import platform
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.interrupts import SIGNALS
from evals.agents import TaskAgent
from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.grading import Grader
from evals.swebench.verifier import OfficialVerifier
from evals.trial import AgentPhase, Harvest, Report, judge, not_judged
from results.records.doctor import DoctorReport
from results.records.manifest import SessionRecord
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from runners.docker_engine import connect, engine_version

PREDICTIONS = "predictions.jsonl"
"""The patches of a run in swebench's format, so that its own tools can grade them again."""


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; nothing here changes its score."""

    concurrency: int = 4
    verifications: int = 2
    network: str = "none"
    """The agent's; the verifier has what the protocol says."""
    secrets: frozenset[str] = frozenset()
    """What is taken out of everything that is recorded."""
    doctor: DoctorReport | None = None
    """What was found out about the backend before the start."""
    allow_lost_thinking: bool = False
    """A person wants the run although the backend loses thinking that the agent needs."""


@dataclass
class RunResult:
    """How a run ended."""

    finished: int = 0
    errors: int = 0
    interrupted: bool = False
    leftovers: list[str] = field(default_factory=list[str])
    """Why containers could not be removed."""


@dataclass
class _Execution:
    run: RunDirectory
    rows: Sequence[Row]
    phase: AgentPhase
    verifier: OfficialVerifier
    settings: RunSettings
    report: Report
    result: RunResult = field(default_factory=RunResult)

    def __post_init__(self) -> None:
        self._agents = asyncio.Semaphore(self.settings.concurrency)
        self._verifications = asyncio.Semaphore(self.settings.verifications)
        self._live: set[asyncio.Task[Harvest]] = set()
        self._judging: set[asyncio.Task[Verdict | None]] = set()
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

    async def _trial(self, row: Row, attempt: int) -> None:
        async with self._agents:
            if self.result.interrupted:
                return
            trial = self.run.trial(row.instance_id, attempt)
            directory = trial.start_try()
            harvest = await self._agent_phase(row, directory)
        async with self._verifications:
            verdict = await self._judge(row, trial, directory, harvest)
        end = directory.end()
        assert end is not None
        self._count(end.outcome)
        with contextlib.suppress(OSError):  # who watched has gone away; the work goes on
            self.report(trial, end.outcome, verdict)

    async def _agent_phase(self, row: Row, directory: TryDirectory) -> Harvest:
        # A task of its own, so that an interrupt reaches the agent alone and its work is still harvested.
        task = asyncio.create_task(self.phase.carry_out(row, directory))
        self._live.add(task)
        try:
            return await task
        finally:
            self._live.discard(task)

    async def _judge(
        self, row: Row, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest
    ) -> Verdict | None:
        if self._given_up and harvest.can_be_judged:
            harvest = replace(harvest, outcome=not_judged(harvest.outcome))
        task = asyncio.create_task(judge(self.verifier, row, trial, directory, harvest))
        self._judging.add(task)
        try:
            return await task
        finally:
            self._judging.discard(task)

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
    run: RunDirectory, rows: Sequence[Row], agent: TaskAgent, settings: RunSettings, report: Report
) -> RunResult:
    """Carry out all trials of `run`, telling `report` of each that ends.

    Raises EngineUnavailableError when there is no Docker engine.
    """
    client = await asyncio.to_thread(connect)
    async with _grader() as grader:
        janitor = Janitor()
        run.append_session(_session(run, settings, engine_version(client)))
        phase = AgentPhase(client, agent, janitor, settings.network, run.manifest.run_id, settings.secrets)
        verifier = OfficialVerifier(client, grader, janitor, run.manifest.run_id)
        execution = _Execution(run, rows, phase, verifier, settings, report)
        try:
            await execution.carry_out()
        finally:
            execution.result.leftovers = [str(failure) for failure in await janitor.finish()]
            write_predictions(run)
            client.close()
        return execution.result


def write_predictions(run: RunDirectory) -> Path:
    """Write the patch of each task's first attempt in swebench's format (`instance_id`, `model_patch`)."""
    name = run.manifest.backend.model if run.manifest.backend else run.manifest.agent.name
    lines: list[str] = []
    for trial in run.trials():
        patch = _latest_patch(trial)
        if trial.attempt == 1 and patch is not None:
            prediction = {"instance_id": trial.task_id, "model_name_or_path": name, "model_patch": patch}
            lines.append(json.dumps(prediction) + "\n")
    path = run.path / PREDICTIONS
    path.write_text("".join(lines), "utf-8")
    return path


def _latest_patch(trial: TrialDirectory) -> str | None:
    for directory in reversed(trial.tries()):
        if directory.patch_path.exists():
            return directory.patch_path.read_bytes().decode("utf-8", "surrogateescape")
    return None


@asynccontextmanager
async def _grader() -> AsyncGenerator[Grader]:
    grader = await Grader.start()
    try:
        yield grader
    finally:
        await grader.close()


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


def _session(run: RunDirectory, settings: RunSettings, engine: str) -> SessionRecord:
    return SessionRecord(
        started=time.time(),
        manifest_sha256=run.manifest.sha256(),
        machine=f"{platform.platform()}, {os.cpu_count()} cores",
        python=platform.python_version(),
        engine=engine,
        commit=_commit(),
        concurrency=settings.concurrency,
        doctor=settings.doctor,
        allow_lost_thinking=settings.allow_lost_thinking,
    )


def _commit() -> str | None:
    """The commit that the harness runs from, with `+` for changes on top; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "-C", root, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")
