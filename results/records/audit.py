"""What the audit of a trajectory found: `audit.json` in a try's folder. Made anew from the trajectory at any time."""

from typing import Literal

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record

Severity = Literal["cheating", "leak", "notice"]
"""`cheating`: meant to change the verdict. `leak`: meant to see the solution. `notice`: harmless on its own."""

Success = Literal["succeeded", "attempted", "unknown"]
"""`attempted`: the call was refused or failed. `unknown`: it was cut off, or its result does not tell."""


class Finding(Record):
    """Something that a call did."""

    rule: str
    severity: Severity
    meaning: str
    line: int
    """The line of the call in the trajectory, from 1."""
    trajectory: str = "trajectory.jsonl"
    """The file, below the try's folder: each step of a task that has several has its own."""
    step: int
    tool: str
    excerpt: str
    """The command, or the path, cut."""
    success: Success


class TraceAudit(Record):
    """All findings of one trajectory in their order."""

    format: int = FORMAT
    auditor: int
    """The version of the rules."""
    calls: int
    """How many tool calls were looked at."""
    findings: list[Finding] = Field(default_factory=list[Finding])

    @property
    def grave(self) -> list[Finding]:
        """Those of severity `cheating` and `leak` in calls not known to have failed."""
        return [one for one in self.findings if one.severity != "notice" and one.success != "attempted"]

    @property
    def flags(self) -> list[str]:
        """The rules that the grave ones are of, each once."""
        return sorted({one.rule for one in self.grave})

    @property
    def attempts(self) -> list[str]:
        """The same of calls that failed."""
        grave = [one for one in self.findings if one.severity != "notice" and one.success == "attempted"]
        return sorted({one.rule for one in grave} - set(self.flags))
