"""A run at work keeps to its budgets, in an order of its own, and heeds what a person changes meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent.listener import Listener
from evals.audit.record import audit_try
from evals.execution import Execution, ExecutionSettings
from evals.scheduling.control import ask, live_state
from evals.scheduling.live_run import LiveRun
from evals.scheduling.places import NOTHING, Demand
from evals.trial import Harvest, Retrying, close_try
from results.records.audit import TraceAudit
from results.records.control import Change
from results.records.events import EndEvent, StartEvent
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest
from results.records.outcome import Outcome
from results.records.progress import ProgressEvent, RunChanged, TrialEnds, TrialPhase
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.trajectory import TrajectoryWriter

DONE = Outcome(exit="submitted")
PATIENCE = 30.0


@dataclass
class Gated:
    """Trials whose agents, and whose verifiers, go on when the test lets them. Fulfils `evals.trial.TrialFlow`."""

    judges_what_lies_there: bool = True
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    demands: dict[str, Demand] = field(default_factory=dict[str, Demand])
    agents: list[str] = field(default_factory=list[str])
    judged: list[str] = field(default_factory=list[str])
    begun: list[str] = field(default_factory=list[str])
    agent_may_end: asyncio.Event = field(default_factory=asyncio.Event)
    verifier_may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def task_id(self, task: str) -> str:
        return task

    def demand(self, task: str) -> Demand:
        return self.demands.get(task, NOTHING)

    def expected(self, task: str) -> float:
        return self.seconds.get(task, 0.0)

    def shared(self, task: str) -> str:
        return task

    async def carry_out(self, task: str, directory: TryDirectory, watched: Listener) -> Harvest:
        self.begun.append(task)
        self.agents.append(task)
        start = StartEvent(time=1, agent="a", backend=None, toolset="", tools=[], directory="/", sandbox="local")
        with TrajectoryWriter(directory.trajectory_path) as writer:
            writer.write(start)
            watched.event(start)
            await self.agent_may_end.wait()
            writer.write(EndEvent(time=2, outcome=DONE))
        self.agents.remove(task)
        directory.write_patch(b"diff")
        return Harvest(DONE, b"diff", None, time.time())

    async def judge(
        self, task: str, trial: TrialDirectory, directory: TryDirectory, harvest: Harvest, retrying: Retrying
    ) -> list[Verdict]:
        self.judged.append(task)
        await self.verifier_may_end.wait()
        verdict = Verdict(
            number=1, try_number=directory.number, verifier="official", verifier_version="1", status="graded",
            reward=1, resolved=True, started=1, ended=2,
        )  # fmt: skip
        trial.append_verdict(verdict)
        close_try(trial, directory, harvest, harvest.outcome)
        return [verdict]

    def audit(self, task: str, directory: TryDirectory) -> TraceAudit:
        return audit_try(directory, task)


@dataclass
class Desk:
    run: RunDirectory
    flow: Gated
    events: list[ProgressEvent]
    execution: Execution[str]

    async def until(self, *, agents: int | None = None, judged: int | None = None) -> None:
        """Wait until so many agents are at work, or so many trials are being judged; a moment more for too many."""
        deadline = time.monotonic() + PATIENCE
        while (agents, judged) != self._found(agents, judged):
            assert time.monotonic() < deadline, (self.flow.agents, self.flow.judged)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert (agents, judged) == self._found(agents, judged)

    def _found(self, agents: int | None, judged: int | None) -> tuple[int | None, int | None]:
        flow = self.flow
        return None if agents is None else len(flow.agents), None if judged is None else len(flow.judged)

    async def change(self, **what: object) -> None:
        lines = ask(self.run.path, Change.model_validate({"time": time.time(), **what}))
        deadline = time.monotonic() + PATIENCE
        while (state := live_state(self.run.path)) is None or state.changes < lines:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


def desk(
    path: Path, tasks: Sequence[str], settings: ExecutionSettings, room: Demand = NOTHING, attempts: int = 1
) -> Desk:
    manifest = Manifest(
        run_id="run",
        benchmark=BenchmarkDescription(name="gated", source="here", content_sha256="0", task_ids=list(tasks)),
        attempts=attempts,
        agent=AgentDescription(name="a"),
        verifiers={"official": "1"},
        harness_version="0",
    )
    run, flow, events = RunDirectory.create(path, manifest), Gated(), list[ProgressEvent]()
    execution = Execution(run, tasks, flow, settings, no_report, LiveRun(events.append), room)
    return Desk(run, flow, events, execution)


def no_report(trial: TrialDirectory, outcome: Outcome, verdicts: Sequence[Verdict]) -> None:
    """Nobody watches."""


NAMES = [f"t{number}" for number in range(6)]


async def test_agents_and_verifiers_have_budgets_of_their_own(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=2, verifications=3))
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=2)
    at.flow.agent_may_end.set()
    await at.until(agents=0, judged=3)  # agents go on while three verifiers are at work, and no fourth
    assert len(at.flow.begun) == 6
    at.flow.verifier_may_end.set()
    await running
    assert at.execution.result.finished == 6


async def test_a_sandbox_that_is_judged_in_keeps_its_place_until_it_is_judged(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=2, verifications=1))
    at.flow.judges_what_lies_there = False
    at.flow.agent_may_end.set()
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(judged=1)
    assert len(at.flow.begun) == 3  # two wait for their verdicts in the places for agents, one is judged
    at.flow.verifier_may_end.set()
    await running
    assert len(at.flow.judged) == 6


async def test_containers_that_live_at_once_never_declare_more_than_there_is(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=6, verifications=6), room=Demand(cpus=4, memory=10))
    at.flow.demands = {name: Demand(cpus=1, memory=4) for name in NAMES}
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=2)
    at.flow.agent_may_end.set()
    await at.until(agents=0, judged=2)  # until they are gone
    at.flow.verifier_may_end.set()
    await running
    assert at.execution.result.finished == 6


async def test_the_longest_expected_begin_first_and_attempts_are_spread(tmp_path: Path) -> None:
    at = desk(tmp_path, ["short", "long", "middle"], ExecutionSettings(concurrency=1), attempts=2)
    at.flow.seconds = {"short": 1, "middle": 5, "long": 9}
    at.flow.agent_may_end.set()
    at.flow.verifier_may_end.set()
    await at.execution.carry_out()
    assert at.flow.begun == ["long", "middle", "short"] * 2


async def test_a_run_is_paused_and_goes_on(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=2))
    at.flow.verifier_may_end.set()
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=2)
    await at.change(paused=True)
    at.flow.agent_may_end.set()
    await at.until(agents=0, judged=2)  # what had begun goes on to its verdict
    state = live_state(at.run.path)
    assert state is not None
    assert (state.paused, len(at.flow.begun)) == (True, 2)
    await at.change(paused=False)
    await running
    assert at.execution.result.finished == 6
    assert [event.paused for event in at.events if isinstance(event, RunChanged)] == [True, False]


async def test_a_paused_run_that_is_interrupted_ends(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=1))
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=1)
    await at.change(paused=True)
    at.flow.agent_may_end.set()
    at.flow.verifier_may_end.set()
    await at.until(agents=0, judged=1)
    at.execution.interrupt()
    async with asyncio.timeout(PATIENCE):
        await running
    assert at.execution.result.interrupted
    assert len(at.flow.begun) == 1


async def test_more_and_fewer_at_once_in_a_run_at_work(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=1, verifications=1))
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=1)
    await at.change(concurrency=4)
    await at.until(agents=4)
    await at.change(concurrency=1, verifications=2)
    at.flow.agent_may_end.set()
    await at.until(judged=2)
    at.flow.verifier_may_end.set()
    await running
    assert at.execution.result.finished == 6


async def test_what_was_changed_of_an_earlier_start_is_over(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES, ExecutionSettings(concurrency=3))
    ask(at.run.path, Change(time=1, paused=True, concurrency=1))
    (at.run.path / "control.jsonl").open("ab").write(b'{"time": 2, "pau')  # and its writer was killed
    at.flow.agent_may_end.set()
    at.flow.verifier_may_end.set()
    async with asyncio.timeout(PATIENCE):
        await at.execution.carry_out()
    assert at.execution.result.finished == 6


async def test_a_run_says_where_its_trials_are_as_long_as_it_is_at_work(tmp_path: Path) -> None:
    at = desk(tmp_path, NAMES[:2], ExecutionSettings(concurrency=1))
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=1)
    await at.change(verifications=5)
    state = live_state(at.run.path)
    assert state is not None
    assert (state.verifications, state.concurrency, state.left, state.over) == (5, 1, 2, 0)
    assert [(trial.task_id, trial.phase) for trial in state.trials] == [("t0", "agent")]
    at.flow.agent_may_end.set()
    at.flow.verifier_may_end.set()
    await running
    assert live_state(at.run.path) is None
    told = [event.phase for event in at.events if isinstance(event, TrialPhase) and event.task_id == "t0"]
    assert told == ["sandbox", "agent", "waiting", "judging"]
    assert [event.task_id for event in at.events if isinstance(event, TrialEnds)] == ["t0", "t1"]


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"concurrency": 0, "time": 1}\n'])
async def test_a_change_that_is_none_ends_no_run(tmp_path: Path, line: bytes) -> None:
    at = desk(tmp_path, NAMES, replace(ExecutionSettings(), concurrency=1))
    running = asyncio.create_task(at.execution.carry_out())
    await at.until(agents=1)
    (at.run.path / "control.jsonl").write_bytes(line)
    await asyncio.sleep(0.5)
    at.flow.agent_may_end.set()
    at.flow.verifier_may_end.set()
    await running
    assert at.execution.result.finished == 6
