"""The `terminal` tool on this machine."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from terminal_promises import Desk, TerminalPromises, screen

from agent.repetition import RepeatGuard
from runners.local_sandbox import LocalSandbox
from tools.terminal import InteractiveTerminal, TerminalParameters
from tools.tool import definition


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


class TestTerminal(TerminalPromises):
    """Every promise, on this machine, and programs that a container's image does not have."""

    @needs("vim")
    async def test_vim_edits_a_file(self, desk: Desk, tmp_path: Path) -> None:
        await desk.do("open", command="PS1='$ ' sh -i")
        await desk.send("vim -u NONE -n note.txt<Enter>")
        await desk.send("ione<Enter>two <lt>Enter><Esc>k0x<C-v>")
        assert screen(await desk.do("read", wait=0))[:3] == ["ne", "two <Enter>", "~"]
        await desk.send("<Esc>:wq<Enter>")
        assert screen(await desk.until("vim -u NONE"))[-1] == "$"  # what was there before is there again
        assert (tmp_path / "note.txt").read_text() == "ne\ntwo <Enter>\n"

    @needs("less")
    async def test_less_pages(self, desk: Desk, tmp_path: Path) -> None:
        (tmp_path / "long.txt").write_text("".join(f"line {number}\n" for number in range(1, 500)))
        await desk.do("open", command="LESS= less long.txt", rows=10)
        await desk.send("<PageDown>")
        await desk.send("/line 400<Enter>")
        assert screen(await desk.until("line 408"))[0] == "line 400"
        await desk.send("q")
        assert "t1 ended exit=0" in await desk.do("read")

    @needs("python3")
    async def test_python_talks(self, desk: Desk) -> None:
        await desk.do("open", command="PYTHON_BASIC_REPL=1 python3 -q -I")
        await desk.until(">>>")
        await desk.send("def f(x):<Enter>    return x * 2<Enter><Enter>")
        await desk.send("f(21)<Enter>")
        await desk.until("42")
        await desk.send("f(2<Up><C-c>")
        await desk.until("KeyboardInterrupt")
        await desk.send("<C-d>")
        assert "t1 ended exit=0" in await desk.do("read")

    @needs("top")
    async def test_top_draws(self, desk: Desk) -> None:
        await desk.do("open", command="top")
        body = await desk.until("PID")
        assert screen(body)[0].startswith("top - ")
        await desk.send("q")
        assert "t1 ended exit=0" in await desk.do("read")

    @needs("tput")
    async def test_tput_finds_what_it_looks_for(self, desk: Desk) -> None:
        command = (
            "echo before; tput smcup; tput cup 2 4; printf inside; read x; tput rmcup; tput el; echo after; read x"
        )
        body = await desk.do("open", command=command)
        assert screen(body) == ["", "", "    inside"]
        await desk.send("<Enter>")
        assert screen(await desk.until("after")) == ["before", "after"]

    @needs("dialog")
    async def test_dialog_is_answered(self, desk: Desk, tmp_path: Path) -> None:
        await desk.do("open", command="dialog --menu 'Pick' 12 40 4 1 one 2 two 2>choice; exit $?")
        assert "│ Pick" in await desk.until("Pick")
        await desk.send("<Down><Enter>")
        assert "t1 ended exit=0" in await desk.until("ended")
        assert (tmp_path / "choice").read_text() == "2"

    async def test_closing_the_sandbox_ends_it(self, tmp_path: Path) -> None:
        opened = LocalSandbox(tmp_path)
        tool = InteractiveTerminal()
        await tool(TerminalParameters(action="open", command="sleep 955 & sleep 955"), opened)
        await opened.close()
        lines = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
        assert ["sleep", "955"] not in lines
        for _ in range(100):
            if not [task for task in asyncio.all_tasks() if "TerminalSession" in repr(task)]:
                break
            await asyncio.sleep(0.1)
        assert not [task for task in asyncio.all_tasks() if "TerminalSession" in repr(task)]

    async def test_the_same_screen_is_the_same_text(self, desk: Desk) -> None:
        await desk.do("open", command="seq 100; read x")
        first = await desk.do("read", wait=0)
        again = await desk.do("read", wait=0)
        assert first.partition("; unchanged")[0] == again.partition("; unchanged")[0]
        assert screen(first) == screen(again)

    async def test_waiting_is_not_taken_for_going_in_circles_and_vain_keys_are(self, desk: Desk) -> None:
        reads, sends = RepeatGuard(), RepeatGuard()
        await desk.do("open", command="stty -echo; exec sleep 954")
        await desk.do("read", wait=0)
        for _ in range(5):
            await desk.do("read", wait=1)
            reads.add([("terminal", "read")], [desk.result.text])
            await desk.send("j", wait=0)
            sends.add([("terminal", "send")], [desk.result.text])
        assert not reads.exceeded
        assert sends.exceeded

    @pytest.mark.parametrize(
        ("arguments", "answer"),
        [
            ({"action": "read"}, "Open terminals: none; `open` one first."),
            ({"action": "send", "keys": "x", "id": "t4"}, "There is no terminal 't4'; there are: none"),
            ({"action": "open", "command": "a\0b"}, "NUL"),
        ],
    )
    async def test_what_cannot_be_done_is_an_answer(self, desk: Desk, arguments: dict[str, str], answer: str) -> None:
        assert answer in await desk.do(**arguments)
        assert desk.result.is_error

    async def test_keys_that_nobody_reads_are_an_answer(self, desk: Desk) -> None:
        await desk.do("open", command="stty raw -echo; exec sleep 953")
        for _ in range(30):
            await desk.send("x" * 100_000, wait=0)
            if desk.result.is_error:
                break
        assert "t1 does not take these keys" in desk.result.text

    async def test_send_needs_keys(self, desk: Desk) -> None:
        await desk.do("open", command="sleep 952")
        assert await desk.do("send") == "`send` needs `keys`."


def test_the_schema_holds_strings_and_integers_alone() -> None:
    properties = definition(InteractiveTerminal())["function"]["parameters"]["properties"]
    assert {field["type"] for field in properties.values()} == {"string", "integer"}
    assert [*properties] == ["action", "command", "keys", "wait", "id", "columns", "rows"]


def test_reading_is_reading_and_typing_is_not() -> None:
    access = InteractiveTerminal().access
    assert access(TerminalParameters(action="read")) == "read"
    assert {access(TerminalParameters(action=action)) for action in ("open", "send", "close")} == {"execute"}


def test_null_is_as_good_as_left_out() -> None:
    read = TerminalParameters.model_validate({"action": "read", "keys": None, "wait": None, "id": None})
    assert read == TerminalParameters(action="read")
