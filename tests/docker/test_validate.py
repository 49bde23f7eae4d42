"""`evals validate`: tasks that cannot be believed are found, and the others can be asked for."""

import contextlib
import itertools
import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from real_things import PATIENCE, VENV, Console

from evals.swebench.dataset import Row
from results.records.reliability import ReliableSet

EVALS = str(VENV / "bin" / "evals")
MARKER = ": '>>>>> Start Test Output'"
UNDO = "git checkout HEAD -- lapse"


@pytest.fixture
def machine(client: DockerClient) -> str:
    """The address at which containers reach this machine."""
    api: Any = client.api
    bridge = api.inspect_network("bridge")["IPAM"]["Config"][0]
    # Docker 20.10 names no gateway before its second start. It is the first address all the same.
    return bridge.get("Gateway") or str(next(IPv4Network(bridge["Subnet"]).hosts()))


@pytest.fixture
def coin(machine: str) -> Iterator[str]:
    """Where a container hears `good` and `bad` by turns: by chance, a flaky task could pass for a good one."""
    words = itertools.cycle([b"good\n", b"bad\n"])

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(next(words))

    with socketserver.TCPServer((machine, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"/dev/tcp/{machine}/{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def gate(machine: str) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Where a container waits for a line; what is set when one does, and what lets it go on."""
    waits, opened = threading.Event(), threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            waits.set()
            opened.wait()
            with contextlib.suppress(OSError):
                self.request.sendall(b"go on\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((machine, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"/dev/tcp/{machine}/{server.server_address[1]}", waits, opened
        opened.set()
        server.shutdown()


def planted(row: Row, name: str, command: str) -> dict[str, Any]:
    """The task under another name, with a command in front of its tests."""
    assert MARKER in row.eval_script
    script = row.eval_script.replace(MARKER, f"{command}\n{MARKER}", 1)
    return row.model_dump(mode="json") | {"instance_id": name, "eval_script": script}


def test_a_flaky_and_a_broken_task_are_found(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, coin: str
) -> None:
    good, dataset, output = demo_rows["lapse"], tmp_path / "rows.json", tmp_path / "reliable.json"
    rows = [
        good.model_dump(mode="json"),
        planted(good, "demo__flaky-1", f'exec 3<{coin}; read -r word <&3; if [ "$word" = bad ]; then {UNDO}; fi'),
        planted(good, "demo__broken-1", UNDO),
    ]
    dataset.write_text(json.dumps(rows), "utf-8")
    patient = Console(console.home, console.environment, patience=240)
    done = patient.run([EVALS, "validate", "--dataset", str(dataset), "--repeat", "5", "--output", str(output)])
    assert done.code == 1, done.err
    found = ReliableSet.model_validate_json(output.read_bytes())
    assert {one.task_id: one.reliability for one in found.found} == {
        good.instance_id: "reliable", "demo__flaky-1": "flaky", "demo__broken-1": "broken",
    }  # fmt: skip
    assert found.tasks == [good.instance_id]
    _, flaky, broken = found.found
    assert flaky.flipping_tests
    assert flaky.flipping_tests[0] in done.out
    assert broken.failing_tests
    assert broken.gold_resolved == [False] * 5

    refused = patient.run([EVALS, "validate", "--dataset", str(dataset), "--output", str(output)])
    assert (refused.code, "--force" in refused.err) == (2, True)
    asked = [EVALS, "swebench", "--dataset", str(dataset), "--agent", "gold", "--tasks", str(output)]
    run = patient.run([*asked, "--runs", str(tmp_path / "runs")])
    assert run.code == 0, run.err
    assert "1 trials" in run.out


def test_a_killed_validation_goes_on_where_it_was(
    console: Console,
    demo_rows: dict[str, Row],
    tmp_path: Path,
    gate: tuple[str, threading.Event, threading.Event],
) -> None:
    place, waits, opened = gate
    good, dataset, output = demo_rows["lapse"], tmp_path / "rows.json", tmp_path / "reliable.json"
    rows = [good.model_dump(mode="json"), planted(good, "demo__waits-1", f"exec 3<{place}; read -r word <&3")]
    dataset.write_text(json.dumps(rows), "utf-8")
    command = [EVALS, "validate", "--dataset", str(dataset), "--repeat", "1", "--output", str(output)]
    process = subprocess.Popen([*command, "--verifications", "4"], env=console.environment, stdout=subprocess.DEVNULL)
    assert waits.wait(PATIENCE)
    progress, deadline = output.with_name("reliable.json.progress.jsonl"), time.monotonic() + PATIENCE
    while f'"{good.instance_id}"' not in progress.read_text("utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert not output.exists()
    opened.set()
    done = console.run(command)
    assert done.code == 0, done.err
    assert ("demo__waits-1" in done.out, f"{good.instance_id} " in done.out) == (True, False)
    found = ReliableSet.model_validate_json(output.read_bytes())
    assert found.tasks == [good.instance_id, "demo__waits-1"]
    assert sorted(path.name for path in tmp_path.glob("reliable*")) == ["reliable.json"]
