"""The `terminal` tool: programs that need a screen, such as editors, debuggers, menus and interactive shells."""

import time
from typing import Literal

from pydantic import Field

from tools.output import CHARACTER_LIMIT, cut_middle, header, neutralise, restore
from tools.parameters import Parameters
from tools.sandbox import OutputListener, Sandbox
from tools.terminal_keys import bare_key, encode
from tools.terminal_screen import Screen
from tools.terminal_session import SETUP, TerminalSession
from tools.tool import Access, ToolResult

COLUMNS, ROWS = 120, 40
"""Larger than 80 × 24, so that less wraps and scrolls off: lines are shown without the spaces at their ends."""
DEFAULT_WAIT = 3
LONGEST_WAIT = 600
MOST_TERMINALS = 8
_KEPT_ROWS = 3
"""Rows above what is new that are shown again after `send`, so that it can be told what it belongs to."""
_LEAST_KNOWN = 5

_SHELL = "if command -v bash >/dev/null; then exec bash -i; fi; exec sh -i"


class TerminalParameters(Parameters):
    """What a call of `terminal` takes; which of it is needed depends on `action`."""

    action: Literal["open", "send", "read", "close"] = Field(
        description="`open` a terminal with a program, `send` keys to it, `read` its screen, or `close` it."
    )
    command: str = Field(default="", description="For `open`: the program to run; an interactive shell unless given.")
    keys: str = Field(
        default="",
        description=(
            "For `send`: text, typed as it is, with keys as <Enter>, <Tab>, <Esc>, <BSpace>, <Up>, <PageDown>, <F5>, "
            "<C-c>, <M-x>. A line break is <Enter>; <lt> is a < where a key is not meant."
        ),
    )
    wait: int = Field(
        default=DEFAULT_WAIT,
        ge=0,
        le=LONGEST_WAIT,
        description=(
            f"Seconds to wait at most; {DEFAULT_WAIT} unless given. The screen is shown as soon as it has been still "
            "for a tenth of them; `read` waits for a change first."
        ),
    )
    id: str = Field(default="", description="Which terminal, by the name that `open` gave; the newest unless given.")
    columns: int = Field(default=COLUMNS, ge=20, le=400, description=f"For `open`: its width, {COLUMNS} unless given.")
    rows: int = Field(default=ROWS, ge=5, le=200, description=f"For `open`: its height, {ROWS} unless given.")


class _AnswerError(Exception):
    """What to tell the model instead of doing what it asked."""


