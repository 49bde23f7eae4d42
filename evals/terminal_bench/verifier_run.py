"""Runs a task's tests where its agent has worked, and takes what they say over a channel of their own."""

import asyncio
import secrets
import shlex
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, Protocol

from evals.terminal_bench.changed_programs import LOOK
from evals.terminal_bench.shipped_files import shipped
from runners.archives import BrokenArchiveError, Owner, pack, unpack
from runners.shell import STDERR
from tools.sandbox import SandboxError

KEPT_AT = "verifier"
"""The folder in which what tests leave in /logs/verifier is kept."""
KEPT_FILES = 256 * 1024 * 1024
"""Bytes of what tests leave in /logs/verifier that are kept."""
_CONTROL_LIMIT = 4 * 1024 * 1024
_PIECE = 1 << 20
_GRACE = 60.0
_UNPACKING = 300.0
_AMBIENT = "wake_alarm"
_PROGRAMS = "programs"
_ROOT = ("", "root", "0")
_INTERPRETER = """
set -- /tests/test.sh
if command -v bash >/dev/null && ! (IFS= read -r line; case $line in '#!'*) ;; *) exit 1 ;; esac) </tests/test.sh; then
  set -- bash /tests/test.sh
fi
"""
"""Tests that name no interpreter are bash's, as by Harbor 0.25.0; sh would take them for its own."""
_BECOME = """
number=$user main=0 HOME=/ groups=--clear-groups
while IFS=: read -r name _ id first _ home _ || [ "$name" ]; do
  if [ "$name" = "$user" ] || [ "$id" = "$user" ]; then
    number=$id main=$first HOME=${home:-/} groups=--init-groups
    break
  fi
done </etc/passwd
if [ "$group" ]; then main=$group groups=--clear-groups; fi
export HOME
if setpriv --reuid 0 true 2>/dev/null; then
  set -- setpriv --reuid "$number" --regid "$main" $groups $rights -- "$@"
else # BusyBox
  set -- su -s /bin/sh "$user" -c "$*"
fi
unset -v number main groups name id first home user group rights
"""
"""As the engine reads USER: a name or a number, behind a colon a group; a number that is unknown has the group 0."""


class ScriptChannel(Protocol):
    """A shell that takes a script, then what the script reads."""

    async def run(self, script: str) -> None:
        """Let it begin to run `script`."""
        ...

    async def send(self, data: bytes) -> None:
        """Write to the script's stdin. Raises ConnectionError."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of stdout or stderr; an empty piece at the end."""
        ...


@dataclass(frozen=True)
class VerifierCall:
    """How a task's tests are called."""

    task: Path
    """The task's folder."""
    folders: Sequence[Path]
    """Those in it that become /tests; later ones lie over earlier ones."""
    directory: str
    environment: Mapping[str, str]
    timeout: float
    """Seconds."""
    user: str = ""
    """Who runs them, as an image's USER is written; root unless given."""
    in_room: bool = False
    """Whether they run in a private room, and so keep the right that others need in order to look in."""


@dataclass(frozen=True)
class VerifierAnswer:
    """What became of tests."""

    exit_code: int | None
    """Of test.sh; None when its time was up, or when they were ended from elsewhere."""
    timed_out: bool
    rewards: dict[str, bytes]
    """The files with rewards, by their names."""
    programs: bytes | None = None
    """What LOOK listed before the tests began; None where there is no room."""


async def run_verifier(channel: ScriptChannel, call: VerifierCall, files: Path) -> VerifierAnswer:
    """Run tests, and leave in `files` what they wrote into /logs/verifier. Raises SandboxError where none can run."""
    mark = secrets.token_hex(16)
    with _archives(call) as archives, tempfile.TemporaryFile() as kept:
        hearing = _Hearing(channel, mark, kept)
        sizes = [archive.seek(0, 2) for archive in archives]
        await _begin(channel, hearing, _script(call, mark, sizes), archives)
        timed_out = await _wait(channel, hearing, call.timeout)
        await asyncio.to_thread(_keep, kept, files)
    programs = hearing.files.pop(_PROGRAMS, None)
    return VerifierAnswer(None if timed_out else hearing.exit_code, timed_out, hearing.files, programs)


