"""A sandbox that is a Docker container, with one channel for the agent's shell and one for the harness.

The shell's first worker is a child of the container's first process, on the connection that was attached before the
start; the harness's channel is opened beside it. Either is replaced by an exec when it dies.

A view of a sandbox is the same container with channels of its own, for another user or with other variables.
"""

import asyncio
import contextlib
import itertools
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.container import Container, ContainerSettings, RunningContainer, remove_container, start_container
from runners.container_program import START, ContainerProgram
from runners.docker_channel import ContainerChannel, connect_to, exit_code, open_exec
from runners.docker_engine import in_thread, obtain
from runners.docker_files import ContainerFiles
from runners.docker_terminal import DockerTerminal
from runners.exec_answer import ExecAnswer, feed
from runners.service_shell import SERVICE_COMMAND, ServiceShell, service_environment
from runners.shell import KILLED, PersistentShell, worker_command, worker_environment
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["ContainerSettings", "DockerSandbox"]

_STATE = "/dev/shm/shell"  # noqa: S108 - in memory: a file that is rewritten at each command costs a disk 4 ms
_KILL_GRACE = 10.0
_CLOCK_READINGS = 2
_CLOCK_ERROR = 0.02
_PROBE = 30.0
_CANNOT_START = 126
"""An exit status from which on a command did not begin, or was killed."""
_SHELL_FIRST = 0.3
_REASON_LIMIT = 500
# The process id comes first, on stderr, by which a command that runs too long is found inside.
_RUN = """
echo "$$" >&2
exec 2>&1
cd -- "$2" || exit
if command -v bash >/dev/null; then exec bash -c "$1" bash; fi
exec sh -c "$1" sh
"""


