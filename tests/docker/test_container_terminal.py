"""Programs on a pseudo-terminal in a container."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from docker import DockerClient

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import SandboxError, Terminal

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-terminal")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    yield opened
    await opened.close()


async def read_until(terminal: Terminal, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(30):
        while text not in seen:
            seen += await terminal.read(timeout=1)
    return seen


async def wait_for_exit(terminal: Terminal) -> int:
    async with asyncio.timeout(30):
        while terminal.exit_code is None:
            await terminal.read(timeout=0.1)
    return terminal.exit_code


async def processes(sandbox: DockerSandbox) -> bytes:
    return (await sandbox.exec("cat /proc/[0-9]*/cmdline", timeout=60)).output.replace(b"\0", b" ")


async def test_a_program_sees_a_terminal_of_the_size_from_the_start(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal("stty size; tty; echo $TERM; pwd; exit 5", columns=101, rows=37)
    assert await wait_for_exit(terminal) == 5
    # The end of the program's words may come with or after the exit code, never before nothing.
    again = await sandbox.open_terminal("stty size; tty; echo $TERM; pwd", columns=101, rows=37, directory="/usr")
    seen = await read_until(again, b"/usr\r\n")
    assert seen.startswith(b"37 101\r\n/dev/pts/")
    assert b"dumb" not in seen


async def test_keys_are_heard_and_an_interrupt_as_well(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal(
        "cat; trap 'echo stopped' INT; read word; echo \"<$word>\"", columns=80, rows=24
    )
    await terminal.write(b"words\r")
    assert await read_until(terminal, b"words\r\nwords\r\n") == b"words\r\nwords\r\n"
    await terminal.write(b"\x04")
    await terminal.write(b"more\r")
    assert b"<more>" in await read_until(terminal, b"<more>\r\n")
    assert await wait_for_exit(terminal) == 0
    await terminal.write(b"nobody there")
    assert await terminal.read(timeout=0.1) == b""


async def test_another_size_is_told_to_the_program(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal(
        "trap 'stty size' WINCH; echo on; while :; do sleep 0.1; done", columns=80, rows=24
    )
    await read_until(terminal, b"on")
    await terminal.resize(columns=50, rows=20)
    await read_until(terminal, b"20 50")


async def test_closing_kills_the_tree(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal("sleep 971 & (setsid sleep 971 &); sh -c 'sleep 971'", columns=80, rows=24)
    other = await sandbox.open_terminal("sleep 972", columns=80, rows=24)
    await asyncio.sleep(0.5)
    assert (await processes(sandbox)).count(b"sleep 971") >= 3
    await terminal.close()
    await terminal.close()
    left = await processes(sandbox)
    assert b"sleep 972" in left
    assert left.count(b"sleep 971") <= 1  # the one that left the tree for a session of its own
    assert other.exit_code is None


async def test_the_newest_is_kept_of_what_nobody_reads(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal("seq 1000000; echo the end", columns=80, rows=24)
    await asyncio.sleep(3)
    seen = await read_until(terminal, b"the end\r\n")
    assert len(seen) <= 1024 * 1024
    whole = sum(len(str(number)) + 2 for number in range(1, 1_000_001)) + len(b"the end\r\n")
    assert terminal.dropped == whole - len(seen)
    assert seen.endswith(b"1000000\r\nthe end\r\n")


async def test_a_directory_that_is_missing_is_said_on_the_screen(sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal("echo no", columns=80, rows=24, directory="/nonexistent")
    assert b"nonexistent" in await read_until(terminal, b"\r\n")
    assert await wait_for_exit(terminal) != 0


async def test_a_container_that_goes_is_an_error_of_the_sandbox(client: DockerClient, sandbox: DockerSandbox) -> None:
    terminal = await sandbox.open_terminal("sleep 970", columns=80, rows=24)
    client.containers.get(sandbox.container_id).remove(force=True)
    with pytest.raises(SandboxError):
        await wait_for_exit(terminal)
    await terminal.close()
    with pytest.raises(SandboxError):
        await sandbox.open_terminal("true", columns=80, rows=24)


async def test_killing_a_tree_leaves_the_others(sandbox: DockerSandbox) -> None:
    started = await sandbox.shell("setsid sh -c 'sleep 969 & sleep 969' & echo $!; setsid sleep 968 &", timeout=60)
    await asyncio.sleep(0.3)
    await sandbox.kill_tree(int(started.output))
    left = await processes(sandbox)
    assert b"sleep 969" not in left
    assert b"sleep 968" in left
    await sandbox.kill_tree(int(started.output))
    for nonsense in (1, 0, -1, 4_000_000):
        await sandbox.kill_tree(nonsense)
    assert (await sandbox.shell("echo here", timeout=60)).output == b"here\n"
