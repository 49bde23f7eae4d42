"""The sandbox: a round trip of its shell alone and in a crowd, files in and out, an edit, and how soon it is ready.

Measured, wall time on this machine, medians, each beside its peer in the same run, in turns:

* a command: from the call of `DockerSandbox.shell` with `true` until its answer; the same with 1 MB of output.
* sixteen containers: one command after the other in each, all at once; seconds divided by commands of all together.
  The peer is mini-swe-agent's Docker environment with as many threads.
* files: `upload` and `download` of one file of 100 MB and of a folder of 2,000 small ones, divided by what `docker cp`
  takes for the same. Ours carries the start of no process, the command does, as for everybody who calls it.
* an edit: `str_replace` of a line in a file of 1 MB, as the model's call; in a container, and on this machine.
* ready: from nothing until the first `true` is answered, divided by the engine's own create and start.

Subtracted: nothing.
"""

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import BenchmarkError, Measurement, Options
from benchmarks.peers import MINI, mini_environment, mini_variables
from benchmarks.step import IMAGE
from runners.docker_engine import EngineUnavailableError, connect
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.local_sandbox import LocalSandbox
from tools.editor_parameters import EditorParameters
from tools.sandbox import Sandbox
from tools.str_replace_editor import StrReplaceEditor

if TYPE_CHECKING:
    from docker import DockerClient

SETTINGS = ContainerSettings(image=IMAGE, directory="/srv")
DEADLINE = 120.0
ROUND_TRIPS = 300
AT_ONCE = 16
COMMANDS_EACH = 50
MINI_COMMANDS_EACH = 5
FILE_BYTES = 100_000_000
SMALL_FILES = 2000


def run(options: Options) -> list[Measurement]:
    """Measure ours, then the peers."""
    try:
        client = connect()
    except EngineUnavailableError as error:
        raise BenchmarkError(str(error)) from error
    try:
        return asyncio.run(_measure(client, options))
    finally:
        client.close()


async def _measure(client: "DockerClient", options: Options) -> list[Measurement]:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        trip = await _median(lambda: _shell(sandbox, "true"), ROUND_TRIPS)
        printed = await _median(lambda: _shell(sandbox, "head -c 1000000 /dev/zero | tr '\\0' x"), options.samples)
        edit = await _edit(sandbox, "/srv/file.txt", options.samples * 3)
        copies = await _copies(sandbox, max(3, options.samples // 3))
    finally:
        await sandbox.close()
    local_edit = await _edit_on_this_machine(options.samples * 3)
    crowd = await _crowd(client)
    readiness = await _readiness(client, options.samples)
    # Last, since its containers are still being stopped for ten seconds after it has ended.
    mini = _mini_times() if options.with_peer else None
    peer = MINI if mini else None
    return [
        Measurement("a command, `true`", trip, "ms", 3.0, peer, mini and mini[0]),
        Measurement("a command with 1 MB of output", printed, "ms", 30.0),
        Measurement(f"a command, {AT_ONCE} containers at once", crowd, "ms", 10.0, peer, mini and mini[1]),
        *copies,
        Measurement("an edit of a file of 1 MB", edit, "ms", 10.0),
        Measurement("an edit of a file of 1 MB, on this machine", local_edit, "ms", 10.0),
        *readiness,
    ]


async def _median(attempt: Callable[[], Awaitable[object]], times: int) -> float:
    """Milliseconds."""
    await attempt()
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        await attempt()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


async def _shell(sandbox: DockerSandbox, command: str) -> None:
    result = await sandbox.shell(command, timeout=DEADLINE)
    if result.exit_code != 0:
        message = f"{command} ended with {result.exit_code}"
        raise BenchmarkError(message)


async def _crowd(client: "DockerClient") -> float:
    """Milliseconds for each command of all."""
    sandboxes = await asyncio.gather(*(DockerSandbox.start(client, SETTINGS) for _ in range(AT_ONCE)))
    try:
        await asyncio.gather(*(_shell(sandbox, "true") for sandbox in sandboxes))
        started = time.perf_counter()
        await asyncio.gather(*(_one_after_the_other(sandbox) for sandbox in sandboxes))
        return (time.perf_counter() - started) * 1000 / (AT_ONCE * COMMANDS_EACH)
    finally:
        await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))


