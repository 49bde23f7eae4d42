"""`agent run` as a person meets it: real processes, a real repository, a scripted server behind real HTTP."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from real_things import (
    PATIENCE,
    VENV,
    Console,
    Done,
    GitRepository,
    bash,
    calls,
    end,
    fault,
    is_running,
    json_lines,
    wait_for,
)

from agent.scripted.script import Script
from agent.scripted.server import serve
from results.records.events import EndEvent, PatchEvent, StartEvent, ToolResultEvent

WriteScript = Callable[..., str]
DONE = {"content": "It is done."}
EDIT = calls("printf 'hello world\\n' >greeting", content="I greet the world.")


def check_record(console: Console, exit: str) -> EndEvent:  # noqa: A002 - as the record calls it
    """The trajectory can be read to its end, which says how the task ended; the diff lies beside it."""
    events = console.events()
    assert isinstance(events[0], StartEvent)
    last = events[-1]
    assert isinstance(last, EndEvent)
    assert last.outcome.exit == exit
    patches = [event.patch for event in events if isinstance(event, PatchEvent)]
    assert patches == [console.patch()]
    return last


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


# -- every other end


def run_to_its_end(
    console: Console, repository: GitRepository, script: str, *arguments: str, **environment: str
) -> Done:
    """Run with everything allowed; what goes wrong is one sentence, and has a traceback where that was asked for."""
    done = console.agent(
        "run", "x", "--repo", repository.path, "--approve", "all", "--retries", "1", "--backend", script, *arguments,
        **environment,
    )  # fmt: skip
    assert ("Traceback" in done.err) == ("--debug" in arguments)
    assert len(re.findall("^error: ", done.err, re.MULTILINE)) == (done.code != 0)
    return done


def test_server_that_answers_500_for_ever_is_an_error(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(EDIT, fault(99, status=500, message="out of cheese"), DONE)
    done = run_to_its_end(console, repository, script)
    assert done.code == 1
    assert re.search(r"error: the backend at http://\S+ answered 500: .*out of cheese", done.err)
    assert check_record(console, "error").outcome.error == "backend"
    assert "+hello world" in done.out


def test_server_that_stalls_is_unreachable(console: Console, repository: GitRepository, write_script: WriteScript):
    script = write_script(EDIT, fault(99, stall=30), DONE)
    done = run_to_its_end(console, repository, script, "--stall-timeout", "0.5", "--retries", "0")
    assert done.code == 5
    assert "sent nothing for 0.5 seconds" in done.err
    assert "Is the server still running" in done.err
    check_record(console, "error")


def test_limit_keeps_the_work(console: Console, repository: GitRepository, write_script: WriteScript):
    done = run_to_its_end(console, repository, write_script(EDIT, DONE), "--max-steps", "1")
    assert done.code == 3
    assert "limit:steps" in done.out
    assert "+hello world" in done.out
    check_record(console, "limit:steps")


def test_headless_question_is_denied_and_no_success(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    done = run_to_its_end(console, repository, write_script(EDIT, DONE), "--approve", "ask")
    assert done.code == 4
    assert "--approve all" in done.err
    assert repository.read("greeting") == "hello\n"
    check_record(console, "refused")
    assert [event.denied for event in console.events() if isinstance(event, ToolResultEvent)] == [True]


def test_context_that_is_full_has_an_exit_of_its_own(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("seq 1 3000"), DONE, context_window=3000)
    done = run_to_its_end(console, repository, script)
    assert done.code == 6
    assert "larger context window" in done.err
    check_record(console, "limit:context")


def test_backend_that_goes_away_is_unreachable_and_debug_has_the_traceback(console: Console, repository: GitRepository):
    with _Server() as server:
        done = console.agent(
            "run", "x", "--repo", repository.path, "--retries", "0", "--debug", "--backend", server.url
        )
    assert done.code == 5
    assert "Traceback" in done.err
    assert "BackendUnreachableError" in done.err
    assert "Is the server still running" in done.err
    check_record(console, "error")


def test_git_folder_that_the_agent_deletes_is_told(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    done = run_to_its_end(console, repository, write_script(calls("rm -rf .git"), DONE))
    assert done.code == 1
    assert "there is no diff of the work" in done.err
    last = console.events()[-1]
    assert isinstance(last, EndEvent)
    assert "there is no diff" in last.outcome.detail


# -- interrupts


def test_interrupt_ends_the_command_and_keeps_the_work(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("echo kept >new; sleep 300 & echo $! >pid; touch .git/ready; wait"), DONE)
    process = console.start("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script)
    wait_for(repository.path / ".git" / "ready")
    done = end(process)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert "+kept" in done.out
    assert "+kept" in console.patch()
    check_record(console, "interrupted")
    assert not is_running(int(repository.read("pid")))


def test_request_to_end_while_the_model_speaks_is_an_interrupt(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("touch .git/ready"), {"content": "slow " * 1000}, token_delay=0.05)
    process = console.start("run", "x", "--repo", repository.path, "--approve", "all", "--backend", script)
    wait_for(repository.path / ".git" / "ready")
    assert end(process, signal.SIGTERM).code == 130
    check_record(console, "interrupted")


def test_interrupt_while_the_server_is_asked_for_its_models(console: Console, repository: GitRepository, home: Path):
    with _Server(silent=home / "asked") as server:
        process = console.start("run", "x", "--repo", repository.path, "--backend", server.url)
        wait_for(home / "asked")
        done = end(process)
    assert (done.code, "Traceback" in done.err) == (130, False)


def test_reader_that_leaves_does_not_lose_the_work(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("seq 1 5000"), EDIT, DONE)
    command = f"{VENV}/bin/agent run x --repo {repository.path} --approve all --backend {script} | head -n 1"
    done = console.run(["bash", "-c", command])
    assert repository.read("greeting") == "hello world\n"
    assert "Exception" not in done.err
    check_record(console, "finished")


# -- at a terminal


class _Terminal:
    """A terminal with a person at it."""

    def __init__(self, console: Console, *arguments: str | Path) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = b""
        self._process = subprocess.Popen(
            [str(VENV / "bin" / "agent"), *map(str, arguments)], cwd=console.home, env=console.all({"TERM": "xterm"}),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def expect(self, text: str) -> None:
        while text.encode() not in self._seen:
            self._seen += self._read()
        self._seen = self._seen.partition(text.encode())[2]

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, str]:
        while data := self._read():
            self._seen += data
        code = self._process.wait(PATIENCE)
        os.close(self._ours)
        return code, self._seen.decode()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def _read(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # everything that had the terminal open has ended
            return b""


def test_person_says_yes_and_no_with_a_reason_that_the_model_reads(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    script = write_script(calls("echo one >one"), calls("echo two >two"), DONE)
    terminal = _Terminal(console, "run", "x", "--repo", repository.path, "--backend", script)
    terminal.expect("Run bash  echo one >one")
    terminal.expect("[y]es")
    terminal.type("y\n")
    terminal.expect("Run bash  echo two >two")
    terminal.expect("instead: ")
    terminal.type("no, call it three\n")
    code, _ = terminal.end()
    assert code == 0
    assert (repository.read("one"), (repository.path / "two").exists()) == ("one\n", False)
    allowed, denied = (event for event in console.events() if isinstance(event, ToolResultEvent))
    assert (allowed.denied, denied.denied) == (False, True)
    assert "Denied by the user. call it three" in str(denied.sent["content"])


def test_interrupt_at_a_question_ends_at_once(console: Console, repository: GitRepository, write_script: WriteScript):
    terminal = _Terminal(console, "run", "x", "--repo", repository.path, "--backend", write_script(EDIT, DONE))
    terminal.expect("instead: ")
    terminal.interrupt()
    assert terminal.end()[0] == 130
    check_record(console, "interrupted")


def test_terminal_that_is_closed_at_a_question_denies(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    terminal = _Terminal(console, "run", "x", "--repo", repository.path, "--backend", write_script(EDIT, DONE))
    terminal.expect("instead: ")
    terminal.type("\x04")
    assert terminal.end()[0] == 4


# -- secrets and environment

KEY = "sk-house-0123456789"


class _Server:
    """A model server that wants a key, and repeats it when it fails; it tells what it was asked with."""

    def __init__(self, silent: Path | None = None) -> None:
        keys = self.keys = list[str | None]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.append(self.headers["Authorization"])
                if silent:
                    silent.touch()
                    self.rfile.read()
                self._answer(200, {"data": [{"id": "m"}]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                keys.append(self.headers["Authorization"])
                if server.leaves:
                    self.close_connection = True
                    return
                self._answer(401, {"error": {"message": f"{self.headers['Authorization']} is no key of mine"}})

            def _answer(self, status: int, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                return

        server = self
        self.leaves = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "_Server":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.socket.close()


def test_key_is_sent_and_neither_shown_nor_recorded(console: Console, repository: GitRepository):
    with _Server() as server:
        server.leaves = False
        done = run_to_its_end(
            console,
            repository,
            server.url,
            "--api-key-env",
            "CORP_GATEWAY",
            "--debug",
            CORP_GATEWAY=KEY,
        )
    assert done.code == 1
    assert server.keys == [f"Bearer {KEY}"] * 2
    assert re.search(r"\[(redacted|API key)\] is no key of mine", done.err)
    recorded = b"".join(path.read_bytes() for path in console.session().iterdir())
    assert KEY not in done.out + done.err
    assert KEY.encode() not in recorded


def test_commands_see_the_users_environment_without_secrets_and_without_ours(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    variables = ("UNBROKEN_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "CORP_GATEWAY")
    given = {name: f"value-of-{name}-1" for name in variables}
    ours = {"PATH": f"{VENV}/bin:{console.environment['PATH']}", "VIRTUAL_ENV": str(VENV)}
    others = {"PYTHONPATH": "lib:/opt/lib", "GIT_DIR": "/nowhere"}
    script = write_script(calls("env -0 >.git/seen"), DONE)
    options = ("--api-key-env", "CORP_GATEWAY")
    done = run_to_its_end(console, repository, script, *options, **ours, **others, **given)
    assert done.code == 0
    seen = dict(entry.split("=", 1) for entry in repository.read(".git/seen").split("\0") if entry)
    assert not set(given) & set(seen)
    assert not set(given.values()) & set(seen.values())
    assert seen["PYTHONPATH"] == "lib:/opt/lib"
    assert str(VENV / "bin") not in seen["PATH"].split(":")
    assert not {"VIRTUAL_ENV", "GIT_DIR"} & set(seen)


# -- finding a server


def agent_that_looks_at(servers: dict[str, str]) -> list[str]:
    """The command, on a machine whose local servers listen elsewhere."""
    code = f"""
import agent.backends
agent.backends.LOCAL_SERVERS.clear()
agent.backends.LOCAL_SERVERS.update({servers!r})
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
