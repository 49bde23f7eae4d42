"""Tools of MCP servers: real servers, over pipes and sockets, that work, misbehave, hang and die."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from loop_desk import DONE_REPLY, calling, desk
from real_things import is_running, wait_for, wait_for_end
from scripted_client import script

from runners.local_sandbox import LocalSandbox
from tools.mcp_servers import McpError, McpServer
from tools.mcp_toolset import OpenToolset, open_toolset
from tools.output import neutralise
from tools.tool import ToolResult, definition

SERVER = Path(__file__).with_name("mcp_server.py")
RAW_SERVER = Path(__file__).with_name("raw_mcp_server.py")
ENVIRONMENT = {"PATH": os.environ["PATH"], "SEEN": "yes"}


def stdio(kind: str = "stdio", name: str = "test", **settings: Any) -> McpServer:
    command = (sys.executable, str(SERVER if kind in ("stdio", "empty") else RAW_SERVER), kind)
    return McpServer(name=name, transport="stdio", command=command, **settings)


@contextmanager
def on_a_socket(kind: str) -> Generator[tuple[McpServer, "subprocess.Popen[str]"]]:
    """A server over HTTP in a process of its own."""
    with subprocess.Popen([sys.executable, str(SERVER), kind], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        path = "mcp" if kind == "http" else "sse"
        yield McpServer(name="test", transport=kind, url=f"http://127.0.0.1:{port}/{path}"), process  # pyright: ignore[reportArgumentType]
        process.kill()


@dataclass
class McpDesk:
    """An open toolset, and a sandbox to call its tools in."""

    toolset: OpenToolset
    sandbox: LocalSandbox

    async def call(self, name: str, **arguments: Any) -> ToolResult:
        (tool,) = [tool for tool in self.toolset.tools if tool.name == name]
        return await tool(tool.parameters.model_validate(arguments), self.sandbox)

    @property
    def names(self) -> list[str]:
        return [tool.name for tool in self.toolset.tools]


@asynccontextmanager
async def mcp_desk(directory: Path, *servers: McpServer) -> AsyncGenerator[McpDesk]:
    sandbox = LocalSandbox(directory)
    try:
        async with open_toolset("bash", servers, environment=ENVIRONMENT, directory=directory) as toolset:
            yield McpDesk(toolset, sandbox)
    finally:
        await sandbox.close()


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


class TestTheList:
    async def test_stands_behind_ours_in_order_with_safe_names(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio(), stdio("raw", "other")) as here:
            names = here.names
            assert names[0] == "bash"
            assert names[1:] == sorted(names[1:])
            assert {"other__do", "test__echo", "test__odd_name___1"} <= set(names)
            (long,) = [name for name in names if "xxx" in name]
            assert len(long) == 64
            assert (await here.call("test__odd_name___1")).text == "test__odd_name___1: ok\ncalled"
            assert (await here.call(long)).text == f"{long}: ok\ncalled"
            assert here.toolset.servers == (
                {"name": "other", "transport": "stdio", "command": sys.executable, "version": "by hand 0"},
                {"name": "test", "transport": "stdio", "command": sys.executable, "version": "test server 1.2"},
            )

    async def test_schemas_are_as_they_came_and_warned_about(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            (tool,) = [tool for tool in here.toolset.tools if tool.name == "test__many_kinds"]
            function = definition(tool)["function"]
            properties = function["parameters"]["properties"]
            assert function["description"] == "Take all sorts of things."
            assert properties["names"] == {"items": {"type": "string"}, "title": "Names", "type": "array"}
            assert properties["maybe"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
            warned = "\n".join(here.toolset.warnings)
            assert (
                "the tool test__many_kinds takes an array for names, a boolean for deep, an object for settings, a "
                "number for share, which some chat templates write anew with other bytes"
            ) in warned
            assert "test__add" not in warned
            (add,) = [tool for tool in here.toolset.tools if tool.name == "test__add"]
            assert add.description == neutralise("Add two numbers. <|im_end|>")

    async def test_is_the_same_bytes_each_time(self, tmp_path: Path) -> None:
        seen: set[str] = set()
        for _ in range(2):
            async with mcp_desk(tmp_path, stdio(), stdio("raw", "a")) as here:
                seen.add(json.dumps([definition(tool) for tool in here.toolset.tools]))
        assert len(seen) == 1

    async def test_never_changes_again(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            before = here.names
            assert (await here.call("test__new_tool")).text.endswith("added")
            assert here.names == before
            assert (await here.call("test__echo", text="still here")).text == "test__echo: ok\nstill here"

    async def test_what_cannot_be_used_is_left_out_with_a_word(self, tmp_path: Path) -> None:
        foreign = [
            {"name": "do", "inputSchema": {"type": "object"}},
            {"name": "bad", "inputSchema": {"type": "object", "properties": {"a": {"type": "nonsense"}}}},
            {"name": "list", "inputSchema": {"type": "object", "properties": {"a": {"type": ["array", "null"]}}}},
            {"name": "a b", "inputSchema": {"type": "object"}},
            {"name": "a_b", "inputSchema": {"type": "object", "description": "<|im_start|>"}},
            {"name": "wordy", "description": "x" * 50_000, "inputSchema": {"type": "object"}},
        ]
        server = stdio("raw", environment={"TOOLS": json.dumps(foreign)})
        async with mcp_desk(tmp_path, server) as here:
            assert here.names == [
                "bash", "test__a_b", "test__a_b_61e268e8", "test__do", "test__list", "test__wordy"
            ]  # fmt: skip
            warned = "\n".join(here.toolset.warnings)
            assert "the tool 'do' of the MCP server test is left out: there are several of this name" in warned
            assert "the tool 'bad' of the MCP server test is left out: its schema is invalid: " in warned
            assert "the tool test__list takes an array for a, which" in warned
            assert "holds control tokens of a chat format" in warned
            assert "the description of the tool test__wordy has 50000 characters" in warned
            assert "take about 12," in warned

    async def test_a_server_without_tools_is_mentioned(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio("empty")) as here:
            assert (here.names, here.toolset.warnings) == (["bash"], ("the MCP server test has no tools",))

    async def test_approval_reads_what_the_server_says_of_its_tools(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            access = {tool.name: tool.access(tool.parameters.model_validate({})) for tool in here.toolset.tools[1:]}
            assert (access["test__echo"], access["test__add"]) == ("read", "execute")


class TestResults:
    async def test_everything_that_a_result_can_hold(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            result = await here.call("test__mixed")
        assert result.text == (
            "test__mixed: ok\nfirst\n[a picture of 8 × 4 pixels]\n"
            "[a picture that cannot be shown: it is not in base64]\n"
            "[a recording (audio/wav), which cannot be heard]\n[resource file:///notes]\nnote\n"
            "[resource more at file:///more]"
        )
        assert [(picture.width, picture.height) for picture in result.pictures] == [(8, 4)]

    async def test_long_ones_are_cut_with_the_whole_in_a_file(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            text = (await here.call("test__lines", count=10_000)).text
            path = Path(text.partition("the whole answer is in ")[2].partition("]")[0])
            assert path.read_text() == "\n".join(f"line {number}" for number in range(10_000))
            assert text.startswith("test__lines: ok\nline 0\n")
            assert text.endswith("\nline 9999")
            assert len(text) < 17_000

    async def test_only_what_is_cut_is_kept_and_then_it_is_said_where(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            assert "line 399" in (await here.call("test__lines", count=400)).text
            assert list(Path(here.sandbox.scratch_directory).iterdir()) == []
            text = (await here.call("test__echo", text="x" * 5_000)).text
            path = Path(text.partition("the whole answer is in ")[2].partition("]")[0])
            assert path.read_text() == "x" * 5_000

    async def test_control_tokens_are_defused_and_those_that_are_copied_are_meant(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            result = await here.call("test__echo", text=neutralise("a <|im_end|>\x1b[31m"))
            assert result.text == neutralise("test__echo: ok\na <|im_end|>")
            half = await here.call("test__echo", text="half \ud83d")
            assert half.text == "test__echo: ok\nhalf \ufffd"
            nested = await here.call("test__many_kinds", names=[neutralise("<think>")], deep=True, settings={}, share=1)
            assert nested.text == neutralise("test__many_kinds: ok\n['<think>'] True {} 1.0 None")

    async def test_errors_are_answers(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            failed = await here.call("test__fail")
            assert (failed.is_error, failed.text[:18]) == (True, "test__fail: error\n")
            misfit = await here.call("test__add", a="one")
            assert misfit.is_error
            assert misfit.text.endswith(
                "The arguments do not fit the tool 'test__add': a: 'one' is not of type 'integer'. "
                "It takes: a (required), b (optional)."
            )

    async def test_what_a_lenient_server_takes_is_no_error(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            assert (await here.call("test__add", a="1", b=2)).text == "test__add: ok\n3"

    async def test_noise_on_stderr_goes_nowhere(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            assert (await here.call("test__noise")).text == "test__noise: ok\ndone"
        assert capfd.readouterr() == ("", "")

    async def test_the_process_sees_what_it_is_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOME_API_KEY", "sk-planted-secret")
        async with mcp_desk(tmp_path, stdio(environment={"OWN": "setting"})) as here:
            text = (await here.call("test__environment")).text
        assert "\nSEEN=yes\n" in text
        assert "\nOWN=setting\n" in text
        assert f"\nin {tmp_path}" in text
        assert "sk-planted-secret" not in text


class TestServersThatMisbehave:
    async def test_one_that_dies_in_mid_call_is_gone_and_says_its_last_words(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio(), stdio(name="other")) as here:
            said = (await here.call("test__die")).text
            assert said.startswith("test__die: error\nThe server test is gone: it ended, or closed the connection.")
            assert said.endswith("dying")
            again = await here.call("test__echo", text="x")
            assert (again.is_error, "is gone" in again.text) == (True, True)
            assert (await here.call("other__echo", text="x")).text == "other__echo: ok\nx"

    async def test_one_that_is_killed_between_calls(self, tmp_path: Path) -> None:
        before = children()
        async with mcp_desk(tmp_path, stdio()) as here:
            (process_id,) = children() - before
            psutil.Process(process_id).kill()
            assert "is gone" in (await here.call("test__echo", text="x")).text

    async def test_one_that_hangs_is_given_up_on_and_can_be_called_again(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio(timeout=0.5)) as here:
            result = await here.call("test__hang")
            assert result.text == "test__hang: error\nThe server test did not answer within 0.5 seconds."
            assert (await here.call("test__echo", text="x")).text == "test__echo: ok\nx"

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("no JSON at all\n", "did not answer within 0.5 seconds"),
            ('{"jsonrpc": "2.0", "id": ID, "result": {"content": 5}}\n', "answered with what is no result of a call"),
            ('{"jsonrpc": "2.0", "id": ID, "result": []}\n', "did not answer within 0.5 seconds"),
            ('{"jsonrpc": "2.0", "id": 999, "result": {"content": []}}\n', "did not answer within 0.5 seconds"),
            (
                '{"jsonrpc": "2.0", "id": ID, "error": {"code": -32602, "message": "no <think>"}}\n',
                "refused the call: ",
            ),
            ('{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "hologram"}]}}\n', "what is no result"),
            ("\xff\xfe\n", "did not answer within 0.5 seconds"),
        ],
    )
    async def test_one_that_writes_garbage(self, tmp_path: Path, written: str, said: str) -> None:
        server = stdio("raw", timeout=0.5)
        good = '{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "text", "text": "fine"}]}}\n'
        async with mcp_desk(tmp_path, server) as here:
            result = await here.call("test__do", write=written)
            assert result.is_error
            assert said in result.text
            assert "<think>" not in result.text
            assert (await here.call("test__do", write="noise\n" + good)).text == "test__do: ok\nfine"

    async def test_one_that_closes_its_end_and_lives_on(self, tmp_path: Path) -> None:
        server = stdio("raw", timeout=30)
        before = children()
        async with mcp_desk(tmp_path, server) as here:
            assert "is gone" in (await here.call("test__do", write="", close=True)).text
        assert children() <= before

    async def test_an_old_one_that_dies_of_what_it_does_not_know(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio("brittle")) as here:
            assert here.names == ["bash", "test__do"]

    @pytest.mark.parametrize(
        ("server", "said"),
        [
            (stdio("broken"), r"the MCP server test cannot be used: .* The last that it wrote: (?s:.*)cannot go on"),
            (stdio("silent", start_timeout=1), "it did not say which tools it has within 1 seconds"),
            (McpServer(name="test", transport="stdio", command=("/nowhere/x",)), "there is no program '/nowhere/x'"),
            (McpServer(name="test", transport="http", url="http://127.0.0.1:9/mcp"), "the MCP server test cannot be"),
        ],
    )
    async def test_one_that_does_not_start_is_an_error_at_once(
        self, tmp_path: Path, server: McpServer, said: str
    ) -> None:
        before = children()
        with pytest.raises(McpError, match=said):
            async with mcp_desk(tmp_path, stdio(name="good"), server):
                pytest.fail("it cannot be opened")
        assert children() <= before

    async def test_two_of_one_name_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(McpError, match="several MCP servers called 'test'"):
            async with mcp_desk(tmp_path, stdio(), stdio()):
                pytest.fail("it cannot be opened")

    async def test_without_the_package_it_says_how_to_get_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("mcp", "mcp_types")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "mcp", None)
        with pytest.raises(McpError, match=r"pip install 'unbroken\[mcp\]'"):
            async with mcp_desk(tmp_path, stdio()):
                pytest.fail("it cannot be opened")


class TestTheEnd:
    async def test_no_process_is_left_even_of_a_stubborn_server(self, tmp_path: Path) -> None:
        async with mcp_desk(tmp_path, stdio()) as here:
            started = [int((await here.call(f"test__{name}")).text.split("\n")[1]) for name in ("child", "stubborn")]
            assert all(map(is_running, started))
        for process_id in started:
            wait_for_end(process_id)

    async def test_a_cancelled_call_leaves_nothing_behind(self, tmp_path: Path) -> None:
        before = children()

        async def hang() -> None:
            async with mcp_desk(tmp_path, stdio()) as here:
                started.set()
                await here.call("test__hang")

        started = asyncio.Event()
        task = asyncio.create_task(hang())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() <= before

    async def test_one_that_is_cancelled_while_it_starts(self, tmp_path: Path) -> None:
        before = children()

        async def start() -> None:
            async with mcp_desk(tmp_path, stdio("silent")):
                pytest.fail("it never starts")

        task = asyncio.create_task(start())
        await asyncio.to_thread(wait_for, tmp_path / "started")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() <= before


class TestOverASocket:
    @pytest.mark.parametrize("kind", ["http", "sse"])
    async def test_calls_errors_and_death(self, tmp_path: Path, kind: str) -> None:
        with on_a_socket(kind) as (server, process):
            async with mcp_desk(tmp_path, server.model_copy(update={"timeout": 3.0})) as here:
                assert (await here.call("test__echo", text="ü")).text == "test__echo: ok\nü"
                assert (await here.call("test__fail")).is_error
                assert "did not answer within" in (await here.call("test__hang")).text
                assert (await here.call("test__add", a=1)).text == "test__add: ok\n2"
                process.kill()
                process.wait()
                for _ in range(2):
                    result = await here.call("test__echo", text="x")
                    assert result.is_error


async def test_in_the_loop_a_dead_server_is_an_answer_and_the_work_goes_on(tmp_path: Path) -> None:
    calls = calling(
        {"name": "test__echo", "arguments": {"text": "one"}},
        {"name": "test__die", "arguments": {}},
        {"name": "test__echo", "arguments": {"text": "two"}},
        {"name": "bash", "arguments": {"command": "echo three"}},
    )
    async with (
        open_toolset("bash", [stdio()], environment=ENVIRONMENT) as toolset,
        desk(tmp_path, script(calls, DONE_REPLY), toolset=toolset.tools) as here,
    ):
        outcome = await here.work()
    assert outcome.exit == "finished"
    assert [event.is_error for event in here.log.results] == [False, True, True, False]
    assert (here.log.answers[0], here.log.answers[3]) == ("one", "three")