class InteractiveTerminal:
    """Opens terminals in the sandbox and shows their screens as text. Remembers one agent's terminals."""

    name = "terminal"
    description = (
        "Use programs that need a screen or ask questions: editors, debuggers, menus, interactive shells.\n"
        "`open` starts a program on a terminal of its own, in the repository and apart from the bash shell. "
        "`send` types text and keys, for example `:wq<Enter>`, `<C-c>`, `<Down><Down><Space>`.\n"
        "Every result shows where the cursor is, what has scrolled off since the last one, and the screen; "
        "rows that `send` leaves out are as before, and `read` shows them all.\n"
        "Use bash for what runs to its end without input: it is faster, and its output is whole."
    )
    parameters = TerminalParameters

    def __init__(self, output_limit: int = CHARACTER_LIMIT) -> None:
        self._output_limit = output_limit
        self._sessions: dict[str, TerminalSession] = {}
        self._number = 0

    def access(self, arguments: TerminalParameters) -> Access:
        """Say that reading a screen changes nothing, and that keys may do anything."""
        return "read" if arguments.action == "read" else "execute"

    async def __call__(
        self,
        arguments: TerminalParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002
    ) -> ToolResult:
        """Do it; the exit code of a result is that of the program, once it has ended."""
        begun = time.monotonic()
        try:
            name, session, remark = await self._do(arguments, sandbox)
        except _AnswerError as error:
            return ToolResult(f"{header(None, time.monotonic() - begun)}\n{neutralise(str(error))}", is_error=True)
        code = session.exit_code if session.ended else None
        shown = remark if arguments.action == "close" else self._show(name, session, arguments.action, remark)
        return ToolResult(f"{header(code, time.monotonic() - begun)}\n{neutralise(shown)}", exit_code=code)

    async def _do(self, arguments: TerminalParameters, sandbox: Sandbox) -> tuple[str, TerminalSession, str]:
        """Do what is asked for; give the terminal, and what to say of it beside its screen."""
        if arguments.action == "open":
            name, session = await self._open(arguments, sandbox)
            await session.settle(arguments.wait, for_change=True)
            return name, session, ""
        name = arguments.id or next(reversed(self._sessions), "")
        session = self._sessions.get(name)
        if session is None:
            known = ", ".join(self._sessions) or "none; `open` one first"
            message = f"There is no terminal {name!r}; there are: {known}." if name else f"Open terminals: {known}."
            raise _AnswerError(message)
        if arguments.action == "close":
            del self._sessions[name]
            await session.close()
            return name, session, f"{name} closed"
        remark = await self._send(name, session, restore(arguments.keys)) if arguments.action == "send" else ""
        await session.settle(arguments.wait, for_change=arguments.action == "read")
        return name, session, remark

    async def _open(self, arguments: TerminalParameters, sandbox: Sandbox) -> tuple[str, TerminalSession]:
        for name in [name for name, session in self._sessions.items() if session.ended]:
            await self._sessions.pop(name).close()
        if len(self._sessions) >= MOST_TERMINALS:
            message = f"There are {MOST_TERMINALS} terminals already: {', '.join(self._sessions)}. `close` one first."
            raise _AnswerError(message)
        command = restore(arguments.command)
        if "\0" in command:
            raise _AnswerError("A command cannot hold a NUL byte.")
        try:
            terminal = await sandbox.open_terminal(
                SETUP + (command if command.strip() else _SHELL), columns=arguments.columns, rows=arguments.rows
            )
        except OSError as error:
            message = f"No terminal could be opened: {error.strerror or error}."
            raise _AnswerError(message) from error
        self._number += 1
        name = f"t{self._number}"
        session = self._sessions[name] = TerminalSession(terminal, Screen(arguments.columns, arguments.rows))
        return name, session

    async def _send(self, name: str, session: TerminalSession, keys: str) -> str:
        if not keys:
            raise _AnswerError("`send` needs `keys`.")
        if session.ended:
            message = f"{_state(name, session)}: nothing reads these keys. Open another terminal."
            raise _AnswerError(message)
        try:
            await session.send(encode(keys, application_cursor=session.screen.application_cursor))
        except OSError as error:
            message = f"{name} does not take these keys: {error.strerror or error}."
            raise _AnswerError(message) from error
        key = bare_key(keys)
        return f"[{keys} was sent as the key {key}]\n" if key else ""

    def _show(self, name: str, session: TerminalSession, action: str, remark: str) -> str:
        screen = session.screen
        state = _state(name, session)
        if not session.ended:
            row, column = screen.cursor
            state += f"; cursor at row {row + 1}, column {column + 1}" if screen.cursor_visible else "; cursor hidden"
        # Reading again is waiting: the time tells one look from the next, where nothing else does.
        if action == "read" and not session.ended and (still := round(time.monotonic() - session.changed_at)):
            state += f"; unchanged for {still}s"
        shown = screen.lines()
        known = min(screen.rows_as_before(), len(shown)) - _KEPT_ROWS if action == "send" else 0
        if known >= _LEAST_KNOWN:
            shown[:known] = [f"[rows 1 to {known} as before]"]
        taken = screen.take_scrolled()
        scrolled = ""
        if taken.lines or taken.lost_bytes:
            notice = "[{count} characters cut here]"
            scrolled = "[scrolled off since the last look:]\n" + "[earlier lines are gone]\n" * bool(taken.lost_bytes)
            scrolled += cut_middle("\n".join(taken.lines), notice, self._output_limit) + "\n"
        body = cut_middle("\n".join(shown), "[{count} characters cut here]", self._output_limit) or "[empty]"
        return f"{state}\n{remark}{scrolled}[screen, {screen.columns} × {screen.rows}:]\n{body}"


def _state(name: str, session: TerminalSession) -> str:
    if not session.ended:
        return f"{name} running"
    return f"{name} ended" if session.exit_code is None else f"{name} ended exit={session.exit_code}"
