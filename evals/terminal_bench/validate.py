"""Which tasks of Terminal-Bench can be believed: their own solution and nothing at all are tried several times each.

Besides, for which of them the *quiesced* reward may stand for the official one: those that the solution earns whole
with nothing running as well, and nothing at all never. The others are judged on what an agent leaves running.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evals.terminal_bench.agents import IdleAgent, SolutionAgent, TerminalAgent
from evals.terminal_bench.judging import OFFICIAL, QUIESCED, RULES, VERIFIERS
from evals.terminal_bench.run import TerminalBenchSettings, carry_out, content_sha256, make_manifest
from evals.terminal_bench.task_directory import TaskDirectory
from evals.validate import Report, reliability
from evals.validation_progress import open_progress
from results.records.outcome import Outcome
from results.records.reliability import ReliableSet, TaskReliability, ValidationConditions
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, new_run_id
from runners.owner import temporary_folder

_AS_THE_TASK = "as each task has it"


@dataclass(frozen=True)
class TaskValidation:
    """What is looked at, and how often."""

    source: str
    revision: str | None
    tasks: Sequence[TaskDirectory]
    repeat: int
    at_once: int


@dataclass
class _Tried:
    """What one agent came to in the attempts at a task."""

    verdicts: list[dict[str, Verdict]] = field(default_factory=list[dict[str, Verdict]])
    problems: list[str] = field(default_factory=list[str])

    def resolved(self, verifier: str) -> list[bool]:
        return [found[verifier].resolved for found in self.verdicts if verifier in found]


async def validate(
    validation: TaskValidation, progress: Path, report: Report, tell: Callable[[str], None]
) -> ReliableSet:
    """Let gold and nop try each task `repeat` times; `report` hears of each task, `tell` of images that are built.

    What is found is noted in `progress` at once, and tasks that were found there are not tried again. Raises
    EngineUnavailableError, ValidationProgressError, and CancelledError when a person interrupts.
    """
    conditions = _conditions(validation)
    with open_progress(progress, conditions) as noted:
        left = [task for task in validation.tasks if task.name not in noted.found]
        for start in range(0, len(left), validation.at_once):
            batch = left[start : start + validation.at_once]
            with temporary_folder() as runs:
                gold = await _tried(validation, batch, SolutionAgent(), runs, tell)
                nop = await _tried(validation, batch, IdleAgent(), runs, tell)
            for task in batch:
                found = reliability_of(task.name, gold[task.name], nop[task.name], validation.repeat)
                noted.note(found)
                report(found)
        found = [noted.found[task.name] for task in validation.tasks]
    reliable = [one.task_id for one in found if one.reliability == "reliable"]
    return ReliableSet(**conditions.model_dump(), tasks=reliable, found=found)


def reliability_of(task_id: str, gold: _Tried, nop: _Tried, repeat: int) -> TaskReliability:
    """What the attempts make of a task."""
    tried, problems = (gold, nop), [*gold.problems, *nop.problems]
    by_gold, by_nop = (each.resolved(OFFICIAL) for each in tried)
    details = [verdict.detail for each in tried for found in each.verdicts for verdict in found.values()]
    if min(len(by_gold), len(by_nop)) < repeat:
        return TaskReliability(
            task_id=task_id, reliability="unknown", gold_resolved=[], nop_resolved=[],
            detail="; ".join(dict.fromkeys(problems or ["it was not judged as often as was asked"])),
        )  # fmt: skip
    quiesced = [each.resolved(QUIESCED) for each in tried]
    return TaskReliability(
        task_id=task_id,
        reliability=reliability(by_gold, by_nop),
        gold_resolved=by_gold,
        nop_resolved=by_nop,
        quiesced=quiesced == [[True] * repeat, [False] * repeat],
        detail="; ".join(dict.fromkeys(filter(None, details))),
    )


def _conditions(validation: TaskValidation) -> ValidationConditions:
    return ValidationConditions(
        source=validation.source,
        revision=validation.revision,
        content_sha256=content_sha256(validation.tasks),
        repeat=validation.repeat,
        timeout_seconds=None,
        grade_network=_AS_THE_TASK,
        verifier=RULES,
    )


async def _tried(
    validation: TaskValidation,
    tasks: Sequence[TaskDirectory],
    agent: TerminalAgent,
    runs: Path,
    tell: Callable[[str], None],
) -> dict[str, _Tried]:
    found = {task.name: _Tried() for task in tasks}

    def over(trial: TrialDirectory, outcome: Outcome, verdicts: Sequence[Verdict]) -> None:
        tried = found[trial.task_id]
        tried.verdicts.append({verdict.verifier: verdict for verdict in verdicts})
        if outcome.error:
            tried.problems.append(f"{outcome.error} error: {outcome.detail}")

    at_once = validation.at_once
    settings = TerminalBenchSettings(at_once, at_once, verifiers=tuple(VERIFIERS))
    manifest = make_manifest(
        new_run_id("validate"), validation.source, tasks, agent, validation.repeat, settings.limits, settings.verifiers
    )
    result = await carry_out(RunDirectory.create(runs, manifest), tasks, agent, settings, over, tell)
    for leftover in result.leftovers:
        tell(f"left behind, for `evals clean` to remove: {leftover}")
    if result.interrupted:
        raise asyncio.CancelledError
    return found
