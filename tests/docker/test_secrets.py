"""Keys that are planted in the environment of the harness are nowhere else, whatever a sandbox looks at."""

import asyncio
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest
from docker import DockerClient
from docker.models.containers import Container
from real_things import PATIENCE, VENV, Console, GitRepository, calls, script_text

from agent.scripted.script import load_script
from agent.scripted.server import serve
from evals.swebench.dataset import Row
from results.record_files import encode
from runners.docker_engine import OWNER_LABEL

IMAGE = "unbroken/base:1"
MARK = b"plant3d"
"""In every planted value; commands look for it as `plant[3]d`, which does not find itself."""
NAMES = ("UNBROKEN_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DATABASE_PASSWORD")
DONE = {"content": "done"}
PROCESSES = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null"
FILES = (
    "find / /dev/shm /tmp -xdev -type f -mmin -60 -print0 2>/dev/null | xargs -0 cat 2>/dev/null",
    "cat ~/.bash_history ~/.netrc ~/.gitconfig ~/.docker/config.json .git/config 2>/dev/null",
)


def planted() -> dict[str, str]:
    return {name: f"sk-{MARK.decode()}-{secrets.token_hex(8)}" for name in NAMES}


def look(*places: str) -> dict[str, object]:
    """A reply that counts the planted values in what each command prints."""
    return calls(*(f"echo \"seen: $({place} | tr '\\0' '\\n' | grep -ac 'plant[3]d')\"" for place in places))


def assert_nothing_was_seen(record: str, looks: int) -> None:
    assert record.count("seen: 0") == looks
    assert record.count("seen: ") == looks


def holds(pieces: Iterable[bytes]) -> bool:
    """Whether the mark is in a stream, across its pieces as well."""
    end = b""
    for piece in pieces:
        if MARK in end + piece:
            return True
        end = piece[-len(MARK) :]
    return False


def files_with_it(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and MARK in path.read_bytes()]


async def test_a_container_holds_no_secret_of_the_harness(
    console: Console, repository: GitRepository, client: DockerClient, tmp_path: Path
) -> None:
    nonce = secrets.token_hex(8)
    wait = f"touch /tmp/{nonce}; until [ -e /tmp/go ]; do sleep 0.05; done"
    script = tmp_path / "script.yaml"
    places = ("env", PROCESSES, *FILES)
    script.write_text(script_text([look(*places), calls("env | grep -c HARMLESS"), calls(wait), DONE]))
    async with serve(load_script(script)) as url:
        process = await asyncio.create_subprocess_exec(
            *(VENV / "bin" / "agent", "run", "x", "--repo", repository.path, "--sandbox", f"docker:{IMAGE}"),
            *("--approve", "all", "--backend", url),
            cwd=console.home, env=console.all({**planted(), "HARMLESS": "3"}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        container = await asyncio.to_thread(container_with, client, f"/tmp/{nonce}")
        assert MARK not in json.dumps(container.attrs).encode()
        assert not await asyncio.to_thread(holds, cast("Iterable[bytes]", container.export()))
        container.exec_run(["touch", "/tmp/go"])
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, out
    record = "".join(encode(event).decode() for event in console.events() if event.type == "tool_result")
    assert_nothing_was_seen(record, len(places))
    assert "HARMLESS" not in record  # nothing of the host's environment, secret or not
    assert MARK not in out
    assert files_with_it(tmp_path) == []


def container_with(client: DockerClient, path: str) -> Container:
    """The container of `agent run` in which a file has come to be."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for container in client.containers.list(filters={"label": OWNER_LABEL}, ignore_removed=True):
            in_workspace = container.attrs["Config"]["WorkingDir"].startswith("/workspace")
            if in_workspace and container.exec_run(["test", "-e", path]).exit_code == 0:
                return container
        time.sleep(0.1)
    pytest.fail("no container has the file")


def test_a_run_of_evals_records_no_secret(
    console: Console, demo_rows: dict[str, Row], tmp_path: Path, write_script: Callable[..., str]
) -> None:
    row = demo_rows["lapse"]
    (tmp_path / "rows.json").write_text(json.dumps([row.model_dump(mode="json")]))
    backend = write_script(look("env", PROCESSES), calls("echo x >>setup.py"), DONE)
    done = console.run(
        [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(tmp_path / "rows.json"), "--backend", backend],
        **planted(),
    )
    assert done.code == 0, done.err
    runs = console.home / "data" / "unbroken" / "runs"
    (trajectory,) = runs.rglob("trajectory.jsonl")
    results = [line for line in trajectory.read_text().splitlines() if '"tool_result"' in line]
    assert_nothing_was_seen("".join(results), 2)
    assert MARK.decode() not in done.out + done.err
    assert list(runs.rglob("predictions.jsonl"))
    assert files_with_it(tmp_path) == []
