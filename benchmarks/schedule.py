"""What a trial costs in which nothing is done, and how soon a run that was broken off goes on.

Measured: a run of 5,000 trials through `evals.execution.Execution`, each of which writes what every trial writes (a
trajectory of four events, a patch, two verdicts, its end, its audit) and works for no time at all. The figure is the
wall time by the number of trials. Memory is what was resident in the process above what was before the first trial;
its growth is from the 500th trial to the last. Then, on the same run without its last hundred trials: the time until
`evals resume` knows what is left, which its command asks twice.

Not in it: an agent, a sandbox, a verifier; those are in `step`, `oracle` and `grading`.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from agent.listener import Listener
from benchmarks.measurement import Measurement, Options
from evals.audit.record import audit_try
from evals.execution import Execution, ExecutionSettings
from evals.resume import is_finished
from evals.scheduling.places import NOTHING, Demand
from evals.trial import Harvest, Retrying, close_try
from results.records.audit import TraceAudit
from results.records.events import EndEvent, MessageEvent, PatchEvent, StartEvent
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest
from results.records.outcome import Outcome
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.trajectory import TrajectoryWriter

TRIALS, EARLY, LEFT, AT_ONCE = 5_000, 500, 100, 16
TARGET_MILLISECONDS = 5.0
TARGET_MEGABYTES = 1.0
TARGET_READY = 2.0
_VERIFIERS = {"official": "1", "hardened": "1"}
_DONE = Outcome(exit="submitted")


@dataclass
class _Nothing:
    """The flow of a trial in which nothing is done. Fulfils `evals.trial.TrialFlow`."""

    resident: list[int] = field(default_factory=list[int])
    """Bytes of the process at the end of each trial."""
    judges_what_lies_there: bool = True

    def task_id(self, task: str) -> str:
        return task

    def demand(self, task: str) -> Demand:
        del task
        return NOTHING

    def expected(self, task: str) -> float:
        del task
        return 0.0

    def shared(self, task: str) -> str:
        return task

    async def carry_out(self, task: str, directory: TryDirectory, watched: Listener) -> Harvest:
        del watched
        with TrajectoryWriter(directory.trajectory_path) as writer:
            writer.write(
                StartEvent(
                    time=1, agent="nop", backend=None, toolset="", tools=[], directory="/testbed", sandbox="local"
                )
            )
            writer.write(MessageEvent(time=1, sent={"role": "user", "content": f"Do {task}."}))
            directory.write_patch(b"diff")
            writer.write(PatchEvent(time=2, patch="diff", sha256="0"))
            writer.write(EndEvent(time=2, outcome=_DONE))
        return Harvest(_DONE, b"diff", None, time.time())

    async def judge(
        self, task: str, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, retrying: Retrying
    ) -> list[Verdict]:
        del task, retrying
        found = [
            Verdict(
                number=number, try_number=directory.number, verifier=name, verifier_version="1", status="graded",
                reward=1, resolved=True, started=1, ended=2,
            )
            for number, name in enumerate(_VERIFIERS, start=1)
        ]  # fmt: skip
        for verdict in found:
            trial.append_verdict(verdict)
        close_try(trial, directory, harvest, harvest.outcome)
        self.resident.append(_resident())
        return found

    def audit(self, task: str, directory: TryDirectory) -> TraceAudit:
        return audit_try(directory, task)


def run(options: Options) -> list[Measurement]:
    """Measure with one run in a temporary folder."""
    del options
    folder = Path(tempfile.mkdtemp())
    try:
        return _measure(folder)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path) -> list[Measurement]:
    tasks = [f"task__{number}" for number in range(TRIALS)]
    manifest = Manifest(
        run_id="run",
        benchmark=BenchmarkDescription(name="nothing", source="here", content_sha256="0", task_ids=tasks),
        agent=AgentDescription(name="nop"),
        verifiers=_VERIFIERS,
        harness_version="0",
    )
    directory, flow = RunDirectory.create(folder, manifest), _Nothing()
    before, started = _resident(), time.monotonic()
    seconds = _carry_out(directory, tasks, flow, started)
    megabytes = (max(flow.resident) - before) / AT_ONCE / 1e6
    growth = (flow.resident[-1] - flow.resident[EARLY]) / 1e6
    for trial in directory.trials()[-LEFT:]:
        shutil.rmtree(trial.path)
    return [
        Measurement("a trial in which nothing is done", seconds / TRIALS * 1000, "ms", TARGET_MILLISECONDS),
        Measurement("memory by live trial, above the process before", megabytes, "MB", TARGET_MEGABYTES),
        Measurement(f"growth of the process from trial {EARLY} to {TRIALS}", growth, "MB"),
        Measurement(f"what is left of {TRIALS} trials is known", _ready(directory), "s", TARGET_READY),
    ]


def _carry_out(directory: RunDirectory, tasks: Sequence[str], flow: _Nothing, started: float) -> float:
    settings = ExecutionSettings(concurrency=AT_ONCE, verifications=AT_ONCE)
    execution = Execution(directory, tasks, flow, settings, _no_report)
    asyncio.run(execution.carry_out())
    return time.monotonic() - started


def _no_report(trial: TrialDirectory, outcome: Outcome, verdicts: Sequence[Verdict]) -> None:
    """Nobody watches."""


def _ready(directory: RunDirectory) -> float:
    started = time.monotonic()
    for _ in range(2):
        left = sum(not is_finished(trial, directory.manifest.verifiers) for trial in directory.trials())
        assert left == LEFT
    return time.monotonic() - started


def _resident() -> int:
    return psutil.Process().memory_info().rss
