"""How runs of `evals terminal-bench` end: interrupted, without a verdict, side by side."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from docker import DockerClient
from engine_owners import owners
from real_things import VENV, Console

from results.run_directory import RunDirectory, list_runs
from runners.docker_engine import RUN_LABEL

SUITE = Path(__file__).parents[2] / "evals" / "terminal_bench" / "suite"
NAP = "sleep 299"
SETTINGS = """
[environment]
docker_image = "unbroken/base:1"
network_mode = "allowlist"
allowed_hosts = ["allowed.invalid"]
"""

WriteTask = Callable[[str, str, str], Path]


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    def write(solution: str, test: str, settings: str) -> Path:
        task = tmp_path / "task"
        for name, text in {
            "task.toml": settings,
            "instruction.md": "Do it.\n",
            "solution/solve.sh": solution,
            "tests/test.sh": f"#!/bin/bash\n{test}\n",
        }.items():
            (task / name).parent.mkdir(parents=True, exist_ok=True)
            (task / name).write_text(text)
        return task

    return write


def command(dataset: Path, runs: Path, *more: str) -> list[str]:
    start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(dataset), "--runs", str(runs)]
    return [*start, "--agent", "gold", *more]


def only_run(runs: Path) -> RunDirectory:
    (run,) = list_runs(runs).found
    return run


def processes(client: DockerClient, run: str) -> list[str]:
    """What runs in the containers of a run."""
    found: list[str] = []
    for container in client.containers.list(ignore_removed=True, filters={"label": f"{RUN_LABEL}={run}"}):
        rows = container.top()["Processes"]
        found += [" ".join(row) for row in rows]
    return found


def wait_for_process(client: DockerClient, runs: Path, command_line: str) -> None:
    deadline = time.monotonic() + 60
    while not list_runs(runs).found or not any(
        command_line in each for each in processes(client, only_run(runs).manifest.run_id)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(("solution", "test"), [(NAP, "true"), ("true", NAP)], ids=["the agent works", "tests run"])
def test_an_interrupt_leaves_no_container_no_network_and_no_image(
    write_task: WriteTask, console: Console, client: DockerClient, tmp_path: Path, solution: str, test: str
) -> None:
    runs = tmp_path / "runs"
    started = command(write_task(solution, test, SETTINGS), runs, "--verdicts", "both")
    process = subprocess.Popen(started, env=console.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_process(client, runs, NAP)
    for _ in range(1 if solution == NAP else 2):  # the first one lets the judging of what is done come to its end
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert b"interrupted" in out
    run = only_run(runs)
    label = f"{RUN_LABEL}={run.manifest.run_id}"
    assert not client.containers.list(all=True, ignore_removed=True, filters={"label": label})
    assert not client.networks.list(filters={"label": label})  # pyright: ignore[reportUnknownMemberType]
    assert process.pid not in {owner.process_id for owner in owners(client)}
    (trial,) = run.trials()
    end = trial.tries()[-1].end()
    assert end is not None
    assert end.outcome.error == "cancelled"
    assert not trial.verdicts()


def test_an_interrupt_lets_tests_that_have_begun_come_to_their_end(
    write_task: WriteTask, console: Console, client: DockerClient, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    tests = "sleep 3.25; echo 1 >/logs/verifier/reward.txt"
    started = command(write_task("true", tests, SETTINGS), runs, "--attempts", "2", "--concurrency", "1")
    process = subprocess.Popen(started, env=console.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_process(client, runs, "sleep 3.25")
    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    first, *others = [trial for trial in only_run(runs).trials() if trial.verdicts()]
    assert [verdict.resolved for verdict in first.verdicts()] == [True]
    assert others == []  # the second attempt was not begun


def test_where_every_trial_fails_the_exit_code_says_so(write_task: WriteTask, console: Console, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    settings = '[environment]\ndocker_image = "unbroken/base:1"\nnetwork_mode = "no-network"\n'
    test = 'echo "curl: (6) Could not resolve host: invalid"; echo 0 >/logs/verifier/reward.txt'

    done = console.run(command(write_task("true", test, settings), runs, "--attempts", "2"))

    assert done.code == 1, done
    shown = console.run([str(VENV / "bin" / "results"), "show", str(only_run(runs).path)])
    assert "2 without a verdict, not counted" in shown.out


def test_attempts_at_one_task_do_not_meet_each_other(console: Console, tmp_path: Path) -> None:
    """Each has a service on the same port, and all run at the same time."""
    runs = tmp_path / "runs"

    done = console.run(command(SUITE / "service-stays", runs, "--attempts", "3"))

    assert done.code == 0, done
    assert [verdict.reward for trial in only_run(runs).trials() for verdict in trial.verdicts()] == [1, 1, 1]
