"""Which processes descend from this one, and how to kill them so that none is left.

For the supervisor's own process: what it adopts, it must bury. On the standard library, and on little of that.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection, Iterator
else:  # what `typing` and `signal` would cost at each start of a sandbox
    import _signal as signal

KILL_DEADLINE = 3.0
_PAUSE = 0.002


class Process:
    """What the system's table says of a process."""

    __slots__ = ("group", "parent", "session", "start")

    def __init__(self, parent: int, group: int, session: int, start: int) -> None:
        self.parent = parent
        self.group = group
        self.session = session
        self.start = start
        """When it began, in ticks since the boot; 0 where the system does not tell."""


def processes() -> dict[int, Process]:
    """Every live process of this machine, or of this process's namespace."""
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110
        return _processes_by_ps()
    while True:
        try:
            return _processes()
        except OSError:
            time.sleep(_PAUSE)  # no descriptor or no memory is to be had: what takes them all must not hide by that


def descendants(table: dict[int, Process], roots: set[int]) -> set[int]:
    """Those of the `roots` that live, and all that descends from any of them."""
    children: dict[int, list[int]] = {}
    for each, process in table.items():
        children.setdefault(process.parent, []).append(each)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += children.get(each, ())
    return found & table.keys()


def all_below() -> set[int]:
    """Everything that descends from this process."""
    return descendants(processes(), {os.getpid()}) - {os.getpid()}


def has_only_children(known: "Collection[int]") -> bool:
    """Whether this process has no child but these, as far as the system tells that at once; False where it does not."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:  # noqa: PTH123
            return all(int(each) in known for each in file.read().split())
    except OSError:
        return False


def kill(doomed: "Callable[[], set[int]]") -> None:
    """Kill whatever `doomed` finds, until it finds nothing, or for `KILL_DEADLINE` seconds."""
    deadline = time.monotonic() + KILL_DEADLINE
    # Stopped first: what goes on would start others, or say that its children were killed.
    stopped: set[int] = set()
    while (more := doomed() - stopped) and time.monotonic() < deadline:
        _signal(more, signal.SIGSTOP)
        stopped |= more
    _signal(stopped, signal.SIGKILL)
    while (left := doomed()) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        time.sleep(_PAUSE)


def bury() -> "Iterator[tuple[int, int]]":
    """The children that have ended, each with its exit status, or the negative number of a signal."""
    while True:
        try:
            process_id, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process_id:
            return
        yield process_id, os.waitstatus_to_exitcode(status)


def _processes() -> dict[int, Process]:
    table: dict[int, Process] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    # The name, which may hold anything, stands in parentheses.
                    fields = file.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # A process whose first thread has ended while others go on looks like a dead one.
            if fields and (fields[0] not in (b"Z", b"X") or int(fields[17]) > 1):
                table[int(name)] = Process(int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
    return table


def _signal(processes: set[int], number: int) -> None:
    for each in processes:
        try:
            os.kill(each, number)
        except OSError:
            continue  # gone, or another user's


def _processes_by_ps() -> dict[int, Process]:
    import subprocess

    table: dict[int, Process] = {}
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, check=False).stdout
    for line in listed.splitlines():
        each, parent, group, state = line.split()[:4]
        if not state.startswith(b"Z"):
            table[int(each)] = Process(int(parent), int(group), 0, 0)
    return table
