"""Keeps the secrets of this process's environment from commands that run beside it on this machine.

Such a command has an environment of its own, without secrets. But it can look at ours: `/proc/PID/environ` shows what
a process was started with to every process of the same user, and to root, whatever the process has deleted since.

What stays open: root, or a debugger, can search our memory; and a shell that started us may show what it was itself
started with. Where that matters, commands belong into a container, or are confined.
"""

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path

_ENVIRONMENT = Path("/proc/self/environ")
_STATUS = Path("/proc/self/stat")
_START_FIELD = 49
"""Where in /proc/self/stat the address of the environment stands, counted from 0; that of its end follows: proc(5)."""
_PR_SET_DUMPABLE = 4


def hide_secrets(*names: str) -> None:
    """Blank out the variables of `names`, and every one that commands on this machine do not get, for other processes.

    Nothing changes for this process, nor for what it starts with its own environment. Its memory can no longer be read
    by other processes of a user who is not root, and it leaves no core dump. Does nothing where there is no /proc.
    """
    if sys.platform != "linux":
        return
    from runners.command_environment import local_environment

    hidden = {*names, *os.environ} - (set(local_environment()) - set(names))
    kept = {name: os.environ[name] for name in hidden if name in os.environ}
    if not _blank_out(hidden):
        return
    os.environ.update(kept)  # the C library's own list pointed to what is blank now
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _blank_out(names: Collection[str]) -> bool:
    """Overwrite the values in the block with which the kernel started us. Returns whether it could be found."""
    try:
        shown = _ENVIRONMENT.read_bytes()
        fields = _STATUS.read_bytes().rpartition(b")")[2].split()
        start = int(fields[_START_FIELD - 2])
    except (OSError, IndexError, ValueError):
        return False
    if not start or ctypes.string_at(start, len(shown)) != shown:
        return False
    position = 0
    for entry in shown.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if os.fsdecode(name) in names:
            ctypes.memset(start + position + len(name) + 1, ord("*"), len(value))
        position += len(entry) + 1
    return True
