"""The sandbox that is a container."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from docker import DockerClient
from sandbox_promises import SandboxPromises

from runners.docker_engine import RUN_LABEL
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import SandboxError

SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-docker-sandbox")


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(client, SETTINGS)
    yield opened
    await opened.close()


class TestDockerSandbox(SandboxPromises):
    """Every promise, in a container."""

    async def test_nothing_visible_inside_names_the_task_or_the_harness(self, sandbox: DockerSandbox) -> None:
        seen = await sandbox.shell("hostname; env; cat /proc/1/cmdline /etc/hosts; ps axww", timeout=20)
        assert b"unbroken" not in seen.output.lower()
        assert b"test-docker-sandbox" not in seen.output

    async def test_there_is_no_network_unless_asked_for(self, sandbox: DockerSandbox) -> None:
        interfaces = await sandbox.shell("ls /sys/class/net", timeout=20)
        assert interfaces.output.split() == [b"lo"]

    async def test_closing_removes_the_container_with_what_runs_in_it(
        self, client: DockerClient, sandbox: DockerSandbox
    ) -> None:
        await sandbox.shell("trap '' TERM; sleep 984 &", timeout=20)
        await sandbox.close()
        left = client.containers.list(all=True, ignore_removed=True, filters={"label": f"{RUN_LABEL}={SETTINGS.run}"})
        assert sandbox.container_id not in [container.id for container in left]

    async def test_a_container_that_is_gone_is_an_error_of_the_sandbox(
        self, client: DockerClient, sandbox: DockerSandbox
    ) -> None:
        await sandbox.shell("x=1", timeout=20)
        running = asyncio.create_task(sandbox.shell("sleep 983", timeout=60))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(client.api.remove_container, sandbox.container_id, force=True)
        with pytest.raises(SandboxError):
            await running
        with pytest.raises(SandboxError):
            await sandbox.exec("true", timeout=20)
        with pytest.raises(SandboxError):
            await sandbox.read_bytes("/etc/passwd")

    async def test_a_start_that_is_cancelled_leaves_no_container(self, client: DockerClient) -> None:
        settings = replace(SETTINGS, run="test-cancelled-start")
        starting = asyncio.create_task(DockerSandbox.start(client, settings))
        await asyncio.sleep(0.05)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert (
            client.containers.list(all=True, ignore_removed=True, filters={"label": f"{RUN_LABEL}={settings.run}"})
            == []
        )

    async def test_a_disk_that_is_full_is_told_and_nothing_of_the_file_is_run(self, sandbox: DockerSandbox) -> None:
        await sandbox.write_bytes("/tmp/real", b"hello")
        with pytest.raises(OSError, match="No space"):
            await sandbox.write_bytes("/dev/full", b"touch /tmp/run\n" * 20_000)
        assert await sandbox.read_bytes("/tmp/real") == b"hello"
        with pytest.raises(FileNotFoundError):
            await sandbox.read_bytes("/tmp/run")

    async def test_cleaning_up_after_oneself_does_not_end_the_container(self, sandbox: DockerSandbox) -> None:
        await sandbox.shell("sleep 982 & kill $(cat /proc/[0-9]*/stat | sed -n 's/ (sleep).*//p'); kill 1", timeout=20)
        assert (await sandbox.shell("echo here", timeout=20)).output == b"here\n"

    async def test_an_image_that_is_not_there_is_an_error_of_the_sandbox(self, client: DockerClient) -> None:
        with pytest.raises(SandboxError, match="no-such-image"):
            await DockerSandbox.start(client, ContainerSettings(image="no-such-image:1", directory="/"))