async def _begin(channel: ScriptChannel, hearing: "_Hearing", script: str, archives: Sequence[IO[bytes]]) -> None:
    listening = asyncio.create_task(hearing.until("unpacked"))
    try:
        async with asyncio.timeout(_UNPACKING):
            await channel.run(script)
            for archive in archives:
                for piece in _pieces(archive):
                    await channel.send(piece)
            said = await listening
    except (ConnectionError, TimeoutError) as error:
        reason = hearing.complaint or str(error) or f"nothing came of it within {_UNPACKING:g} seconds"
        message = f"the tests cannot be brought into the container: {reason}"
        raise SandboxError(message) from error
    finally:
        listening.cancel()
    if said != "0":
        message = f"the tests cannot be unpacked in the container: {hearing.complaint or said}"
        raise SandboxError(message)


async def _wait(channel: ScriptChannel, hearing: "_Hearing", timeout: float) -> bool:
    """Wait for the end of the tests; whether their time was up."""
    timed_out = False
    try:
        async with asyncio.timeout(timeout):
            await hearing.until("exit")
    except TimeoutError:
        timed_out = True
        with suppress(ConnectionError):
            await channel.send(b"\n")
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await hearing.until("", to_the_end=True)
    return timed_out


@dataclass
class _Hearing:
    """What is said on a channel, as far as it has come."""

    channel: ScriptChannel
    mark: str
    kept: IO[bytes]
    exit_code: int | None = None
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    complaint: str = ""
    """The last line that is not one of the script's own."""
    _rest: bytes = b""
    _waiting: deque[bytes] = field(default_factory=deque[bytes])
    _open: str = ""
    _content: bytearray = field(default_factory=bytearray)

    async def until(self, word: str, *, to_the_end: bool = False) -> str:
        """Listen until `word` is said, and return what stands behind it; empty at the end."""
        while True:
            for said, rest in self._lines():
                if said == word and not to_the_end:
                    return rest
            stream, piece = await self.channel.receive()
            if not piece:
                return ""
            if stream == STDERR:
                *lines, rest = (self._rest + piece).split(b"\n")
                self._waiting += lines
                self._rest = rest[-_CONTROL_LIMIT:]
            elif self.kept.tell() < KEPT_FILES:
                self.kept.write(piece)

    def _lines(self) -> Iterator[tuple[str, str]]:
        while self._waiting:
            line = self._waiting.popleft()
            said = line.removeprefix(f"{self.mark} ".encode())
            if said == line:
                self._take(line)
                continue
            word, _, rest = said.decode(errors="replace").partition(" ")
            match word:
                case "begin":
                    self._open = rest
                    self._content.clear()
                case "end":
                    self.files[self._open] = bytes(self._content)
                    self._open = ""
                case "exit":
                    self.exit_code = int(rest) if rest.isdecimal() else None
                case _:
                    pass
            yield word, rest

    def _take(self, line: bytes) -> None:
        if self._open:
            if len(self._content) < _CONTROL_LIMIT:
                self._content += line + b"\n"
        elif line.strip():
            self.complaint = line.decode(errors="replace").strip()


def _script(call: VerifierCall, mark: str, sizes: Sequence[int]) -> str:
    text = resources.files("evals").joinpath("terminal_bench", "verifier_script.sh").read_text("utf-8")
    variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in call.environment.items())
    begin = f'cd -- {shlex.quote(call.directory)} || exit\n{_INTERPRETER}{_become(call)}{variables}exec "$@"\n'
    return f"mark={mark}\nsizes='{' '.join(map(str, sizes))}'\n{LOOK}begin() {{\n{begin}}}\n{text}"


def _become(call: VerifierCall) -> str:
    """What lets the command in the positional parameters run as the one who runs the tests."""
    user, _, group = call.user.partition(":")
    if user in _ROOT and group in _ROOT:
        return ""
    # In a room, with what others need in order to look at it.
    rights = f"--inh-caps +{_AMBIENT} --ambient-caps +{_AMBIENT}" if call.in_room else ""
    values = {"user": user, "group": group, "rights": rights}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + _BECOME


@contextmanager
def _archives(call: VerifierCall) -> Generator[list[IO[bytes]]]:
    archives: list[IO[bytes]] = []
    try:
        for folder in call.folders:
            archive = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            archives.append(archive)
            with shipped(folder, call.task) as files:
                for piece in pack(files, ("tests",), Owner(0, 0)):
                    archive.write(piece)
        yield archives
    finally:
        for archive in archives:
            archive.close()


def _pieces(archive: IO[bytes]) -> Iterator[bytes]:
    archive.seek(0)
    while piece := archive.read(_PIECE):
        yield piece


def _keep(kept: IO[bytes], files: Path) -> None:
    """Unpack what came; an archive that was cut, or that the agent's own tar made, is kept as far as it goes."""
    with suppress(BrokenArchiveError, OSError):
        unpack(_pieces(kept), files / KEPT_AT)
