"""The `background` tool in a container."""

from collections.abc import AsyncIterator

import pytest
from background_promises import BackgroundPromises, call
from docker import DockerClient

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.background import Background

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-background")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    yield opened
    await opened.close()


class TestBackground(BackgroundPromises):
    """Every promise, in a container."""

    async def test_it_ends_with_the_container(
        self, client: DockerClient, background: Background, sandbox: DockerSandbox
    ) -> None:
        await call(background, sandbox, "start", command="trap '' TERM; sleep 965 & setsid sleep 965")
        await sandbox.close()
        left = client.containers.list(all=True, ignore_removed=True, filters={"label": "unbroken.run=test-background"})
        assert sandbox.container_id not in [container.id for container in left]
