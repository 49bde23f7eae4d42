"""The smallest real things that tests work on: a git repository, a script, our console commands as processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from results.records.events import Event
from results.trajectory import read_trajectory

VENV = Path(sys.prefix)
PATIENCE = 60.0

Reply = dict[str, Any]


def bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "arguments": {"command": command}}


def calls(*commands: str, content: str = "") -> Reply:
    return {"content": content, "tool_calls": [bash(command) for command in commands]}


def fault(times: int = 1, **what: Any) -> dict[str, Any]:
    return {"fault": what, "times": times}


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """What a new user has: a home of their own, a PATH without our virtual environment, no settings of git."""
    path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != VENV / "bin"]
    kept = {name: os.environ[name] for name in ("DOCKER_HOST", "TMPDIR", "LANG") if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
        **more,
    }  # fmt: skip


@dataclass(frozen=True)
class GitRepository:
    """A git repository on disk."""

    path: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, check=True, capture_output=True
        )  # fmt: skip
        return done.stdout.decode("utf-8", "surrogateescape")

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.path / name).read_text("utf-8")

    def commit(self, **files: str) -> None:
        for name, content in files.items():
            self.write(name, content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "state")

    def git_data(self) -> dict[str, str]:
        """Everything in `.git`, file by file: what must not change when nobody asked for it."""
        files = sorted(path for path in (self.path / ".git").rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    raw_out: bytes


@dataclass
class Console:
    """Runs our console commands as real processes, as a user of their own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    patience: float = PATIENCE
    process_ids: list[int] = field(default_factory=list[int])
    """Of all that it has started."""

    def agent(self, *arguments: str | Path, cwd: Path | str | None = None, **environment: str) -> Done:
        return self.run([str(VENV / "bin" / "agent"), *map(str, arguments)], cwd=cwd, **environment)

    def run(self, command: Sequence[str], cwd: Path | str | None = None, **environment: str) -> Done:
        with self._popen(command, cwd, environment) as process:
            try:
                out, err = process.communicate(timeout=self.patience)
            except BaseException:
                process.kill()
                raise
        return Done(process.returncode, out.decode(), err.decode(), out)

    def start(
        self, *arguments: str | Path, cwd: Path | str | None = None, **environment: str
    ) -> "subprocess.Popen[bytes]":
        return self._popen([str(VENV / "bin" / "agent"), *map(str, arguments)], cwd, environment)

    def _popen(
        self, command: Sequence[str], cwd: Path | str | None, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command, cwd=cwd or self.home, env=self.all(environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.process_ids.append(process.pid)
        return process

    def all(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**self.environment, **(more or {})}

    def session(self) -> Path:
        """The folder of the one session there is."""
        (folder,) = (self.home / "data" / "unbroken" / "sessions").iterdir()
        return folder

    def events(self) -> list[Event]:
        return list(read_trajectory(self.session() / "trajectory.jsonl"))

    def patch(self) -> str:
        return (self.session() / "patch.diff").read_text("utf-8")


def end(process: "subprocess.Popen[bytes]", number: int = signal.SIGINT) -> Done:
    """Send a signal, and wait until the process has ended."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out.decode(), err.decode(), out)


def is_running(process_id: int) -> bool:
    """Whether a process is there and alive; one that only waits to be buried is not."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(process_id: int) -> None:
    """Wait until a process is gone that was killed: the system may need a moment for that."""
    deadline = time.monotonic() + PATIENCE
    while is_running(process_id):
        assert time.monotonic() < deadline, f"process {process_id} still runs"
        time.sleep(0.02)


def wait_for(path: Path) -> None:
    """Wait until a file is there, which a process is to make."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)


def script_text(replies: Sequence[Reply], **settings: Any) -> str:
    script = {"scripted": "test", "conversations": [{"replies": list(replies)}], **settings}
    return yaml.safe_dump(script, sort_keys=False)


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
