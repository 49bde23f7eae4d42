"""One process at a time carries out a run: a second one would do the same trials beside it."""

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "lock"


class RunBusyError(ValueError):
    """Another process is at work on the run."""


@contextmanager
def run_lock(folder: Path) -> Generator[None]:
    """Hold the run in `folder` for this process; the system lets go of it however the process ends.

    Raises RunBusyError at once where another process holds it.
    """
    with (folder / _LOCK).open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip() or "another process"
            message = f"{holder} is at work on run {folder.name}: wait until it ends, or end it (Ctrl-C)"
            raise RunBusyError(message) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        yield
