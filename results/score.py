"""What a run came to: each trial's three facts, and the score over them.

A score counts the verdicts of one verifier, the last one of each trial. A trial that an error kept from a verdict is
no zero: it is shown apart, with what the score would be if all of these had failed, or all been resolved.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Literal

from pydantic import Field, computed_field

from results.records.audit import Finding
from results.records.base import Record
from results.records.outcome import ErrorSource, Exit, TimeSplit, TryEnd
from results.records.usage import Usage
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory
from results.statistics import Interval, wilson_interval

OFFICIAL = "official"
"""The verifier that follows the benchmark's published protocol."""
HARDENED = "hardened"
"""The verifier that tricks which the published protocol believes do not get past."""

TrialState = Literal["resolved", "not resolved", "error", "open"]
"""`error`: one kept the trial from a verdict. `open`: not started, running, killed, or waiting for a verdict."""


class TrialResult(Record):
    """One trial. Exit and error are those of the try that was judged, or else of the last that ended."""

    task_id: str
    attempt: int
    state: TrialState
    try_number: int | None = None
    """Which try that was."""
    exit: Exit | None = None
    error: ErrorSource | None = None
    detail: str = ""
    """What the harness said about the end of that try."""
    verdict: Verdict | None = None
    hardened: Verdict | None = None
    """That of the hardened verifier on the same try, where there is one."""
    findings: list[Finding] = Field(default_factory=list[Finding])
    """What an audit of the trajectory found: leaks and cheating that were not refused."""
    tries: int = 0
    """All that were started; those that ended are in the sums below, those that were killed could not be counted."""
    steps: int = 0
    usage: Usage = Usage()
    cost: float | None = None
    """US dollars; None when the price of a try is unknown."""
    time: TimeSplit = TimeSplit()
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    """Differences, recoveries and notices of all tries, by their names."""

    @computed_field
    @property
    def cached_share(self) -> float | None:
        """The part of the prompt tokens that came from the server's cache."""
        return cached_share(self.usage)

    @computed_field
    @property
    def flags(self) -> list[str]:
        """The rules of these findings, each once."""
        return sorted({finding.rule for finding in self.findings})

    @property
    def broken_environment(self) -> str:
        """What broke beneath the tests, so that the verdict says nothing about the work; empty where nothing did."""
        return self.verdict.infrastructure if self.verdict is not None and not self.verdict.resolved else ""

    @computed_field
    @property
    def resolved_officially_alone(self) -> bool:
        """Whether the official protocol counts it as resolved, and the hardened one does not."""
        official = self.verdict is not None and self.verdict.verifier == OFFICIAL and self.verdict.resolved
        return official and self.hardened is not None and not self.hardened.resolved


class Bounds(Record):
    """Where the score would lie with the trials that ended in an error."""

    all_failed: float
    all_resolved: float


class Score(Record):
    """An aggregate over trials. `n` counts those with a verdict."""

    verifier: str
    resolved: int
    n: int
    interval: Interval | None
    """Wilson, 95%; None when nothing was judged."""
    errors: int
    """Trials that an error kept from a verdict: not in `n`."""
    judged_errors: int
    """Trials in `n` whose judged try ended in an error: what there was of their work was judged."""
    broken_environments: int = 0
    """Trials in `n` that count as not resolved since the environment of their tests broke, and again when repeated."""
    open: int
    bounds: Bounds | None
    """None when there is no error to allow for."""
    steps: int
    usage: Usage
    cost: float | None
    time: TimeSplit
    counts: dict[str, int] = Field(default_factory=dict[str, int])

    @computed_field
    @property
    def rate(self) -> float | None:
        """Resolved out of n; None when nothing was judged."""
        return self.resolved / self.n if self.n else None

    @computed_field
    @property
    def cached_share(self) -> float | None:
        """The part of the prompt tokens that came from the server's cache."""
        return cached_share(self.usage)


def cached_share(usage: Usage) -> float | None:
    """The part of the prompt tokens that came from the server's cache; None when the server did not tell."""
    if usage.cached_tokens is None or not usage.prompt_tokens:
        return None
    return usage.cached_tokens / usage.prompt_tokens