class DockerSandbox:
    """Runs commands in a container of its own. Fulfils `tools.sandbox.Sandbox`."""

    def __init__(
        self,
        client: "DockerClient",
        container: RunningContainer,
        settings: ContainerSettings,
        channel: ContainerChannel | None,
        *,
        state: str = _STATE,
        variables: Mapping[str, str] | None = None,
        remove: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._api = client.api
        self._container = container
        self._remove = remove or partial(remove_container, client.api, container.id)
        self._settings = settings
        self._state = state
        self._variables = dict(variables or {})
        self._views: list[DockerSandbox] | None = [] if channel else None
        self._view_numbers = itertools.count(2)
        self._first_channel = channel
        self._shell_spoke = channel.spoken if channel else None
        self._service = ServiceShell(self._open_service, container.id[:12])
        if channel:
            self._service.begin()
        self._files = ContainerFiles(client.api, container.id, self._service)
        self._shell = PersistentShell(self._open_shell, self._kill_command, self._files.append)
        self._terminals: list[DockerTerminal] = []

    @classmethod
    async def start(cls, client: "DockerClient", settings: ContainerSettings) -> "DockerSandbox":
        """Create and start a container. Raises SandboxError."""
        worker = shell_worker(settings)
        container = await obtain(
            lambda: start_container(client.api, settings, worker), lambda container: _discard(client, container)
        )
        try:
            return await cls.on(client, container, settings)
        except BaseException:
            await asyncio.shield(in_thread(_discard, client, container))
            raise

    @classmethod
    async def on(
        cls,
        client: "DockerClient",
        container: Container,
        settings: ContainerSettings,
        remove: Callable[[], None] | None = None,
    ) -> "DockerSandbox":
        """The sandbox of a container that others have started, with `shell_worker` as its first.

        `remove`, which blocks, takes more away than the container. Raises SandboxError.
        """
        channel = await connect_to(ContainerChannel(container.end_mark), container.streams)
        return cls(client, container, settings, channel, remove=remove)

    @classmethod
    def beside(cls, client: "DockerClient", container: str, settings: ContainerSettings) -> "DockerSandbox":
        """A view of a container that runs something else, and that others remove; `container` is its id."""
        return cls(client, RunningContainer(container), settings, None)

    async def view(self, *, user: str = "", variables: Mapping[str, str] | None = None) -> "DockerSandbox":
        """The container as `user` has it, or its own user, with `variables` set for all that is started there.

        Its shell begins where the container's did, and knows nothing of other shells. It ends with the container, and
        may be closed before. Raises SandboxError where there is no such user.
        """
        if self._views is None:
            raise ValueError("a view is made of a container's own sandbox, and not of another view")
        mark = f"-{next(self._view_numbers)}"
        settings = self._settings
        if user not in ("", settings.user):
            settings = replace(settings, user=user, scratch=settings.scratch + mark)
            made = await self.exec(_give_folder(settings.scratch, user), timeout=_PROBE, user="0")
            if made.exit_code != 0:
                said = made.output[-_REASON_LIMIT:].decode(errors="replace").strip()
                message = f"nobody can work as {user} in the container: {said}"
                raise SandboxError(message)
        view = DockerSandbox(self._client, self._container, settings, None, state=_STATE + mark, variables=variables)
        self._views.append(view)
        return view

    @property
    def container_id(self) -> str:
        """The engine's id of the container."""
        return self._container.id

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the engine could not do as the settings say, such as a limit on the disk."""
        return self._container.warnings

    @property
    def working_directory(self) -> str:
        """Where commands start."""
        return self._settings.directory

    @property
    def scratch_directory(self) -> str:
        """A folder for outputs that were too long to show."""
        return self._settings.scratch

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
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        """Run in a shell of its own; the exit status is the engine's. `output_limit`: bytes kept of its output."""
        started = time.monotonic()
        channel = await self._open(
            ["/bin/sh", "-c", self._settings.prelude + _RUN, "sh", command, self.working_directory],
            environment={**self._variables, **(environment or {})},
            user=user,
        )
        answer = ExecAnswer(BoundedOutput(output_limit))
        timed_out = False
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(feed(channel, stdin), answer.read(channel))
        except TimeoutError:
            timed_out = True
            await self._end_exec(channel, answer, started)
        except BaseException:
            await asyncio.shield(self._end_exec(channel, answer, started))
            raise
        finally:
            await channel.close()
        status = None if timed_out else await exit_code(self._api, channel.exec_id)
        if status == KILLED:
            await self._check_running()
        return answer.result(status, timed_out, time.monotonic() - started)

    async def open_terminal(
        self, command: str, *, columns: int, rows: int, directory: str | None = None
    ) -> DockerTerminal:
        """Start a program on a pseudo-terminal."""
        terminal = await DockerTerminal.start(
            self._api,
            self.container_id,
            self._service,
            self._settings,
            command,
            directory or self.working_directory,
            self._variables,
            columns=columns,
            rows=rows,
        )
        self._terminals.append(terminal)
        return terminal

    async def open_program(self, command: Sequence[str]) -> ContainerProgram:
        """Start a program in the working directory, to be talked to through its streams. Raises SandboxError."""
        words = ["/bin/sh", "-c", self._settings.prelude + START, "sh", self.working_directory, *command]
        program = ContainerProgram(await self._open(words, environment=self._variables), self._service)
        try:
            await program.begin()
        except BaseException:
            await asyncio.shield(program.close())
            raise
        return program

    async def kill_tree(self, process_id: int) -> None:
        """End a process with its tree."""
        await self._kill("kill_tree", process_id)

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        """Read a file through the service shell."""
        return await self._files.read(path, limit)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file through the service shell."""
        await self._files.write(path, data)

    async def upload(self, source: Path, target: str) -> None:
        """Copy with the engine's archive call; what is copied belongs to the user that runs commands."""
        await self._files.upload(source, target)

    async def download(self, source: str, target: Path, *, limit: int | None = None) -> None:
        """Copy with the engine's archive call. More than `limit` bytes raise OSError."""
        await self._files.download(source, target, limit)

    async def close(self) -> None:
        """Remove the container with whatever runs in it; kills, never waits for a process to agree.

        A view gives back what is its own, and leaves the container. Raises SandboxError when the engine does not do so.
        """
        if self._views is None:
            await self._close_channels()
            return
        removal = asyncio.ensure_future(in_thread(self._remove))
        try:
            for each in (*self._views, self):
                await each._close_channels()
        finally:
            await removal

    async def _close_channels(self) -> None:
        for terminal in self._terminals:
            await terminal.release()
        for channel in (self._shell, self._first_channel, self._service):
            if channel:
                await channel.close()

    async def _open(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> ContainerChannel:
        return await open_exec(
            self._api, self.container_id, command, environment=environment, user=user or self._settings.user
        )

    async def _open_service(self) -> ContainerChannel:
        # After the shell's first word: an exec that starts beside it takes the processors away from it.
        if self._shell_spoke:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SHELL_FIRST):
                    await self._shell_spoke.wait()
        return await self._open(SERVICE_COMMAND, environment=service_environment())

    async def _open_shell(self) -> ContainerChannel:
        first, self._first_channel = self._first_channel, None
        if first:
            return first
        # First, while a process can be had: it ends those that took all there were.
        await self._service.ready()
        start = ["/bin/sh", "-c", _shell_start(self._settings, self._state)]
        return await self._open(start, environment={**worker_environment(), **self._variables})

    async def _kill_command(self, process_id: int, sent: float) -> None:
        await self._kill("kill_command", process_id, await self._uptime_at(sent))

    async def _uptime_at(self, moment: float) -> int:
        """A moment of this process's clock in hundredths of a second of the container's uptime, rather early than late.

        Asked for apart from what it is needed for: a request may lie there for a while, and a clock that was read with
        it would spare what began in that time.
        """
        for left in reversed(range(_CLOCK_READINGS)):
            asked = time.monotonic()
            said = (await self._service.ask("uptime")).data
            answered = time.monotonic()
            if not left or answered - asked < _CLOCK_ERROR:
                # Without a number there is no /proc either, and no process to be found in it.
                return int(said or 0) - math.ceil((answered - moment) * 100)
        raise AssertionError  # the last reading returns

    async def _kill(self, function: str, process_id: int, *arguments: int) -> None:
        if process_id > 1:  # the first process hears no signal, and less than one means many
            await self._service.ask(function, process_id, *arguments)

    async def is_broken_inside(self) -> bool:
        """Whether the engine and the container are well, and yet nothing can be started in there.

        Then whoever worked in it has removed its shell, used up its processes, or ends or stops each that begins.
        """
        with contextlib.suppress(SandboxError):
            started = await self.exec(":", timeout=_PROBE)
            return started.exit_code is None or started.exit_code >= _CANNOT_START
        return await self.is_running()

    async def is_running(self) -> bool:
        """Whether the engine answers and says that the container runs: what fails in it then is no fault of theirs."""
        with contextlib.suppress(SandboxError):
            await self._check_running()
            return True
        return False

    async def _check_running(self) -> None:
        """Raise SandboxError when the container is gone: a command that went with it did not fail."""
        api: Any = self._api
        inspected = await in_thread(api.inspect_container, self.container_id)
        if not inspected["State"]["Running"]:
            message = f"the container has ended ({self.container_id[:12]}), and the command with it"
            raise SandboxError(message)

    async def _end_exec(self, channel: ContainerChannel, answer: "ExecAnswer", started: float) -> None:
        """End what an exec runs, which may not even have told its process id yet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_GRACE):
                await answer.read_process_id(channel)
        if answer.process_id:
            await self._kill_command(answer.process_id, started)


def _shell_start(settings: ContainerSettings, state: str) -> str:
    """What starts a shell worker, in sh, where its environment is there."""
    worker = worker_command(state, settings.directory, "")
    # `~` is the container's user's, and only a shell in there knows who that is.
    return (
        f"{settings.prelude}mkdir -p -m 700 {state} {settings.scratch}\n"
        f'exec {shlex.join(worker[:-1])} "$(eval echo {settings.profile})"'
    )


def shell_worker(settings: ContainerSettings) -> str:
    """What starts a container's first shell worker, in sh, with its environment."""
    variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in worker_environment().items())
    return variables + _shell_start(settings, _STATE)


def _give_folder(folder: str, user: str) -> str:
    """What makes a folder that belongs to `user`, in sh."""
    return f"mkdir -p -m 700 {folder} && chown -- {shlex.quote(user)} {folder}"


def _discard(client: "DockerClient", container: Container) -> None:
    container.streams.connection.close()
    remove_container(client.api, container.id)
