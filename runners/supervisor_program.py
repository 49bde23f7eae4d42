"""The process below which everything runs that a local sandbox starts. It runs alone, on the standard library.

What leaves its process tree (a daemon) becomes a child of this process, where the system can do that (Linux), instead
of vanishing among the children of init: so a deadline finds it, and so does the end. When whoever holds the other end
of its socket is gone, however that came, it kills all that descends from it, removes the sandbox's folders, and ends.

Arguments: the number of the socket's descriptor, then the folders to remove at the end.

A message is its length, as 4 bytes, and its fields, each ended by a NUL. A request is a number, the name of a method
of `Requests`, and its arguments; descriptors come and go beside the bytes. The answer is that number and `ok` with
results, or `error` with the number of an error and its text. `exit`, a process id and a status come unasked.

Few imports, since this is started with each sandbox: what `socket`, `signal` and `typing` add to the modules that are
below them doubles the time until it answers.
"""

import _socket
import ctypes
import errno
import fcntl
import os
import select
import sys

from runners import process_trees
from runners.regular_files import make_folders, make_link, open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Iterator
else:
    import _signal as signal

MARK = b"UNBROKEN_SHELL"
"""The variable that tells which of a sandbox's programs a process belongs to, wherever it went."""
LOOK_AROUND = 2.0
"""Seconds between two looks at whether the one who started us still lives, in case somebody else holds its socket."""
MOST_DESCRIPTORS = 8
_SET_DUMPABLE, _SET_SUBREAPER = 4, 36
_DESCRIPTOR = 4
_LENGTH = 4
_ABOVE_STANDARD = 32
_DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2)


class Requests:
    """What can be asked for. Each answers with words and with descriptors, or raises OSError."""

    def __init__(self) -> None:
        self.received: list[int] = []
        """Descriptors that came with requests, and have not been given to a program."""
        self.marks: dict[int, bytes] = {}
        """The programs that were started and still run, by their process id."""

    def start(self, directory: bytes, count: bytes, size: bytes, length: bytes, *words: bytes) -> "_Answer":
        """Start a program in `directory`, with `count` of the sent descriptors, as 0 and on.

        With a `size`, `ROWSxCOLUMNS`, a new terminal takes their place, and its other end comes back. `words` are its
        arguments, `length` of them, and its environment.
        """
        descriptors, terminal = [self.received.pop(0) for _ in range(int(count))], list[int]()
        command, settings = [*words[: int(length)]], words[int(length) :]
        environment = {name: value for name, _, value in (setting.partition(b"=") for setting in settings)}
        try:
            if size:
                ours, theirs = _open_terminal(size)
                terminal, descriptors = [ours], [theirs]
            process_id = _spawn(command, environment, directory, descriptors, on_terminal=bool(size))
        except OSError:
            _close(terminal)
            raise
        finally:
            _close(descriptors)
        self.marks[process_id] = environment.get(MARK, b"")
        return [b"%d" % process_id], terminal

    def end(self, process_id: bytes, mark: bytes, since: bytes, unknown: bytes) -> "_Answer":
        """Kill a process and what descends from it.

        With a mark, also what left the tree since then (in the system's ticks) of the program that has this mark;
        with `unknown`, also what left it since then and does not tell of which program it is.
        """
        root, begun, me = int(process_id), int(since or 0), os.getpid()

        def doomed() -> set[int]:
            table = process_trees.processes()
            roots = {root} | {each for each, process in table.items() if process.group == root}
            for each, process in table.items():
                if mark and process.parent == me and each not in self.marks and process.start >= begun:
                    whose = self._mark(each, process.session)
                    if whose == mark or (unknown and not whose):
                        roots.add(each)
            return process_trees.descendants(table, roots) & process_trees.descendants(table, {me}) - {me}

        if os.path.exists(f"/proc/{root}") or not process_trees.has_only_children(self.marks):  # noqa: PTH110
            process_trees.kill(doomed)
        return [], []

    def check(self, process_id: bytes) -> "_Answer":
        """Raise PermissionError for the id of a process that does not descend from this one."""
        table = process_trees.processes()
        wanted = int(process_id)
        if wanted in table and wanted not in process_trees.descendants(table, {os.getpid()}) - {os.getpid()}:
            raise PermissionError(errno.EPERM, "it was not started in this sandbox")
        return [], []

    def open(self, path: bytes, flags: bytes) -> "_Answer":
        """Open a file; its descriptor comes back."""
        return [], [open_file(path, int(flags))]

    def make_folders(self, path: bytes) -> "_Answer":
        """Make a folder, and those above it."""
        make_folders(path)
        return [], []

    def link(self, path: bytes, target: bytes) -> "_Answer":
        """Make a symbolic link, in place of one that is there."""
        make_link(path, target)
        return [], []

    def _mark(self, process_id: int, session: int) -> bytes:
        """Whose a process is: its session tells, or its environment; empty where neither does."""
        if session in self.marks:
            return self.marks[session]
        try:
            with open(f"/proc/{process_id}/environ", "rb") as file:  # noqa: PTH123
                settings = file.read().split(b"\0")
        except OSError:
            return b""
        return next((setting[len(MARK) + 1 :] for setting in settings if setting.startswith(MARK + b"=")), b"")


