"""Which tasks can be believed: gold and nothing at all are judged several times each.

A task whose own solution is not always resolved, or which is resolved without any work, says nothing about a model
(SWE-bench/SWE-bench#294, #602: instances that fail on gold, or by chance).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.images.using import use_image
from evals.janitor import Janitor
from evals.swebench.dataset import AnyInstance, Dataset
from evals.swebench.grading import GraderError
from evals.swebench.judgement import Judgement, failed_tests, passed_tests
from evals.swebench.judging import Judging
from evals.swebench.official import NAME as OFFICIAL
from evals.swebench.verifier import Verifier
from results.records.reliability import Reliability, ReliableSet, TaskReliability
from results.run_directory import new_run_id
from runners.docker_engine import ImageUnavailableError, connect, in_thread
from runners.owner import temporary_folder
from runners.reaper import reap_beside, remove_containers
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

_TRIES = 2
Report = Callable[[TaskReliability], None]


@dataclass(frozen=True)
class ValidationSettings:
    """How often each work is judged, how many at once, and how."""

    repeat: int
    at_once: int
    judging: Judging


async def validate(dataset: Dataset[Any], settings: ValidationSettings, report: Report) -> ReliableSet:
    """Judge gold and nothing at all `repeat` times each, for every task; `report` hears of each task.

    Raises EngineUnavailableError when there is no Docker engine.
    """
    async with _opened(settings) as (client, verifier):
        at_once = asyncio.Semaphore(settings.at_once)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_validate(client, verifier, at_once, row, settings.repeat, report))
                for row in dataset.rows
            ]
    found = [task.result() for task in tasks]
    description = settings.judging.description()
    return ReliableSet(
        source=dataset.source,
        revision=dataset.revision,
        content_sha256=dataset.content_sha256(),
        repeat=settings.repeat,
        timeout_seconds=float(description["verifier_timeout_seconds"]),
        grade_network=settings.judging.settings.network,
        verifier=settings.judging.versions()[OFFICIAL],
        tasks=[one.task_id for one in found if one.reliability == "reliable"],
        found=found,
    )


async def _validate(
    client: "DockerClient",
    verifier: Verifier,
    at_once: asyncio.Semaphore,
    row: AnyInstance,
    repeat: int,
    report: Report,
) -> TaskReliability:
    async def judged(patch: bytes) -> Judgement:
        async with at_once:
            return await _judge(verifier, row, patch)

    try:
        await in_thread(use_image, client, row.image)
        works = [row.patch.encode()] * repeat + [b""] * repeat
        judgements = await asyncio.gather(*map(judged, works))
    except (SandboxError, GraderError, ImageUnavailableError) as error:
        found = TaskReliability(
            task_id=row.instance_id, reliability="unknown", gold_resolved=[], nop_resolved=[], detail=str(error)
        )
    else:
        found = reliability_of(row.instance_id, judgements[:repeat], judgements[repeat:])
    report(found)
    return found


def reliability_of(task_id: str, gold: list[Judgement], nop: list[Judgement]) -> TaskReliability:
    """What several judgements of each make of a task."""
    passed = [passed_tests(one.report) for one in gold]
    ever = set[str]().union(*passed)
    always = ever.intersection(*passed)
    expected = ever.union(*(failed_tests(one.report) for one in gold))
    details = dict.fromkeys(one.detail for one in (*gold, *nop) if one.detail)
    return TaskReliability(
        task_id=task_id,
        reliability=_reliability([one.resolved for one in gold], [one.resolved for one in nop]),
        gold_resolved=[one.resolved for one in gold],
        nop_resolved=[one.resolved for one in nop],
        flipping_tests=sorted(ever - always),
        failing_tests=sorted(expected - ever),
        detail="; ".join(details),
    )


def _reliability(gold: list[bool], nop: list[bool]) -> Reliability:
    if len({*gold}) > 1 or len({*nop}) > 1:
        return "flaky"
    if not gold[0]:
        return "broken"
    return "solved_by_nothing" if nop[0] else "reliable"


async def _judge(verifier: Verifier, row: AnyInstance, patch: bytes) -> Judgement:
    """Raises SandboxError or GraderError when it failed in every try."""
    with temporary_folder() as folder:
        for left in reversed(range(_TRIES)):
            try:
                return await verifier.judge_anything(row, patch, folder)
            except (SandboxError, GraderError):
                if not left:
                    raise
    raise AssertionError  # the last one returns or raises


@asynccontextmanager
async def _opened(settings: ValidationSettings) -> "AsyncGenerator[tuple[DockerClient, Verifier]]":
    run_id, janitor = new_run_id("validate"), Janitor()
    with contextlib.closing(await asyncio.to_thread(connect)) as client:
        async with settings.judging.open(client, janitor, run_id, [OFFICIAL]) as (verifier,):
            reap_beside(client)
            try:
                yield client, verifier
            finally:
                await janitor.finish()
                await asyncio.to_thread(remove_containers, client, run_id)
