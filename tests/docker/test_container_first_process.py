"""The first process of a container: what agents do to it, and what it does for them, whatever shell it runs in."""

import time
from collections.abc import AsyncIterator

import pytest
from container_images import BASE, bash_as_sh_image, busybox_image, no_bash_image, no_shell_image, only_sh_image
from docker import DockerClient
from real_things import PATIENCE

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import SandboxError

__all__ = ["bash_as_sh_image", "busybox_image", "no_bash_image", "no_shell_image", "only_sh_image"]

DEAD = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"
ORPHANS = "i=0; while [ $i -lt 500 ]; do (sh -c 'sleep 0.2 & exit' &); i=$((i + 1)); done; wait"


@pytest.fixture(params=[BASE, "bash_as_sh_image", "busybox_image"])
async def sandbox(request: pytest.FixtureRequest, client: DockerClient) -> AsyncIterator[DockerSandbox]:
    image = request.param if request.param == BASE else request.getfixturevalue(request.param)
    opened = await DockerSandbox.start(client, ContainerSettings(image=image, directory="/tmp", run="test-first"))
    yield opened
    await opened.close()


async def printed(sandbox: DockerSandbox, command: str, timeout: float = 60.0) -> str:
    """What a shell of its own prints, which any image has."""
    return (await sandbox.exec(command, timeout=timeout)).output.decode()


async def dead(sandbox: DockerSandbox) -> int:
    """How many processes wait to be buried, once those have been that can be."""
    deadline = time.monotonic() + PATIENCE
    while (number := int(await printed(sandbox, f"sleep 0.1; {DEAD}"))) and time.monotonic() < deadline:
        pass
    return number


async def test_orphans_are_buried(sandbox: DockerSandbox) -> None:
    await printed(sandbox, ORPHANS)
    assert await dead(sandbox) == 0


async def test_orphans_are_buried_when_the_first_shell_is_gone(sandbox: DockerSandbox) -> None:
    await printed(sandbox, f"{ORPHANS}; sleep 900 & sleep 900 & kill -9 -1")
    assert await dead(sandbox) == 0
    await printed(sandbox, ORPHANS)
    assert await dead(sandbox) == 0


async def test_no_signal_ends_it(sandbox: DockerSandbox) -> None:
    every = "for signal in $(seq 1 31); do kill -$signal 1; done"
    await printed(sandbox, every)
    await printed(sandbox, f"kill -9 -1; {every}")
    await printed(sandbox, every)
    assert await printed(sandbox, "echo here") == "here\n"


async def test_commands_hear_an_interrupt(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=BASE, directory="/", run="test-first"))
    try:
        command = 'for s in INT QUIT PIPE TERM CHLD; do sh -c "kill -$s \\$\\$"; echo $?; done 2>/dev/null'
        seen = await sandbox.shell(command, timeout=60)
        assert seen.output.split() == [b"130", b"131", b"141", b"143", b"0"]
        ignored = await sandbox.shell("grep SigIgn /proc/self/status", timeout=60)
        # Signal 32 is libc's own, and what it is to containers depends on who started the engine.
        assert int(ignored.output.split()[1], 16) & 0x7FFFFFFF == 0
    finally:
        await sandbox.close()


async def test_killing_everything_is_answered_and_state_stays(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=BASE, directory="/", run="test-first"))
    try:
        await sandbox.shell("cd /usr; x=kept", timeout=60)
        for _ in range(3):
            killed = await sandbox.shell("echo before; kill -9 -1; sleep 5", timeout=60)
            assert killed.exit_code == 137
            assert killed.output in (b"before\n", b"")
            seen = await sandbox.shell("echo $x $PWD", timeout=60)
            assert seen.output == b"kept /usr\n"
            await sandbox.write_bytes("/tmp/f", b"1")
            assert await sandbox.read_bytes("/tmp/f") == b"1"
    finally:
        await sandbox.close()


async def test_a_command_that_takes_all_processes_is_ended(client: DockerClient) -> None:
    settings = ContainerSettings(image=BASE, directory="/", run="test-first", processes=60)
    sandbox = await DockerSandbox.start(client, settings)
    try:
        await sandbox.shell("x=kept", timeout=60)
        await sandbox.read_bytes("/etc/hostname")
        bomb = await sandbox.shell("bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done", timeout=2)
        assert bomb.timed_out
        seen = await sandbox.shell("echo $x; ls -d /usr", timeout=60)
        assert seen.output == b"kept\n/usr\n"
    finally:
        await sandbox.close()


async def test_an_image_without_a_shell_is_refused_with_the_reason(client: DockerClient, no_shell_image: str) -> None:
    with pytest.raises(SandboxError, match=f"{no_shell_image} has no /bin/sh"):
        await DockerSandbox.start(client, ContainerSettings(image=no_shell_image, directory="/", run="test-no-shell"))
    assert client.containers.list(all=True, ignore_removed=True, filters={"ancestor": no_shell_image}) == []


@pytest.mark.parametrize("name", ["busybox_image", "no_bash_image"])
async def test_an_image_without_bash_runs_commands_and_has_files(
    request: pytest.FixtureRequest, client: DockerClient, name: str
) -> None:
    settings = ContainerSettings(image=request.getfixturevalue(name), directory="/tmp", run="test-first")
    sandbox = await DockerSandbox.start(client, settings)
    try:
        result = await sandbox.exec("pwd; cat; exit 3", timeout=60, stdin=b"fed\n")
        assert (result.output, result.exit_code) == (b"/tmp\nfed\n", 3)
        await sandbox.write_bytes("/tmp/new/file", b"\0\xff" * 5000)
        assert await sandbox.read_bytes("/tmp/new/file") == b"\0\xff" * 5000
        ended = await sandbox.exec("sleep 981 & sleep 981", timeout=1)
        assert ended.timed_out
        assert b"sleep\x00981" not in (await sandbox.exec("cat /proc/[0-9]*/cmdline", timeout=60)).output
    finally:
        await sandbox.close()


async def test_a_shell_and_no_other_program_is_enough_for_commands(client: DockerClient, only_sh_image: str) -> None:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=only_sh_image, directory="/", run="test-first"))
    try:
        result = await sandbox.exec('read line; echo "heard $line"; exit 4', timeout=60, stdin=b"words\n")
        assert (result.output, result.exit_code) == (b"heard words\n", 4)
    finally:
        await sandbox.close()