async def _one_after_the_other(sandbox: DockerSandbox) -> None:
    for _ in range(COMMANDS_EACH):
        await _shell(sandbox, "true")


async def _edit_on_this_machine(times: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        sandbox = LocalSandbox(Path(folder))
        try:
            return await _edit(sandbox, f"{folder}/file.txt", times)
        finally:
            await sandbox.close()


async def _edit(sandbox: Sandbox, path: str, times: int) -> float:
    lines = [f"line {number} of a file that is edited" for number in range(1, 27_000)]
    await sandbox.write_bytes(path, "\n".join(lines).encode())
    editor = StrReplaceEditor()
    versions = iter(range(times + 1))

    async def edit() -> None:
        version = next(versions)
        old = f"line {900 + version} of a file"
        call = EditorParameters(command="str_replace", path=path, old_str=old, new_str=f"edited {version}")
        result = await editor(call, sandbox)
        if result.is_error:
            raise BenchmarkError(result.text)

    return await _median(edit, times)


async def _copies(sandbox: DockerSandbox, times: int) -> list[Measurement]:
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, source in _sources(Path(folder)).items():
            target = f"/srv/{source.name}"
            back = Path(folder) / f"back-{source.name}"
            up = await _median(lambda s=source, t=target: sandbox.upload(s, t), times)
            up_peer = await _median(lambda s=source: _docker_cp(str(s), f"{sandbox.container_id}:/srv"), times)
            down = await _median(lambda t=target, b=back: sandbox.download(t, b), times)
            down_peer = await _median(
                lambda t=target, b=back: _docker_cp(f"{sandbox.container_id}:{t}", f"{b}-cp"), times
            )
            measurements += [
                Measurement(f"upload of {name} / docker cp", up / up_peer, "×", 1 / 0.9, "docker cp", 1.0),
                Measurement(f"download of {name} / docker cp", down / down_peer, "×", 1 / 0.9, "docker cp", 1.0),
            ]
    return measurements


def _sources(folder: Path) -> dict[str, Path]:
    large = folder / "large"
    large.write_bytes(os.urandom(FILE_BYTES))
    many = folder / "many"
    many.mkdir()
    for number in range(SMALL_FILES):
        (many / f"file{number}").write_bytes(os.urandom(2000))
    return {"100 MB": large, f"{SMALL_FILES} files": many}


async def _docker_cp(source: str, target: str) -> None:
    await asyncio.to_thread(subprocess.run, ["docker", "cp", "-q", source, target], check=True, capture_output=True)


async def _readiness(client: "DockerClient", samples: int) -> list[Measurement]:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(samples + 1):
        started = time.perf_counter()
        sandbox = await DockerSandbox.start(client, SETTINGS)
        await _shell(sandbox, "true")
        ours.append(time.perf_counter() - started)
        await sandbox.close()
        bare.append(await asyncio.to_thread(_create_and_start, client))
    ready, engine = statistics.median(ours[1:]), statistics.median(bare[1:])
    return [
        Measurement("a sandbox that answers", ready, "s", None, "create and start", engine),
        Measurement("a sandbox that answers / create and start", ready / engine, "×", 1.2),
    ]


def _create_and_start(client: "DockerClient") -> float:
    started = time.perf_counter()
    container = client.containers.create(IMAGE, ["sleep", "infinity"], init=True, network_mode="none")
    container.start()
    taken = time.perf_counter() - started
    container.remove(force=True)
    return taken


def _mini_times() -> tuple[float, float]:
    """Milliseconds of a command of mini's Docker environment: alone, and of sixteen at once."""
    driver = Path(__file__).with_name("mini_shell_driver.py")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(mini_environment() / "python"), str(driver), IMAGE, str(AT_ONCE), str(MINI_COMMANDS_EACH)],
            env=mini_variables(Path(folder)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        message = f"{MINI} could not be measured: {done.stderr.strip()[-500:]}"
        raise BenchmarkError(message)
    alone, crowd = map(float, done.stdout.split()[-2:])
    return alone, crowd
