"""`kill -9` of the harness at any moment leaves nothing after `evals clean`, which takes nothing from a live run."""

import hashlib
import json
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from docker import DockerClient
from engine_owners import owners
from real_things import PATIENCE, VENV, Console, GitRepository, calls

from evals.demo.suite import build_images, load_rows
from results.run_directory import list_runs
from results.score import trial_results
from results.trajectory import read_trajectory
from runners.docker_engine import OWNER_LABEL, connect
from runners.owner import Owner, owner_of_folder

MOMENTS = 20 if os.environ.get("UNBROKEN_LONG") else 4
SEED = 20
pytestmark = pytest.mark.timeout(120 + 60 * MOMENTS)
EVALS, AGENT = (str(VENV / "bin" / name) for name in ("evals", "agent"))
TOKEN = "KILL_TEST"
UNRULY = "setsid sleep 600 & (sleep 600 &) ; trap '' TERM HUP; sleep 0.5; echo written >left_by_the_agent"
DONE = {"content": "It is done."}


@dataclass
class Victim:
    """Starts harnesses in an environment by which everything that they start is known, and kills them."""

    console: Console
    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def environment(self) -> dict[str, str]:
        self.folder.mkdir(exist_ok=True)
        return self.console.all({TOKEN: self.token, "TMPDIR": str(self.folder)})

    def start(self, *command: str | Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.console.home, start_new_session=True,
        )  # fmt: skip

    def clean(self) -> None:
        command = [EVALS, "clean"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def assert_nothing_left(self, client: DockerClient, process_id: int) -> None:
        assert process_id not in [owner.process_id for owner in owners(client)]
        assert list(self.folder.iterdir()) == []
        in_memory = [owner_of_folder(path) for path in Path("/dev/shm").iterdir()]
        assert process_id not in [owner.process_id for owner in in_memory if owner]
        deadline = time.monotonic() + PATIENCE
        while left := self._processes():  # some need a moment to see that nobody talks to them any more
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if environment_of(process).get(TOKEN) == self.token]


@pytest.fixture
def victim(console: Console, tmp_path: Path) -> Victim:
    return Victim(console, tmp_path / "temporary")


@pytest.fixture(scope="module")
def client() -> Iterator[DockerClient]:
    connected = connect()
    yield connected
    connected.close()


@pytest.fixture
def dataset(client: DockerClient, tmp_path: Path) -> Path:
    import asyncio

    rows = [row for row in load_rows() if "tally" in row["instance_id"] or "lapse" in row["instance_id"]]
    asyncio.run(build_images(client, rows))
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows), "utf-8")
    return path


def test_killed_run_leaves_nothing_and_a_live_one_goes_on(
    client: DockerClient, victim: Victim, dataset: Path, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    works = write_script(calls(UNRULY), calls("true"), DONE)
    # A call alone would end at its deadline, before the last of many moments has come.
    waits = write_script(*(calls(f"sleep {600 + number}") for number in range(30)), DONE)
    network = ("--network", "allowlist", "--allow-host", "example.org")
    command = [EVALS, "swebench", "--dataset", dataset, "--runs", tmp_path / "runs", "--backend", works, *network]

    begun = time.monotonic()
    whole = victim.start(*command)
    assert whole.wait(PATIENCE) == 0
    length = time.monotonic() - begun
    victim.assert_nothing_left(client, whole.pid)

    other = Victim(victim.console, tmp_path / "other")
    live = other.start(EVALS, "swebench", "--dataset", dataset, "--runs", tmp_path / "live", "--backend", waits)
    try:
        container = wait_for_container(client, live.pid)
        chance = random.Random(SEED)
        for _ in range(MOMENTS):
            process = victim.start(*command)
            time.sleep(chance.uniform(0.1, length))
            process.kill()
            process.wait()
            kept = contents(tmp_path / "runs")
            victim.clean()
            victim.assert_nothing_left(client, process.pid)
            assert contents(tmp_path / "runs") == kept
            assert_readable(tmp_path / "runs")
            assert client.containers.get(container).status == "running"
            assert live.poll() is None
    finally:
        live.send_signal(signal.SIGINT)
        assert live.wait(PATIENCE) == 130
    other.assert_nothing_left(client, live.pid)


def test_killed_agent_on_this_machine_leaves_nothing(
    client: DockerClient, victim: Victim, repository: GitRepository, write_script: Callable[..., str]
) -> None:
    works = write_script(calls(UNRULY), calls("sleep 0.5"), DONE)
    command = [AGENT, "run", "x", "--repo", repository.path, "--approve", "all", "--backend", works]
    begun = time.monotonic()
    whole = victim.start(*command)
    assert whole.wait(PATIENCE) == 0
    length = time.monotonic() - begun
    victim.assert_nothing_left(client, whole.pid)
    chance = random.Random(SEED)
    for _ in range(MOMENTS):
        process = victim.start(*command)
        time.sleep(chance.uniform(0.1, length))
        process.kill()
        process.wait()
        victim.clean()
        victim.assert_nothing_left(client, process.pid)


def wait_for_container(client: DockerClient, process_id: int) -> str:
    """The container in which a live run works."""
    api: Any = client.api
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for row in api.containers(filters={"label": OWNER_LABEL}):
            owner = Owner.parse(row["Labels"][OWNER_LABEL])
            if owner and owner.process_id == process_id:
                return row["Id"]
        time.sleep(0.1)
    raise AssertionError("the live run makes no container")


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_readable(runs: Path) -> None:
    """What was recorded is there, up to the line at which its writer died."""
    listing = list_runs(runs)
    assert listing.damaged == []
    for run in listing.found:
        run.sessions(on_cut=lambda _: None)
        trial_results(run)
        for path in run.path.rglob("trajectory.jsonl"):
            list(read_trajectory(path, lambda _: None))


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except psutil.Error:
        return {}
