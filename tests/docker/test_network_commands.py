"""The network and the limits of containers on the command line: what is asked for holds inside, and is recorded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from docker import DockerClient
from real_things import VENV, Console, Done, GitRepository, calls

from evals.swebench.dataset import Row
from results.records.events import StartEvent
from results.run_directory import list_runs
from runners.docker_engine import RUN_LABEL

IMAGE = "unbroken/base:1"
DONE = {"content": "done"}
WriteScript = Callable[..., str]
LOOK = (
    "echo \"proxy <${http_proxy%%[0-9]*}>\"; ls /sys/class/net; python3 - <<'END'\n"
    + """
import urllib.request
try:
    urllib.request.urlopen("http://not-allowed.invalid/", timeout=30)
except OSError as error:
    print("answer", error)
END"""
)


def run(console: Console, repository: GitRepository, script: str, *options: str) -> Done:
    return console.agent("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script, *options)


def test_the_agents_container_has_the_network_that_is_asked_for(
    console: Console, repository: GitRepository, write_script: WriteScript
) -> None:
    options = ("--network", "allowlist", "--allow-host", "Allowed.invalid", "--allow-host", "*.below.invalid")
    done = run(console, repository, write_script(calls(LOOK), DONE), "--sandbox", f"docker:{IMAGE}", *options)
    assert done.code == 0, done.err
    assert "proxy <http://>" in done.out
    refusal = (
        "not-allowed.invalid is not among the hosts that can be reached from here: allowed.invalid, *.below.invalid"
    )
    assert refusal in " ".join(done.out.split())
    start = console.events()[0]
    assert isinstance(start, StartEvent)
    assert start.sandbox == f"docker:{IMAGE}, network allowlist allowed.invalid *.below.invalid"


def test_the_agents_container_has_the_limits_that_are_asked_for(
    console: Console, repository: GitRepository, write_script: WriteScript
) -> None:
    look = calls(
        "ls /sys/class/net; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"
    )
    options = ("--network", "none", "--memory", "0.25g", "--processes", "300", "--cpus", "1")
    done = run(console, repository, write_script(look, DONE), "--sandbox", f"docker:{IMAGE}", *options)
    assert done.code == 0, done.err
    shown = [line.strip() for line in done.out.splitlines()]
    assert "lo" in shown
    assert "eth0" not in shown
    assert {str(256 * 1024 * 1024), "300"} <= set(shown)


def test_a_run_of_evals_keeps_to_the_allowlist_and_records_it(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript, client: DockerClient
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([demo_rows["lapse"].model_dump(mode="json")]))
    command = [
        str(VENV / "bin" / "evals"),
        "swebench",
        "--dataset",
        str(rows),
        "--backend",
        write_script(calls(LOOK), DONE),
    ]
    options = ["--network", "allowlist", "--allow-host", "b.invalid", "--allow-host", "a.invalid", "--memory", "2048m"]
    done = console.run([*command, *options])
    assert done.code == 0, done.err
    assert "not on the allowlist: not-allowed.invalid (1×)" in done.err
    (made,) = list_runs(console.home / "data" / "unbroken" / "runs").found
    kept = {name: made.manifest.sandbox[name] for name in ("network", "allowed_hosts", "memory", "processes", "cpus")}
    assert kept == {
        "network": "allowlist",
        "allowed_hosts": ["a.invalid", "b.invalid"],
        "memory": "2g",
        "processes": 4096,
        "cpus": None,
    }
    (trajectory,) = made.path.rglob("trajectory.jsonl")
    assert "not-allowed.invalid is not among the hosts" in trajectory.read_text()
    left = client.networks.list(filters={"label": f"{RUN_LABEL}={made.manifest.run_id}"})  # pyright: ignore[reportUnknownMemberType]
    assert left == []


@pytest.mark.parametrize(("options", "words"), [
    (["--cpus", "4000"], "4000 processors were asked for"),
    (["--disk", "nothing"], "'nothing' is no size"),
])  # fmt: skip
def test_a_limit_that_cannot_be_set_is_refused_before_a_run_is_begun(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, options: list[str], words: str
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([demo_rows["lapse"].model_dump(mode="json")]))
    done = console.run([str(VENV / "bin" / "evals"), "swebench", "--dataset", str(rows), "--agent", "nop", *options])
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (console.home / "data" / "unbroken" / "runs").exists()
