"""What the tests of sandboxes on this machine share: processes that hide, and a harness that is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil

ESCAPE = "(env -i setsid sleep {0} </dev/null >/dev/null 2>&1 &)"
"""A process that clears its environment, leaves its session and its parent: nothing but the supervisor knows of it."""


_HARNESS = """
import asyncio, sys
from pathlib import Path
from runners.confinement import Confinement
from runners.local_sandbox import LocalSandbox

async def work(directory, marker, moment):
    confinement = Confinement((Path(directory),)) if "confined" in moment else None
    sandbox = LocalSandbox(Path(directory), confinement)
    await sandbox.exec("true", timeout=20)
    if moment == "beginning":
        print("now", flush=True)
    escape = f"(env -i setsid sleep {marker} </dev/null >/dev/null 2>&1 &)"
    await sandbox.shell(f"{escape}; sleep {marker} & echo x >{sandbox.scratch_directory}/file", timeout=20)
    terminal = await sandbox.open_terminal(f"{escape}; sleep {marker}", columns=80, rows=24)
    command = f"printf '%060d' 0; {escape}; sleep {marker}"
    running = asyncio.create_task(sandbox.shell(command, timeout=60, on_output=tell))
    if moment == "end":
        await asyncio.sleep(0.3)
        asyncio.create_task(sandbox.close())
        await asyncio.sleep(0)
        print("now", flush=True)
    await asyncio.sleep(60)

def tell(data):
    print("now", flush=True)

asyncio.run(work(*sys.argv[1:]))
"""


def alive(marker: str) -> list[int]:
    """Processes that have the marker as an argument."""
    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if marker in process.cmdline() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                found.append(process.pid)
    return found


async def begun(marker: str, number: int) -> list[int]:
    """The processes that have the marker as an argument, as soon as there are so many of them."""
    async with asyncio.timeout(20):
        while len(found := alive(marker)) != number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


def assert_nothing_is_left_of_killed(tmp_path: Path, marker: str, moment: str) -> None:
    """Kill a process with a sandbox at a moment; its processes and folders go within seconds."""
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_HARNESS), str(tmp_path / "work"), marker, moment],
        stdout=subprocess.PIPE, env=environment,
    ) as harness:  # fmt: skip
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"now\n"
        harness.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (left := _left(tmp_path / "temporary", harness.pid, marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _left(temporary: Path, owner: int, marker: str) -> list[object]:
    in_memory = Path("/dev/shm").glob(f"unbroken-*-{owner:x}-*-*")
    return [*temporary.iterdir(), *in_memory, *alive(marker)]
