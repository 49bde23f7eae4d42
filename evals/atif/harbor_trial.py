"""A trial of ours as Harbor states one in `result.json`."""

import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from evals.atif.harbor_records import (
    AgentConfig,
    AgentInfo,
    AgentResult,
    ExceptionInfo,
    HarborTrialResult,
    LocalTask,
    ModelInfo,
    ModelUsage,
    StepResult,
    TaskConfig,
    Timing,
    TrialConfig,
    VerifierResult,
)
from evals.atif.trial_work import TrialWork
from results.records.events import EndEvent, StartEvent
from results.records.manifest import Manifest
from results.records.outcome import ErrorSource, Exit, Outcome, TryEnd
from results.records.verdict import StepVerdict, Verdict
from results.run_directory import task_slug
from results.trajectory import read_trajectory

CANCELLED = "CancelledError"
"""Trials with this exception are counted apart by Harbor."""
_EXCEPTIONS: Mapping[ErrorSource, str] = {
    "backend": "UnknownApiError",
    "sandbox": "SandboxError",
    "image": "SandboxBuildFailedError",
    "verifier": "VerifierError",
    "harness": "HarnessError",
    "cancelled": CANCELLED,
}
"""Harbor's own names where it has one."""
_LIMITS: Mapping[Exit, str] = {"limit:time": "AgentTimeoutError", "limit:context": "ContextLengthExceededError"}
"""Limits that are exceptions in Harbor. It judges the work all the same, and so do we."""


def job_id(manifest: Manifest) -> uuid.UUID:
    """The id of the job; the same run has the same at every export."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"unbroken:{manifest.run_id}:{manifest.sha256()}")


def agent_config(manifest: Manifest) -> AgentConfig:
    """Which agent, with which model."""
    return AgentConfig(name=manifest.agent.name, model_name=manifest.backend.model if manifest.backend else None)


def trial_config(work: TrialWork, jobs: Path) -> TrialConfig:
    """`config.json` of a trial."""
    manifest = work.run.manifest
    return TrialConfig(
        task=TaskConfig(path=_task_path(work), source=manifest.benchmark.name),
        trial_name=f"{task_slug(work.trial.task_id)}__{work.trial.attempt}",
        trials_dir=str(jobs / manifest.run_id),
        agent=agent_config(manifest),
        job_id=job_id(manifest),
    )


def trial_result_of(work: TrialWork, jobs: Path, steps: Collection[str]) -> HarborTrialResult:
    """`result.json` of a trial, whose task has these steps if it has several. Raises DamagedFileError."""
    manifest, config, verdict = work.run.manifest, trial_config(work, jobs), work.result.verdict
    end, (began, stopped) = work.chosen.end(), _agent_times(work)
    started = end.started if end else began
    finished = max(end.ended if end else 0.0, verdict.ended if verdict else 0.0, stopped or 0.0) or None
    backend = manifest.backend
    judged = {step.name: VerifierResult(rewards=rewards_of(step)) for step in verdict.steps} if verdict else {}
    return HarborTrialResult(
        id=uuid.uuid5(config.job_id, config.trial_name),
        task_name=work.trial.task_id,
        trial_name=config.trial_name,
        trial_uri=(jobs / manifest.run_id / config.trial_name).as_uri(),
        task_id=LocalTask(path=config.task.path),
        source=manifest.benchmark.name,
        task_checksum=manifest.benchmark.content_sha256,
        config=config,
        agent_info=AgentInfo(
            name=manifest.agent.name,
            version=manifest.harness_version,
            model_info=ModelInfo(name=backend.model, provider=backend.dialect) if backend else None,
        ),
        agent_result=_agent_result(work, end) if end else None,
        verifier_result=VerifierResult(rewards=rewards_of(verdict)) if verdict else None,
        exception_info=_exception(end, finished),
        started_at=_moment(started),
        finished_at=_moment(finished),
        environment_setup=_timing(started, began) if began else None,
        agent_execution=_timing(began, stopped),
        verifier=_timing(verdict.started, verdict.ended) if verdict else None,
        step_results=[StepResult(step_name=name, verifier_result=judged.get(name)) for name in steps] or None,
    )


def rewards_of(verdict: Verdict | StepVerdict) -> dict[str, float]:
    """The numbers of a verdict, by their names."""
    return verdict.rewards or {"reward": verdict.reward}


def _task_path(work: TrialWork) -> str:
    """Where the task lies, if its dataset is a folder of this machine; else its name, as the viewer shows it."""
    source, name = Path(work.run.manifest.benchmark.source), work.trial.task_id
    here = source / name
    return str(here) if source.is_absolute() and here.is_dir() else name


def _agent_times(work: TrialWork) -> tuple[float | None, float | None]:
    """When the agent began and when it ended, as its trajectories have it."""
    began: list[float] = []
    stopped: list[float] = []
    for _, path in work.trajectories():
        for event in read_trajectory(path):
            if isinstance(event, StartEvent):
                began.append(event.time)
            elif isinstance(event, EndEvent):
                stopped.append(event.time)
    return min(began, default=None), max(stopped, default=None)


def _agent_result(work: TrialWork, end: TryEnd) -> AgentResult:
    outcome, result = end.outcome, work.result
    usage, backend = outcome.usage, work.run.manifest.backend
    model = ModelUsage(
        n_input_tokens=usage.prompt_tokens or 0,
        n_cache_tokens=usage.cached_tokens or 0,
        n_output_tokens=usage.output_tokens or 0,
        cost_usd=outcome.cost,
    )
    return AgentResult(
        n_input_tokens=usage.prompt_tokens,
        n_cache_tokens=usage.cached_tokens,
        n_output_tokens=usage.output_tokens,
        cost_usd=outcome.cost,
        model_usage={backend.model: model} if backend else None,
        metadata={
            "exit": outcome.exit,
            "error": outcome.error,
            "detail": outcome.detail,
            "state": result.state,
            "verdict": result.verdict.status if result.verdict else None,
            "steps": outcome.steps,
            "reasoning_tokens": usage.reasoning_tokens,
            "seconds": outcome.time.model_dump(),
            "counts": outcome.counts,
            "try": end.number,
            "tries": result.tries,
            "left_running": end.left_running,
        },
    )


def _exception(end: TryEnd | None, finished: float | None) -> ExceptionInfo | None:
    if end is None:
        message = "this try has no end: it was killed, or it still runs"
        return ExceptionInfo(exception_type=CANCELLED, exception_message=message, occurred_at=_known(finished))
    if (name := _exception_name(end.outcome)) is None:
        return None
    message = end.outcome.detail or f"the work ended with {end.outcome.exit}"
    return ExceptionInfo(exception_type=name, exception_message=message, occurred_at=_known(end.ended))


def _exception_name(outcome: Outcome) -> str | None:
    return _EXCEPTIONS[outcome.error] if outcome.error else _LIMITS.get(outcome.exit)


def _timing(started: float | None, finished: float | None) -> Timing | None:
    if started is None:
        return None
    return Timing(started_at=_moment(started), finished_at=_moment(finished))


def _moment(time: float | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time, UTC)


def _known(time: float | None) -> datetime:
    return datetime.fromtimestamp(time or 0.0, UTC)
