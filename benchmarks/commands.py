"""Runs the console commands, ours and others', as a person does: each in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import peak_memory
from benchmarks.measurement import BenchmarkError

_POLL_SECONDS = 0.2


def own_command(name: str) -> str:
    """The path of `agent`, `evals` or `results` in this environment. Raises BenchmarkError."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        message = f"there is no command {name} beside {sys.executable}; `make setup` makes it"
        raise BenchmarkError(message)
    return str(path)


def run_watched(
    command: Sequence[str], expected: int, environment: Mapping[str, str] | None = None, timeout: float = 900
) -> int:
    """Run `command` to its end and return the bytes that were resident in its process at most.

    Raises BenchmarkError when it ends with another exit code than `expected`, or not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    peak = 0
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            while process.poll() is None and time.monotonic() < deadline:
                peak = max(peak, peak_memory(process.pid) or 0)
                time.sleep(_POLL_SECONDS)
        finally:
            process.kill()
        said = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
    if process.returncode != expected:
        message = (
            f"{Path(command[0]).name} ended with {process.returncode} instead of {expected}: {said.strip()[-1000:]}"
        )
        raise BenchmarkError(message)
    return peak