def trial_results(run: RunDirectory, verifier: str = OFFICIAL) -> list[TrialResult]:
    """Every trial of the manifest, in its order. Raises DamagedFileError."""
    return [trial_result(trial, verifier) for trial in run.trials()]


def trial_result(trial: TrialDirectory, verifier: str = OFFICIAL) -> TrialResult:
    """What became of one trial, by the last verdict of `verifier`. Raises DamagedFileError."""
    ends = [one.end() for one in trial.tries()]
    ended = [end for end in ends if end is not None]
    verdicts = trial.verdicts()
    verdict = _last(verdicts, verifier)
    hardened = _last(verdicts, HARDENED)
    end = _counting_end(ended, verdict)
    outcomes = [one.outcome for one in ended]
    return TrialResult(
        task_id=trial.task_id,
        attempt=trial.attempt,
        state=_state(ends[-1] if ends else None, verdict),
        try_number=end.number if end else None,
        exit=end.outcome.exit if end else None,
        error=end.outcome.error if end else None,
        detail=end.outcome.detail if end else "",
        verdict=verdict,
        hardened=hardened if hardened and verdict and hardened.try_number == verdict.try_number else None,
        findings=_findings(trial, end),
        tries=len(ends),
        steps=sum(one.steps for one in outcomes),
        usage=sum_usage(one.usage for one in outcomes),
        cost=_sum_costs([one.cost for one in outcomes if one.steps or one.cost is not None]),
        time=_sum_times(one.time for one in outcomes),
        counts=_sum_counts(one.counts for one in outcomes),
    )


def score(trials: Sequence[TrialResult], verifier: str = OFFICIAL) -> Score:
    """The score over `trials`, which were read for the same verifier."""
    states = [trial.state for trial in trials]
    resolved, failed, errors = (states.count(state) for state in ("resolved", "not resolved", "error"))
    return Score(
        verifier=verifier,
        resolved=resolved,
        n=resolved + failed,
        interval=wilson_interval(resolved, resolved + failed),
        errors=errors,
        judged_errors=sum(trial.verdict is not None and trial.error is not None for trial in trials),
        broken_environments=sum(trial.broken_environment != "" for trial in trials),
        open=states.count("open"),
        bounds=_bounds(resolved, failed, errors),
        steps=sum(trial.steps for trial in trials),
        usage=sum_usage(trial.usage for trial in trials),
        cost=_sum_costs([trial.cost for trial in trials if trial.steps or trial.cost is not None]),
        time=_sum_times(trial.time for trial in trials),
        counts=_sum_counts(trial.counts for trial in trials),
    )


def sum_usage(usages: Iterable[Usage]) -> Usage:
    """All of them together; nothing at all is unknown."""
    return reduce(Usage.__add__, usages, Usage())


def _last(verdicts: Sequence[Verdict], verifier: str) -> Verdict | None:
    return next((one for one in reversed(verdicts) if one.verifier == verifier), None)


def _findings(trial: TrialDirectory, end: TryEnd | None) -> list[Finding]:
    audits = [one.audit() for one in trial.tries() if end is not None and one.number == end.number]
    return [finding for audit in audits if audit is not None for finding in audit.grave]


def _counting_end(ended: Sequence[TryEnd], verdict: Verdict | None) -> TryEnd | None:
    judged = [end for end in ended if verdict is not None and end.number == verdict.try_number]
    return next(iter(judged or ended[-1:]), None)


def _state(last: TryEnd | None, verdict: Verdict | None) -> TrialState:
    if verdict is not None:
        return "resolved" if verdict.resolved else "not resolved"
    return "error" if last is not None and last.outcome.error is not None else "open"


def _bounds(resolved: int, failed: int, errors: int) -> Bounds | None:
    if not errors:
        return None
    total = resolved + failed + errors
    return Bounds(all_failed=resolved / total, all_resolved=(resolved + errors) / total)


def _sum_costs(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _sum_times(times: Iterable[TimeSplit]) -> TimeSplit:
    listed = list(times)
    return TimeSplit(
        model=sum(one.model for one in listed),
        tools=sum(one.tools for one in listed),
        harness=sum(one.harness for one in listed),
    )


def _sum_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common())
