"""A sandbox that is this machine: commands run in the repository, as the user, confined if that is asked for.

Everything that it starts runs below a supervisor of its own, so that nothing is left at a deadline, after `close`,
and after the death of this process, however it came. `runners.confinement` says what a confined command can do.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from runners import local_files
from runners.command_environment import local_environment, terminal_environment
from runners.confinement import Confinement, confined_environment
from runners.local_channel import LocalChannel
from runners.local_terminal import LocalTerminal
from runners.marked_processes import MARK, kill_marked, new_mark
from runners.owner import make_temporary_folder
from runners.shell import PersistentShell, worker_command, worker_environment
from runners.supervisor import Supervisor
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - state that is rewritten at each command costs 4 ms on a disk


class LocalSandbox:
    """Runs commands in `directory` on this machine. Fulfils `tools.sandbox.Sandbox`.

    A method raises SandboxError once it is closed, and `ConfinementError` where commands cannot be confined.
    """

    def __init__(self, directory: Path, confinement: Confinement | None = None) -> None:
        self._directory = directory.resolve()
        self._confinement = confinement
        self._folder = make_temporary_folder()
        self._scratch = self._folder / "files" if confinement else self._folder
        self._temporary = self._folder / "tmp"
        self._state = make_temporary_folder(_IN_MEMORY if _IN_MEMORY.is_dir() else None)
        # Not the folder itself, which an agent that is confined could empty, but not remove.
        self._shell_state = self._state / "shell"
        self._environment = local_environment()
        if confinement:
            self._environment = confined_environment(self._environment)
        self._mark = new_mark()
        self._numbers = count(1)
        self._outer: Supervisor | None = None
        self._supervisor: Supervisor | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._worker: LocalChannel | None = None
        self._terminals: list[LocalTerminal] = []
        self._shell = PersistentShell(self._open_shell, self._end_command, self._append)

    @property
    def working_directory(self) -> str:
        """The repository."""
        return str(self._directory)

    @property
    def scratch_directory(self) -> str:
        """A temporary folder that goes with the sandbox."""
        return str(self._scratch)

    async def shell(
        self, command: str, *, timeout: float, on_output: OutputListener | None = None, keep_at: str | None = None
    ) -> CommandResult:
        """Run in the persistent shell."""
        return await self._shell.run(command, timeout, on_output, keep_at)

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        """Run in a bash of its own, and end what it leaves.

        Raises ValueError for another `user`: this machine's stays who they are.
        """
        if user is not None:
            message = f"a command on this machine runs as you, not as {user!r}"
            raise ValueError(message)
        started = time.monotonic()
        bash = ["bash", "--noprofile", "--norc", "-c", command]
        channel = await self._open(bash, {**self._environment, **(environment or {})}, one_output=True)
        output = BoundedOutput(OUTPUT_LIMIT)
        exit_code = None
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(_feed(channel, stdin), _drain(channel, output))
                exit_code = await channel.program.wait()
        except TimeoutError:
            exit_code = None
        finally:
            await asyncio.shield(channel.close_with_orphans())
        data, head_length = output.finish()
        return CommandResult(
            output=data,
            exit_code=exit_code,
            duration=time.monotonic() - started,
            timed_out=exit_code is None,
            dropped=output.dropped,
            head_length=head_length,
        )

    async def open_terminal(
        self, command: str, *, columns: int, rows: int, directory: str | None = None
    ) -> LocalTerminal:
        """Start a program on a pseudo-terminal. Raises FileNotFoundError for a folder that is not there."""
        supervisor, mark = await self._supervised(), self._next_mark()
        terminal = await LocalTerminal.start(
            supervisor,
            ["bash", "--noprofile", "--norc", "-c", command],
            {**terminal_environment(self._environment), MARK: mark},
            directory or self.working_directory,
            mark,
            columns=columns,
            rows=rows,
        )
        self._terminals.append(terminal)
        return terminal

    async def kill_tree(self, process_id: int) -> None:
        """End a process with what descends from it. Raises PermissionError for one that does not run in here."""
        supervisor = await self._supervised()
        await supervisor.check(process_id)
        await supervisor.end(process_id)

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        """Read a file. Raises OSError for what is none, such as a named pipe."""
        return await local_files.read(await self._place(), path, limit)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file in place, which keeps its mode and its links; where there is no room, it stays as it was."""
        await local_files.write(await self._place(), path, data)

    async def upload(self, source: Path, target: str) -> None:
        """Copy a file or a folder."""
        await local_files.upload(await self._place(), source, target)

    async def download(self, source: str, target: Path) -> None:
        """Copy a file or a folder."""
        await local_files.download(await self._place(), source, target)

    async def close(self) -> None:
        """End all that runs, and remove the temporary folders."""
        self._closed = True
        async with self._starting:
            for terminal in self._terminals:
                terminal.release()
            if self._worker:
                self._worker.release()
            await self._drop_supervisors()
        for folder in (self._state, self._folder):
            if folder.exists():  # no supervisor was there to do it
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _open_shell(self) -> LocalChannel:
        command = worker_command(str(self._shell_state), self.working_directory)
        self._worker = await self._open(command, {**self._environment, **worker_environment()})
        return self._worker

    async def _end_command(self, process_id: int, _sent: float) -> None:
        worker, supervisor = self._worker, self._supervisor
        assert worker is not None
        if supervisor is None or not supervisor.is_running:
            return
        await supervisor.end(process_id, worker.mark, worker.last_sent, unknown=True)
        if sys.platform != "linux":
            await asyncio.to_thread(kill_marked, worker.mark, worker.last_sent_at)

    async def _append(self, path: str, data: bytes) -> None:
        await local_files.append(await self._place(), path, data)

    async def _open(
        self, command: list[str], environment: Mapping[str, str], *, one_output: bool = False
    ) -> LocalChannel:
        supervisor, mark = await self._supervised(), self._next_mark()
        try:
            return await LocalChannel.start(
                supervisor, command, {**environment, MARK: mark}, self.working_directory, mark, one_output=one_output
            )
        except OSError as error:
            message = f"{command[0]} cannot be started in {self._directory}: {error.strerror or error}"
            raise SandboxError(message) from error

    def _next_mark(self) -> str:
        return f"{self._mark}.{next(self._numbers)}"

    async def _place(self) -> local_files.Place:
        return local_files.Confined(await self._supervised()) if self._confinement else local_files.ThisMachine()

    async def _supervised(self) -> Supervisor:
        """The supervisor of all that is started; another one if an agent killed it, or at the first call."""
        async with self._starting:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            if self._outer is None or not self._outer.is_running:
                await self._drop_supervisors()
                folders = (self._state, self._folder)
                confined = (self._scratch, self._temporary) if self._confinement else ()
                for folder in (*folders, self._shell_state, *confined):
                    folder.mkdir(mode=0o700, exist_ok=True)
                self._outer = Supervisor.start({**self._environment, MARK: self._mark}, folders)
            if self._confinement is None:
                self._supervisor = self._outer
            elif self._supervisor is None or not self._supervisor.is_running:
                self._supervisor = await self._confinement.start_supervisor(
                    self._outer,
                    self._environment,
                    self.working_directory,
                    self._temporary,
                    [self._scratch, self._state],
                )
            return self._supervisor

    async def _drop_supervisors(self) -> None:
        inner, outer = self._supervisor, self._outer
        self._supervisor = self._outer = None
        if outer:
            await outer.close()
            if inner:
                inner.abandon()
            if not outer.left_nothing or sys.platform != "linux":
                await asyncio.to_thread(kill_marked, self._mark)


async def _feed(channel: LocalChannel, data: bytes) -> None:
    try:
        await channel.send(data)
        channel.end_of_input()
    except ConnectionError:
        return  # the command did not want all of it


async def _drain(channel: LocalChannel, output: BoundedOutput) -> None:
    while piece := (await channel.receive())[1]:
        output.add(piece)
