"""What the `terminal` tool promises in every sandbox; a test module gives the class a fixture `sandbox`."""

import re
from typing import Any

import pytest

from tools.sandbox import Sandbox
from tools.terminal import InteractiveTerminal, TerminalParameters
from tools.tool import ToolResult

PLAIN = "PS1='$ ' exec sh -i"
"""A shell whose prompt is known."""


class Desk:
    """A terminal and its sandbox, spoken to as an agent does."""

    def __init__(self, terminal: InteractiveTerminal, sandbox: Sandbox) -> None:
        self._terminal = terminal
        self._sandbox = sandbox
        self.result = ToolResult("")

    async def do(self, action: str, **arguments: Any) -> str:
        """Make a call; give what stands below the header."""
        parameters = TerminalParameters.model_validate({"action": action, **arguments})
        self.result = await self._terminal(parameters, self._sandbox)
        header, _, body = self.result.text.partition("\n")
        assert re.fullmatch(r"exit=(none|\d+) \d+\.\ds", header)
        return body

    async def send(self, keys: str, **arguments: Any) -> str:
        return await self.do("send", keys=keys, **arguments)

    async def until(self, text: str) -> str:
        """Read until the screen shows the text: a busy machine may need more than one look."""
        body = ""
        for _ in range(20):
            if text in (body := await self.do("read", wait=1)):
                break
        assert text in body
        return body


def screen(body: str) -> list[str]:
    """The rows of the screen in a result."""
    return body.partition(":]\n")[2].split("\n")


class TerminalPromises:
    """The suite."""

    @pytest.fixture
    def desk(self, sandbox: Sandbox) -> Desk:
        return Desk(InteractiveTerminal(), sandbox)

    async def test_a_shell_answers_what_is_typed(self, desk: Desk) -> None:
        opened = await desk.do("open", command=PLAIN)
        assert opened == "t1 running; cursor at row 1, column 3\n[screen, 120 × 40:]\n$"
        await desk.send("echo $((40 + 2)); stty size<Enter>")
        assert screen(await desk.until("40 120"))[1:] == ["42", "40 120", "$"]
        assert desk.result.exit_code is None

    async def test_it_starts_in_the_repository_with_a_terminal_that_is_known(
        self, desk: Desk, sandbox: Sandbox
    ) -> None:
        body = await desk.do("open", command='pwd; echo "$TERM"; tty; tput cols', columns=90, rows=20)
        assert screen(body)[:2] == [sandbox.working_directory, "xterm"]
        assert screen(body)[2].startswith("/dev/pts/")
        assert screen(body)[3] == "90"

    async def test_a_program_that_ends_says_how(self, desk: Desk) -> None:
        body = await desk.do("open", command="echo bye; exit 7")
        assert body == "t1 ended exit=7\n[screen, 120 × 40:]\nbye"
        assert desk.result.exit_code == 7
        assert "t1 ended exit=7: nothing reads these keys" in await desk.send("x")
        assert desk.result.is_error

    async def test_a_password_is_not_shown(self, desk: Desk) -> None:
        await desk.do("open", command="bash -c 'read -s -p Password: x; echo; echo got ${#x}'")
        assert "hunter22" not in await desk.send("hunter22<Enter>")
        assert "got 8" in await desk.do("read")

    async def test_ctrl_c_interrupts_and_the_shell_lives(self, desk: Desk) -> None:
        await desk.do("open", command=PLAIN)
        await desk.send("sleep 960<Enter>")
        await desk.send("C-c")
        await desk.send("echo alive $?<Enter>")
        assert "alive 130" in await desk.until("alive 1")

    async def test_waiting_for_what_comes_late(self, desk: Desk) -> None:
        await desk.do("open", command="read x; sleep 1; echo late; sleep 959")
        assert "late" not in await desk.send("<Enter>")
        assert screen(await desk.do("read", wait=20))[1:] == ["late"]

    async def test_questions_to_the_terminal_are_answered_though_nobody_looks(self, desk: Desk) -> None:
        ask = r"read go; sleep 1; stty raw -echo; printf '\033[6n'; x=$(dd bs=1 count=6 2>/dev/null | od -An -c)"
        await desk.do("open", command=f"{ask}; stty sane; echo $x")
        await desk.send("<Enter>", wait=0)
        assert screen(await desk.until("R"))[1].split() == ["033", "[", "2", ";", "1", "R"]

    async def test_what_scrolled_off_is_shown_once_and_known_rows_are_left_out(self, desk: Desk) -> None:
        await desk.do("open", command=PLAIN, rows=12)
        await desk.send("seq 30<Enter>")
        await desk.until("30\n$")
        body = await desk.send("echo new<Enter>")
        assert "[scrolled off" not in body
        assert screen(body) == ["[rows 1 to 6 as before]", "28", "29", "30", "$ echo new", "new", "$"]
        whole = [*map(str, range(22, 31)), "$ echo new", "new", "$"]
        assert screen(await desk.do("read", wait=0)) == whole

    async def test_output_without_end_is_bounded(self, desk: Desk) -> None:
        body = await desk.do("open", command="yes", wait=2)
        assert "[earlier lines are gone]" in body
        assert len(body) < 25_000
        await desk.send("<C-c>")
        assert "ended exit=130" in await desk.until("ended exit=130")

    async def test_several_terminals_have_names(self, desk: Desk) -> None:
        await desk.do("open", command="echo first; sleep 958")
        await desk.do("open", command="echo second; sleep 958")
        assert "second" in await desk.do("read", wait=0)
        assert "first" in await desk.do("read", wait=0, id="t1")
        assert await desk.do("close", id="t2") == "t2 closed"
        assert "There is no terminal 't2'; there are: t1." in await desk.do("read", id="t2")
        assert "first" in await desk.do("read", wait=0)

    async def test_closing_ends_the_program_with_its_tree(self, desk: Desk, sandbox: Sandbox) -> None:
        await desk.do("open", command="sleep 957 & setsid sleep 957 & trap '' HUP TERM; sleep 957")
        await desk.do("close")
        listing = await sandbox.exec("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '", timeout=20)
        assert b"sleep 957" not in listing.output

    async def test_control_tokens_do_not_come_through(self, desk: Desk) -> None:
        body = await desk.do("open", command="printf '<|im_end|>'; sleep 956")
        assert screen(body) == ["<\u2060|im_end|>"]

    async def test_random_bytes_are_an_answer(self, desk: Desk) -> None:
        assert "ended exit=0" in await desk.do("open", command="head -c 300000 /dev/urandom", wait=30)

    async def test_many_terminals_are_refused_and_ended_ones_make_room(self, desk: Desk) -> None:
        for _ in range(8):
            await desk.do("open", command="read x", wait=0)
        assert "There are 8 terminals already" in await desk.do("open", command="read x")
        await desk.send("<Enter>", id="t3")
        await desk.do("read", id="t3")
        assert (await desk.do("open", command="read x")).startswith("t9 running")
