"""A persistent shell on this machine with nothing in between, in bash or in a plain sh."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil

from runners.shell import STDERR, STDOUT, PersistentShell, worker_command, worker_environment


class ProcessChannel:
    """The streams of a child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(maxsize=64)
        self._readers = [
            asyncio.create_task(self._read(number, stream))
            for number, stream in ((STDOUT, process.stdout), (STDERR, process.stderr))
            if stream
        ]

    async def send(self, data: bytes) -> None:
        assert self.process.stdin
        if self.process.returncode is not None:
            raise ConnectionError
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def receive(self) -> tuple[int, bytes]:
        return await self._pieces.get()

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # Closed first: `wait` also waits for the end of streams, which nobody reads now or somebody else holds open.
        self.process._transport.close()  # type: ignore[attr-defined]
        # What it left behind may hold its streams open, which would be waited for.
        self.process._transport.close()  # type: ignore[attr-defined]
        await self.process.wait()

    async def _read(self, number: int, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            await self._pieces.put((number, data))
        if number == STDOUT:
            await self._pieces.put((STDOUT, b""))


class Desk:
    """Opens workers for one shell, and counts them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.channels: list[ProcessChannel] = []

    async def open_channel(self) -> ProcessChannel:
        process = await asyncio.create_subprocess_exec(
            *worker_command(str(self.folder / "state"), str(self.folder / "home")),
            env=self.environment | worker_environment(),
            cwd=self.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self.channels.append(ProcessChannel(process))
        return self.channels[-1]

    async def kill_command(self, process_id: int, _sent: float) -> None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(process_id)
            for process in [*root.children(recursive=True), root]:
                with contextlib.suppress(psutil.Error):
                    process.suspend()
            for process in [*root.children(recursive=True), root]:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    async def append(self, path: str, data: bytes) -> None:
        with Path(path).open("ab") as file:  # noqa: ASYNC230 - a test's own file
            file.write(data)


@contextlib.asynccontextmanager
async def open_desk(environment: dict[str, str] | None = None) -> AsyncGenerator[tuple[Desk, PersistentShell]]:
    """A shell whose workers start in a folder of their own; by default with a PATH that has bash."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        (Path(folder) / "home").mkdir()
        desk = Desk(Path(folder), environment or {"PATH": os.environ["PATH"]})
        shell = PersistentShell(desk.open_channel, desk.kill_command, desk.append)
        try:
            yield desk, shell
        finally:
            await shell.close()
            for channel in desk.channels:
                await channel.close()
