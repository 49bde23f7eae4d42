"""A recording gives each trial its own responses, in their order, and says what it does not have."""

from pathlib import Path
from typing import Any

import pytest

from agent.conversation import Conversation
from agent.endings import TaskOver
from evals.recorded import NotRecordedError, RecordedBackend
from results.records.events import (
    BackendDescription,
    EndEvent,
    Event,
    Received,
    ResponseEvent,
    SegmentEvent,
    ToolCallRecord,
)
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest
from results.records.outcome import Outcome, TryEnd
from results.records.usage import Usage
from results.run_directory import RunDirectory
from results.trajectory import TrajectoryWriter

BACKEND = BackendDescription(base_url="http://gone", model="m", dialect="generic")


def said(text: str, step: int = 1) -> ResponseEvent:
    received = Received(
        reasoning="hm", reasoning_field="reasoning_content", content=text, finish_reason="tool_calls",
        tool_calls=[ToolCallRecord(id="1", name="bash", arguments='{"command": "ls"}')],
    )  # fmt: skip
    return ResponseEvent(time=1, step=step, received=received, usage=Usage(prompt_tokens=9), seconds=1)


def ended(**outcome: Any) -> EndEvent:
    return EndEvent(time=2, outcome=Outcome(**outcome))


@pytest.fixture
def recording(tmp_path: Path) -> RecordedBackend:
    benchmark = BenchmarkDescription(name="demo", source="here", content_sha256="0", task_ids=["a", "b"])
    agent = AgentDescription(name="default")
    manifest = Manifest(run_id="run", benchmark=benchmark, attempts=2, agent=agent, harness_version="0")
    return RecordedBackend(RunDirectory.create(tmp_path, manifest), BACKEND)


def record(recording: RecordedBackend, task_id: str, attempt: int, *events: Event, step: str = "") -> None:
    trial = recording.run.trial(task_id, attempt)
    directory = trial.start_try()
    folder = directory.path / "steps" / step if step else directory.path
    folder.mkdir(parents=True, exist_ok=True)
    with TrajectoryWriter(folder / "trajectory.jsonl") as writer:
        for event in events:
            writer.write(event)
    outcome = Outcome(exit="finished")
    directory.write_end(
        TryEnd(task_id=task_id, attempt=attempt, number=directory.number, outcome=outcome, started=1, ended=2)
    )


async def next_of(backend: RecordedBackend) -> str | None:
    return (await backend.complete(Conversation({}, []))).content


async def test_each_trial_and_each_step_has_its_own(recording: RecordedBackend) -> None:
    record(recording, "a", 1, said("one"), said("two", 2), ended(exit="finished"))
    record(recording, "a", 2, said("three"), ended(exit="finished"))
    record(recording, "b", 1, said("four"), ended(exit="finished"), step="first")
    trials = [recording.of_trial("a", 1, ""), recording.of_trial("a", 2, ""), recording.of_trial("b", 1, "first")]
    assert [await next_of(trial) for trial in trials] == ["one", "three", "four"]
    assert await next_of(trials[0]) == "two"


async def test_a_turn_comes_as_it_was_received(recording: RecordedBackend) -> None:
    event = said("one")
    record(recording, "a", 1, event, ended(exit="finished"))
    turn = await recording.of_trial("a", 1, "").complete(Conversation({}, []))
    assert turn.received() == event.received
    assert turn.usage == event.usage


async def test_the_last_try_that_ended_is_played_back(recording: RecordedBackend) -> None:
    record(recording, "a", 1, said("failed"), ended(exit="error", error="sandbox"))
    record(recording, "a", 1, said("judged"), ended(exit="finished"))
    recording.run.trial("a", 1).start_try()  # killed
    assert await next_of(recording.of_trial("a", 1, "")) == "judged"


async def test_who_asks_for_more_is_told(recording: RecordedBackend) -> None:
    record(recording, "a", 1, ended(exit="finished"))
    with pytest.raises(NotRecordedError, match="the recording ends here"):
        await next_of(recording.of_trial("a", 1, ""))


@pytest.mark.parametrize("how", ["limit:time", "limit:context"])
async def test_an_end_from_outside_is_the_same_end(recording: RecordedBackend, how: str) -> None:
    record(recording, "a", 1, said("one"), ended(exit=how, detail="too slow"))
    backend = recording.of_trial("a", 1, "")
    await next_of(backend)
    with pytest.raises(TaskOver) as over:
        await next_of(backend)
    assert (over.value.ending.exit, over.value.ending.error) == (how, None)


async def test_thinking_that_was_broken_off_is_again(recording: RecordedBackend) -> None:
    record(recording, "a", 1, said("one"), said("two"), ended(exit="limit:thinking", detail="it does not end"))
    backend = recording.of_trial("a", 1, "")
    turns = [await backend.complete(Conversation({}, [])) for _ in range(2)]
    assert [turn.stopped for turn in turns] == [None, "it does not end"]


async def test_what_cannot_be_played_back_says_why(recording: RecordedBackend) -> None:
    cut = SegmentEvent(time=1, step=1, number=2, reason="full", dropped=1, kept=1)
    record(recording, "a", 1, said("one"), cut, ended(exit="finished"))
    for attempt, reason in ((1, "was compacted"), (2, "no try of it came to its end")):
        with pytest.raises(NotRecordedError, match=reason):
            await next_of(recording.of_trial("a", attempt, ""))
    with pytest.raises(NotRecordedError, match="the responses of trials"):
        await next_of(recording)
