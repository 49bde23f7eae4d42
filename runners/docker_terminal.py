"""A program on a pseudo-terminal in a container, as an exec of its own."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from runners.command_environment import terminal_environment
from runners.container import ContainerSettings
from runners.docker_channel import Connection, exit_code, start_exec
from runners.docker_engine import in_thread
from runners.service_shell import ServiceShell
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import APIClient

KEPT = 1024 * 1024
"""Bytes of unread output that are kept: the newest."""
PASSED = 256 * 1024
"""Bytes that are dropped between one short rest and the next."""
UNSENT = 1024 * 1024
"""Bytes of keys that wait for a program that does not read."""
START_DEADLINE = 60.0
_PAUSE = 0.02
# It tells its process id and waits until the terminal has its size, for which the engine needs a process first.
_START = """
printf '%s\\n' "$$"
IFS= read -r _
cd -- "$2" || exit
if command -v bash >/dev/null; then exec bash -c "$1" bash; fi
exec sh -c "$1" sh
"""
_LINE = b"\r\n"


class DockerTerminal:
    """Fulfils `tools.sandbox.Terminal`."""

    def __init__(self, api: "APIClient", service: ServiceShell) -> None:
        self._api = api
        self._service = service
        self._screen = _Screen()
        self._exec_id = ""
        self._process_id = 0
        self._exit_code: int | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def start(
        cls,
        api: "APIClient",
        container: str,
        service: ServiceShell,
        settings: ContainerSettings,
        command: str,
        directory: str,
        variables: Mapping[str, str],
        *,
        columns: int,
        rows: int,
    ) -> "DockerTerminal":
        """Start a program, with `variables` set beside those of the container. Raises SandboxError."""
        terminal = cls(api, service)
        words = ["/bin/sh", "-c", settings.prelude + _START, "sh", command, directory]
        environment = terminal_environment(variables)
        try:
            terminal._exec_id = await start_exec(
                api, container, words, terminal._screen, environment=environment, user=settings.user, tty=True
            )
            async with asyncio.timeout(START_DEADLINE):
                await terminal._begin(columns, rows)
        except TimeoutError as error:
            await terminal.close()
            raise SandboxError("the container does not answer: no program can be started there") from error
        except BaseException:
            await asyncio.shield(terminal.close())
            raise
        terminal._watching = asyncio.create_task(terminal._watch_end())
        terminal._watching.add_done_callback(lambda task: task.cancelled() or task.exception())
        return terminal

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None while it runs."""
        return self._exit_code

    @property
    def dropped(self) -> int:
        """Bytes of output that were dropped so far."""
        return self._screen.dropped

    async def resize(self, *, columns: int, rows: int) -> None:
        """Give the terminal another size. Raises SandboxError."""
        await in_thread(self._api.exec_resize, self._exec_id, height=rows, width=columns)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    async def write(self, data: bytes) -> None:
        """Send keys. Raises BlockingIOError when a program has left too many of them unread."""
        self._screen.write(data)

    async def read(self, *, timeout: float) -> bytes:
        """What was written since the last call."""
        data = await self._screen.read(timeout)
        if not data and self._screen.ended and self._watching:
            await asyncio.shield(self._watching)
        return data

    async def end_foreground(self) -> None:
        """Stop the shell, and kill what it waits for. Raises SandboxError."""
        if self._exit_code is None:
            await self._service.ask("end_foreground", self._process_id)

    async def close(self) -> None:
        """Kill the program with its tree. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._process_id and self._exit_code is None:
            with suppress(SandboxError):  # a container that is gone took the program with it
                await self._service.ask("kill_tree", self._process_id)
        await self._screen.close()

    async def release(self) -> None:
        """Give back what is ours of it, where the program is gone in any case."""
        self._closed = True
        await self._screen.close()
        if self._watching:
            self._watching.cancel()

    async def _begin(self, columns: int, rows: int) -> None:
        said = await self._screen.read_line()
        if not said.isdigit():
            reason = (said + await self._screen.read(1.0)).decode(errors="replace").strip()
            message = f"no program can be started in the container: {reason or 'it ended at once'}"
            raise SandboxError(message)
        self._process_id = int(said)
        await self.resize(columns=columns, rows=rows)
        self._screen.write(b"\n")
        await self._screen.read_line()  # that key, echoed

    async def _watch_end(self) -> None:
        await self._screen.wait_for_end()
        self._exit_code = await exit_code(self._api, self._exec_id)


class _Screen(Connection):
    """What a terminal writes, and keys for it."""

    def __init__(self) -> None:
        super().__init__()
        self._output = bytearray()
        self.dropped = 0
        """Bytes of output that were dropped so far."""
        self._end = asyncio.Event()

    def take(self, data: memoryview) -> None:
        """Keep the newest."""
        self._output += data
        self._arrived.set()
        if (excess := len(self._output) - KEPT) > 0:
            rests = self.dropped // PASSED
            self.dropped += excess
            del self._output[:excess]
            if self.dropped // PASSED == rests or self._transport is None:
                return
            # A program that prints without end must not keep us busy.
            self._transport.pause_reading()
            self._loop.call_later(_PAUSE, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake up who waits."""
        super().connection_lost(exc)
        self._end.set()

    def write(self, data: bytes) -> None:
        """Send keys; nothing where nobody is there to read them."""
        if self.ended or self._transport is None:
            return
        if self._transport.get_write_buffer_size() + len(data) > UNSENT:
            raise BlockingIOError("the program does not read what is sent to it")
        self._transport.write(data)

    async def read(self, timeout: float) -> bytes:
        """Take what is there, after a wait for it."""
        if not self._output and not self.ended:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
        data = bytes(self._output)
        self._output.clear()
        return data

    async def read_line(self) -> bytes:
        """Take one line; what there is of it when nothing more comes."""
        while _LINE not in self._output and not self.ended:
            self._arrived.clear()
            await self._arrived.wait()
        line, _, rest = bytes(self._output).partition(_LINE)
        self._output[:] = rest
        return line

    async def wait_for_end(self) -> None:
        """Wait until nothing more comes."""
        await self._end.wait()
