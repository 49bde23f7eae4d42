"""A Docker engine of a test's own, which can be killed, stopped and started again without anybody else noticing."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from docker import DockerClient

from runners.docker_engine import EngineUnavailableError, connect

_PATIENCE = 60.0


class SecondEngine:
    """One dockerd with its containerd, everything of it in one folder."""

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket has room for some 100 characters.
        self._root = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self._root}/engine.sock"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self._root / "pid").unlink(missing_ok=True)  # of one that was killed
        # In a network of its own, since a dockerd without a bridge removes docker0, whose ever that is.
        command = [
            "unshare", "--net", "dockerd", "-H", self.address, "--pidfile", self._root / "pid",
            "--data-root", self._root / "data", "--exec-root", self._root / "run",
            "--bridge=none", "--iptables=false", "--ip-masq=false", "--cgroup-parent", f"/{self._root.name}",
        ]  # fmt: skip
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.05)

    def end(self, number: int) -> None:
        """Send it a signal, and wait until it has ended."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(_PATIENCE)
        # Its containerd dies with it, a moment later; a new dockerd that still finds it would rely on it.
        psutil.wait_procs([process for process in self._processes() if process.name() == "containerd"], _PATIENCE)
        (self._root / "run" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def load(self, image: str) -> None:
        """Copy an image from the machine's own engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "-H", self.address, "load"], stdin=saved.stdout, check=True, capture_output=True)

    def close(self) -> None:
        """Leave nothing of it."""
        if self.is_running:
            self.end(signal.SIGTERM)
        left = self._processes()
        left += [child for process in left for child in process.children(recursive=True)]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self._root}/")]):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self._root)
        for group in Path("/sys/fs/cgroup").glob(f"**/{self._root.name}"):
            inner = [folder for folder in group.rglob("*") if folder.is_dir()]  # of containers that it never removed
            for folder in (*sorted(inner, reverse=True), group):
                folder.rmdir()

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except EngineUnavailableError:
            return False
        return True

    def connect(self) -> DockerClient:
        """A client of it, while DOCKER_HOST may name another engine."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", self.address)
            return connect()

    def _processes(self) -> list[psutil.Process]:
        """All that have its folder on their command line."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._root) in argument for argument in process.cmdline()):
                    found.append(process)
        return found

    def _log(self) -> str:
        return (self._root / "log").read_text()[-2000:]


@pytest.fixture(scope="session")
def running_engine() -> Iterator[SecondEngine]:
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root, with Docker's engine installed, can start another one")
    engine = SecondEngine()
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
