"""A persistent shell over any channel that carries its standard streams.

The worker (`shell_worker.bash`, or `shell_worker.sh` where there is no bash) says how state is kept; this side sends a
command, collects its output in bounded memory until the worker's mark, and kills the command's process tree at its
deadline. A worker that dies is replaced by one that finds the state of the last command that ended.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib import resources
from typing import Protocol

from runners.kept_output import Append, KeptOutput
from runners.shell_answer import NO_STATE, Answer, Greeting
from tools.sandbox import CommandResult, OutputListener, SandboxError

KILL_GRACE = 5.0
"""Seconds that a killed command has to be gone before its shell is given up as well."""
START_LIMIT = 30.0
"""Seconds after which a worker that has not begun a command, though it may still run, is given up."""
GREETING_LIMIT = 120.0
"""Seconds that a worker has to start: it sources the image's own start-up file."""
LATE_CONTROL = 1.0
"""Seconds by which a control line may arrive after the mark: they come on two streams."""
KILLED = 137
_ATTEMPTS = 3
_LONGEST_REASON = 500

STDOUT, STDERR = 1, 2

SCRIPT_VARIABLE = "SHELL_WORKER"
PLAIN_SCRIPT_VARIABLE = "PLAIN_SHELL_WORKER"

_START = f"""\
if command -v bash >/dev/null 2>&1; then shell=bash text=${SCRIPT_VARIABLE}
else shell=sh text=${PLAIN_SCRIPT_VARIABLE}
fi
unset -v {SCRIPT_VARIABLE} {PLAIN_SCRIPT_VARIABLE}
if [ "$shell" = bash ]; then
exec bash --noprofile --norc -c 'eval "$(</dev/fd/9)"; eval "$_worker_loop"' bash "$@" 9<<TEXT
$text
TEXT
else exec sh -c 'eval "$(cat <&9)"; eval "$_worker_loop"' sh "$@" 9<<TEXT
$text
TEXT
fi"""

PLAIN_SHELL = (
    "There is no bash here: commands run in sh. The directory, variables, aliases and the umask stay for the next "
    "command; functions and options do not."
)
NOT_SAVED = "What this command changed in the shell (directory, variables, functions) was not saved."
STATE_LOST = (
    "The saved state of the shell was damaged. It began anew before this command: in its first directory, without the "
    "variables and functions of earlier commands."
)
NOT_BEGUN = "The shell did not begin this command: nothing of it ran. A new shell takes the next one."


def worker_environment() -> dict[str, str]:
    """The environment that `worker_command` needs: the text for bash and that for sh. No command sees it."""
    folder = resources.files("runners")
    return {
        SCRIPT_VARIABLE: folder.joinpath("shell_worker.bash").read_text("utf-8"),
        PLAIN_SCRIPT_VARIABLE: folder.joinpath("shell_worker.sh").read_text("utf-8"),
    }


def worker_command(state_folder: str, directory: str, profile: str = "") -> list[str]:
    """The command line of the worker: where its state lies, where it starts, and a file that it sources first.

    It takes bash where it is found, else sh. The text goes from the environment through a pipe, so that neither `ps`
    nor the environment of any process shows it to a command.
    """
    return ["/bin/sh", "-c", _START, "sh", state_folder, directory, profile]


class Channel(Protocol):
    """The standard streams of a process somewhere."""

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError when it is gone."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of STDOUT or STDERR; an empty piece when the process is gone."""
        ...

    async def close(self) -> None:
        """Close its stdin, and with it the process. Safe to call twice."""
        ...


@dataclass(frozen=True)
class _Request:
    """One command, as the caller wants it run."""

    command: bytes
    timeout: float
    on_output: OutputListener | None
    keep_at: str | None


