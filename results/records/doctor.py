"""What the doctor found out about a backend: printed by `agent doctor --json`, and kept in `sessions.jsonl`."""

from typing import Literal

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record
from results.records.events import BackendDescription

KEPT, LOST, CARRIES_NONE, NO_THINKING, CANNOT_TELL = (
    "kept", "lost", "the API carries none", "no thinking in this mode", "cannot tell",
)  # fmt: skip
"""The answers to the two questions about thinking."""

TOOL_TURNS, USER_MESSAGE = "tool_turns", "user_message"
"""The names of the two questions: does earlier thinking survive a tool turn, and a new message of the user?"""

Status = Literal["pass", "fail", "cannot_tell"]


class Finding(Record):
    """The outcome of one check."""

    check: str
    """Its name, which stays the same between versions: `tool_turns`, `cache`, `overflow` …"""
    title: str
    status: Status
    answer: str
    """In a few words, or a figure: `kept`, `lost`, `qwen3.6-35b-a3b`, `131,072 tokens`."""
    detail: str = ""
    """What was seen, as a sentence."""
    mend: str | None = None
    """What mends it on this server: a flag or a setting."""


class DoctorReport(Record):
    """All findings about one backend."""

    format: int = FORMAT
    time: float
    """When it began, in seconds since 1970."""
    backend: BackendDescription
    recognised_by: str
    """How the dialect was found: stated, or the sign that gave it away."""
    findings: list[Finding] = Field(default_factory=list[Finding])
    figures: dict[str, float] = Field(default_factory=dict[str, float])
    """Seconds, and tokens a second: `ttft_1k`, `prefill_1k`, `decode_1k`, `prefill_32k` …"""

    def finding(self, check: str) -> Finding | None:
        """What that check found; None where it was not made."""
        return next((finding for finding in self.findings if finding.check == check), None)

    @property
    def lost(self) -> list[Finding]:
        """The questions about thinking whose answer is *lost*."""
        return [finding for finding in self.findings if finding.answer == LOST and _is_question(finding)]


def _is_question(finding: Finding) -> bool:
    return finding.check in (TOOL_TURNS, USER_MESSAGE)
