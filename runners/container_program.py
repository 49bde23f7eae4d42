"""A program in a container whose streams somebody talks through, such as a server on stdin and stdout."""

import asyncio
import contextlib
from collections import deque

from runners.docker_channel import ContainerChannel
from runners.service_shell import ServiceShell
from runners.shell import STDERR
from tools.sandbox import SandboxError

START_DEADLINE = 60.0
_LONGEST_NUMBER = 20
# It tells its process id on stderr first, by which it is found and ended.
START = """
printf '%s\\n' "$$" >&2
cd -- "$1" || exit
shift
exec "$@"
"""


class ContainerProgram:
    """A program that has been started. Fulfils `tools.mcp_program.ServerProgram`."""

    def __init__(self, channel: ContainerChannel, service: ServiceShell) -> None:
        self._channel = channel
        self._service = service
        self._early: deque[tuple[int, bytes]] = deque()
        self._process_id = 0

    async def begin(self) -> None:
        """Learn which process it is. Raises SandboxError."""
        said = b""
        try:
            async with asyncio.timeout(START_DEADLINE):
                while b"\n" not in said:
                    stream, piece = await self._channel.receive()
                    if not piece:
                        raise SandboxError("no program can be started in the container any more")
                    if stream == STDERR:
                        said += piece
                    else:  # the two streams come each on its own way
                        self._early.append((stream, piece))
        except TimeoutError as error:
            raise SandboxError("the container does not answer: no program can be started there") from error
        number, _, rest = said.partition(b"\n")
        if not number.isdigit() or len(number) > _LONGEST_NUMBER:
            message = f"no program can be started in the container: {said.decode(errors='replace').strip()}"
            raise SandboxError(message)
        self._process_id = int(number)
        if rest:
            self._early.append((STDERR, rest))

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError when it has ended."""
        await self._channel.send(data)

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of stdout or stderr; an empty piece at the end."""
        return self._early.popleft() if self._early else await self._channel.receive()

    async def close(self) -> None:
        """End it with its whole process tree. Safe to call twice."""
        await self._channel.close()
        if self._process_id > 1:
            number, self._process_id = self._process_id, 0
            with contextlib.suppress(SandboxError):  # then the container is gone, and all that ran in it
                await self._service.ask("kill_tree", number)
