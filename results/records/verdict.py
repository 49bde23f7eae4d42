"""What a verifier said about one try."""

from typing import Literal

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record

VerdictStatus = Literal["graded", "empty_patch", "patch_failed", "timed_out", "no_results"]
"""`graded`: the tests ran and were read. The others count as not resolved, as the official protocols count them."""


class TestGroup(Record):
    """The expected tests of one kind, by what became of them."""

    passed: list[str] = Field(default_factory=list)
    failed: list[str] = Field(default_factory=list)


class StepVerdict(Record):
    """What tests said of one step, where a task has several that follow one another."""

    name: str
    status: VerdictStatus
    reward: float
    rewards: dict[str, float] = Field(default_factory=dict[str, float])
    detail: str = ""
    flags: list[str] = Field(default_factory=list[str])


class Verdict(Record):
    """`verdicts/<n>.json`: appended by grading and regrading, never rewritten."""

    format: int = FORMAT
    number: int
    try_number: int
    """The try whose work was judged."""
    verifier: str
    """Its name: `official`, `hardened`."""
    verifier_version: str
    status: VerdictStatus
    reward: float
    rewards: dict[str, float] = Field(default_factory=dict[str, float])
    """The numbers behind it, by their names, where a benchmark has such."""
    resolved: bool
    steps: list[StepVerdict] = Field(default_factory=list[StepVerdict])
    """The steps that were judged, in their order; empty for a task without any."""
    detail: str = ""
    """A sentence on what stands behind it."""
    flags: list[str] = Field(default_factory=list[str])
    """What in the patch could steer the tests, and what became of it."""
    infrastructure: str = ""
    """What broke in the environment, by swebench's reading of the log: not resolved, and nobody's fault in the work."""
    script_seconds: float | None = None
    """What the task's own script took of the time between start and end; None where none ran."""
    fail_to_pass: TestGroup = Field(default_factory=TestGroup)
    pass_to_pass: TestGroup = Field(default_factory=TestGroup)
    patch_sha256: str | None = None
    image_id: str | None = None
    started: float
    """Seconds since the epoch."""
    ended: float
