"""A run as it is shown: in one line of a table, or in full."""

from collections.abc import Sequence
from pathlib import Path

from results import wording
from results.records.base import Record
from results.records.events import BackendDescription
from results.records.manifest import Group, Manifest, SessionRecord
from results.records.outcome import TryEnd
from results.records.usage import Prices
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory
from results.score import HARDENED, OFFICIAL, Score, TrialResult, score, trial_result, trial_results
from results.visible_text import one_line

_NEEDS_MODEL = {
    *("prompt", "cached", "cached share", "cache write", "reasoning", "output", "tokens", "cost", "model"),
}


class RunSummary(Record):
    """One run in one line."""

    run_id: str
    path: str
    benchmark: str
    agent: str
    backend: BackendDescription | None
    scripted: bool
    """True where the backend plays back a script: the score says nothing about any model."""
    started: float | None
    """The first start, seconds since the epoch; None when none was noted."""
    prices: Prices | None = None
    shared: bool = False
    """Whether trials ran side by side, so that hardware which they shared is counted more than once."""
    score: Score
    hardened: Score | None = None
    """The same by the hardened verifier, where the run has one."""

    @property
    def who(self) -> str:
        """Agent and backend: `default on scripted/careful (scripted)`; the agent alone where it needs no model."""
        return one_line(f"{self.agent} on {wording.backend(self.backend)}" if self.backend else self.agent)


class RunDetails(Record):
    """One run in full."""

    summary: RunSummary
    manifest: Manifest
    manifest_sha256: str
    sessions: list[SessionRecord]
    trials: list[TrialResult]


class TryDetails(Record):
    """One execution of a trial, and where its files lie."""

    number: int
    path: str
    end: TryEnd | None


class TrialDetails(Record):
    """One trial in full."""

    result: TrialResult
    path: str
    tries: list[TryDetails]
    verdicts: list[Verdict]
    """Of every verifier, in order."""


def summarise(run: RunDirectory, verifier: str = OFFICIAL) -> RunSummary:
    """A run in one line. Raises DamagedFileError."""
    return _summary(run, trial_results(run, verifier), run.sessions(), verifier)


def describe(run: RunDirectory, verifier: str = OFFICIAL) -> RunDetails:
    """A run in full. Raises DamagedFileError."""
    trials = trial_results(run, verifier)
    sessions = run.sessions()
    return RunDetails(
        summary=_summary(run, trials, sessions, verifier),
        manifest=run.manifest,
        manifest_sha256=run.manifest.sha256(),
        sessions=sessions,
        trials=trials,
    )


def describe_trial(trial: TrialDirectory, verifier: str = OFFICIAL) -> TrialDetails:
    """A trial in full. Raises DamagedFileError."""
    return TrialDetails(
        result=trial_result(trial, verifier),
        path=str(trial.path),
        tries=[TryDetails(number=one.number, path=str(one.path), end=one.end()) for one in trial.tries()],
        verdicts=trial.verdicts(),
    )


def summarise_group(runs: Path, group: Group) -> list[RunSummary]:
    """The runs of a group in its order. Raises DamagedFileError, also for a run that is gone."""
    return [summarise(RunDirectory.open(runs / run_id)) for run_id in group.run_ids]


def score_cells(summary: RunSummary) -> dict[str, str]:
    """A run as the cells of a table, by the names of their columns; every table of runs picks from these."""
    of = summary.score
    usage = of.usage
    cells = {
        "run": one_line(summary.run_id),
        "benchmark": one_line(summary.benchmark),
        "agent on backend": summary.who,
        "resolved": wording.resolved(of),
        "95% interval": wording.interval(of.interval),
        "hardened": wording.resolved(summary.hardened) if summary.hardened else wording.NONE,
        "open": str(of.open),
        "errors": str(of.errors),
        "prompt": wording.count(usage.prompt_tokens),
        "cached": wording.count(usage.cached_tokens),
        "cached share": wording.percent(of.cached_share),
        "cache write": wording.count(usage.cache_write_tokens),
        "reasoning": wording.count(usage.reasoning_tokens),
        "output": wording.count(usage.output_tokens),
        "cost": cost_words(summary),
        "model": wording.duration(of.time.model),
        "tools": wording.duration(of.time.tools),
        "harness": wording.duration(of.time.harness),
        "started": wording.moment(summary.started),
    }
    return cells if summary.backend else _without_model(cells)


def cost_words(summary: RunSummary) -> str:
    """What a run cost: exactly, at least, at most, or unknown."""
    of = summary.score
    return wording.cost(of.cost, summary.prices, of.usage, of.time.model, shared=summary.shared)


def trial_cells(trial: TrialResult, *, with_model: bool = True) -> dict[str, str]:
    """A trial as the cells of a table."""
    cells = {
        "task": one_line(trial.task_id),
        "attempt": str(trial.attempt),
        "exit": trial.exit or wording.NONE,
        "error": trial.error or wording.NONE,
        "verdict": verdict_words(trial),
        "tries": str(trial.tries),
        "steps": str(trial.steps),
        "tokens": wording.count(None if wording.is_unreported(trial.usage) else trial.usage.total_tokens),
        "cost": wording.dollars(trial.cost),
        "time": wording.duration(trial.time.total),
    }
    if not trial.tries:
        cells |= dict.fromkeys(("steps", "tokens", "cost", "time"), wording.NONE)
    return cells if with_model else _without_model(cells)


def verdict_words(trial: TrialResult) -> str:
    """`resolved`, `resolved officially alone`, `not resolved`, with the reason where no test was read, or `none`."""
    if trial.verdict is None:
        return "none (open)" if trial.state == "open" else "none"
    if trial.resolved_officially_alone:
        return "resolved officially alone"
    if trial.broken_environment:
        return f"{trial.state} (environment broke)"
    reason = "" if trial.verdict.status == "graded" else f" ({trial.verdict.status.replace('_', ' ')})"
    return trial.state + reason


def _without_model(cells: dict[str, str]) -> dict[str, str]:
    return {name: wording.NONE if name in _NEEDS_MODEL else text for name, text in cells.items()}


def _summary(
    run: RunDirectory, trials: Sequence[TrialResult], sessions: Sequence[SessionRecord], verifier: str
) -> RunSummary:
    manifest = run.manifest
    return RunSummary(
        run_id=manifest.run_id,
        path=str(run.path),
        benchmark=manifest.benchmark.name,
        agent=manifest.agent.name,
        backend=manifest.backend,
        scripted=manifest.backend is not None and manifest.backend.scripted,
        started=sessions[0].started if sessions else None,
        prices=manifest.prices,
        shared=any(session.concurrency > 1 for session in sessions),
        score=score(trials, verifier),
        hardened=score(trial_results(run, HARDENED), HARDENED) if HARDENED in manifest.verifiers else None,
    )
