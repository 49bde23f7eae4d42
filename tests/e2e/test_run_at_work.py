"""A run at work is watched, paused and changed from another terminal, and tells programs what goes on."""

import json
import os
import pty
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_things import PATIENCE, VENV, Console, calls, end, json_lines

EVALS = str(VENV / "bin" / "evals")
DONE = {"content": "It is done."}
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def command(dataset: Path, tmp_path: Path, write_script: Callable[..., str]) -> list[str]:
    backend = write_script(calls("sleep 0.5; echo one >one"), DONE)
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), "--backend", backend]
    return [*start, "--run-id", "live"]


@pytest.fixture
def ctl(tmp_path: Path) -> list[str]:
    return [EVALS, "ctl", "live", "--runs", str(tmp_path / "runs")]


def state_of(console: Console, ctl: list[str]) -> dict[str, Any]:
    done = console.run([*ctl, "--json"])
    assert done.code == 0, done.err
    return json.loads(done.out)


def started(console: Console, command: list[str], tmp_path: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(command, env=console.all(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "runs" / "live" / "live.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_run_is_paused_changed_and_goes_on(
    console: Console, command: list[str], ctl: list[str], tmp_path: Path
) -> None:
    process = started(console, [*command, "--attempts", "4", "--concurrency", "1", "--requests", "auto"], tmp_path)
    paused = console.run([*ctl, "pause"])
    assert (paused.code, "paused, " in paused.out) == (0, True), paused
    deadline = time.monotonic() + PATIENCE
    while (state := state_of(console, ctl))["trials"]:
        assert time.monotonic() < deadline
    assert state["paused"]
    assert 0 < state["over"] < 8
    assert state["over"] + state["left"] == 8
    over = state["over"]
    time.sleep(1)
    assert state_of(console, ctl)["over"] == over
    assert console.run([*ctl, "concurrency", "3"]).code == 0
    assert console.run([*ctl, "requests", "2"]).code == 0
    going = console.run([*ctl, "resume"])
    assert "3 agents" in going.out
    assert "2 requests" in going.out
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.decode().count(" steps, ") == 8

    idle = console.run([*ctl, "pause"])
    assert idle.code == 1
    assert "no process is at work on run live" in idle.err
    assert not (tmp_path / "runs" / "live" / "live.json").exists()


def test_a_paused_run_ends_by_ctrl_c(console: Console, command: list[str], ctl: list[str], tmp_path: Path) -> None:
    process = started(console, [*command, "--attempts", "2", "--concurrency", "1"], tmp_path)
    assert console.run([*ctl, "pause"]).code == 0
    while state_of(console, ctl)["trials"]:
        pass
    assert end(process).code == 130


@pytest.mark.parametrize("wrong", [("concurrency",), ("pause", "3"), ("concurrency", "0"), ("nothing",)])
def test_what_makes_no_sense_is_said(console: Console, ctl: list[str], tmp_path: Path, wrong: tuple[str, ...]) -> None:
    (tmp_path / "runs").mkdir()
    done = console.run([*ctl, *wrong])
    assert done.code == 2
    assert "Traceback" not in done.err


def test_programs_read_events_and_nothing_else(console: Console, command: list[str], tmp_path: Path) -> None:
    done = console.run([*command, "--json"])
    assert done.code == 0, done.err
    events = json_lines(done.out)
    assert (events[0]["type"], events[-1]["type"]) == ("run_begins", "run_ends")
    assert (events[0]["trials"], events[0]["left"], events[0]["run_id"]) == (2, 2, "live")
    assert (events[-1]["finished"], events[-1]["errors"], events[-1]["exit_code"]) == (2, 0, 0)
    ends = [event for event in events if event["type"] == "trial_ends"]
    assert [len(event["verdicts"]) for event in ends] == [2, 2]
    steps = [event for event in events if event["type"] == "trial_step"]
    assert sorted((event["task_id"], event["step"]) for event in steps) == sorted(
        (event["task_id"], step) for event in ends for step in (1, 2)
    )
    phases = [event["phase"] for event in events if event["type"] == "trial_phase"]
    assert sorted(phases) == sorted(["sandbox", "agent", "waiting", "judging"] * 2)

    (tmp_path / "runs" / "live" / "sessions.jsonl").unlink()  # as of a run that was killed before it had any
    again = console.run([EVALS, "resume", "live", "--runs", str(tmp_path / "runs")])
    assert again.code == 0, again.err
    resumed = json_lines(again.out)
    assert [event["type"] for event in resumed] == ["run_begins", "run_ends"]
    assert (resumed[0]["left"], resumed[0]["judged_before"], resumed[0]["resolved_before"]) == (0, 2, 0)


def test_at_a_terminal_a_table_shows_where_trials_are(console: Console, command: list[str]) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=console.all({"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}), stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                shown.extend(data)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(PATIENCE) == 0
    reader.join(PATIENCE)
    os.close(ours)
    text = shown.decode()
    assert "0 of 2 trials over" in text
    assert "container" in text
    assert "agent" in text
    assert "[2/2]" in text
    assert "results show live" in text


def test_requests_at_once_are_a_number_or_auto(console: Console, command: list[str]) -> None:
    done = console.run([*command, "--requests", "many"])
    assert done.code == 2
    assert "'many' is neither a number of requests nor auto" in done.err
