"""An infrastructure error gets another try in the same run; what cannot get better does not."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import APIError
from real_things import Reply, calls
from tries_desk import SAYS_SO, WAITS, Run, begin, scripted, solving

from evals.agents import NopAgent
from evals.run import RunSettings
from evals.swebench.dataset import Row
from results.score import score, trial_results
from runners.docker_engine import RUN_LABEL

WriteScript = Callable[..., str]


def containers(client: DockerClient, run: Run, network: str) -> list[str]:
    api: Any = client.api
    found = api.containers(all=True, filters={"label": f"{RUN_LABEL}={run.directory.manifest.run_id}"})
    return [row["Id"] for row in found if row["HostConfig"]["NetworkMode"] == network]


def remove(client: DockerClient, identity: str) -> None:
    with contextlib.suppress(APIError):  # it has gone by itself
        client.api.remove_container(identity, force=True, v=True)


async def test_container_that_is_gone_costs_a_try_and_not_the_trial(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript
) -> None:
    row = demo_rows["tally"]
    async with scripted(write_script(WAITS, SAYS_SO), write_script(calls(solving(row)), SAYS_SO)) as agent:
        run = begin(tmp_path, [row], agent)
        await run.until_a_command_runs()
        remove(client, containers(client, run, "none")[0])
        result = await run.over
    first, second = [one.end() for one in run.trial.tries()]
    assert first is not None
    assert second is not None
    assert (first.outcome.exit, first.outcome.error) == ("error", "sandbox")
    assert (second.outcome.exit, second.outcome.error, second.number) == ("finished", None, 2)
    (verdict,) = run.trial.verdicts()
    assert (verdict.try_number, verdict.resolved) == (2, True)
    assert (result.finished, result.errors, result.leftovers) == (1, 0, [])
    assert result.retried == {(row.instance_id, 1)}
    assert [outcome.error for _, outcome in run.reported] == [None]
    assert score(trial_results(run.directory)).errors == 0
    assert containers(client, run, "none") == []


async def test_error_that_stays_is_shown_apart(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript
) -> None:
    row = demo_rows["tally"]
    async with scripted(write_script(WAITS, SAYS_SO)) as agent:
        run = begin(tmp_path, [row], agent, RunSettings(tries=2))
        for number in (1, 2):
            await run.until(lambda number=number: agent.began == number and containers(client, run, "none"))
            await asyncio.sleep(0.5)
            remove(client, containers(client, run, "none")[0])
        result = await run.over
    ends = [one.end() for one in run.trial.tries()]
    assert [end.outcome.error for end in ends if end] == ["sandbox", "sandbox"]
    assert (result.finished, result.errors) == (0, 1)
    assert run.trial.verdicts() == []
    of = score(trial_results(run.directory))
    assert (of.n, of.errors) == (0, 1)


@pytest.mark.parametrize("then", [SAYS_SO, calls("echo still here?")], ids=["harvest", "command"])
async def test_who_breaks_the_container_gets_no_other_try(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript, then: Reply
) -> None:
    removes = "rm -f /bin/sh /bin/bash /bin/dash; kill -9 $$"
    async with scripted(write_script(calls(solving(demo_rows["tally"])), calls(removes), then, SAYS_SO)) as agent:
        run = begin(tmp_path, [demo_rows["tally"]], agent, RunSettings(tries=3))
        result = await run.over
    assert agent.began == 1
    assert (result.finished, result.errors, result.retried) == (1, 0, set())
    (only,) = run.trial.tries()
    end = only.end()
    assert end is not None
    assert end.outcome.error is None
    assert "the agent broke its own container" in end.outcome.detail
    (verdict,) = run.trial.verdicts()
    assert (verdict.status, verdict.resolved) == ("empty_patch", False)
    of = score(trial_results(run.directory))
    assert (of.n, of.errors) == (1, 0)


async def test_one_try_means_one(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript
) -> None:
    async with scripted(write_script(WAITS, SAYS_SO)) as agent:
        run = begin(tmp_path, [demo_rows["tally"]], agent, RunSettings(tries=1))
        await run.until_a_command_runs()
        remove(client, containers(client, run, "none")[0])
        result = await run.over
    assert len(run.trial.tries()) == 1
    assert (result.errors, result.retried) == (1, set())


async def test_verifier_that_fails_judges_the_same_work_again(
    client: DockerClient, demo_rows: dict[str, Row], tmp_path: Path, write_script: WriteScript
) -> None:
    row = demo_rows["tally"]
    async with scripted(write_script(calls(solving(row)), SAYS_SO)) as agent:
        run = begin(tmp_path, [row], agent)
        await run.until(lambda: containers(client, run, "bridge"))
        remove(client, containers(client, run, "bridge")[0])
        result = await run.over
        assert agent.began == 1
    (only,) = run.trial.tries()
    end = only.end()
    assert end is not None
    assert end.outcome.error is None
    (verdict,) = run.trial.verdicts()
    assert (verdict.number, verdict.try_number, verdict.resolved) == (2, 1, True)
    assert verdict.patch_sha256 == end.patch_sha256
    assert result.retried == {(row.instance_id, 1)}


async def test_image_that_is_not_there_is_not_tried_again(demo_rows: dict[str, Row], tmp_path: Path) -> None:
    row = demo_rows["tally"].model_copy(update={"image": "127.0.0.1:9/nowhere/image:1"})
    run = begin(tmp_path, [row], NopAgent())
    result = await run.over
    assert [end.outcome.error for one in run.trial.tries() if (end := one.end())] == ["image"]
    assert (result.errors, result.retried) == (1, set())
