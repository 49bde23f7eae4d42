"""A sandbox that is this machine: commands run in the repository, as the user, with nothing in between."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from runners.command_environment import local_environment
from runners.shell import STDERR, STDOUT, Channel, PersistentShell, worker_command, worker_environment
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

_PIECE = 65536
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - state that is rewritten at each command costs 4 ms on a disk


class LocalSandbox:
    """Runs commands in `directory` on this machine. Fulfils `tools.sandbox.Sandbox`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._scratch = Path(tempfile.mkdtemp(prefix="unbroken-"))
        self._state = Path(tempfile.mkdtemp(prefix="unbroken-shell-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self._environment = local_environment()
        self._shell = PersistentShell(self._open_shell, kill_tree)

    @property
    def working_directory(self) -> str:
        """The repository."""
        return str(self._directory)

    @property
    def scratch_directory(self) -> str:
        """A temporary folder that goes with the sandbox."""
        return str(self._scratch)

    async def shell(self, command: str, *, timeout: float, on_output: OutputListener | None = None) -> CommandResult:
        """Run in the persistent shell."""
        return await self._shell.run(command, timeout, on_output)

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        """Run in a bash of its own. Raises ValueError for another `user`: this machine's stays who they are."""
        if user is not None:
            message = f"a command on this machine runs as you, not as {user!r}"
            raise ValueError(message)
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            "bash", "--noprofile", "--norc", "-c", command,
            cwd=self._directory, env={**self._environment, **(environment or {})}, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output = BoundedOutput(OUTPUT_LIMIT)
        timed_out = False
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(_feed(process, stdin), _drain(process, output))
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            await asyncio.shield(kill_tree(process.pid))
        data, head_length = output.finish()
        return CommandResult(
            output=data,
            exit_code=None if timed_out else _shell_status(process.returncode),
            duration=time.monotonic() - started,
            timed_out=timed_out,
            dropped=output.dropped,
            head_length=head_length,
        )

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        """Read a file."""
        with Path(path).open("rb") as file:  # noqa: ASYNC230 - local and bounded
            return file.read(-1 if limit is None else limit)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file in place, which keeps its mode and its links."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)

    async def upload(self, source: Path, target: str) -> None:
        """Copy a file or a folder."""
        await asyncio.to_thread(_copy, source, Path(target))

    async def download(self, source: str, target: Path) -> None:
        """Copy a file or a folder."""
        await asyncio.to_thread(_copy, Path(source), target)

    async def close(self) -> None:
        """End the shell and remove the temporary folder."""
        await self._shell.close()
        for folder in (self._state, self._scratch):
            shutil.rmtree(folder, ignore_errors=True)

    async def _open_shell(self) -> Channel:
        try:
            process = await asyncio.create_subprocess_exec(
                *worker_command(str(self._state), self.working_directory),
                cwd=self._directory, env={**self._environment, **worker_environment()}, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except FileNotFoundError as error:
            message = f"bash cannot be started in {self._directory}: {error}"
            raise SandboxError(message) from error
        return _ProcessChannel(process)


async def kill_tree(process_id: int) -> None:
    """Kill a process, everything that descends from it, and its process group."""
    import psutil

    try:
        root = psutil.Process(process_id)
        doomed = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        doomed = []
    for process in doomed:
        with _gone_is_fine():
            process.kill()
    with _gone_is_fine():
        os.killpg(process_id, signal.SIGKILL)


class _ProcessChannel:
    """The streams of a child process, as pieces in the order in which they were read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(maxsize=16)
        self._readers = [
            asyncio.create_task(self._pump(STDOUT, process.stdout)),
            asyncio.create_task(self._pump(STDERR, process.stderr)),
        ]

    async def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def receive(self) -> tuple[int, bytes]:
        return await self._pieces.get()

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await kill_tree(self._process.pid)
        await self._process.wait()

    async def _pump(self, stream: int, reader: asyncio.StreamReader | None) -> None:
        assert reader is not None
        while data := await reader.read(_PIECE):
            await self._pieces.put((stream, data))
        await self._pieces.put((stream, b""))


class _gone_is_fine:  # noqa: N801
    """A process that ends before it is killed has been dealt with."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        import psutil

        return kind is not None and issubclass(kind, (ProcessLookupError, PermissionError, psutil.NoSuchProcess))


def _shell_status(return_code: int | None) -> int | None:
    return return_code if return_code is None or return_code >= 0 else 128 - return_code


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        return  # the command did not want all of it


async def _drain(process: asyncio.subprocess.Process, output: BoundedOutput) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(_PIECE):
        output.add(data)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)
