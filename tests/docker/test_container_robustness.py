"""Containers that die, calls that are broken off, and many sandboxes at once: nothing hangs, nothing is left."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from runners.docker_channel import ContainerChannel, open_exec
from runners.docker_engine import RUN_LABEL
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.service_shell import SERVICE_COMMAND, ServiceShell, service_environment
from tools.sandbox import SandboxError

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-robustness")
Call = Callable[[DockerSandbox, Path], Awaitable[object]]
CALLS: dict[str, Call] = {
    "shell": lambda sandbox, _: sandbox.shell("true", timeout=30),
    "exec": lambda sandbox, _: sandbox.exec("true", timeout=30),
    "terminal": lambda sandbox, _: sandbox.open_terminal("true", columns=80, rows=24),
    "kill_tree": lambda sandbox, _: sandbox.kill_tree(999_999),
    "read_bytes": lambda sandbox, _: sandbox.read_bytes("/etc/passwd"),
    "write_bytes": lambda sandbox, _: sandbox.write_bytes("/tmp/file", b"data"),
    "upload": lambda sandbox, folder: sandbox.upload(folder, "/tmp/folder"),
    "download": lambda sandbox, folder: sandbox.download("/etc", folder / "etc"),
}


def left(client: DockerClient, run: str) -> list[str]:
    return [
        str(each.name)
        for each in client.containers.list(all=True, ignore_removed=True, filters={"label": f"{RUN_LABEL}={run}"})
    ]


async def test_a_command_that_goes_with_its_container_has_not_failed(client: DockerClient) -> None:
    """Or a patch that was being applied would count as one that does not apply."""
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        running = asyncio.create_task(sandbox.exec("echo begun >/begun; sleep 60", timeout=50))
        while (await sandbox.exec("test -e /begun", timeout=30)).exit_code != 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        client.containers.get(sandbox.container_id).kill()
        with pytest.raises(SandboxError, match="the container has ended"):
            await running
        assert (await asyncio.gather(sandbox.exec("true", timeout=30), return_exceptions=True))[0] is not None
    finally:
        await sandbox.close()


SERVICE = (
    "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q 'SERVICE_[W]ORKER' && S=${p#/proc/}; done"
)


@pytest.mark.parametrize(
    "spoils",
    [
        "printf 'forged\\n' >/proc/$S/fd/1",
        "head -c 3000000 /dev/zero >/proc/$S/fd/1",
        "yes >/proc/$S/fd/1",
        "kill -STOP $S",
    ],
)
async def test_what_others_do_to_the_service_shell_spoils_no_file(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, spoils: str
) -> None:
    monkeypatch.setattr("runners.service_shell.SILENCE", 3.0)
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        await sandbox.write_bytes("/srv/file", b"as it is\n")
        done = await sandbox.shell(
            f"{SERVICE}; (exec setsid sh -c 'S='$S'; {spoils}') </dev/null >/dev/null 2>&1 & echo $S", timeout=30
        )
        assert int(done.output) > 1
        await asyncio.sleep(0.5)
        for _ in range(3):
            assert await sandbox.read_bytes("/srv/file", limit=100) == b"as it is\n"
        await sandbox.write_bytes("/srv/file", b"new")
        assert await sandbox.read_bytes("/srv/file", limit=100) == b"new"
    finally:
        await sandbox.close()


@pytest.mark.parametrize("deaths", [2, 3])
async def test_a_service_shell_that_is_killed_on_its_way_is_started_again(client: DockerClient, deaths: int) -> None:
    """As by an agent's `kill -9 -1`, which meets whatever is there."""
    sandbox = await DockerSandbox.start(client, SETTINGS)
    commands = iter([["/bin/sh", "-c", "exit"]] * deaths)

    async def open_channel() -> ContainerChannel:
        command = next(commands, SERVICE_COMMAND)
        return await open_exec(client.api, sandbox.container_id, command, environment=service_environment())

    service = ServiceShell(open_channel, "test")
    try:
        if deaths == 3:
            with pytest.raises(SandboxError, match="it ended at once"):
                await service.ready()
        assert (await service.ask("kind", "/etc")).word == "directory"
    finally:
        await service.close()
        await sandbox.close()


@pytest.mark.parametrize("how", ["killed", "removed"])
async def test_a_container_that_is_gone_is_said_by_every_method(client: DockerClient, tmp_path: Path, how: str) -> None:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    await sandbox.shell("true", timeout=30)
    container = client.containers.get(sandbox.container_id)
    if how == "killed":
        container.kill()
    else:
        container.remove(force=True)
    for call in CALLS.values():
        async with asyncio.timeout(10):
            with pytest.raises(SandboxError):
                await call(sandbox, tmp_path)
    await sandbox.close()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "kill_tree"])