class PersistentShell:
    """Runs one command at a time; see `tools.sandbox.Sandbox.shell` for what it promises.

    `open_channel` starts a worker; `kill_command` ends a process and everything that was started since it was asked
    for, a moment of `time.monotonic`; `append` writes outputs that are kept (without it, none is).
    """

    def __init__(
        self,
        open_channel: Callable[[], Awaitable[Channel]],
        kill_command: Callable[[int, float], Awaitable[None]],
        append: Append | None = None,
    ) -> None:
        self._open_channel = open_channel
        self._kill_command = kill_command
        self._append = append
        self._channel: Channel | None = None
        self._kind = ""
        self._remarks: list[str] = []
        self._silences = 0
        self._lose_state = False
        self._lock = asyncio.Lock()

    async def run(
        self, command: str, timeout: float, on_output: OutputListener | None = None, keep_at: str | None = None
    ) -> CommandResult:
        """Run `command`. Raises SandboxError when no shell can be had, ValueError for a command with a NUL."""
        if "\0" in command:
            message = "A command cannot hold a NUL byte. Write the byte as an escape, for example with printf '\\0'."
            raise ValueError(message)
        request = _Request(command.encode("utf-8", "surrogateescape"), timeout, on_output, keep_at)
        async with self._lock:
            for _ in range(_ATTEMPTS):
                if result := await self._attempt(request):
                    remarks, self._remarks = self._remarks, []
                    return replace(result, remark=" ".join([*remarks, result.remark]).strip())
        raise SandboxError("the shell ends before it has begun a command, whenever it is started")

    async def close(self) -> None:
        """End the worker."""
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()

    async def _attempt(self, request: _Request) -> CommandResult | None:
        """Run the command once; None when it has certainly not begun, so that a new worker can be asked."""
        channel = await self._worker()
        keeper = KeptOutput(request.keep_at, self._append) if request.keep_at and self._append else None
        answer = Answer(_word(), _word(), request.on_output, keeper)
        try:
            await channel.send(self._framed(request.command, answer))
            in_time = await self._collect(channel, answer, request.timeout)
            duration = time.monotonic() - answer.sent
            if answer.is_whole:
                return await self._result(answer, duration, in_time=in_time)
            await self._abandon(answer)
            if answer.has_begun:
                # Now rather than at the next command: a sandbox that is gone must not look like a command that failed.
                await self._worker()
                return await self._result(answer, duration, in_time=in_time)
            self._lose_state = self._lose_state or answer.refused or answer.status == NO_STATE
            return None if in_time else await self._unanswered(answer, duration)
        except ConnectionError:
            await self.close()
            return None
        except BaseException:
            await asyncio.shield(self._abandon(answer))
            raise
        finally:
            if keeper:
                await asyncio.shield(keeper.abandon())

    async def _worker(self) -> Channel:
        """A worker that has said which shell it is. Raises SandboxError."""
        if self._channel is None:
            channel = await self._open_channel()
            try:
                kind = await _greeting(channel)
            except BaseException:
                await asyncio.shield(channel.close())
                raise
            if kind == "sh" and not self._kind:
                self._remarks.append(PLAIN_SHELL)
            self._channel, self._kind = channel, kind
        return self._channel

    def _framed(self, command: bytes, answer: Answer) -> bytes:
        order = b"fresh" if self._lose_state else b"keep"
        end = b"\n" if self._kind == "sh" else b"\0"
        head = b"\n%b %b %b\n" % (answer.nonce, answer.token, order)
        return head + end.join((answer.token, command, answer.token, b""))

    async def _collect(self, channel: Channel, answer: Answer, timeout: float) -> bool:
        """Read the answer, or end the command at its deadline and return False."""
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout(min(timeout, START_LIMIT)) as limit:
                await _read(channel, answer, lambda: answer.ended or answer.has_begun)
                limit.reschedule(deadline)
                await _read(channel, answer, lambda: answer.ended)
        except TimeoutError:
            return await self._end_command(channel, answer)
        if answer.ended and not answer.is_whole and not answer.refused:
            # Unless it has begun, and that comes late: there are two streams.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_CONTROL):
                    await _read(channel, answer, lambda: answer.has_begun)
        return True

    async def _end_command(self, channel: Channel, answer: Answer) -> bool:
        """Kill a command that is late; whether it ended before that, after all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_GRACE):
                # One that began only now would go on unseen.
                await _read(channel, answer, lambda: answer.ended or answer.has_begun)
                if answer.ended:
                    return answer.is_whole
                if answer.process_id is not None:
                    await self._kill_command(answer.process_id, answer.sent)
                await _read(channel, answer, lambda: answer.ended)
        return False

    async def _abandon(self, answer: Answer) -> None:
        """Give the worker up, with the command that it runs."""
        if answer.process_id is not None and not answer.ended:
            await self._kill_command(answer.process_id, answer.sent)
        await self.close()

    async def _result(self, answer: Answer, duration: float, *, in_time: bool) -> CommandResult:
        if self._lose_state:
            self._remarks.append(STATE_LOST)
        self._lose_state, self._silences = False, 0
        status = KILLED if answer.status is None else answer.status
        remark = NOT_SAVED if in_time and not answer.saved else ""
        return await _command_result(answer, duration, exit_code=status if in_time else None, remark=remark)

    async def _unanswered(self, answer: Answer, duration: float) -> CommandResult:
        self._silences += 1
        # A state that takes for ever to load must not keep every command from beginning.
        self._lose_state = self._lose_state or self._silences > 1
        result = await _command_result(answer, duration, exit_code=None, remark=NOT_BEGUN)
        return replace(result, timed_out=False)


async def _greeting(channel: Channel) -> str:
    greeting, said = Greeting(), b""
    try:
        async with asyncio.timeout(GREETING_LIMIT):
            while True:
                stream, data = await channel.receive()
                if not data:
                    break
                if stream == STDERR and (kind := greeting.add(data)):
                    return kind
                said = (said + data)[:_LONGEST_REASON]
    except TimeoutError as error:
        message = (
            f"the shell is not ready after {GREETING_LIMIT:.0f} s; does the file that it sources wait for something?"
        )
        raise SandboxError(message) from error
    reason = said.decode(errors="replace").strip()
    message = f"the shell ends as soon as it is started{': ' if reason else ''}{reason}"
    raise SandboxError(message)


async def _read(channel: Channel, answer: Answer, done: Callable[[], bool]) -> None:
    """Read until `done`, or until the worker is gone."""
    while not done():
        stream, data = await channel.receive()
        if not data:
            return
        if stream == STDERR:
            answer.add_control(data)
        else:
            answer.add_stdout(data)
            if answer.keeper:
                await answer.keeper.write_full()


async def _command_result(answer: Answer, duration: float, *, exit_code: int | None, remark: str) -> CommandResult:
    answer.close()
    if answer.keeper:
        await answer.keeper.finish()
    output, head_length = answer.output.finish()
    return CommandResult(
        output=output,
        exit_code=exit_code,
        duration=duration,
        timed_out=exit_code is None,
        dropped=answer.output.dropped,
        head_length=head_length,
        kept=answer.keeper.written if answer.keeper else 0,
        not_kept=answer.keeper.failure if answer.keeper else "",
        remark=remark,
    )


def _word() -> bytes:
    # Short, since a shell reads byte by byte, each with a system call.
    return secrets.token_urlsafe(9).encode()
