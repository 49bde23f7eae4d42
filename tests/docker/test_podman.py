"""Every promise of the Docker sandbox, kept by Podman behind its Docker-compatible socket."""

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from docker import DockerClient
from real_things import wait_for
from sandbox_promises import SandboxPromises

from runners.container import ContainerSettings
from runners.docker_engine import connect
from runners.docker_sandbox import DockerSandbox

IMAGE = "unbroken/base:1"
SETTINGS = ContainerSettings(image=f"localhost/{IMAGE}", directory="/srv/repository", run="test-podman")
pytestmark = [
    pytest.mark.skipif(not os.environ.get("UNBROKEN_LONG"), reason="takes minutes; UNBROKEN_LONG=1 runs it"),
    pytest.mark.skipif(not shutil.which("podman"), reason="Podman is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a Podman with a storage of its own is set up as root"),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[DockerClient]:
    """A Podman of the test's own, with the base image."""
    folder = Path(tempfile.mkdtemp(prefix="podman-"))  # pytest's own folders are too deep: 50 characters is its limit
    # Its default asks for more files and processes than some machines let even root have.
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)
    limits = f'"nofile={files}:{files}", "nproc=16384:16384"'
    (folder / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = [{limits}]\n[engine]\ncgroup_manager = "cgroupfs"\n'
    )
    environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    command = ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    socket = folder / "podman.sock"
    try:
        with subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE) as saved:
            subprocess.run([*command, "load"], stdin=saved.stdout, env=environment, check=True, capture_output=True)
        service = [*command, "system", "service", "--time=0", f"unix://{socket}"]
        with subprocess.Popen(service, env=environment, stderr=subprocess.DEVNULL) as served:
            yield from _connected(socket)
            served.terminate()
    finally:
        _end_watchers(folder)
        subprocess.run([*command, "system", "reset", "--force"], env=environment, capture_output=True, check=False)
        subprocess.run(["umount", str(folder / "root" / "overlay")], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _end_watchers(folder: Path) -> None:
    """End the processes that would clean up after each exec minutes later, and bring the storage to life for that."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "conmon" and any(part.startswith(str(folder)) for part in process.cmdline()):
                process.kill()


def _connected(socket: Path) -> Iterator[DockerClient]:
    wait_for(socket)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DOCKER_HOST", f"unix://{socket}")
        client = connect()
    yield client
    client.close()


@pytest.fixture
async def sandbox(podman: DockerClient) -> AsyncIterator[DockerSandbox]:
    opened = await DockerSandbox.start(podman, SETTINGS)
    yield opened
    await opened.close()


class TestPodmanSandbox(SandboxPromises):
    """Every promise, in a container of Podman's."""
