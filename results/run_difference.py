"""What differs between two runs: what they were, and what became of the trials that both have."""

from collections import Counter

from pydantic import Field

from results.manifest_difference import Difference, manifest_differences
from results.records.base import Record
from results.run_directory import RunDirectory
from results.score import TrialResult, trial_results


class OutcomeDifference(Record):
    """A trial that both runs have, and that came to something else."""

    task_id: str
    attempt: int
    first: str
    """`resolved`, `not resolved`, `error: sandbox`, `open`."""
    second: str


class RunDifference(Record):
    """Two runs beside each other."""

    manifest: list[Difference]
    outcomes: list[OutcomeDifference]
    shared: int
    """Trials that both manifests have."""
    states: dict[str, int] = Field(default_factory=dict[str, int])
    """How many of these are resolved in `both`, in the `first` alone, in the `second` alone, in `neither`."""

    @property
    def is_none(self) -> bool:
        """Whether nothing differs."""
        return not self.manifest and not self.outcomes


def run_difference(first: RunDirectory, second: RunDirectory) -> RunDifference:
    """What differs, by the official verdicts. Raises DamagedFileError."""
    one, other = (_by_trial(run) for run in (first, second))
    shared = [key for key in one if key in other]
    pairs = {key: (_state(one[key]), _state(other[key])) for key in shared}
    resolved = Counter((before == "resolved", after == "resolved") for before, after in pairs.values())
    return RunDifference(
        manifest=manifest_differences(first.manifest, second.manifest),
        outcomes=[
            OutcomeDifference(task_id=task_id, attempt=attempt, first=before, second=after)
            for (task_id, attempt), (before, after) in pairs.items()
            if before != after
        ],
        shared=len(shared),
        states={
            "both": resolved[True, True],
            "first": resolved[True, False],
            "second": resolved[False, True],
            "neither": resolved[False, False],
        },
    )


def _by_trial(run: RunDirectory) -> dict[tuple[str, int], TrialResult]:
    return {(trial.task_id, trial.attempt): trial for trial in trial_results(run)}


def _state(trial: TrialResult) -> str:
    return f"error: {trial.error}" if trial.state == "error" else trial.state
