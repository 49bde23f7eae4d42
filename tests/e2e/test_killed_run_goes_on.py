"""A run that is killed at any moment goes on where it was: nothing that has a verdict is done or judged again."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from engine_owners import owners
from finished_trials import Finished, check_each_is_judged_once, finished, has_all_verdicts
from real_things import PATIENCE, VENV, Console, calls

from results.run_directory import RunDirectory
from results.trajectory import read_trajectory
from runners.docker_engine import connect

LONG = bool(os.environ.get("UNBROKEN_LONG"))
MOMENTS, ATTEMPTS = (30, 20) if LONG else (3, 2)
SEED = 7
EVALS = str(VENV / "bin" / "evals")
DONE = {"content": "It is done."}
pytestmark = pytest.mark.timeout(240 + 60 * MOMENTS)


@pytest.fixture
def console(console: Console) -> Console:
    return replace(console, patience=20 * PATIENCE)


@pytest.fixture
def command(dataset: Path, tmp_path: Path, write_script: Callable[..., str]) -> list[str]:
    backend = write_script(calls("sleep 0.3; echo one >one"), calls("echo two >two"), DONE)
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), "--backend", backend]
    return [*start, "--attempts", str(ATTEMPTS), "--concurrency", "4"]


def opened(tmp_path: Path) -> RunDirectory:
    return RunDirectory.open(tmp_path / "runs" / "crash")


def killed(console: Console, command: list[str], seconds: float) -> int:
    process = subprocess.Popen(command, env=console.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()
    return process.pid


def test_a_run_that_is_killed_again_and_again_comes_to_its_end(
    console: Console, command: list[str], tmp_path: Path
) -> None:
    begun = time.monotonic()
    whole = console.run([*command, "--run-id", "whole"])
    assert whole.code == 0, whole
    length = time.monotonic() - begun
    chance, process_ids = random.Random(SEED), set[int]()
    kept: Finished = {}
    for _ in range(MOMENTS):
        # Below what a start takes there is nothing to kill, and a third of the length leaves something for each start.
        process_ids.add(killed(console, [*command, "--run-id", "crash"], chance.uniform(0.5, max(3.0, length / 3))))
        if (tmp_path / "runs" / "crash" / "run.json").exists():
            recorded = finished(opened(tmp_path))
            assert kept.items() <= recorded.items()
            kept = recorded

    done = console.run([EVALS, "resume", "crash", "--runs", str(tmp_path / "runs")])

    assert done.code == 0, done
    run = opened(tmp_path)
    assert kept.items() <= finished(run).items()
    check_each_is_judged_once(run)
    assert len(run.sessions(lambda _: None)) > 1
    with closing(connect()) as client:
        assert process_ids.isdisjoint(owner.process_id for owner in owners(client))

    again = console.run([EVALS, "resume", "crash", "--runs", str(tmp_path / "runs")])
    assert again.code == 0, again
    assert f"it goes on, 0 of {len(run.trials())} trials are left" in again.out


def test_an_interrupted_run_goes_on_with_other_limits_of_this_machine_and_is_not_made_another_one(
    console: Console, command: list[str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*command, "--run-id", "crash", "--concurrency", "1", "--attempts", "4"], env=console.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while not list((tmp_path / "runs").glob("crash/trials/*/*/verdicts/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    resume = [EVALS, "resume", "crash", "--runs", str(tmp_path / "runs")]
    busy = console.run(resume)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert (busy.code, f"process {process.pid} on " in busy.err) == (2, True), busy

    other = console.run([*resume, "--network", "bridge"])
    assert other.code == 2, other
    assert "this would be another run:" in other.err
    assert "sandbox.network: 'none' and 'bridge'" in other.err

    before = finished(opened(tmp_path))
    done = console.run([*resume, "--concurrency", "2"])
    assert done.code == 0, done
    run = opened(tmp_path)
    assert 0 < len(before) < len(finished(run))
    assert before.items() <= finished(run).items()
    assert [session.concurrency for session in run.sessions()] == [1, 2]


def test_a_run_gets_more_attempts_and_more_tasks(console: Console, command: list[str], tmp_path: Path) -> None:
    command += ["--attempts", "1", "--run-id", "crash"]
    done = console.run([*command, "--instances", "*tally*"])
    assert done.code == 0, done
    before, stated = finished(opened(tmp_path)), (tmp_path / "runs" / "crash" / "run.json").read_bytes()

    done = console.run([EVALS, "resume", "crash", "--runs", str(tmp_path / "runs"), "--attempts", "2"])
    assert done.code == 0, done
    assert "it goes on, 1 of 2 trials are left" in done.out
    done = console.run([*command, "--attempts", "2"])
    assert done.code == 0, done
    assert "it goes on, 2 of 4 trials are left" in done.out

    run = opened(tmp_path)
    assert before.items() <= finished(run).items()
    assert all(has_all_verdicts(run, trial) for trial in run.trials())
    assert (tmp_path / "runs" / "crash" / "run.json").read_bytes() == stated
    grown = [session.extension for session in run.sessions()]
    assert [one and (one.attempts, len(one.task_ids)) for one in grown] == [None, (2, 1), (2, 2)]
    fewer = console.run([*command, "--instances", "*tally*", "--attempts", "2"])
    assert fewer.code == 2, fewer
    assert "benchmark.task_ids" in fewer.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of a megabyte."""
    folder = tmp_path / "runs"
    folder.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root makes disks")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_stops_a_run_that_goes_on_when_there_is_room(
    console: Console, dataset: Path, small_disk: Path, write_script: Callable[..., str]
) -> None:
    backend = write_script(*(calls(f"echo {number} >>steps; seq 9999") for number in range(20)), DONE)
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(small_disk), "--run-id", "crash"]
    stopped = console.run([*start, "--backend", backend, "--attempts", "3", "--concurrency", "2"])

    assert stopped.code == 1, stopped
    assert "run crash has stopped, since" in stopped.err, stopped
    assert (
        f"No space left on device. What was recorded stays; once it can be written again, `evals resume {small_disk}"
        in (stopped.err)
    )
    assert "Traceback" not in stopped.err
    run = RunDirectory.open(small_disk / "crash")
    before = finished(run)
    assert len(before) < len(run.trials()) * 4

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = console.run([EVALS, "resume", str(small_disk / "crash")])

    assert done.code == 0, done
    assert before.items() <= finished(run).items()
    assert all(has_all_verdicts(run, trial) for trial in run.trials())


