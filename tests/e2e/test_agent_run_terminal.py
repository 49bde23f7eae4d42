"""`agent run` at a terminal, where somebody is asked."""

import os
import pty
import signal
import subprocess
from pathlib import Path

from agent_desk import DONE, EDIT, WriteScript, check_record
from real_things import PATIENCE, VENV, Console, GitRepository, calls

from results.records.events import ToolResultEvent


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
