"""A sandbox that is this machine: commands run in the repository, as the user, with nothing in between."""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from runners.command_environment import local_environment
from runners.shell import STDOUT, Channel, PersistentShell, worker_command, worker_environment
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

if TYPE_CHECKING:
    import psutil

MARK = "UNBROKEN_SHELL"
"""The variable by which processes of a sandbox's shell are known, wherever they went."""
_PIECE = 65536
_QUEUED_PIECES = 64
_LAST_WORDS = 0.1
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - state that is rewritten at each command costs 4 ms on a disk


class LocalSandbox:
    """Runs commands in `directory` on this machine. Fulfils `tools.sandbox.Sandbox`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._scratch = Path(tempfile.mkdtemp(prefix="unbroken-"))
        self._state = Path(tempfile.mkdtemp(prefix="unbroken-shell-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self._environment = local_environment()
        self._mark = secrets.token_hex(8)
        self._shell = PersistentShell(self._open_shell, self._kill_command)

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
        await kill_marked(self._mark)
        for folder in (self._state, self._scratch):
            shutil.rmtree(folder, ignore_errors=True)

    async def _open_shell(self) -> Channel:
        environment = {**self._environment, **worker_environment(), MARK: self._mark}
        try:
            return await _ProcessChannel.start(
                worker_command(str(self._state), self.working_directory), self._directory, environment
            )
        except FileNotFoundError as error:
            message = f"bash cannot be started in {self._directory}: {error}"
            raise SandboxError(message) from error

    async def _kill_command(self, process_id: int) -> None:
        await kill_tree(process_id, self._mark)


async def kill_tree(process_id: int, mark: str | None = None) -> None:
    """Kill a process, everything that descends from it, and its process group.

    With a `mark`, also what has left the tree (a daemon, whose parent is gone): every process that began since and
    carries the mark in its environment, and has no parent that carries it as well.
    """
    import psutil

    doomed: list[psutil.Process] = []
    with _gone_is_fine():
        root = psutil.Process(process_id)
        doomed += [*root.children(recursive=True), root]
        if mark:
            doomed += _strays(root.create_time(), mark)
    # Stopped first: a shell that sees its children die would still say so, or start others.
    for end in (psutil.Process.suspend, psutil.Process.kill):
        for process in reversed(doomed):
            with _gone_is_fine():
                end(process)
    with _gone_is_fine():
        os.killpg(process_id, signal.SIGKILL)


async def kill_marked(mark: str) -> None:
    """Kill every process that carries the mark: also what earlier commands left in the background."""
    for process in _strays(0.0, mark):
        with _gone_is_fine():
            process.kill()


def _strays(since: float, mark: str) -> "list[psutil.Process]":
    import psutil

    strays: list[psutil.Process] = []
    for process in psutil.process_iter():
        with _gone_is_fine():
            if process.create_time() >= since and _is_marked(process, mark) and not _is_marked(process.parent(), mark):
                strays += [*process.children(recursive=True), process]
    return strays


def _is_marked(process: "psutil.Process | None", mark: str) -> bool:
    with _gone_is_fine():
        return process is not None and process.environ().get(MARK) == mark
    return False


class _ProcessChannel(asyncio.SubprocessProtocol):
    """The streams of a child process, as pieces in the order in which they were read."""

    def __init__(self) -> None:
        self._transport: asyncio.SubprocessTransport | None = None
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._ended = False
        self._exited = asyncio.Event()

    @classmethod
    async def start(cls, command: list[str], directory: Path, environment: Mapping[str, str]) -> "_ProcessChannel":
        loop = asyncio.get_running_loop()
        transport, channel = await loop.subprocess_exec(
            cls, *command, cwd=directory, env=environment, start_new_session=True
        )
        channel._transport = transport
        return channel

    # What asyncio calls.

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._pieces.append((fd, data))
        self._arrived.set()
        if len(self._pieces) >= _QUEUED_PIECES:
            self._pause()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        self._ended = self._ended or fd == STDOUT
        self._arrived.set()

    def process_exited(self) -> None:
        self._exited.set()
        # Processes that outlive the shell may keep its pipes open for ever.
        asyncio.get_running_loop().call_later(_LAST_WORDS, self.pipe_connection_lost, STDOUT, None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What the shell calls.

    async def send(self, data: bytes) -> None:
        stdin = self._pipe(0)
        if self._ended or stdin.is_closing():
            raise ConnectionError("the shell has ended")
        cast("asyncio.WriteTransport", stdin).write(data)
        await self._writable.wait()

    async def receive(self) -> tuple[int, bytes]:
        while not self._pieces:
            if self._ended:
                return STDOUT, b""
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        if self._paused and not self._pieces:
            self._paused = False
            cast("asyncio.ReadTransport", self._pipe(STDOUT)).resume_reading()
        return piece

    async def close(self) -> None:
        assert self._transport is not None
        await kill_tree(self._transport.get_pid())
        # A transport that is closed before its child was waited for leaves a warning for the user to see.
        await self._exited.wait()
        self._transport.close()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            cast("asyncio.ReadTransport", self._pipe(STDOUT)).pause_reading()

    def _pipe(self, fd: int) -> asyncio.BaseTransport:
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(fd)
        assert pipe is not None
        return pipe


class _gone_is_fine:  # noqa: N801
    """A process that ends before it is killed has been dealt with."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        import psutil

        return kind is not None and issubclass(kind, (ProcessLookupError, PermissionError, psutil.Error))


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
