"""The `bash` tool: commands in a shell whose state stays from one call to the next."""

import itertools

from pydantic import BaseModel, Field

from tools.output import CHARACTER_LIMIT, clean, cut_lines, cut_middle, decode, header, neutralise, restore
from tools.sandbox import CommandResult, OutputListener, Sandbox
from tools.tool import Access, ToolResult

DEFAULT_TIMEOUT = 120
LONGEST_TIMEOUT = 3600


class BashParameters(BaseModel):
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
        self._spill_numbers = itertools.count(1)

    def access(self, arguments: BashParameters) -> Access:  # noqa: ARG002
        """Say that a command may do anything."""
        return "execute"

    async def __call__(
        self, arguments: BashParameters, sandbox: Sandbox, on_output: OutputListener | None = None
    ) -> ToolResult:
        """Run the command; a non-zero exit is an answer, not an error of the tool."""
        try:
            result = await sandbox.shell(restore(arguments.command), timeout=arguments.timeout, on_output=on_output)
        except ValueError as error:
            return ToolResult(f"{header(None, 0)}\n{error}", is_error=True)
        body = await self._body(result, sandbox)
        lines = [header(result.exit_code, result.duration), *_remarks(result, arguments.timeout), body]
        return ToolResult("\n".join(line for line in lines if line), exit_code=result.exit_code)

    async def _body(self, result: CommandResult, sandbox: Sandbox) -> str:
        text = clean(decode(result.output)).rstrip("\n")
        shown = cut_lines(text)
        if result.dropped or len(shown) > self._output_limit or shown is not text:
            path = f"{sandbox.scratch_directory}/output-{next(self._spill_numbers)}.txt"
            notice = _gap_notice(result, path)
            try:
                await sandbox.write_bytes(path, result.output)
            except OSError as error:
                notice = f"[{{count}} characters cut here; the whole could not be kept: {error.strerror}]"
            shown = cut_middle(shown, notice, self._output_limit)
        return neutralise(shown)


def _gap_notice(result: CommandResult, path: str) -> str:
    if result.dropped:
        return f"[{{count}} characters and {result.dropped} bytes more cut here; head and tail are in {path}]"
    return f"[{{count}} characters cut here; the whole output is in {path}]"


def _remarks(result: CommandResult, timeout: int) -> list[str]:
    remarks: list[str] = []
    if result.timed_out:
        remarks.append(
            f"The command was killed after {timeout} seconds; this is what it had printed. "
            "The shell is as it was before it."
        )
    return remarks
