"""A persistent bash shell over any channel that carries its standard streams.

The worker (`shell_worker.bash`) says how state is kept; this side sends a command, collects its output in
bounded memory until the worker's mark, and kills the command's process tree at its deadline. A worker that
dies is replaced by one that finds the state of the last command that ended.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

KILL_GRACE = 5.0
"""Seconds that a killed command has to be gone before its shell is given up as well."""
KILLED = 137

STDOUT, STDERR = 1, 2


SCRIPT_VARIABLE = "SHELL_WORKER"


def worker_environment() -> dict[str, str]:
    """The environment of the worker: its text. On the command line, it would fill every `ps` that an agent runs."""
    return {SCRIPT_VARIABLE: resources.files("runners").joinpath("shell_worker.bash").read_text("utf-8")}


def worker_command(state_folder: str, directory: str, profile: str = "") -> list[str]:
    """The command line of the worker: where its state lies, where it starts, and a file that it sources first."""
    arguments = [state_folder, directory, profile]
    return ["bash", "--noprofile", "--norc", "-c", f'eval "${SCRIPT_VARIABLE}"', "bash", *arguments]


class Channel(Protocol):
    """The standard streams of a process somewhere."""

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError when it is gone."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of STDOUT or STDERR; an empty piece when the process is gone."""
        ...

    async def close(self) -> None:
        """Close its stdin, and with it the process. Safe to call twice."""
        ...


@dataclass
class _Answer:
    """What has been read of the answer to one command."""

    mark: bytes
    output: BoundedOutput
    on_output: OutputListener | None
    pending: bytes = b""
    control: bytes = b""
    status: int | None = None

    def add_stdout(self, data: bytes) -> None:
        self.pending += data
        found = self.pending.find(self.mark)
        if found == -1:
            keep = len(self.mark) - 1
            self._emit(self.pending[:-keep])
            self.pending = self.pending[-keep:]
        elif (end := self.pending.find(b"\n", found + len(self.mark))) != -1:
            self._emit(self.pending[:found])
            self.status = int(self.pending[found + len(self.mark) : end])
            self.pending = b""

    def close(self) -> None:
        self._emit(self.pending)
        self.pending = b""

    def _emit(self, data: bytes) -> None:
        if data:
            self.output.add(data)
            if self.on_output:
                self.on_output(data)

    @property
    def process_id(self) -> int | None:
        lines = self.control.split(b"\n")[:-1]
        return int(lines[-1]) if lines else None


class PersistentShell:
    """Runs one command at a time; see `tools.sandbox.Sandbox.shell` for what it promises.

    `open_channel` starts a worker; `kill_tree` ends a process and everything that it started.
    """

    def __init__(
        self, open_channel: Callable[[], Awaitable[Channel]], kill_tree: Callable[[int], Awaitable[None]]
    ) -> None:
        self._open_channel = open_channel
        self._kill_tree = kill_tree
        self._channel: Channel | None = None
        self._lock = asyncio.Lock()

    async def run(self, command: str, timeout: float, on_output: OutputListener | None = None) -> CommandResult:
        """Run `command`. Raises SandboxError when no shell can be had."""
        if "\0" in command:
            message = "A command cannot hold a NUL byte. Write the byte as an escape, for example with printf '\\0'."
            raise ValueError(message)
        async with self._lock:
            nonce = secrets.token_hex(16).encode()
            answer = _Answer(b"\n" + nonce + b" ", BoundedOutput(OUTPUT_LIMIT), on_output)
            channel = await self._send(command.encode("utf-8", "surrogateescape") + b"\0" + nonce + b"\0")
            return await self._collect(channel, answer, timeout)

    async def close(self) -> None:
        """End the worker."""
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()

    async def _send(self, data: bytes) -> Channel:
        for _ in range(2):
            channel = self._channel = self._channel or await self._open_channel()
            try:
                await channel.send(data)
                return channel
            except ConnectionError:
                await self.close()
        raise SandboxError("the shell ends as soon as it is started")

    async def _collect(self, channel: Channel, answer: _Answer, timeout: float) -> CommandResult:
        started = time.monotonic()
        timed_out = False
        try:
            try:
                async with asyncio.timeout(timeout):
                    await _read(channel, answer)
            except TimeoutError:
                timed_out = True
                await self._end_command(channel, answer)
        except BaseException:
            await asyncio.shield(self._abandon(answer))
            raise
        if answer.status is None:
            await self._abandon(answer)
            # Now rather than at the next command: a sandbox that is gone must not look like a command that failed.
            self._channel = await self._open_channel()
        answer.close()
        output, head_length = answer.output.finish()
        status = KILLED if answer.status is None else answer.status
        return CommandResult(
            output=output,
            exit_code=None if timed_out else status,
            duration=time.monotonic() - started,
            timed_out=timed_out,
            dropped=answer.output.dropped,
            head_length=head_length,
        )

    async def _end_command(self, channel: Channel, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(KILL_GRACE):
                if answer.process_id is not None:
                    await self._kill_tree(answer.process_id)
                await _read(channel, answer)
        except TimeoutError:
            return

    async def _abandon(self, answer: _Answer) -> None:
        if answer.process_id is not None:
            await self._kill_tree(answer.process_id)
        await self.close()


async def _read(channel: Channel, answer: _Answer) -> None:
    while answer.status is None:
        stream, data = await channel.receive()
        if not data:
            return
        if stream == STDERR:
            answer.control += data
        else:
            answer.add_stdout(data)