async def test_a_call_that_is_broken_off_leaves_a_sandbox_that_works(
    client: DockerClient, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"data" * 1_000_000)
    generator = random.Random(name)
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        await sandbox.shell("kept=yes", timeout=30)
        for _ in range(6):
            call = asyncio.ensure_future(CALLS[name](sandbox, tmp_path))
            await asyncio.sleep(generator.uniform(0, 0.15))
            call.cancel()
            await asyncio.wait([call], timeout=10)
            assert call.done()
        assert (await sandbox.shell("echo $kept", timeout=30)).output == b"yes\n"
        await sandbox.write_bytes("/tmp/other", b"written")
        assert await sandbox.read_bytes("/tmp/other") == b"written"
    finally:
        await sandbox.close()


async def test_an_exec_that_is_broken_off_is_killed_inside(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        running = asyncio.create_task(sandbox.exec("sleep 961 & (setsid sleep 961 &); sleep 961", timeout=60))
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert b"sleep\x00961" not in (await sandbox.exec("cat /proc/[0-9]*/cmdline", timeout=30)).output
    finally:
        await sandbox.close()


async def test_a_deadline_finds_daemons_on_a_machine_that_is_slow_to_answer(client: DockerClient) -> None:
    """What tells a command's daemons from older ones is when they began, by the clock of a shell that may come late."""
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        await sandbox.shell("setsid sleep 981 >/dev/null 2>&1 & sleep 0.5", timeout=30)
        late = asyncio.create_task(sandbox.shell("(setsid sleep 982 &); sleep 60", timeout=1))
        await asyncio.sleep(0.7)
        container = client.containers.get(sandbox.container_id)
        container.pause()
        await asyncio.sleep(1.3)
        container.unpause()
        assert (await late).timed_out
        listing = await sandbox.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", timeout=30)
        assert (b"sleep 981" in listing.output, b"sleep 982" in listing.output) == (True, False)
    finally:
        await sandbox.close()


async def test_a_start_that_is_broken_off_at_any_moment_leaves_nothing(client: DockerClient) -> None:
    settings = replace(SETTINGS, run="test-broken-off")
    for delay in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4):
        starting = asyncio.create_task(_started(client, settings))
        await asyncio.sleep(delay)
        starting.cancel()
        if delay == 0.05:  # a person who is in a hurry presses twice
            await asyncio.sleep(0.01)
            starting.cancel()
        try:
            sandbox = await starting
        except asyncio.CancelledError:
            pass
        else:
            await sandbox.close()
    for _ in range(50):
        if not left(client, settings.run):
            break
        await asyncio.sleep(0.1)
    assert left(client, settings.run) == []


async def _started(client: DockerClient, settings: ContainerSettings) -> DockerSandbox:
    return await DockerSandbox.start(client, settings)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_sixteen_at_once_work_and_leave_nothing(client: DockerClient) -> None:
    settings = replace(SETTINGS, run="test-sixteen")

    async def work(number: int) -> bytes:
        sandbox = await DockerSandbox.start(client, settings)
        try:
            await sandbox.write_bytes("/tmp/number", str(number).encode())
            for _ in range(5):
                await sandbox.shell("n=$(cat /tmp/number)", timeout=120)
            return (await sandbox.shell("echo $n", timeout=120)).output
        finally:
            await sandbox.close()

    await work(0)
    descriptors, threads = _open_files(), threading.active_count()
    assert await asyncio.gather(*map(work, range(16))) == [f"{number}\n".encode() for number in range(16)]
    assert left(client, settings.run) == []
    kept = 64  # connections that the client keeps open for the next calls, and returns to
    assert _open_files() <= descriptors + kept
    assert threading.active_count() <= threads + 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_sandbox_that_is_closed_at_once_leaves_nothing(client: DockerClient) -> None:
    settings = replace(SETTINGS, run="test-closed-at-once")
    sandbox = await DockerSandbox.start(client, settings)
    await sandbox.close()
    await sandbox.close()
    assert left(client, settings.run) == []
    with pytest.raises(SandboxError):
        await sandbox.read_bytes("/etc/passwd")


async def test_output_before_the_end_of_a_killed_shell_comes_through(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    try:
        killed = await sandbox.shell("seq 100000; kill -9 $$; sleep 0.3", timeout=60)
        assert killed.output.startswith(b"1\n2\n")
        assert len(killed.output) == len("".join(f"{number}\n" for number in range(1, 100_001)))
        flooding = await sandbox.shell("(yes >&1 &) ; kill -9 $$; sleep 0.3", timeout=60)
        assert flooding.exit_code == 137
        assert (await sandbox.shell("pkill yes; echo here", timeout=60)).output.endswith(b"here\n")
    finally:
        await sandbox.close()
