"""Our side of the process that a local sandbox's programs run below; `supervisor_program` is the other side.

It ends, with all that descends from it, when our end of its socket is closed: by `close`, or by our own death.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.supervisor_program import MOST_DESCRIPTORS, messages, packed
from tools.sandbox import SandboxError

ANSWER_DEADLINE = 15.0
"""Seconds after which a supervisor that does not answer is given up: something has stopped it."""
_CODE_FOLDER = Path(__file__).resolve().parent.parent
_START = "import sys; sys.path.append(sys.argv.pop(1)); from runners.supervisor_program import main; main()"
_GONE = "the process that watches over the commands of this sandbox was killed, and they with it"
_KILLED = -signal.SIGKILL


class SupervisorLostError(SandboxError):
    """The supervisor is gone, and with it what ran below it."""


@dataclass(eq=False)
class Program:
    """A process that a supervisor started."""

    process_id: int
    exit_code: int | None = None
    """The status with which it ended, 128 + n for a signal; None while it runs."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        await self._ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    def end_with(self, status: int) -> None:
        """Note its end, with a signal as a negative number."""
        self.exit_code = status if status >= 0 else 128 - status
        self._ended.set()


@dataclass(frozen=True)
class _Answer:
    program: Program | None
    descriptor: int | None


@dataclass(eq=False)
class _Request:
    answer: "asyncio.Future[_Answer]"
    wants_descriptor: bool


