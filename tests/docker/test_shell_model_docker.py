"""Made-up sequences of commands in a container, against a model of what stays; and very many commands."""

import gc
import os

import psutil
import pytest
from docker import DockerClient
from shell_model import check_what_stays

from runners.docker_sandbox import ContainerSettings, DockerSandbox

LONG = bool(os.environ.get("UNBROKEN_LONG"))
COMMANDS = 10_000 if LONG else 600
WARM = COMMANDS // 3
MEMORY_GROWTH = 3_000_000
"""Bytes that all commands after the first third may cost."""
SPARE_FILES = 3
"""Connections to the engine that wait for their next use."""
SETTINGS = ContainerSettings(image="unbroken/base:1", directory="/", run="test-shell-model")


@pytest.mark.timeout(3600)
def test_what_stays_in_a_container(client: DockerClient) -> None:
    check_what_stays(lambda: DockerSandbox.start(client, SETTINGS))


@pytest.mark.timeout(1800)
async def test_very_many_commands_leave_nothing_behind(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    harness = psutil.Process()
    seen: list[tuple[int, int, int]] = []
    try:
        for number in range(COMMANDS):
            result = await sandbox.shell(f"count={number}; echo $count; ls / >/dev/null", timeout=60)
            assert result.output == f"{number}\n".encode()
            if number in (WARM, COMMANDS - 1):
                # Several times, for one that has just ended may still wait to be buried; and by no other processes.
                looks = [await sandbox.exec("set -- /proc/[0-9]*; echo $#", timeout=60) for _ in range(10)]
                gc.collect()
                seen.append((min(int(one.output) for one in looks), harness.num_fds(), harness.memory_info().rss))
    finally:
        await sandbox.close()
    (processes, files, memory), (processes_after, files_after, memory_after) = seen
    assert processes_after == processes
    assert files_after <= files + SPARE_FILES
    assert memory_after - memory < MEMORY_GROWTH
