"""The end of a trial: how long its container takes to go, and whether anybody waits for that.

Measured: wall time of `DockerSandbox.close`, and of the command `docker rm -f`, each on a container that was set up
in the same way and whose shell has run a command. The two take turns; the figures are medians, and the ratio is of
these. Then, with `evals.janitor.Janitor`: from the call that hands a sandbox over until the trial goes on. Subtracted:
nothing, so `docker rm -f` carries the start of its client, as it does for everyone who calls it.

A trial counts as not waiting below 5 ms, which is far less than any engine takes to remove a container.
"""

import asyncio
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measurement import BenchmarkError, Measurement, Options
from benchmarks.step import IMAGE
from evals.janitor import Janitor
from runners.docker_engine import EngineUnavailableError, connect
from runners.docker_sandbox import ContainerSettings, DockerSandbox

if TYPE_CHECKING:
    from docker import DockerClient

TARGET_RATIO = 1.2
TARGET_WAIT_MILLISECONDS = 5.0
CITED_PEERS = {"mini-swe-agent": 10.1, "Harbor": 10.4, "swebench": 15.4}
"""Seconds that they take to stop and remove a container."""


@dataclass(frozen=True)
class _Timing:
    """Seconds."""

    ours: float
    engine: float
    handed_over: float


def run(options: Options) -> list[Measurement]:
    """Measure with one container at a time."""
    try:
        client = connect()
    except EngineUnavailableError as error:
        raise BenchmarkError(str(error)) from error
    try:
        timings = asyncio.run(_measure(client, options.samples))
    finally:
        client.close()
    ours = statistics.median(timing.ours for timing in timings)
    engine = statistics.median(timing.engine for timing in timings)
    waited = statistics.median(timing.handed_over for timing in timings)
    teardown = Measurement("container teardown", ours, "s", None, "docker rm -f", engine)
    return [
        teardown,
        Measurement("container teardown / docker rm -f", ours / engine, "×", TARGET_RATIO),
        Measurement("a trial waits for its container to go", waited * 1000, "ms", TARGET_WAIT_MILLISECONDS),
        *(teardown.beside(other, value) for other, value in CITED_PEERS.items()),
    ]


async def _measure(client: "DockerClient", samples: int) -> list[_Timing]:
    await _close(await _used_sandbox(client))
    return [
        _Timing(
            ours=await _close(await _used_sandbox(client)),
            engine=await _remove_with_command(await _used_sandbox(client)),
            handed_over=await _hand_over(await _used_sandbox(client)),
        )
        for _ in range(samples)
    ]


async def _used_sandbox(client: "DockerClient") -> DockerSandbox:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=IMAGE, directory="/"))
    await sandbox.shell("true", timeout=60)
    return sandbox


async def _close(sandbox: DockerSandbox) -> float:
    started = time.perf_counter()
    await sandbox.close()
    return time.perf_counter() - started


async def _remove_with_command(sandbox: DockerSandbox) -> float:
    command = ["docker", "rm", "-f", sandbox.container_id]
    started = time.perf_counter()
    await asyncio.to_thread(subprocess.run, command, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - started
    await sandbox.close()
    return seconds


async def _hand_over(sandbox: DockerSandbox) -> float:
    janitor = Janitor()
    started = time.perf_counter()
    janitor.close(sandbox)
    await asyncio.sleep(0)  # what closing does before its first await is the trial's time as well
    seconds = time.perf_counter() - started
    await janitor.finish()
    return seconds
