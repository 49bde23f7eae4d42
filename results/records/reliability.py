"""What `evals validate` found of each task: `reliable.json`, whose `tasks` are the reliable set."""

from typing import Literal

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record

Reliability = Literal["reliable", "flaky", "broken", "solved_by_nothing", "unknown"]
"""`reliable`: gold is always resolved, and nothing at all never. `flaky`: the same work is judged differently.
`broken`: gold is never resolved. `unknown`: it could not be judged as often as was asked."""


class TaskReliability(Record):
    """One task."""

    task_id: str
    reliability: Reliability
    gold_resolved: list[bool]
    nop_resolved: list[bool]
    flipping_tests: list[str] = Field(default_factory=list[str])
    """Tests that passed with gold once and failed another time."""
    failing_tests: list[str] = Field(default_factory=list[str])
    """Tests that never passed with gold."""
    quiesced: bool | None = None
    """Whether the verdict without anything running says the same; None where there is no such verdict."""
    detail: str = ""


class ValidationConditions(Record):
    """What defines what is found: the tasks, and how they are judged."""

    format: int = FORMAT
    source: str
    revision: str | None
    content_sha256: str
    """Of the tasks that were looked at, in their order."""
    repeat: int
    timeout_seconds: float | None
    """None: each task says what its tests may take."""
    grade_network: str
    verifier: str


class ReliableSet(ValidationConditions):
    """All tasks that were looked at."""

    tasks: list[str]
    """The ids of those that are reliable."""
    found: list[TaskReliability]
