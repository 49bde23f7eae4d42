"""A program on a pseudo-terminal of this machine."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from runners.supervisor import Program, Supervisor

KEPT = 1024 * 1024
"""Bytes of unread output that are kept: the newest."""
PASSED = 256 * 1024
"""Bytes that are dropped between one short rest and the next."""
UNSENT = 1024 * 1024
"""Bytes of keys that wait for a program that does not read."""
_PIECE = 65536
_PAUSE = 0.02
_LAST_WORDS = 0.1


class LocalTerminal:
    """The other end of a program's terminal. Fulfils `tools.sandbox.Terminal`."""

    def __init__(self, supervisor: Supervisor, program: Program, descriptor: int, mark: str) -> None:
        self._supervisor = supervisor
        self._program = program
        self._descriptor = descriptor
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._output = bytearray()
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._unsent = bytearray()
        self._open = True
        self._last_words: asyncio.Task[None] | None = None
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    @classmethod
    async def start(
        cls,
        supervisor: Supervisor,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        mark: str,
        *,
        columns: int,
        rows: int,
    ) -> "LocalTerminal":
        """Start a program. Raises OSError."""
        program, descriptor = await supervisor.start_on_terminal(command, environment, directory, columns, rows)
        terminal = cls(supervisor, program, descriptor, mark)
        terminal._last_words = asyncio.create_task(terminal._watch_end())
        return terminal

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None while it runs."""
        return self._program.exit_code

    @property
    def dropped(self) -> int:
        """Bytes of output that were dropped so far."""
        return self._dropped

    async def write(self, data: bytes) -> None:
        """Send keys. Raises BlockingIOError when a program has left too many of them unread."""
        if not self._open or self.exit_code is not None:
            return
        if len(self._unsent) + len(data) > UNSENT:
            raise BlockingIOError("the program does not read what is sent to it")
        self._unsent += data
        self._flush()

    async def read(self, *, timeout: float) -> bytes:
        """What was written since the last call."""
        if not self._output:
            self._arrived.clear()
            # A program that has closed its terminal is about to end, as a rule.
            wait = self._arrived.wait() if self._open else self._program.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await wait
            await asyncio.sleep(0)  # so that who asks an ended program over and over lets others work
        data = bytes(self._output)
        self._output.clear()
        return data

    async def end_foreground(self) -> None:
        """Stop the shell, and kill the group that it waits for."""
        if not self._open or self.exit_code is not None:
            return
        shell = self._program.process_id
        with suppress(ProcessLookupError):
            os.kill(shell, signal.SIGSTOP)
            if (group := os.tcgetpgrp(self._descriptor)) != os.getpgid(shell):
                os.killpg(group, signal.SIGKILL)

    async def close(self) -> None:
        """Kill the program with its tree, and with what left that. Safe to call twice."""
        if self._supervisor.is_running:
            await self._supervisor.end(self._program.process_id, self._mark)
        self.release()
        if self._last_words:
            self._last_words.cancel()

    def release(self) -> None:
        """Give back what is ours of it. Safe to call twice."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
        self._arrived.set()

    async def _watch_end(self) -> None:
        await self._program.wait()
        # What outlives the program may keep its terminal open for ever.
        await asyncio.sleep(_LAST_WORDS)
        self.release()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # the system's way to say that nobody has the other end open
            data = b""
        if not data:
            self.release()
            return
        self._output += data
        self._arrived.set()
        if (excess := len(self._output) - KEPT) > 0:
            rests = self._dropped // PASSED
            self._dropped += excess
            del self._output[:excess]
            if self._dropped // PASSED == rests:
                return
            # A program that prints without end must not keep us busy.
            self._loop.remove_reader(self._descriptor)
            self._loop.call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        if self._open:
            self._loop.add_reader(self._descriptor, self._read)

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._descriptor, self._unsent)]
        except BlockingIOError:
            self._loop.add_writer(self._descriptor, self._flush)
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._descriptor)
