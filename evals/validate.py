"""Which tasks can be believed: gold and nothing at all are judged several times each.

A task whose own solution is not always resolved, or which is resolved without any work, says nothing about a model
(SWE-bench/SWE-bench#294, #602: instances that fail on gold, or by chance).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.grade import all_of, cleaned_up
from evals.images.leases import leased_images
from evals.images.using import use_image
from evals.janitor import Janitor
from evals.swebench.dataset import AnyInstance, Dataset
from evals.swebench.grading import GraderError
from evals.swebench.judgement import Judgement, failed_tests, passed_tests
from evals.swebench.judging import Judging
from evals.swebench.official import NAME as OFFICIAL
from evals.swebench.verifier import Verifier
from evals.validation_progress import ValidationProgress, open_progress
from results.records.reliability import Reliability, ReliableSet, TaskReliability, ValidationConditions
from results.run_directory import new_run_id
from runners.docker_engine import ImageUnavailableError, connect, in_thread
from runners.owner import temporary_folder
from runners.reaper import reap_beside
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


async def validate(dataset: Dataset[Any], settings: ValidationSettings, progress: Path, report: Report) -> ReliableSet:
    """Judge gold and nothing at all `repeat` times each, for every task; `report` hears of each task.

    What is found is noted in `progress` at once, and tasks that were found there are not judged again. Raises
    EngineUnavailableError when there is no Docker engine, ValidationProgressError for a file of another validation.
    """
    conditions = _conditions(dataset, settings)
    with open_progress(progress, conditions) as noted:
        left = [row for row in dataset.rows if row.instance_id not in noted.found]
        if left:
            async with _opened(settings, [row.image for row in left]) as (client, verifier):
                work = _Validation(client, verifier, settings, asyncio.Semaphore(settings.at_once))
                await all_of([_note(work, row, noted, report) for row in left])
        found = [noted.found[row.instance_id] for row in dataset.rows]
    reliable = [one.task_id for one in found if one.reliability == "reliable"]
    return ReliableSet(**conditions.model_dump(), tasks=reliable, found=found)


def _conditions(dataset: Dataset[Any], settings: ValidationSettings) -> ValidationConditions:
    return ValidationConditions(
        source=dataset.source,
        revision=dataset.revision,
        content_sha256=dataset.content_sha256(),
        repeat=settings.repeat,
        timeout_seconds=float(settings.judging.description()["verifier_timeout_seconds"]),
        grade_network=settings.judging.settings.network,
        verifier=settings.judging.versions()[OFFICIAL],
    )


async def _note(work: "_Validation", row: AnyInstance, noted: ValidationProgress, report: Report) -> None:
    found = await work.look_at(row)
    noted.note(found)
    with contextlib.suppress(OSError):  # who watched has gone away
        report(found)


@dataclass(frozen=True)
class _Validation:
    client: "DockerClient"
    verifier: Verifier
    settings: ValidationSettings
    at_once: asyncio.Semaphore

    async def look_at(self, row: AnyInstance) -> TaskReliability:
        """Judge both works of one task, each as often as asked."""
        try:
            await in_thread(use_image, self.client, row.image)
            return await self._judged(row)
        except* (SandboxError, GraderError, ImageUnavailableError, BrokenEnvironmentError) as failures:
            detail = "; ".join(dict.fromkeys(str(failure) for failure in failures.exceptions))
        return TaskReliability(
            task_id=row.instance_id, reliability="unknown", gold_resolved=[], nop_resolved=[], detail=detail
        )

    async def _judged(self, row: AnyInstance) -> TaskReliability:
        repeat = self.settings.repeat

        async def judged(patch: bytes) -> Judgement:
            async with self.at_once:
                return await _judge(self.verifier, row, patch)

        async with asyncio.TaskGroup() as group:  # where one cannot be judged, the others are of no use
            tasks = [group.create_task(judged(patch)) for patch in [row.patch.encode()] * repeat + [b""] * repeat]
        judgements = [task.result() for task in tasks]
        return reliability_of(row.instance_id, judgements[:repeat], judgements[repeat:])


def reliability_of(task_id: str, gold: list[Judgement], nop: list[Judgement]) -> TaskReliability:
    """What several judgements of each make of a task."""
    passed = [passed_tests(one.report) for one in gold]
    ever = set[str]().union(*passed)
    always = ever.intersection(*passed)
    expected = ever.union(*(failed_tests(one.report) for one in gold))
    details = dict.fromkeys(one.detail for one in (*gold, *nop) if one.detail)
    return TaskReliability(
        task_id=task_id,
        reliability=reliability([one.resolved for one in gold], [one.resolved for one in nop]),
        gold_resolved=[one.resolved for one in gold],
        nop_resolved=[one.resolved for one in nop],
        flipping_tests=sorted(ever - always),
        failing_tests=sorted(expected - ever),
        detail="; ".join(details),
    )


def reliability(gold: list[bool], nop: list[bool]) -> Reliability:
    """What it means which of the attempts were resolved."""
    if len({*gold}) > 1 or len({*nop}) > 1:
        return "flaky"
    if not gold[0]:
        return "broken"
    return "solved_by_nothing" if nop[0] else "reliable"


class BrokenEnvironmentError(Exception):
    """What broke beneath the tests, and again in another container: it says nothing of the task."""


async def _judge(verifier: Verifier, row: AnyInstance, patch: bytes) -> Judgement:
    """Raises SandboxError, GraderError or BrokenEnvironmentError when it failed in every try."""
    with temporary_folder() as folder:
        for left in reversed(range(_TRIES)):
            try:
                judgement = await verifier.judge_anything(row, patch, folder)
                if judgement.infrastructure:
                    message = f"the environment of the tests broke: {judgement.infrastructure}"
                    raise BrokenEnvironmentError(message)
            except (SandboxError, GraderError, BrokenEnvironmentError):
                if not left:
                    raise
            else:
                return judgement
    raise AssertionError  # the last one returns or raises


@asynccontextmanager
async def _opened(
    settings: ValidationSettings, images: Iterable[str]
) -> "AsyncGenerator[tuple[DockerClient, Verifier]]":
    run_id, janitor = new_run_id("validate"), Janitor()
    with contextlib.closing(await asyncio.to_thread(connect)) as client:
        async with (
            leased_images(client, run_id, images),
            settings.judging.open(client, janitor, run_id, [OFFICIAL]) as (verifier,),
        ):
            reap_beside(client)
            try:
                yield client, verifier
            finally:
                await cleaned_up(client, janitor, run_id)
