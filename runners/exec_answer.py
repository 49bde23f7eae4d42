"""What a command says that runs as an exec in a container, and what it is given on stdin."""

from dataclasses import dataclass

from runners.docker_channel import ContainerChannel
from runners.shell import STDERR
from tools.output import BoundedOutput
from tools.sandbox import CommandResult


@dataclass
class ExecAnswer:
    """The output of an exec, and the process id that its wrapper told first, on stderr."""

    output: BoundedOutput
    control: bytes = b""

    async def read(self, channel: ContainerChannel) -> None:
        """Read to the end."""
        while await self._read_piece(channel):
            pass

    async def read_process_id(self, channel: ContainerChannel) -> None:
        """Read until the process id is known, or to the end."""
        while self.process_id is None and await self._read_piece(channel):
            pass

    async def _read_piece(self, channel: ContainerChannel) -> bool:
        stream, data = await channel.receive()
        if stream == STDERR:
            self.control += data
        else:
            self.output.add(data)
        return bool(data)

    @property
    def process_id(self) -> int | None:
        """None as long as it was not told."""
        line, end, _ = self.control.partition(b"\n")
        return int(line) if end and line.isdigit() else None

    def result(self, exit_code: int | None, timed_out: bool, duration: float) -> CommandResult:
        """What the command did."""
        data, head_length = self.output.finish()
        return CommandResult(
            output=data,
            exit_code=exit_code,
            duration=duration,
            timed_out=timed_out,
            dropped=self.output.dropped,
            head_length=head_length,
        )


async def feed(channel: ContainerChannel, data: bytes) -> None:
    """Write the whole stdin of a command, as far as it takes it."""
    try:
        await channel.send(data)
        channel.end_of_input()
    except ConnectionError:
        return  # the command did not want all of it
