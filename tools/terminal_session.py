"""A program on a terminal, with the screen that it draws on.

A task reads what the program writes all the time, since programs wait for the terminal's answers to their questions,
and since what nobody reads is dropped. It takes a bounded share of the time, whatever a program prints.
"""

import asyncio
import time

from tools.sandbox import SandboxError, Terminal
from tools.terminal_codes import TerminalCodes
from tools.terminal_screen import Screen

# `xterm` is described in the terminfo of minimal images of Debian, Alpine and Fedora alike, and has an alternate
# screen, which `linux` and `vt100` have not. Whoever has a screen wants to be asked; a shell on it is not the user's.
SETUP = "export TERM=xterm HISTFILE=/dev/null; unset GIT_EDITOR GIT_TERMINAL_PROMPT DEBIAN_FRONTEND\n"
"""What a program on a terminal is started behind, in sh."""
SHORTEST_STILL = 0.3
STILL_SHARE = 0.1
"""The screen counts as settled when it has been still for this share of the longest wait."""
_READ_TIMEOUT = 30.0
_LAST_WORDS = 0.2
_END = 1.0
_PAUSE = 0.1
_PATIENCE = 50
"""Pauses after which a terminal that has closed without a word of its program's end is given up."""
_SLICE = 4096
_DRAWN = 64 * 1024
"""Bytes of one piece of output that are drawn, half of them from its beginning: what is between is only counted."""
_REST = 3
"""How long the reader rests after more than that, in multiples of the time that it has worked."""


class TerminalSession:
    """Made in a running event loop; `close` ends it, and so does the end of the sandbox."""

    def __init__(self, terminal: Terminal, screen: Screen) -> None:
        self.screen = screen
        self.ended = False
        """Whether everything that the program has written is on the screen."""
        self.changed_at = time.monotonic()
        self._terminal = terminal
        self._codes = TerminalCodes(self.screen)
        self._changed = asyncio.Event()
        self._unseen = True
        self._dropped = 0
        """Of what the terminal dropped, how much the screen knows of."""
        self._failure: SandboxError | None = None
        self._reader = asyncio.create_task(self._read())

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None while it runs."""
        return self._terminal.exit_code

    async def send(self, data: bytes) -> None:
        """Send keys. Raises OSError when the program has left too many of them unread, and SandboxError."""
        self._raise_failure()
        await self._terminal.write(data)

    async def settle(self, wait: float, *, for_change: bool) -> None:
        """Wait until the screen is still, for `wait` seconds at most; with `for_change`, first until anything changes.

        What has changed since the last call counts. Raises SandboxError.
        """
        deadline = time.monotonic() + wait
        still = max(SHORTEST_STILL, wait * STILL_SHARE)
        if for_change and not self._unseen:
            await self._wait_for_change(deadline)
        while not self.ended and await self._wait_for_change(min(deadline, time.monotonic() + still)):
            continue
        if self.exit_code is not None:  # its last words are on their way
            while await self._wait_for_change(time.monotonic() + _END):
                continue
        self._unseen = False
        self._raise_failure()

    async def end_foreground(self) -> None:
        """End what a shell waits for; it stands still from then on (see `tools.sandbox.Terminal`)."""
        await self._terminal.end_foreground()

    async def close(self) -> None:
        """End the program with all that it started. Safe to call twice."""
        self._reader.cancel()
        await self._terminal.close()

    async def _wait_for_change(self, deadline: float) -> bool:
        """Wait until something is drawn; False at the deadline, or when there is nothing to come."""
        self._changed.clear()
        if self.ended:
            return False
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    async def _read(self) -> None:
        try:
            silence = 0
            while silence < _PATIENCE and self.exit_code is None:
                begun = time.monotonic()
                if data := await self._terminal.read(timeout=_READ_TIMEOUT):
                    silence = 0
                    await self._draw(data)
                elif time.monotonic() - begun < _PAUSE:
                    silence += 1
                    await asyncio.sleep(_PAUSE)
            while data := await self._terminal.read(timeout=_LAST_WORDS):
                await self._draw(data)
        except SandboxError as error:
            self._failure = error
        finally:
            self.ended = True
            self._changed.set()

    async def _draw(self, data: bytes) -> None:
        self.screen.lose(self._terminal.dropped - self._dropped)
        self._dropped = self._terminal.dropped
        is_flood = len(data) > _DRAWN
        if is_flood:
            beginning, end = _both_ends(data)
            self.screen.lose(len(data) - len(beginning) - len(end))
            data = beginning + end
        for start in range(0, len(data), _SLICE):
            begun = time.monotonic()
            answers = self._codes.feed(data[start : start + _SLICE])
            spent = time.monotonic() - begun
            if answers:
                await self._answer(answers)
            self._unseen = True
            self.changed_at = time.monotonic()
            self._changed.set()
            await asyncio.sleep(spent * _REST if is_flood else 0)

    async def _answer(self, answers: bytes) -> None:
        try:
            await self._terminal.write(answers)
        except OSError:
            return  # it asks more than it reads


def _both_ends(data: bytes) -> tuple[bytes, bytes]:
    """The beginning and the end of a flood, cut at line ends, so that no line is made of two."""
    beginning, end = data[: _DRAWN // 2], data[-_DRAWN // 2 :]
    return beginning[: beginning.rfind(b"\n") + 1] or beginning, end[end.find(b"\n") + 1 :]