_Answer = tuple[list[bytes], list[int]]


class Server:
    """Answers requests on a socket, and tells how programs end."""

    def __init__(self, control: _socket.socket) -> None:
        self._control = control
        self._requests = Requests()
        self._received = bytearray()

    def serve(self) -> None:
        """Answer until the other end is gone."""
        parent = os.getppid()
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (wake, self._control.fileno()):
            poll.register(descriptor, select.POLLIN)
        while os.getppid() == parent:
            ready = [descriptor for descriptor, _ in poll.poll(int(LOOK_AROUND * 1000))]
            if wake in ready:
                os.read(wake, 4096)
            for process_id, status in process_trees.bury():
                if self._requests.marks.pop(process_id, None) is not None:
                    self._send([b"exit", b"%d" % process_id, b"%d" % status])
            if self._control.fileno() in ready and not self._receive():
                return

    def _receive(self) -> bool:
        try:
            data, beside, _, _ = self._control.recvmsg(65536, _socket.CMSG_SPACE(MOST_DESCRIPTORS * _DESCRIPTOR))
        except ConnectionError:
            return False
        for _, _, block in beside:
            for start in range(0, len(block) - _DESCRIPTOR + 1, _DESCRIPTOR):
                descriptor = int.from_bytes(block[start : start + _DESCRIPTOR], sys.byteorder)
                os.set_inheritable(descriptor, False)
                self._requests.received.append(descriptor)
        self._received += data
        for message in messages(self._received):
            self._answer(message)
        return bool(data)

    def _answer(self, fields: list[bytes]) -> None:
        number, name, *arguments = fields
        descriptors: list[int] = []
        try:
            results, descriptors = getattr(self._requests, name.decode())(*arguments)
            self._send([number, b"ok", *results], descriptors)
        except OSError as error:
            text = os.fsencode(error.strerror or str(error))
            self._send([number, b"error", b"%d" % (error.errno or errno.EIO), text])
        finally:
            _close(descriptors)

    def _send(self, fields: list[bytes], descriptors: list[int] | None = None) -> None:
        data = packed(fields)
        block = b"".join(descriptor.to_bytes(_DESCRIPTOR, sys.byteorder) for descriptor in descriptors or ())
        try:
            sent = self._control.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, block)] if block else [])
            self._control.sendall(data[sent:])
        except ConnectionError:
            return  # the next look at the socket finds that its other end is gone


def messages(received: bytearray) -> "Iterator[list[bytes]]":
    """Take the whole messages out of what was received, each as its fields."""
    while len(received) >= _LENGTH and len(received) >= (end := _LENGTH + int.from_bytes(received[:_LENGTH], "big")):
        message = bytes(received[_LENGTH:end])
        del received[:end]
        yield message.split(b"\0")[:-1]


