"""Who made a container, a network or a temporary folder.

So what a dead process left can be told from what a live one still uses. A process is known by its machine, the boot
of it, the namespace in which its id counts, that id, and when it began: the id alone is given out again.

`is_dead` is said only of what we know. A process that we may not see (`hidepid`), one in another pid namespace of
this machine (a container) and one on another machine all count as alive. Another boot of this machine is taken for
an earlier one. Two machines meet there only if they share an engine, a host name and `/etc/machine-id`: clones that
were never given names of their own.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID = Path("/etc/machine-id")
_NAMESPACE = Path("/proc/self/ns/pid")
_TEXT = re.compile(r"([^/\s]+)/([0-9a-f-]*)/(\d{1,20})/(\d{1,10})/(\d{1,20})")
_FOLDER = re.compile(r"unbroken-([0-9a-f]{6})-([0-9a-f]*)-([0-9a-f]{1,4})-([0-9a-f]+)-([0-9a-f]+)-[0-9a-f]{12}")


@dataclass(frozen=True)
class Owner:
    """A process of the harness on some machine."""

    host: str
    """The machine: its name, and where it has a machine id a part of that one's hash."""
    boot: str
    """The id of the machine's boot; empty where the system tells none."""
    namespace: int
    """The namespace of process ids; 0 where the system has none."""
    process_id: int
    begun: int
    """When the process began, in the system's own count (Linux: clock ticks since the boot); 0 if unknown."""

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.namespace}/{self.process_id}/{self.begun}"

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Read what `str` wrote; None for anything else."""
        match = _TEXT.fullmatch(text)
        return cls._matched(match) if match else None

    @classmethod
    def at_start_of(cls, text: str) -> "Owner | None":
        """Read an owner that a slash and anything else may follow: a mark that is one of many of the same owner."""
        match = _TEXT.match(text)
        return cls._matched(match) if match and text[match.end() :][:1] in ("", "/") else None

    @classmethod
    def _matched(cls, match: re.Match[str]) -> "Owner":
        host, boot, *numbers = match.groups()
        return cls(host, boot, *map(int, numbers))

    @property
    def is_here(self) -> bool:
        """Whether it was made where we are, so that we can know whether it lives."""
        return self.host == _host() and (self.boot != _boot_id() or self.namespace == _namespace())

    @property
    def is_dead(self) -> bool:
        """Whether we know that the process is gone. False for one that is elsewhere."""
        return self.is_here and (self.boot != _boot_id() or _is_gone(self.process_id, self.begun))


def this_process() -> Owner:
    """The owner of what this process makes."""
    return _process(os.getpid())


def make_temporary_folder(parent: Path | None = None) -> Path:
    """Make a folder whose name tells its owner from the first moment on, in `parent` or the system's own place."""
    owner = this_process()
    process = f"{owner.namespace & 0xFFFF:x}-{owner.process_id:x}-{owner.begun:x}"
    name = f"unbroken-{_digest(owner.host)}-{_short(owner.boot)}-{process}-{secrets.token_hex(6)}"
    folder = (parent or Path(tempfile.gettempdir())) / name
    folder.mkdir(mode=0o700, parents=True)
    return folder


@contextmanager
def temporary_folder(parent: Path | None = None) -> Generator[Path]:
    """A folder of `make_temporary_folder` that is gone afterwards."""
    folder = make_temporary_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def owner_of_folder(folder: Path) -> Owner | None:
    """Who made a temporary folder; None for a folder that is none of ours.

    The name has room for parts of the host, the boot and the namespace: those of this process are filled in where
    the parts fit.
    """
    match = _FOLDER.fullmatch(folder.name)
    if not match:
        return None
    host, boot, *numbers = match.groups()
    namespace, process_id, begun = (int(number, 16) for number in numbers)
    return Owner(
        host=_host() if host == _digest(_host()) else host,
        boot=_boot_id() if boot == _short(_boot_id()) else boot,
        namespace=_namespace() if namespace == _namespace() & 0xFFFF else namespace,
        process_id=process_id,
        begun=begun,
    )


@cache
def _process(process_id: int) -> Owner:
    return Owner(_host(), _boot_id(), _namespace(), process_id, _begun(process_id) or 0)


@cache
def _host() -> str:
    name = re.sub(r"[/\s]+", "-", socket.gethostname()) or "-"
    try:
        machine = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        machine = ""
    # The id itself is not for others to see (machine-id(5)).
    return f"{name}.{_digest(f'unbroken {machine}')}" if machine else name


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


@cache
def _namespace() -> int:
    try:
        return _NAMESPACE.stat().st_ino
    except OSError:
        return 0


def _is_gone(process_id: int, begun: int) -> bool:
    try:
        now = _begun(process_id)
    except PermissionError:
        return False
    return now is None or (begun != 0 and now != begun)


def _begun(process_id: int) -> int | None:
    """When a process began; None if there is none, or it only waits to be buried. Raises PermissionError."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _begun_unseen(process_id)
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _begun_unseen(process_id: int) -> int | None:
    if not Path("/proc/self/stat").exists():
        return _begun_elsewhere(process_id)
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return None
    raise PermissionError  # it is there, and hidden from us (proc(5), hidepid)


def _begun_elsewhere(process_id: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(process_id).create_time())
    except psutil.AccessDenied as error:
        raise PermissionError from error
    except psutil.Error:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def _short(boot: str) -> str:
    return boot.replace("-", "")[:6]
