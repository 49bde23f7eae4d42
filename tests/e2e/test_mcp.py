"""Tools of an MCP server, from the command line into the record of the work."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from real_things import Console, Done, GitRepository

from results.records.events import StartEvent, ToolResultEvent

SERVER = Path(__file__).parents[1] / "unit" / "mcp_server.py"
SECRET = "sk-mcp-0123456789abcdef"
DONE = {"content": "It is done."}


def asks(name: str, **arguments: object) -> dict[str, Any]:
    return {"content": "", "tool_calls": [{"name": name, "arguments": arguments}]}


def work_with(console: Console, repository: GitRepository, script: str, *options: str, **environment: str) -> Done:
    return console.agent(
        "run", "x", "--repo", repository.path, "--approve", "all", "--backend", script, *options, **environment
    )  # fmt: skip


def results(console: Console) -> list[str]:
    return [event.sent["content"] for event in console.events() if isinstance(event, ToolResultEvent)]


def test_a_server_on_the_command_line_is_called_and_recorded(
    console: Console, repository: GitRepository, write_script: Callable[..., str]
) -> None:
    script = write_script(asks("sums__add", a=40, b=2), DONE)
    done = work_with(console, repository, script, "--mcp", f"sums={sys.executable} {SERVER} stdio")
    assert done.code == 0, done.err
    assert results(console) == ["sums__add: ok\n42"]
    start = console.events()[0]
    assert isinstance(start, StartEvent)
    assert "sums__add" in [tool["function"]["name"] for tool in start.tools]
    assert "the tool sums__many_kinds takes an array" in done.err


def test_a_key_in_a_file_of_servers_reaches_the_server_and_no_record(
    console: Console, repository: GitRepository, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    server = {"command": sys.executable, "args": [str(SERVER), "stdio"], "env": {"SERVICE": "${SERVICE_KEY}"}}
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"keyed": server}}), "utf-8")
    script = write_script(asks("keyed__environment"), DONE)
    done = work_with(console, repository, script, "--mcp-file", str(file), SERVICE_KEY=SECRET)
    assert done.code == 0, done.err
    (said,) = results(console)
    assert "SERVICE=[redacted]" in said
    written = [path for path in (console.home / "data").rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.out + done.err


def test_a_server_that_dies_ends_no_work(
    console: Console, repository: GitRepository, write_script: Callable[..., str]
) -> None:
    script = write_script(asks("mortal__die"), asks("mortal__echo", text="still there?"), DONE)
    done = work_with(console, repository, script, "--mcp", f"mortal={sys.executable} {SERVER} stdio")
    assert done.code == 0, done.err
    first, second = results(console)
    assert "dying" in first
    assert "mortal" in second


def test_a_server_that_cannot_be_had_is_an_error_before_anything_is_asked(
    console: Console, repository: GitRepository, write_script: Callable[..., str]
) -> None:
    done = work_with(console, repository, write_script(DONE), "--mcp", "gone=/nowhere/program")
    assert done.code != 0
    assert "there is no program '/nowhere/program'" in done.err
    assert "Traceback" not in done.err
