"""Start-up: how long a person waits for `--help`.

Measured: wall time from before the process is started until it has ended, output thrown away; the median of
several runs, after one that does not count. The commands take turns, so that what else the machine does meets all of
them alike. Subtracted: nothing.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import own_command
from benchmarks.measurement import BenchmarkError, Measurement, Options
from benchmarks.peers import MINI, mini_environment, mini_variables

TARGET_SECONDS = 0.25
COMMANDS = ("agent", "evals", "results")
CITED_PEERS = {"Harbor: harbor --help": 1.23, "Inspect: inspect --help": 2.0}
"""The fastest of what was seen, in seconds."""


@dataclass(frozen=True)
class _Command:
    path: str
    environment: Mapping[str, str] | None = None

    def seconds(self) -> float:
        started = time.perf_counter()
        finished = subprocess.run(
            [self.path, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            check=False,
        )
        seconds = time.perf_counter() - started
        if finished.returncode != 0:
            message = f"{self.path} --help ended with {finished.returncode}"
            raise BenchmarkError(message)
        return seconds


def run(options: Options) -> list[Measurement]:
    """Measure our three commands, and mini's."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {name: _Command(own_command(name)) for name in COMMANDS}
        if options.with_peer:
            commands["mini"] = _Command(str(mini_environment() / "mini"), mini_variables(Path(folder)))
        seconds = _medians(commands, options.samples)
    peer = f"{MINI}: mini --help" if options.with_peer else None
    measurements = [
        Measurement(f"{name} --help", seconds[name], "s", TARGET_SECONDS, peer, seconds.get("mini"))
        for name in COMMANDS
    ]
    evals = measurements[COMMANDS.index("evals")]
    return [*measurements, *(evals.beside(other, value) for other, value in CITED_PEERS.items())]


def _medians(commands: Mapping[str, _Command], samples: int) -> dict[str, float]:
    for command in commands.values():
        command.seconds()
    timings = [{name: command.seconds() for name, command in commands.items()} for _ in range(samples)]
    return {name: statistics.median(timing[name] for timing in timings) for name in commands}
