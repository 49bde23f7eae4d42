"""The harness's own shell in a container, apart from the agent's: see `service_worker.sh` for what it can do.

It is opened in the background and replaced when it dies, as it does of an agent's `kill -9 -1`.
"""

import asyncio
import secrets
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources

from runners.docker_channel import ContainerChannel, FloodError
from tools.sandbox import SandboxError

SILENCE = 60.0
"""Seconds without a byte in either direction after which a container does not answer any more."""
SCRIPT_VARIABLE = "SERVICE_WORKER"
SHORT_ANSWER = 1 << 20
"""Bytes, of which most are what others wrote to the stream before."""
_SEND_SIZE = 1 << 20
_ERROR_LIMIT = 4096
_OPENINGS = 3
"""How often in a row a shell that ends at once is started."""


def service_environment() -> dict[str, str]:
    """The environment of the shell: its text. On the command line, it would fill every `ps` that an agent runs."""
    return {SCRIPT_VARIABLE: resources.files("runners").joinpath("service_worker.sh").read_text("utf-8")}


SERVICE_COMMAND = ["/bin/sh", "-c", f'eval "${SCRIPT_VARIABLE}"']


@dataclass(frozen=True)
class Answer:
    """What the shell said: a word, `ok` or what is wrong, and what the request printed."""

    word: str
    data: bytes


@dataclass(frozen=True)
class _Opened:
    channel: ContainerChannel
    user: int
    group: int


class ServiceShell:
    """Runs one request at a time. `open_channel` starts a shell; `name` is the container's, for errors."""

    def __init__(self, open_channel: Callable[[], Awaitable[ContainerChannel]], name: str) -> None:
        self._open_channel = open_channel
        self._name = name
        self._opening: asyncio.Task[_Opened] | None = None
        self._lock = asyncio.Lock()

    def begin(self) -> None:
        """Open it in the background."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def ready(self) -> None:
        """Wait until it is there. Raises SandboxError."""
        async with self._lock:
            await self._opened()

    async def owner(self) -> tuple[int, int]:
        """The ids of the user and the group that it runs as, and commands as well. Raises SandboxError."""
        async with self._lock:
            opened = await self._opened()
            return opened.user, opened.group

    async def ask(
        self,
        function: str,
        *arguments: str | int,
        data: bytes = b"",
        repeatable: bool = True,
        most: int | None = SHORT_ANSWER,
    ) -> Answer:
        """Call a function of the shell, which answers with at most that many bytes. Raises SandboxError.

        A shell that dies in the middle, is stopped, or has others write to its stream is replaced by another one, which
        is asked once more; where the request is not `repeatable`, the word is `lost`.
        """
        # A request is one line; `shlex` has put every line break between single quotes.
        request = shlex.join((function, *map(str, arguments))).replace("\n", "'\"$line_break\"'")
        async with self._lock:
            for _ in range(2):
                if answer := await self._ask(request, data, most):
                    return answer
                if not repeatable:
                    return Answer("lost", b"")
        raise self._silent()

    async def close(self) -> None:
        """End it. Safe to call twice."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        if not opening.done():
            opening.cancel()
        with suppress(SandboxError, asyncio.CancelledError):
            await (await opening).channel.close()

    async def _opened(self) -> _Opened:
        for left in reversed(range(_OPENINGS)):
            if self._opening and self._opening.done() and (self._failed or self._opening.result().channel.ended):
                await self.close()
            self.begin()
            assert self._opening
            try:
                return await asyncio.shield(self._opening)
            except _EndedError:
                if not left:
                    raise
        raise AssertionError  # the last one returns or raises

    @property
    def _failed(self) -> bool:
        assert self._opening
        return self._opening.cancelled() or self._opening.exception() is not None

    async def _open(self) -> _Opened:
        channel = await self._open_channel()
        try:
            async with asyncio.timeout(SILENCE):
                return _Opened(channel, *await _read_greeting(channel))
        except TimeoutError as error:
            await channel.close()
            raise self._silent() from error
        except BaseException:
            await channel.close()
            raise

    async def _ask(self, request: str, data: bytes, most: int | None) -> Answer | None:
        """Ask once; None when the shell has died of it, or before, or says nothing that makes sense."""
        channel = (await self._opened()).channel
        nonce = secrets.token_hex(16)
        try:
            with suppress(ConnectionError):  # what it has said before it ended is its answer all the same
                await channel.send(f"{nonce}\n{request}\n".encode("utf-8", "surrogateescape"))
                for start in range(0, len(data), _SEND_SIZE):
                    async with asyncio.timeout(SILENCE):
                        await channel.send(data[start : start + _SEND_SIZE])
            # Nobody but the harness and the shell knows the nonce.
            said = await channel.receive_answer(nonce.encode(), SILENCE, most)
        except (TimeoutError, FloodError):
            await self.close()
            return None
        except BaseException:
            await self.close()
            raise
        answer = None if said is None else Answer(said[1].decode(), said[0])
        if answer is None or answer.word == "full":  # after which it ends: it cannot know what was left of the bytes
            await self.close()
        return answer

    def _silent(self) -> SandboxError:
        return SandboxError(f"the container no longer answers ({self._name})")


class _EndedError(SandboxError):
    """A shell ended before it was ready, as one does that an agent's `kill -9 -1` meets on its way."""


async def _read_greeting(channel: ContainerChannel) -> tuple[int, int]:
    said = b""
    while b"\n" not in said and len(said) < _ERROR_LIMIT:
        _, piece = await channel.receive()
        if not piece:
            break
        said += piece
    match said.split(maxsplit=3):
        case [b"ready", user, group, *_] if user.isdigit() and group.isdigit():
            return int(user), int(group)
        case _:
            reason = said.decode(errors="replace").strip() or "it ended at once"
            message = f"no shell can be started in the container any more: {reason}"
            raise _EndedError(message)
