"""Who made a container, a network or a temporary folder.

So what a dead process left can be told from what a live one still uses. A process is known by its machine, the boot
of it, its id, and when it began: the id alone is given out again.
"""

import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PREFIX = "unbroken"


@dataclass(frozen=True)
class Owner:
    """A process of the harness on some machine."""

    host: str
    boot: str
    """The id of the machine's boot; empty where the system tells none."""
    process_id: int
    begun: int
    """When the process began, in the system's own count (Linux: clock ticks since the boot)."""

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.process_id}/{self.begun}"

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Read what `str` wrote; None for anything else."""
        host, _, rest = text.partition("/")
        parts = rest.split("/")
        if not host or len(parts) != 3 or not parts[1].isdecimal() or not parts[2].isdecimal():
            return None
        return cls(host, parts[0], int(parts[1]), int(parts[2]))

    @property
    def is_here(self) -> bool:
        """Whether it was made on this machine, so that we can know whether it lives."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether we know that the process is gone. False for one on another machine."""
        if not self.is_here:
            return False
        return self.boot != _boot_id() or _begun(self.process_id) != self.begun


@cache
def this_process() -> Owner:
    """The owner of what this process makes."""
    process_id = os.getpid()
    return Owner(socket.gethostname(), _boot_id(), process_id, _begun(process_id) or 0)


def make_temporary_folder(parent: Path | None = None) -> Path:
    """Make a folder whose name tells its owner from the first moment on, in `parent` or the system's own place."""
    owner = this_process()
    name = f"{_PREFIX}-{owner.boot.partition('-')[0]}-{owner.process_id}-{owner.begun}-{secrets.token_hex(6)}"
    folder = (parent or Path(tempfile.gettempdir())) / name
    folder.mkdir(mode=0o700, parents=True)
    return folder


def owner_of_folder(folder: Path) -> Owner | None:
    """Who made a temporary folder; None for a folder that is none of ours."""
    prefix, *parts = folder.name.split("-")
    if prefix != _PREFIX or len(parts) != 4 or not parts[1].isdecimal() or not parts[2].isdecimal():
        return None
    boot = _boot_id() if _boot_id().startswith(parts[0]) else parts[0]
    return Owner(socket.gethostname(), boot, int(parts[1]), int(parts[2]))


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def _begun(process_id: int) -> int | None:
    """When a process began; None if there is none, or it only waits to be buried."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _begun_elsewhere(process_id)
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _begun_elsewhere(process_id: int) -> int | None:
    if Path("/proc/self/stat").exists():
        return None
    import psutil

    try:
        return int(psutil.Process(process_id).create_time())
    except psutil.Error:
        return None
