"""The `terminal` tool in a container."""

from collections.abc import AsyncIterator

import pytest
from docker import DockerClient
from terminal_promises import TerminalPromises

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import SandboxError
from tools.terminal import InteractiveTerminal, TerminalParameters

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-terminal")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    yield opened
    await opened.close()


class TestTerminal(TerminalPromises):
    """Every promise, in a container."""

    async def test_a_container_that_is_gone_is_an_error_of_the_sandbox_or_an_end(
        self, client: DockerClient, sandbox: DockerSandbox
    ) -> None:
        tool = InteractiveTerminal()
        await tool(TerminalParameters(action="open", command="sleep 951"), sandbox)
        client.api.remove_container(sandbox.container_id, force=True)
        try:
            result = await tool(TerminalParameters(action="read", wait=20), sandbox)
        except SandboxError:
            return
        assert "t1 ended" in result.text