def packed(fields: "Iterable[bytes]") -> bytes:
    """A message of these fields."""
    message = b"".join(field + b"\0" for field in fields)
    return len(message).to_bytes(_LENGTH, "big") + message


def main() -> None:
    """Serve until the other end is gone; then leave nothing."""
    number, *folders = sys.argv[1:]
    for each in _DEAF:
        signal.signal(each, signal.SIG_IGN)
    os.chdir("/")
    if sys.platform == "linux":
        system = ctypes.CDLL(None)
        system.prctl(_SET_SUBREAPER, 1, 0, 0, 0)
        system.prctl(_SET_DUMPABLE, 0, 0, 0, 0)  # else its programs could read its memory, and its socket with that
    os.set_inheritable(int(number), False)
    control = _socket.socket(fileno=int(number))
    try:
        Server(control).serve()
    finally:
        process_trees.kill(process_trees.all_below)
        for folder in folders:
            _remove(folder)
        control.close()  # last, since that is how the other end knows that nothing is left


def _wake(*_: object) -> None:
    """Do nothing: that a signal came is told by the descriptor that wakes the server."""


def _spawn(
    command: list[bytes],
    environment: dict[bytes, bytes],
    directory: bytes,
    descriptors: list[int],
    *,
    on_terminal: bool,
) -> int:
    """Start a program as the leader of a session. Raises the OSError of the child."""
    told, tell = os.pipe()
    process_id = os.fork()
    if not process_id:
        try:
            for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(each, signal.SIG_DFL)
            if on_terminal:
                os.login_tty(descriptors[0])
            else:
                os.setsid()
                # First out of the way of one another.
                high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD) for each in descriptors]
                for place, descriptor in enumerate(high):
                    os.dup2(descriptor, place)
            os.chdir(directory)
            os.execvpe(command[0], command, environment)  # noqa: S606
        except OSError as error:
            os.write(tell, b"%d %s" % (error.errno or errno.EIO, os.fsencode(error.filename or b"")))
        finally:
            os._exit(127)
    os.close(tell)
    failure = os.read(told, 8192)
    os.close(told)
    if failure:
        os.waitpid(process_id, 0)
        number, _, name = failure.partition(b" ")
        raise OSError(int(number), f"{os.strerror(int(number))}: {os.fsdecode(name)}")
    return process_id


def _open_terminal(size: bytes) -> tuple[int, int]:
    import termios

    ours, theirs = os.openpty()
    rows, _, columns = size.partition(b"x")
    termios.tcsetwinsize(theirs, (int(rows), int(columns)))
    return ours, theirs


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _remove(folder: str) -> None:
    """Remove a folder and all that it holds, whatever modes its folders have, and however deep; what cannot go stays.

    By going there, since a path to a deep folder is longer than what the system takes.
    """
    levels = [[folder]]
    while levels:
        if levels[-1]:
            try:
                levels.append(_enter_and_empty(levels[-1][-1]))
            except OSError:
                levels[-1].pop()
        else:
            levels.pop()
            if levels:
                os.chdir("..")
                _remove_empty(levels[-1].pop())


def _enter_and_empty(folder: str) -> list[str]:
    """Go into a folder and remove what is no folder in it; return the others. Raises OSError for what is none.

    An agent may have put a link in the place of the first one: what that leads to is somebody else's.
    """
    if os.path.islink(folder):  # noqa: PTH114
        os.unlink(folder)  # noqa: PTH108
    os.chmod(folder, 0o700)  # noqa: PTH101
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            folders = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        os.fchdir(descriptor)
    finally:
        os.close(descriptor)
    for name, is_folder in folders.items():
        if not is_folder:
            os.unlink(name)  # noqa: PTH108
    return [name for name, is_folder in folders.items() if is_folder]


def _remove_empty(folder: str) -> None:
    try:
        os.rmdir(os.path.basename(folder))  # noqa: PTH106, PTH119
    except OSError:
        return  # something in it could not be removed
