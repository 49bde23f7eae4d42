"""A Docker engine that is killed or stopped in the middle of the work, and comes back or does not."""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient
from finished_trials import Finished, check_each_is_judged_once, finished
from real_things import PATIENCE, VENV, Console, calls
from second_engine import SecondEngine, running_engine
from tries_desk import SAYS_SO, WAITS, begin, scripted, solving

from evals.engine_watch import EngineWatch
from evals.swebench.dataset import Row
from results.run_directory import RunDirectory
from runners.docker_engine import OWNER_LABEL, engine_errors
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.reaper import reap
from tools.sandbox import SandboxError

__all__ = ["running_engine"]

MOMENTS, ATTEMPTS = (30, 40) if os.environ.get("UNBROKEN_LONG") else (3, 6)
EVALS = str(VENV / "bin" / "evals")
WITHIN = 5.0
"""Seconds, promised by the issue of the sandboxes."""
ENDS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])


@pytest.fixture
def row(demo_rows: dict[str, Row]) -> Row:
    return demo_rows["tally"]


@pytest.fixture(scope="session")
def loaded_engine(running_engine: SecondEngine, demo_images: None) -> SecondEngine:
    from evals.demo.suite import load_rows

    (image,) = [row["image"] for row in load_rows() if "tally" in row["instance_id"]]
    running_engine.load(image)
    return running_engine


@pytest.fixture
def engine(loaded_engine: SecondEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondEngine]:
    """The engine that everything here talks to."""
    monkeypatch.setenv("DOCKER_HOST", loaded_engine.address)
    if not loaded_engine.is_running:
        loaded_engine.start()
    yield loaded_engine
    if not loaded_engine.is_running:
        loaded_engine.start()


@pytest.fixture
def connected(engine: SecondEngine) -> Iterator[DockerClient]:
    client = engine.connect()
    yield client
    client.close()


@ENDS
@pytest.mark.parametrize("how", ["shell", "exec"])
async def test_command_ends_in_an_error_of_the_sandbox(
    engine: SecondEngine, connected: DockerClient, row: Row, how: str, number: int
) -> None:
    sandbox = await DockerSandbox.start(
        connected, ContainerSettings(image=row.image, directory="/testbed", user="root")
    )
    run = sandbox.shell if how == "shell" else sandbox.exec
    await run("true", timeout=30)
    command = asyncio.create_task(run("sleep 600", timeout=900))
    await asyncio.sleep(0.5)
    ending = asyncio.create_task(asyncio.to_thread(engine.end, number))
    with pytest.raises(SandboxError):
        async with asyncio.timeout(WITHIN):
            await command
    await ending
    with pytest.raises(SandboxError):
        async with asyncio.timeout(WITHIN):
            await run("true", timeout=30)
    await asyncio.to_thread(engine.start)
    await sandbox.close()
    assert connected.containers.list(all=True) == []


@ENDS
async def test_trial_gets_another_try_once_the_engine_is_back(
    engine: SecondEngine,
    connected: DockerClient,
    row: Row,
    tmp_path: Path,
    write_script: Callable[..., str],
    number: int,
) -> None:
    async with scripted(write_script(WAITS, SAYS_SO), write_script(calls(solving(row)), SAYS_SO)) as agent:
        run = begin(tmp_path, [row], agent)
        await run.until_a_command_runs()
        await asyncio.to_thread(engine.end, number)
        await run.until(lambda: run.trial.tries()[0].end())
        await asyncio.to_thread(engine.start)
        result = await run.over
    ends = [end for one in run.trial.tries() if (end := one.end())]
    assert [end.outcome.error for end in ends] == ["sandbox", None]
    assert [verdict.resolved for verdict in run.trial.verdicts()] == [True]
    assert (result.finished, result.errors, result.leftovers) == (1, 0, [])
    assert connected.containers.list(all=True) == []


@pytest.mark.timeout(240 + 60 * MOMENTS)
def test_run_comes_to_its_end_whatever_becomes_of_the_engine(
    engine: SecondEngine,
    connected: DockerClient,
    row: Row,
    tmp_path: Path,
    console: Console,
    write_script: Callable[..., str],
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([row.model_dump(mode="json")]), "utf-8")
    script = write_script(calls("sleep 0.3; echo one >one"), calls(solving(row)), SAYS_SO)
    start = [EVALS, "swebench", "--dataset", str(tmp_path / "rows.json"), "--runs", str(tmp_path), "--backend", script]
    start += ["--attempts", str(ATTEMPTS), "--concurrency", "4", "--run-id", "crash"]
    environment = console.all({"DOCKER_HOST": engine.address})

    def started() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    chance, process, kept = random.Random(7), started(), Finished()
    for _ in range(MOMENTS):
        time.sleep(chance.uniform(1, 4))
        engine.end(chance.choice((signal.SIGKILL, signal.SIGTERM)))
        if (tmp_path / "crash" / "run.json").exists():
            recorded = finished(RunDirectory.open(tmp_path / "crash"))
            assert kept.items() <= recorded.items()
            kept = recorded
        engine.start()
        if process.poll() is not None:  # the engine was away when it began, or it is through
            process = started()
    process.wait(PATIENCE * 10)

    patient = replace(console, patience=20 * PATIENCE)
    done = patient.run([*start, "--concurrency", "2"], DOCKER_HOST=engine.address)

    assert done.code == 0, done
    run = RunDirectory.open(tmp_path / "crash")
    assert kept.items() <= finished(run).items()
    check_each_is_judged_once(run)
    assert all(verdict.resolved for trial in run.trials() for verdict in trial.verdicts())
    assert connected.containers.list(all=True) == []


async def test_engine_that_stays_away_is_waited_for_once(engine: SecondEngine) -> None:
    watch = EngineWatch(patience=2)
    assert await watch.answers()
    await asyncio.to_thread(engine.end, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    assert not await watch.answers()
    begun = loop.time()
    assert await asyncio.gather(*(watch.answers() for _ in range(2))) == [False, False]
    assert loop.time() - begun < watch.patience
    await asyncio.to_thread(engine.start)
    assert await watch.answers()


def test_reaper_tells_of_an_engine_that_went_away(engine: SecondEngine, connected: DockerClient) -> None:
    engine.end(signal.SIGKILL)
    with pytest.raises(SandboxError), engine_errors():
        connected.ping()  # pyright: ignore[reportUnknownMemberType]
    assert [sentence.partition(":")[0] for sentence in reap(connected).unseen] == [
        f"{what} were not looked at" for what in ("containers", "images", "networks", "volumes")
    ]


def test_what_an_engine_kept_over_its_death_is_reaped(
    engine: SecondEngine, connected: DockerClient, row: Row, console: Console
) -> None:
    from runners.owner import Owner, this_process

    owner = Owner.parse(str(this_process()).replace(f"/{this_process().process_id}/", "/4194303/"))
    connected.containers.create(row.image, ["sleep", "600"], labels={OWNER_LABEL: str(owner)}, network="none").start()
    engine.end(signal.SIGKILL)
    evals = str(VENV / "bin" / "evals")
    assert "no Docker engine answers" in console.run([evals, "clean"], DOCKER_HOST=engine.address).err
    engine.start()
    done = console.run([evals, "clean"], DOCKER_HOST=engine.address)
    assert done.code == 0, done.err
    assert connected.containers.list(all=True) == []
