"""What a shell worker says about one command, read from its two streams (see `shell_worker.bash`).

A command can write to both streams as the worker does. So only what holds the words of this request is believed,
whatever else is there; the words cannot be known to the command, which runs after they were read.
"""

import re
import time
from dataclasses import dataclass, field

from runners.kept_output import KeptOutput
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, OutputListener

_LONGEST_LINE = 128
NO_STATE, NO_COMMAND = 125, 124
"""The statuses of a command's subshell that could not load its state, or did not get the whole command."""
_READY = re.compile(rb"\nready (bash|sh)\n")
_BEGUN = re.compile(rb"(?<=\n)([\w-]+) ([0-9]{1,10})(?=\n)")


class Greeting:
    """The first line of a worker's control stream: which shell it is."""

    def __init__(self) -> None:
        self._received = b"\n"

    def add(self, data: bytes) -> str:
        """Take the next piece; the answer is `bash` or `sh`, or nothing yet."""
        self._received += data
        found = _READY.search(self._received)
        self._received = self._received[-_LONGEST_LINE:]
        return found[1].decode() if found else ""


@dataclass
class Answer:
    """What has been read of the answer to one request."""

    nonce: bytes
    token: bytes
    on_output: OutputListener | None = None
    keeper: KeptOutput | None = None
    sent: float = field(default_factory=time.monotonic)
    """When the request was."""
    output: BoundedOutput = field(default_factory=lambda: BoundedOutput(OUTPUT_LIMIT))
    process_id: int | None = None
    """The command's process. None: it has not begun."""
    ended: bool = False
    status: int | None = None
    saved: bool = False
    """What the command changed in its shell stays."""
    refused: bool = False
    """The worker says that it could not begin the command."""
    _pending: bytes = b""
    _control: bytes = b"\n"

    @property
    def has_begun(self) -> bool:
        """It is known that the command ran."""
        return self.process_id is not None or self.saved

    @property
    def is_whole(self) -> bool:
        """The command ran and ended.

        A mark alone is enough, though who steals from the control stream hides the beginning; but not with a status
        that tells of a subshell which ended before it.
        """
        return self.ended and not self.refused and (self.has_begun or self.status not in (NO_STATE, NO_COMMAND))

    def add_stdout(self, data: bytes) -> None:
        """Take the next piece of what the command prints, up to the mark at its end."""
        if self.ended:
            return
        mark = b"\n" + self.nonce + b" "
        self._pending += data
        found = self._pending.find(mark)
        if found == -1:
            keep = len(mark) - 1
            self._emit(self._pending[:-keep])
            self._pending = self._pending[-keep:]
        elif (end := self._pending.find(b"\n", found + len(mark))) != -1:
            self._emit(self._pending[:found])
            self._end(self._pending[found + len(mark) : end].split())
            self._pending = b""

    def add_control(self, data: bytes) -> None:
        """Take the next piece of the control stream."""
        if self.process_id is not None:
            return
        self._control += data
        for found in _BEGUN.finditer(self._control):
            if found[1] == self.token:
                self.process_id = int(found[2])
        self._control = self._control[-_LONGEST_LINE:]

    def close(self) -> None:
        """There is no more to come: what could have been the beginning of the mark was output."""
        self._emit(self._pending)
        self._pending = b""

    def _end(self, words: list[bytes]) -> None:
        self.ended = True
        self.status = int(words[0])
        self.saved, self.refused = (words[1] == word for word in (b"saved", b"refused"))

    def _emit(self, data: bytes) -> None:
        if data:
            self.output.add(data)
            if self.keeper:
                self.keeper.add(data)
            if self.on_output:
                self.on_output(data)
