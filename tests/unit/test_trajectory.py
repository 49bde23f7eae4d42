"""A trajectory: every event kept as it was, a killed writer's half line passed over, damage named."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.record_files import DamagedFileError
from results.records.events import (
    BackendDescription,
    EndEvent,
    Event,
    MessageEvent,
    PatchEvent,
    Received,
    RequestEvent,
    ResponseEvent,
    RetryEvent,
    StartEvent,
    ToolCallRecord,
    ToolResultEvent,
)
from results.records.outcome import Outcome
from results.records.usage import Usage
from results.trajectory import TrajectoryWriter, read_trajectory

BACKEND = BackendDescription(base_url="http://127.0.0.1:1/v1", model="m", dialect="scripted", scripted=True)
CALL = ToolCallRecord(id="c1", name="bash", arguments='{"command":  "ls"')
EVENTS: list[Event] = [
    StartEvent(time=1.0, agent="default", backend=BACKEND, toolset="editor", tools=[], directory="/w", sandbox="local"),
    MessageEvent(time=1.1, sent={"role": "user", "content": "Fix it.\nPlease \x1b[31m."}),
    RequestEvent(time=1.2, step=1, messages=2, bytes=100, sha256="0" * 64),
    RetryEvent(time=1.3, step=1, reason="503", wait_seconds=0.5),
    ResponseEvent(
        time=1.4, step=1, received=Received(reasoning="…", tool_calls=[CALL]), usage=Usage(prompt_tokens=1), seconds=0.1
    ),
    ToolResultEvent(time=1.5, step=1, name="bash", sent={"role": "tool", "content": "a"}, exit_code=0, seconds=0.01),
    PatchEvent(time=1.6, patch="", sha256="0" * 64),
    EndEvent(time=1.7, outcome=Outcome(exit="finished")),
]


def message(content: object) -> MessageEvent:
    return MessageEvent(time=1.0, sent={"role": "user", "content": content})


def write(path: Path, events: list[Event]) -> None:
    with TrajectoryWriter(path) as writer:
        for event in events:
            writer.write(event)


def test_every_kind_of_event_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, EVENTS)
    assert list(read_trajectory(path)) == EVENTS
    assert len(path.read_bytes().splitlines()) == len(EVENTS)


def test_the_keys_of_a_sent_message_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, [MessageEvent(time=1.0, sent={"z": 1, "a": {"y": 2, "b": 3}})])
    (event,) = read_trajectory(path)
    assert isinstance(event, MessageEvent)
    assert list(event.sent) == ["z", "a"]
    assert list(event.sent["a"]) == ["y", "b"]


@given(content=st.text(st.characters()))
def test_no_text_is_lost_not_even_half_a_surrogate_pair(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "trajectory.jsonl"
    response = ResponseEvent(time=1.0, step=1, received=Received(content=content), usage=Usage(), seconds=0.1)
    write(path, [message(content), response])
    assert list(read_trajectory(path)) == [message(content), response]


def test_an_event_is_readable_before_the_writer_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    with TrajectoryWriter(path) as writer:
        for number in range(3):
            writer.write(message(number))
            assert list(read_trajectory(path)) == [message(earlier) for earlier in range(number + 1)]


def test_a_killed_process_loses_nothing_that_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from results.records.events import MessageEvent; from results.trajectory import TrajectoryWriter\n"
        "writer = TrajectoryWriter(Path(sys.argv[1]))\n"
        "for number in range(5): writer.write(MessageEvent(time=1.0, sent={'role': 'user', 'content': number}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    assert list(read_trajectory(path)) == [message(number) for number in range(5)]


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_half_a_last_line_is_passed_over_and_reported(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, EVENTS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    reports: list[str] = []
    assert list(read_trajectory(path, reports.append)) == EVENTS[:-1]
    assert reports == [f"{path} ends in the middle of line {len(EVENTS)}: its writer was stopped there"]
    assert list(read_trajectory(path)) == EVENTS[:-1]


def test_a_last_line_that_only_lacks_its_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, EVENTS)
    os.truncate(path, path.stat().st_size - 1)
    reports: list[str] = []
    assert list(read_trajectory(path, reports.append)) == EVENTS
    assert reports == []


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_writer_goes_on_behind_the_last_whole_line(tmp_path: Path, size: int) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, [message("a"), message("x" * size)])
    os.truncate(path, path.stat().st_size - 5)
    write(path, [message("b")])
    write(path, [message("c")])
    assert list(read_trajectory(path)) == [message("a"), message("b"), message("c")]


def test_a_writer_starts_anew_where_there_is_nothing_but_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.jsonl"
    path.write_bytes(b'{"type"')
    write(path, [message("a")])
    assert list(read_trajectory(path)) == [message("a")]


@pytest.mark.parametrize("line", [b"", b"{", b"null", b'{"type": "unheard-of"}', b'{"type": "patch"}', b"\xff", b"\0"])
def test_a_broken_line_in_the_middle_names_file_and_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "trajectory.jsonl"
    write(path, EVENTS)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]) + b"\n")
    events = read_trajectory(path)
    assert [next(events), next(events)] == EVENTS[:2]
    with pytest.raises(DamagedFileError, match=r"trajectory\.jsonl is damaged in line 3: "):
        next(events)


def test_an_empty_trajectory_has_no_events_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert list(read_trajectory(tmp_path / "empty.jsonl")) == []
    with pytest.raises(FileNotFoundError):
        list(read_trajectory(tmp_path / "absent.jsonl"))
