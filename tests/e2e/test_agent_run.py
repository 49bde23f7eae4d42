"""`agent run` as a person meets it: real processes, a real repository, a scripted server behind real HTTP."""

import json
import re
import sys
from collections.abc import Callable

import pytest
from agent_desk import DONE, EDIT, WriteScript, check_record
from real_things import Console, GitRepository, bash, calls, end, json_lines

from agent.scripted.script import Script
from agent.scripted.server import serve

# -- the happy path


def test_work_is_streamed_done_in_place_shown_and_recorded_and_nothing_else_changes(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    repository.write("greeting", "stashed\n")
    repository.git("stash")
    repository.write("greeting", "hello, uncommitted\n")
    repository.write("staged", "staged\n")
    repository.git("add", "staged")
    repository.write("untracked", "untracked\n")
    before = repository.git_data()
    path = str(repository.path / "greeting")
    arguments = {"command": "str_replace", "path": path, "old_str": "hello", "new_str": "hello world"}
    replies = [
        {"reasoning": "Whom else to greet?", "content": "I look.", "tool_calls": [bash("cat greeting; echo new >new")]},
        {"content": "I greet the world.", "tool_calls": [{"name": "str_replace_editor", "arguments": arguments}]},
    ]
    done = console.agent(
        "run", "Greet all", "--repo", repository.path, "--approve", "all", "--backend", write_script(*replies, DONE)
    )

    assert done.code == 0
    places = [done.out.index(part) for part in (
        "scripted/test at http://127.0.0.1:", "scripted: replies come from a file", str(repository.path),
        "Whom else to greet?", "I look.", "bash  cat greeting", "exit=0", "  hello, uncommitted", "I greet the world.",
        "str_replace_editor", "It is done.", "-hello, uncommitted\n+hello world, uncommitted\n", "finished: 3 steps",
    )]  # fmt: skip
    assert places == sorted(places)
    assert f"recorded in {console.session()}" in done.err
    assert repository.read("greeting") == "hello world, uncommitted\n"
    assert console.patch() in done.out
    assert re.findall(r"^diff --git a/(\S+)", console.patch(), re.MULTILINE) == ["greeting", "new"]
    assert repository.git_data() == before
    assert repository.read("untracked") == "untracked\n"
    check_record(console, "finished")


def test_folder_of_a_repository_is_where_commands_start_and_a_session_in_it_is_no_work(
    console: Console, make_repository: Callable[..., GitRepository], write_script: WriteScript
):
    repository = make_repository(**{"top": "1\n", "sub/in": "1\n"})
    script = write_script(calls("pwd; echo 2 | tee in >../top"), DONE)
    done = console.agent(
        "run", "x", "--approve", "all", "--sessions", "log", "--backend", script, cwd=repository.path / "sub"
    )
    assert done.code == 0
    assert f"  {repository.path / 'sub'}\n" in done.out
    assert re.findall(r"^diff --git a/(\S+)", done.out, re.MULTILINE) == ["sub/in", "top"]
    assert repository.git("status", "--porcelain") == " M sub/in\n M top\n"
    assert len(list((repository.path / "sub" / "log").glob("*/trajectory.jsonl"))) == 1


def test_json_is_the_recorded_trajectory_and_nothing_else(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    done = console.agent("run", "x \u2028 😀", "--repo", repository.path, "--approve", "all", "--json", "--backend",
                         write_script(calls("printf '\\377\\000\\033[2J'"), DONE))  # fmt: skip
    assert done.code == 0
    assert done.raw_out == (console.session() / "trajectory.jsonl").read_bytes()
    assert json.loads(done.out.splitlines()[0])["type"] == "start"


def test_what_reaches_the_terminal_holds_no_command_for_it(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    evil = "\x9b2J\x1b]0;x\x07"
    command = f"printf '\\033[2J\\302\\2332J'; printf '\\033[2J数\\n' >greeting #{evil}"
    script = write_script({"reasoning": evil, "content": evil, "tool_calls": [bash(command)]}, {"content": evil})
    done = console.agent("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script)
    assert done.code == 0
    assert "数" in done.out
    assert not {"\x1b", "\x9b", "\x07"} & set(done.out + done.err)


# -- finding a server


def agent_that_looks_at(servers: dict[str, str]) -> list[str]:
    """The command, on a machine whose local servers listen elsewhere."""
    code = f"""
import agent.local_servers
agent.local_servers.local_addresses = lambda: {servers!r}
import unbroken.entry
unbroken.entry.agent()
"""
    return [sys.executable, "-c", code]


async def test_server_on_this_machine_is_found_and_named(console: Console, repository: GitRepository):
    script = Script.model_validate({"scripted": "s", "conversations": [{"replies": [DONE]}]})
    async with serve(script) as url:
        command = agent_that_looks_at({"vllm": "http://127.0.0.1:9/v1", "ollama": url})
        done = console.run([*command, "run", "x", "--repo", str(repository.path), "--json"])
        found = console.run([*command, "backends", "find"])
    assert done.code == 0
    assert f"found a model server at {url} (the port of ollama)" in done.err
    assert json_lines(done.out)[0]["backend"]["base_url"] == url
    assert (found.code, found.out) == (0, f"{url}  (the port of ollama)  scripted/s\n")


@pytest.mark.parametrize("arguments", [["run", "x"], ["backends", "find"]])
def test_no_server_on_this_machine_says_what_to_do(console: Console, repository: GitRepository, arguments: list[str]):
    command = agent_that_looks_at({"vllm": "http://127.0.0.1:9/v1"})
    done = console.run([*command, *arguments], cwd=repository.path)
    assert (done.code, done.out) == (5, "")
    assert "no model server answers on this machine; looked for vllm (127.0.0.1:9)" in done.err
    assert "--backend http://HOST:PORT/v1" in done.err


def test_script_is_served_until_interrupted(console: Console, repository: GitRepository, write_script: WriteScript):
    file = write_script(EDIT, DONE).removeprefix("scripted:")
    process = console.start("backends", "serve-script", file, "--port", "0")
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    url = line.split()[-1]
    assert "scripted" in line
    done = console.agent("run", "x", "--repo", repository.path, "--approve", "all", "--backend", url)
    assert (done.code, repository.read("greeting")) == (0, "hello world\n")
    taken = console.agent("backends", "serve-script", file, "--port", url.removesuffix("/v1").rpartition(":")[2])
    assert taken.code == 2
    assert "--port" in taken.err
    ended = end(process)
    assert (ended.code, ended.out) == (0, "")