def test_a_task_whose_container_died_with_the_harness_is_done_again(console: Console, tmp_path: Path) -> None:
    texts = {
        "task.toml": '[environment]\ndocker_image = "unbroken/base:1"\nnetwork_mode = "no-network"\n',
        "instruction.md": "Do it.\n",
        "solution/solve.sh": "echo 1 >/earned\n",
        "tests/test.sh": "#!/bin/bash\nsleep 3\ncp /earned /logs/verifier/reward.txt\n",
    }
    for name, text in texts.items():
        path = tmp_path / "tasks" / "one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    start = [EVALS, "terminal-bench", "--dataset", "tasks", "--runs", "runs", "--agent", "gold", "--run-id", "crash"]
    process = subprocess.Popen(start, env=console.environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not list((tmp_path / "runs").glob("crash/trials/*/1/verdicts/1")):  # its tests have begun
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()

    done = console.run([EVALS, "resume", str(tmp_path / "runs" / "crash")])  # from another directory

    assert done.code == 0, done
    (trial,) = opened(tmp_path).trials()
    assert [verdict.resolved for verdict in trial.verdicts()] == [True]
    assert [verdict.try_number for verdict in trial.verdicts()] == [2]
    assert [one.end() is None for one in trial.tries()] == [True, False]


def test_a_backend_that_goes_away_for_a_while_costs_no_trial(
    console: Console, dataset: Path, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    script = write_script(*(calls(f"sleep 0.3; echo {number} >>steps") for number in range(6)), DONE)
    serve = [
        str(VENV / "bin" / "agent"),
        "backends",
        "serve-script",
        script.removeprefix("scripted:"),
        "--port",
        str(port),
    ]
    server = started(serve, console)
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), "--run-id", "crash"]
    backend = ["--backend", f"http://127.0.0.1:{port}/v1", "--retries", "1", "--concurrency", "2"]
    process = subprocess.Popen([*start, *backend], env=console.environment, stdout=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not any('"tool_result"' in path.read_text() for path in tmp_path.rglob("trajectory.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.kill()
    server.wait()
    time.sleep(60 if LONG else 2)
    server = started(serve, console)
    try:
        out, _ = process.communicate(timeout=20 * PATIENCE)
    finally:
        server.kill()
        server.wait()

    assert process.returncode == 0, out
    run = opened(tmp_path)
    for trial in run.trials():
        (only,) = trial.tries()
        end = only.end()
        assert end is not None
        assert (end.outcome.exit, end.outcome.error) == ("finished", None)
        assert b"+0\n+1\n+2\n+3\n+4\n+5\n" in only.patch_path.read_bytes()  # each step once
    kinds = [event.type for path in run.path.rglob("trajectory.jsonl") for event in read_trajectory(path)]
    assert "retry" in kinds


def started(command: list[str], console: Console) -> "subprocess.Popen[bytes]":
    """A server, once it says where it is."""
    process = subprocess.Popen(command, env=console.environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"served at" in process.stdout.readline()
    return process
