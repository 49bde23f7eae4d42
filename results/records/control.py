"""What a person changes of a run that is at work, and what such a run says of itself."""

from pydantic import Field

from results.records.base import Record


class Change(Record):
    """A line of `control.jsonl`: what is to hold from now on. None: as it was."""

    time: float
    paused: bool | None = None
    """Whether no trial begins until further notice; those that have begun go on."""
    concurrency: int | None = Field(default=None, ge=1)
    verifications: int | None = Field(default=None, ge=1)
    requests: int | None = Field(default=None, ge=1)


class LiveTrial(Record):
    """A trial that is at work."""

    task_id: str
    attempt: int
    phase: str
    """`sandbox`, `agent`, `waiting` (for a place to be judged), `judging`."""
    since: float
    """When the trial began."""
    step: int = 0


class LiveState(Record):
    """`live.json`, as long as a process is at work on a run; written anew every few seconds."""

    time: float
    pid: int
    paused: bool
    concurrency: int
    verifications: int
    requests: int | None = None
    """How many the backend gets at once; None: as many as agents ask for."""
    changes: int
    """How many lines of `control.jsonl` have been heeded."""
    over: int
    """Trials that are over, of this start."""
    left: int
    trials: list[LiveTrial]
