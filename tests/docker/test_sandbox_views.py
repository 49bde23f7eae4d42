"""A view of a sandbox: the same container for another user or with other variables, in a shell of its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from docker import DockerClient

from runners.container import ContainerSettings
from runners.docker_sandbox import DockerSandbox
from tools.sandbox import Sandbox, SandboxError

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv", scratch="/var/outputs", rights="usual")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    await opened.exec("useradd --create-home worker", timeout=60)
    yield opened
    await opened.close()


async def said(sandbox: Sandbox, command: str) -> str:
    return (await sandbox.shell(command, timeout=60)).output.decode().strip()


async def screen(sandbox: DockerSandbox, command: str) -> str:
    terminal, shown = await sandbox.open_terminal(command, columns=80, rows=24), b""
    while terminal.exit_code is None:
        shown += await terminal.read(timeout=1)
    return (shown + await terminal.read(timeout=0)).decode().strip()


async def test_another_user_has_a_shell_files_and_terminals_of_their_own(sandbox: DockerSandbox) -> None:
    assert await said(sandbox, "cd /tmp; HIDDEN=yes; whoami") == "root"
    view = await sandbox.view(user="worker")

    assert await said(view, 'whoami; pwd; echo "$HOME $HIDDEN"') == "worker\n/srv\n/home/worker"
    assert await said(view, "cd; pwd") == "/home/worker"
    assert await said(view, "pwd") == "/home/worker", "its state is kept"
    assert (await view.exec("id -un", timeout=60)).output == b"worker\n"
    assert await screen(view, "id -un") == "worker"
    await view.write_bytes("/home/worker/note", b"mine")
    await view.write_bytes(f"{view.scratch_directory}/note", b"mine")
    assert await said(sandbox, f"stat -c %U /home/worker/note {view.scratch_directory}/note; pwd") == (
        "worker\nworker\n/tmp"
    )
    with pytest.raises(PermissionError):
        await view.write_bytes("/etc/note", b"not mine")


async def test_a_command_of_a_view_that_takes_too_long_is_ended_with_its_tree(sandbox: DockerSandbox) -> None:
    view = await sandbox.view(user="worker")
    done = await view.shell("sleep 1234 & sleep 1234", timeout=1)
    assert done.timed_out
    assert await said(sandbox, "pgrep -fc '^sleep 1234'; true") == "0"


async def test_its_variables_are_those_of_all_that_is_started_there_and_of_nothing_else(
    sandbox: DockerSandbox,
) -> None:
    view = await sandbox.view(variables={"http_proxy": "http://192.0.2.1:1", "WORD": "two words"})
    assert await said(view, 'echo "$WORD"; sh -c "echo \\$http_proxy"') == "two words\nhttp://192.0.2.1:1"
    own = await view.exec('echo "$WORD $OWN"', timeout=60, environment={"OWN": "and its own"})
    assert own.output == b"two words and its own\n"
    assert await screen(view, 'echo "$WORD"') == "two words"
    assert await said(sandbox, 'echo "$WORD"; env | grep -c proxy') == "0"


async def test_closing_a_view_leaves_the_container_and_closing_that_ends_the_view(sandbox: DockerSandbox) -> None:
    first, second = await asyncio.gather(sandbox.view(user="worker"), sandbox.view())
    assert await said(first, "echo here") == "here"
    await first.close()
    assert await said(second, "echo here") == "here"
    await sandbox.close()
    with pytest.raises(SandboxError):
        await second.shell("echo here", timeout=60)


async def test_a_user_who_is_not_there_is_named(sandbox: DockerSandbox) -> None:
    with pytest.raises(SandboxError, match="nobody can work as stranger in the container: chown: invalid user"):
        await sandbox.view(user="stranger")
