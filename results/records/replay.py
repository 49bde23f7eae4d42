"""`replay.json` in the folder of a replay: whether a run came to the same with the responses that were recorded."""

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record


class ObservationDifference(Record):
    """An answer of a tool that is another one."""

    number: int
    """Which of the trial's answers, from 1."""
    step: int | None
    tool: str
    first: str | None
    """The line in which they part, cut; None: the first trial has no such answer."""
    second: str | None


class ReplayedTrial(Record):
    """A trial beside the recorded one."""

    task_id: str
    attempt: int
    problem: str = ""
    """Why it could not be replayed; empty where it was."""
    observations: int = 0
    """How many answers of tools were compared."""
    differences: list[ObservationDifference] = Field(default_factory=list[ObservationDifference])
    recorded: dict[str, bool] = Field(default_factory=dict[str, bool])
    """Whether it was resolved, by each verifier that has judged both."""
    replayed: dict[str, bool] = Field(default_factory=dict[str, bool])

    @property
    def agrees(self) -> bool:
        """Whether every answer and every verdict is the same."""
        return self.is_as_recorded and self.recorded == self.replayed

    @property
    def is_as_recorded(self) -> bool:
        """Whether every answer is the same, whatever came of it."""
        return not self.problem and not self.differences


class ReplayRecord(Record):
    """All of them."""

    format: int = FORMAT
    run_id: str
    """The run that was replayed."""
    live_from: int | None = None
    """The step from which another model answered; answers are compared up to there."""
    trials: list[ReplayedTrial]
