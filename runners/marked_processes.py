"""Processes that carry the mark of a sandbox in their environment, wherever they are in the process tree.

For where a supervisor does not find them: it was killed, or the system cannot make it a parent of orphans (macOS).
"""

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from runners.owner import this_process

if TYPE_CHECKING:
    import psutil

MARK = "UNBROKEN_SHELL"
"""The variable; its value begins with the owner, see `runners.owner`."""
_ROUNDS = 10
_DEAD = ("zombie", "dead")


def new_mark() -> str:
    """A mark for the processes of one sandbox; what they carry begins with it."""
    return f"{this_process()}/{secrets.token_hex(8)}"


def kill_marked(mark: str, since: float = 0.0) -> None:
    """Kill every process whose mark begins with this one and that began after `since`, in seconds since the epoch."""
    import psutil

    for _ in range(_ROUNDS):  # one may have started others while it was looked at
        doomed = _marked(mark, since)
        if not doomed:
            return
        # Stopped first: what goes on would start others.
        for end in (psutil.Process.suspend, psutil.Process.kill):
            for process in doomed:
                with suppress(psutil.Error):
                    end(process)


def _marked(mark: str, since: float) -> "list[psutil.Process]":
    import psutil

    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_marked = f"{process.environ().get(MARK, '')}.".startswith(f"{mark}.")
            if is_marked and process.create_time() >= since and process.status() not in _DEAD:
                found += [*process.children(recursive=True), process]
    return found
