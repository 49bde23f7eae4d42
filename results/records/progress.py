"""What `evals … --json` prints while a run is at work, one JSON object a line."""

from typing import Literal

from results.records.base import Record
from results.records.outcome import Outcome
from results.records.usage import Usage
from results.records.verdict import Verdict

Phase = Literal["sandbox", "agent", "waiting", "judging"]
"""`sandbox`: the container is being set up. `waiting`: the work is done, and will be judged when there is a place."""


class RunBegins(Record):
    """The first line of a start of a run."""

    type: Literal["run_begins"] = "run_begins"
    time: float
    run_id: str
    path: str
    trials: int
    left: int
    """Those that earlier starts have not finished."""
    resolved_before: int = 0
    judged_before: int = 0


class TrialPhase(Record):
    """A trial has come to the next phase."""

    type: Literal["trial_phase"] = "trial_phase"
    time: float
    task_id: str
    attempt: int
    phase: Phase


class TrialStep(Record):
    """A model has answered within a trial."""

    type: Literal["trial_step"] = "trial_step"
    time: float
    task_id: str
    attempt: int
    step: int
    seconds: float
    usage: Usage


class TrialEnds(Record):
    """A trial is over."""

    type: Literal["trial_ends"] = "trial_ends"
    time: float
    task_id: str
    attempt: int
    outcome: Outcome
    verdicts: list[Verdict]


class RunChanged(Record):
    """A person has changed what is done at once (`evals ctl`)."""

    type: Literal["run_changed"] = "run_changed"
    time: float
    paused: bool
    concurrency: int
    verifications: int
    requests: int | None


class RunEnds(Record):
    """The last line."""

    type: Literal["run_ends"] = "run_ends"
    time: float
    run_id: str
    finished: int
    errors: int
    interrupted: bool
    exit_code: int


ProgressEvent = RunBegins | TrialPhase | TrialStep | TrialEnds | RunChanged | RunEnds