class Supervisor:
    """A running supervisor. Its methods raise SupervisorLostError when it is gone, and OSError for what it answers."""

    def __init__(self, control: socket.socket, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Take over our end of its socket, and its process where that is a child of ours."""
        control.setblocking(False)
        self._control = control
        self._process = process
        self._sending = asyncio.Lock()
        self._requests: dict[bytes, _Request] = {}
        self._number = 0
        self._received = bytearray()
        self._descriptors: list[int] = []
        self._programs: dict[int, Program] = {}
        self._running = True
        self._closing = False
        self._left_nothing = False
        self._lost = asyncio.Event()
        self._background = set[asyncio.Task[Any]]()
        asyncio.get_running_loop().add_reader(control, self._read)

    @classmethod
    def start(cls, environment: Mapping[str, str], folders: Sequence[Path]) -> "Supervisor":
        """Start one as our child; it removes `folders` at its end. Raises SandboxError."""
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                supervisor_command(theirs.fileno(), folders),
                pass_fds=[theirs.fileno()], env=dict(environment), start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            message = f"no process can be started with {sys.executable}: {error}"
            raise SandboxError(message) from error
        finally:
            theirs.close()
        return cls(ours, process)

    @property
    def is_running(self) -> bool:
        """Whether it lives, as far as we know, and takes requests."""
        return self._running and not self._closing

    @property
    def left_nothing(self) -> bool:
        """Whether it has ended in peace, and so has killed all that ran below it."""
        return self._left_nothing

    async def start_program(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        descriptors: Sequence[int],
    ) -> Program:
        """Start a program; `descriptors` become its 0, 1, 2 and on, and stay ours as well. Raises OSError."""
        answer = await self._start(command, environment, directory, descriptors, "")
        assert answer.program is not None
        return answer.program

    async def start_on_terminal(
        self, command: Sequence[str], environment: Mapping[str, str], directory: str, columns: int, rows: int
    ) -> tuple[Program, int]:
        """Start a program on a new terminal, and return it with the descriptor of the other end. Raises OSError."""
        answer = await self._start(command, environment, directory, (), f"{rows}x{columns}")
        assert answer.program is not None
        assert answer.descriptor is not None
        return answer.program, answer.descriptor

    async def end(self, process_id: int, mark: str = "", since: int = 0, *, unknown: bool = False) -> None:
        """Kill a process below it with its tree; `Requests.end` of the supervisor says what else."""
        await self._ask("end", [str(process_id), mark, str(since), "yes" if unknown else ""])

    async def check(self, process_id: int) -> None:
        """Raise PermissionError for a process that does not run below it."""
        await self._ask("check", [str(process_id)])

    async def open(self, path: str, flags: int) -> int:
        """Open a file where its programs run; see `regular_files.open_file`."""
        answer = await self._ask("open", [path, str(flags)], wants_descriptor=True)
        assert answer.descriptor is not None
        return answer.descriptor

    async def make_folders(self, path: str) -> None:
        """Make a folder, and those above it, where its programs run."""
        await self._ask("make_folders", [path])

    async def link(self, path: str, target: str) -> None:
        """Make a symbolic link where its programs run."""
        await self._ask("link", [path, target])

    async def close(self) -> None:
        """Let it end with all that runs below it, and wait for that. Safe to call twice."""
        if self.is_running:
            self._closing = True
            # Half of the socket alone: its end of the other half tells that it has done its work.
            self._control.shutdown(socket.SHUT_WR)
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_DEADLINE):
                    await self._lost.wait()
            self.abandon()
        if self._process:
            await asyncio.to_thread(self._process.wait)

    def abandon(self) -> None:
        """Take it for gone, whether it is or hangs; what it runs has ended for us. Safe to call twice."""
        if not self._running:
            return
        self._running = False
        self._lost.set()
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        if self._process:
            self._process.kill()
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(SupervisorLostError(_GONE))
        for descriptor in self._descriptors:
            os.close(descriptor)
        for program in self._programs.values():
            program.end_with(_KILLED)
        self._requests, self._programs, self._descriptors = {}, {}, []

    async def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        descriptors: Sequence[int],
        size: str,
    ) -> _Answer:
        fields = [directory, str(len(descriptors)), size, str(len(command)), *command]
        fields += [f"{name}={value}" for name, value in environment.items()]
        asking = asyncio.ensure_future(self._ask("start", fields, descriptors, wants_descriptor=bool(size)))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._end_unwanted)
            raise

    def _end_unwanted(self, asking: "asyncio.Future[_Answer]") -> None:
        if asking.cancelled() or asking.exception():
            return
        answer = asking.result()
        if answer.descriptor is not None:
            os.close(answer.descriptor)
        if answer.program is not None:
            self._in_background(self._end_quietly(answer.program.process_id))

    async def _end_quietly(self, process_id: int) -> None:
        with suppress(SandboxError):
            await self.end(process_id)

    async def _ask(
        self, name: str, fields: Sequence[str], descriptors: Sequence[int] = (), *, wants_descriptor: bool = False
    ) -> _Answer:
        if any("\0" in field for field in fields):
            message = "neither a command nor its environment can hold a NUL byte"
            raise ValueError(message)
        if not self.is_running:
            raise SupervisorLostError(_GONE)
        self._number += 1
        number = b"%d" % self._number
        request = _Request(asyncio.get_running_loop().create_future(), wants_descriptor)
        self._requests[number] = request
        message = packed([number, name.encode(), *map(os.fsencode, fields)])
        # Half a message would garble all that follow, so it is sent even for a caller who is gone.
        await asyncio.shield(self._in_background(self._send(message, descriptors)))
        try:
            async with asyncio.timeout(ANSWER_DEADLINE):
                return await request.answer
        except TimeoutError:
            self.abandon()
            raise SupervisorLostError(_GONE) from None

    async def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        async with self._sending:
            try:
                sent = 0
                while not sent and self._running:
                    try:
                        sent = socket.send_fds(self._control, [data], descriptors)
                    except BlockingIOError:
                        await asyncio.sleep(0.005)
                if self._running and sent < len(data):
                    await asyncio.get_running_loop().sock_sendall(self._control, data[sent:])
            except OSError:
                if not self._closing:
                    self.abandon()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 65536, MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        self._received += data
        for message in messages(self._received):
            self._take(message)
        if not data:
            self._left_nothing = self._closing
            self.abandon()

    def _take(self, fields: list[bytes]) -> None:
        number, word, *rest = fields
        if number == b"exit":
            self._note_end(int(word), int(rest[0]))
            return
        request = self._requests.pop(number)
        descriptor = self._descriptors.pop(0) if word == b"ok" and request.wants_descriptor else None
        if request.answer.done():  # nobody waits any more
            if descriptor is not None:
                os.close(descriptor)
        elif word == b"ok":
            program = Program(int(rest[0])) if rest else None
            if program:
                self._programs[program.process_id] = program
            request.answer.set_result(_Answer(program, descriptor))
        else:
            request.answer.set_exception(OSError(int(rest[0]), os.fsdecode(rest[1])))

    def _note_end(self, process_id: int, status: int) -> None:
        program = self._programs.pop(process_id, None)
        if program:
            program.end_with(status)


def supervisor_command(descriptor: int, folders: Sequence[Path]) -> list[str]:
    """The command line of a supervisor, which finds its end of the socket at `descriptor`."""
    # Isolated and without site-packages: it starts in a third of the time, whatever the user's environment says.
    python = [sys.executable, "-I", "-S", "-c", _START, str(_CODE_FOLDER)]
    return [*python, str(descriptor), *map(str, folders)]
