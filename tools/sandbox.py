"""Where tools act: the protocol that every sandbox fulfils, on this machine or in a container.

Failures come in two kinds. What a *command* or a *file* does wrong is an answer: an exit code, a built-in
`OSError` such as `FileNotFoundError`. What the *sandbox* does wrong (its container is gone, the engine stopped)
is a `SandboxError`; it ends the try, and the trial stays open for another one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes of one command's output that are kept in memory; the middle of anything longer is dropped."""


class SandboxError(Exception):
    """The sandbox itself failed, through no fault of the command: it is gone, or no longer answers."""


@dataclass(frozen=True)
class CommandResult:
    """What one command did.

    `output` holds stdout and stderr in the order in which they came, undecoded. When more than the limit was
    printed, `output` is the head followed by the tail, and `dropped` counts the bytes that are missing between
    them, at offset `head_length`.
    """

    output: bytes
    exit_code: int | None
    """The exit status, 128 + n for a signal; None when the command was ended at its deadline."""
    duration: float
    """Wall time in seconds."""
    timed_out: bool = False
    dropped: int = 0
    head_length: int = 0
    kept: int = 0
    """Bytes of the output, from its beginning, that are in the file which the caller named; 0 without one."""
    not_kept: str = ""
    """Why the output is not in that file, where it should be: a full disk, say."""
    remark: str = ""
    """What the one who runs commands here has to know once, such as a shell that keeps less than bash does."""


OutputListener = Callable[[bytes], None]
"""Called with each piece of output as it arrives, for a person who watches."""


class Terminal(Protocol):
    """A program on a pseudo-terminal in a sandbox."""

    async def write(self, data: bytes) -> None:
        """Send keys, as the terminal would send them. Nothing happens when the program has ended."""
        ...

    async def read(self, *, timeout: float) -> bytes:
        """What the program has written since the last call; waits for the first byte up to `timeout` seconds.

        Empty when there is nothing, or nothing more. Keeps a bounded amount of what nobody reads: the newest.
        """
        ...

    @property
    def dropped(self) -> int:
        """Bytes of output that were dropped so far, since nobody had read them in time."""
        ...

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None while it runs."""
        ...

    async def end_foreground(self) -> None:
        """End what the shell on the terminal waits for, with its tree; the shell itself stands still from then on.

        What it runs in the background goes on.
        """
        ...

    async def close(self) -> None:
        """End the program with its whole process tree. Safe to call twice."""
        ...


KEPT_FROM = 16_000
"""Bytes of output from which on it is kept in a file, where the caller names one."""
KEPT_LIMIT = 64 * 1024 * 1024
"""Bytes of a command's output that are kept in a file; what comes after them is dropped."""


class Sandbox(Protocol):
    """A place with a file system and a shell. Every method may raise `SandboxError`."""

    @property
    def working_directory(self) -> str:
        """The absolute path at which the shell starts: the repository."""
        ...

    @property
    def scratch_directory(self) -> str:
        """The absolute path of a folder for the harness's own files, outside the repository."""
        ...

    async def shell(
        self, command: str, *, timeout: float, on_output: OutputListener | None = None, keep_at: str | None = None
    ) -> CommandResult:
        """Run `command` in the persistent bash shell; calls wait for one another.

        The directory, variables, functions, aliases and activated environments stay for the next command;
        `set` options, traps, redirections and prompts do not. stdin is /dev/null. After `timeout` seconds the
        command's process tree is killed and the shell lives on as it was before it. A command that ends the
        shell (`exit`, `exec`) ends itself alone: the next one finds the state of before.

        `keep_at` is the absolute path of a file in the sandbox: an output of `KEPT_FROM` bytes or more is written
        to it while it arrives, from its beginning and up to `KEPT_LIMIT` bytes (see `CommandResult.kept`).

        Raises ValueError for a command with a NUL byte, which no shell can take.
        """
        ...

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        """Run `command` with a fresh `bash -c` in the working directory, apart from the persistent shell."""
        ...

    async def open_terminal(self, command: str, *, columns: int, rows: int, directory: str | None = None) -> Terminal:
        """Start `command` on a pseudo-terminal of that size, in `directory` or the working directory."""
        ...

    async def kill_tree(self, process_id: int) -> None:
        """End a process, by its id in the sandbox, with everything that descends from it. One that is gone is fine."""
        ...

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        """The content of the file at an absolute `path`, at most `limit` bytes of it.

        Raises FileNotFoundError, IsADirectoryError or PermissionError, like `open`.
        """
        ...

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write `data` to `path`, making missing folders; the mode of a file that exists stays.

        Raises IsADirectoryError, NotADirectoryError or PermissionError, like `open`.
        """
        ...

    async def upload(self, source: Path, target: str) -> None:
        """Copy a file or a folder of this machine to the absolute path `target` in the sandbox."""
        ...

    async def download(self, source: str, target: Path) -> None:
        """Copy a file or a folder of the sandbox to the path `target` on this machine."""
        ...

    async def close(self) -> None:
        """Give everything back: processes, channels, the container. Safe to call twice.

        Raises SandboxError for what stays, which the reaper then removes.
        """
        ...
