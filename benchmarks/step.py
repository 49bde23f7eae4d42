"""A step: what the harness adds between two requests, early and late in a task, and what it holds in memory.

Measured: a scripted backend, in a process of its own, plays a model that calls `bash` with `true` at every step (and
a number that `true` does not read, or the agent would rightly say that the model goes in circles).
The overhead of step n is what that server sees: from the last byte of its response n to the arrival of request n+1,
which takes in reading the response, recording it, running the command in a Docker container and putting the next
request together. The server sends as fast as it can, so what a client still has to read by then counts against it.
Each figure is the median over the steps around 30 or around 300, over three tasks for ours, since a task of ours
takes seconds and a busy moment of the machine would decide, and over one for the peer. Subtracted: nothing; the time
in which the server computes its responses lies outside of the span. Both times are of the server's clock.

Ours is the command as a person runs it, `agent run --sandbox docker:… --json`, which records its session. The peer is
mini-swe-agent's `DefaultAgent` with its Docker environment, its prompts and limits of SWE-bench, litellm, and its
trajectory written at every step, as its command `mini` does: the same server, image and call.

Memory: the most that was resident in the agent's own process until its end (VmHWM), in MB of 10^6 bytes.
"""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import own_command, run_watched
from benchmarks.measurement import Measurement, Options
from benchmarks.peers import MINI, mini_environment, mini_variables
from benchmarks.scripted_server import ScriptedServer, serve_script

IMAGE = "unbroken/base:1"
EARLY = (25, 35)
LATE = (290, 310)
STEPS = LATE[1] + 1
OWN_TASKS = 3
TARGET_MILLISECONDS = 10.0
TARGET_GROWTH = 1.5
TARGET_MEGABYTES = 120.0
LIMIT_REACHED = 3
CITED_OVERHEAD = {"Inspect": 306.0}
CITED_MEMORY = {"Inspect": 130.0, "Harbor": 249.0}
"""The best of what was seen, in milliseconds and megabytes."""

_THINKING = """\
The file has to be read before anything can be said about it, so that comes first. Then the failing test
shows which of the two branches is taken, and the edit goes there."""


@dataclass(frozen=True)
class _Task:
    """What was seen of one task: seconds between requests, and bytes."""

    early: list[float]
    late: list[float]
    peak: int


@dataclass(frozen=True)
class _Figures:
    early: float
    """Milliseconds, as `late`."""
    late: float
    megabytes: float

    @classmethod
    def of(cls, tasks: list[_Task]) -> "_Figures":
        return cls(
            early=statistics.median(gap for task in tasks for gap in task.early) * 1000,
            late=statistics.median(gap for task in tasks for gap in task.late) * 1000,
            megabytes=max(task.peak for task in tasks) / 1e6,
        )

    @property
    def growth(self) -> float:
        return self.late / self.early


def _script() -> dict[str, Any]:
    """A script, as JSON, which is YAML too."""
    replies = [
        {
            "reasoning": _THINKING,
            "content": "Let me look.",
            "tool_calls": [{"name": "bash", "arguments": {"command": f"true {number}"}}],
        }
        for number in range(1, STEPS + 2)
    ]
    description = "Calls bash with `true` for as long as it is asked."
    return {"scripted": "benchmark", "description": description, "conversations": [{"replies": replies}]}


def run(options: Options) -> list[Measurement]:
    """Measure our agent, then mini's."""
    ours = _Figures.of([_measure(_run_ours) for _ in range(OWN_TASKS)])
    theirs = _Figures.of([_measure(_run_mini)]) if options.with_peer else None
    peer = MINI if theirs else None
    early = Measurement(
        "overhead of a step, step 30", ours.early, "ms", TARGET_MILLISECONDS, peer, theirs and theirs.early
    )
    late = Measurement(
        "overhead of a step, step 300", ours.late, "ms", TARGET_MILLISECONDS, peer, theirs and theirs.late
    )
    growth = Measurement("step 300 / step 30", ours.growth, "×", TARGET_GROWTH, peer, theirs and theirs.growth)
    memory = Measurement(
        "peak resident memory of an agent", ours.megabytes, "MB", TARGET_MEGABYTES, peer, theirs and theirs.megabytes
    )
    return [
        early,
        late,
        growth,
        memory,
        *(early.beside(other, value) for other, value in CITED_OVERHEAD.items()),
        *(memory.beside(other, value) for other, value in CITED_MEMORY.items()),
    ]


def _measure(run_agent: Callable[[ScriptedServer, Path], int]) -> _Task:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.yaml"
        script.write_text(json.dumps(_script()), "utf-8")
        with serve_script(script) as server:
            peak = run_agent(server, Path(folder))
            return _Task(server.gaps(*EARLY), server.gaps(*LATE), peak)


def _run_ours(server: ScriptedServer, folder: Path) -> int:
    repository = _make_repository(folder / "repository")
    options = {
        "--repo": str(repository),
        "--sandbox": f"docker:{IMAGE}",
        "--backend": server.url,
        "--approve": "all",
        "--max-steps": str(STEPS),
        "--sessions": str(folder / "sessions"),
    }
    words = [word for option in options.items() for word in option]
    return run_watched([own_command("agent"), "run", "Mend it.", "--json", *words], expected=LIMIT_REACHED)


def _make_repository(path: Path) -> Path:
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    path.mkdir()
    (path / "README").write_text("A repository.\n", "utf-8")
    for arguments in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message=First"]):
        subprocess.run(["git", "-C", str(path), *arguments], check=True)
    return path


def _run_mini(server: ScriptedServer, folder: Path) -> int:
    python = mini_environment() / "python"
    driver = Path(__file__).with_name("mini_driver.py")
    arguments = [server.url, IMAGE, str(STEPS), str(folder / "trajectory.json")]
    return run_watched([str(python), str(driver), *arguments], expected=0, environment=mini_variables(folder))
