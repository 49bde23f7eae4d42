"""Ten thousand commands in one container: whether a shell that has run for long is as quick, and we as small, as new.

Measured: the round trip of a command that prints and changes state, medians of the first and of the last thousand; and
the resident memory of this process after the first and after the last thousand. Subtracted: nothing.
"""

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.measurement import BenchmarkError, Measurement, Options
from benchmarks.shell import DEADLINE, SETTINGS
from runners.docker_engine import EngineUnavailableError, connect
from runners.docker_sandbox import DockerSandbox

if TYPE_CHECKING:
    from docker import DockerClient

COMMANDS = 10_000
WINDOW = 1000


def run(options: Options) -> list[Measurement]:  # noqa: ARG001 - nothing to choose
    """Measure one container."""
    try:
        client = connect()
    except EngineUnavailableError as error:
        raise BenchmarkError(str(error)) from error
    try:
        return asyncio.run(_soak(client))
    finally:
        client.close()


async def _soak(client: "DockerClient") -> list[Measurement]:
    sandbox = await DockerSandbox.start(client, SETTINGS)
    taken: list[float] = []
    memory = 0
    try:
        for number in range(COMMANDS):
            started = time.perf_counter()
            result = await sandbox.shell(f"count={number}; echo $count; ls /", timeout=DEADLINE)
            taken.append(time.perf_counter() - started)
            if not result.output.startswith(f"{number}\n".encode()):
                message = f"command {number} was answered with {result.output[:100]!r}"
                raise BenchmarkError(message)
            if number == WINDOW:
                memory = psutil.Process().memory_info().rss
    finally:
        await sandbox.close()
    first, last = statistics.median(taken[:WINDOW]), statistics.median(taken[-WINDOW:])
    grown = psutil.Process().memory_info().rss - memory
    return [
        Measurement("a command, the first thousand", first * 1000, "ms"),
        Measurement("a command, the last of ten thousand", last * 1000, "ms"),
        Measurement("last / first", last / first, "×", 1.2),
        Measurement("memory that nine thousand commands cost", grown / 1e6, "MB", 5.0),
    ]
