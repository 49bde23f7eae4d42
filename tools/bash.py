"""The `bash` tool: commands in a shell whose state stays from one call to the next."""

from pydantic import Field

from tools.output import CHARACTER_LIMIT, clean, cut_lines, cut_middle, decode, header, neutralise, restore
from tools.parameters import Parameters
from tools.sandbox import CommandResult, OutputListener, Sandbox
from tools.tool import Access, ToolResult

DEFAULT_TIMEOUT = 120
LONGEST_TIMEOUT = 3600
_READ_LIMIT = 1024 * 1024
"""Bytes of an output that are read for what is shown of it: half from its beginning, half from its end."""


class BashParameters(Parameters):
    """What a call of `bash` takes."""

    command: str = Field(description="The command to run. It may have several lines.")
    timeout: int = Field(
        default=DEFAULT_TIMEOUT,
        ge=1,
        le=LONGEST_TIMEOUT,
        description=f"Seconds after which the command is killed; {DEFAULT_TIMEOUT} unless given.",
    )


class Bash:
    """Runs commands in the sandbox's persistent shell.

    `output_limit` is the number of characters of one result that the model sees; the whole output of a longer
    one is kept in a file inside the sandbox, whose path the result names.
    """

    name = "bash"
    description = (
        "Run a command in a bash shell and get its output (stdout and stderr together) and exit code.\n"
        "The shell lives as long as the task: the working directory, variables, functions and activated "
        "environments stay for the next call. Options set with `set`, traps and redirections do not.\n"
        "Commands get no input: stdin is empty, so a program that asks questions needs its non-interactive flag. "
        "Start what should keep running with `&` and send its output to a file.\n"
        "A long output is shown with its middle cut out; the whole of it is then in a file that the result names."
    )
    parameters = BashParameters

    def __init__(self, output_limit: int = CHARACTER_LIMIT) -> None:
        self._output_limit = output_limit
        self._calls = 0

    def access(self, arguments: BashParameters) -> Access:  # noqa: ARG002
        """Say that a command may do anything."""
        return "execute"

    async def __call__(
        self, arguments: BashParameters, sandbox: Sandbox, on_output: OutputListener | None = None
    ) -> ToolResult:
        """Run the command; a non-zero exit is an answer, not an error of the tool."""
        # A name of its own for each call: one that was cancelled may have left a file.
        self._calls += 1
        path = f"{sandbox.scratch_directory}/output-{self._calls}.txt"
        command, timeout = restore(arguments.command), arguments.timeout
        try:
            result = await sandbox.shell(command, timeout=timeout, on_output=on_output, keep_at=path)
        except ValueError as error:
            return ToolResult(f"{header(None, 0)}\n{error}", is_error=True)
        body = await self._body(result, path, sandbox)
        lines = [header(result.exit_code, result.duration), result.remark, _about_deadline(result, timeout), body]
        return ToolResult("\n".join(line for line in lines if line), exit_code=result.exit_code)

    async def _body(self, result: CommandResult, path: str, sandbox: Sandbox) -> str:
        parts, left_out = _parts(result)
        shown = [cut_lines(part) for part in parts]
        long = len("\n".join(shown)) > self._output_limit
        where = ""
        if long or left_out or shown != parts:
            where = await _where(result, path, sandbox)
        if long:
            more = f" and {left_out} bytes more" if left_out else ""
            notice = f"[{{count}} characters{more} cut here; {where}]"
            text = cut_middle("\n".join(shown), notice, self._output_limit)
        elif left_out:
            text = f"\n[{left_out} bytes cut here; {where}]\n".join(shown)
        else:
            text = "\n".join([*shown, f"[Lines were cut; {where}]"] if where else shown)
        return neutralise(text)


def _parts(result: CommandResult) -> tuple[list[str], int]:
    """What was printed, as text, in two parts if it is too much to be read; and the bytes between them."""
    ends = [result.output]
    if result.dropped or len(result.output) > _READ_LIMIT:
        head, tail = result.output[: result.head_length], result.output[result.head_length :]
        if not result.dropped:
            head = tail = result.output
        ends = [head[: _READ_LIMIT // 2], tail[-_READ_LIMIT // 2 :]]
    left_out = len(result.output) + result.dropped - sum(len(end) for end in ends)
    texts = [clean(decode(end)) for end in ends]
    return [*texts[:-1], texts[-1].rstrip("\n")], left_out


async def _where(result: CommandResult, path: str, sandbox: Sandbox) -> str:
    """Say where the model finds what it is not shown; puts it there, unless that was done while it was printed."""
    printed, reason = len(result.output) + result.dropped, result.not_kept
    if not result.kept and not reason:
        try:
            await sandbox.write_bytes(path, result.output)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return f"head and tail are in {path}" if result.dropped else f"the whole output is in {path}"
    if result.kept == printed:
        return f"the whole output is in {path}"
    if not result.kept:
        return f"the whole could not be kept: {reason}"
    return f"the first {result.kept} bytes of {printed} are in {path}{f'; then: {reason}' if reason else ''}"


def _about_deadline(result: CommandResult, timeout: int) -> str:
    if not result.timed_out:
        return ""
    was_killed = f"The command was killed after {timeout} seconds; this is what it had printed."
    return f"{was_killed} The shell is as it was before it."
