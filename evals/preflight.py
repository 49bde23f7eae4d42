"""Before a run starts: whether this backend keeps the thinking that this agent and this benchmark need kept.

A run on a backend that forgets measures another model than the one that is named, and nothing in its results shows
it. So it does not start, unless a person says that it shall (`--allow-lost-thinking`).
"""

from collections.abc import Collection
from typing import Literal

from agent.backend import Backend
from agent.doctor.examination import examine
from results.records.doctor import DoctorReport

ThinkingNeed = Literal["tool_turns", "user_message"]
"""Every agent that uses tools needs the first; one that speaks in messages of the user needs the second as well."""


class LostThinkingError(Exception):
    """Thinking that is needed is lost. `report` is what was found."""

    def __init__(self, report: DoctorReport) -> None:
        lost = report.lost
        seen = "; ".join(f"{finding.title}: {finding.detail}" for finding in lost)
        mends = dict.fromkeys(finding.mend for finding in lost if finding.mend)
        advice = "".join(f"\n{mend}" for mend in mends)
        super().__init__(
            f"the backend at {report.backend.base_url} loses the model's earlier thinking ({seen}), so the run would "
            f"measure another model than {report.backend.model}.{advice}\n"
            "`agent doctor` says more; to run all the same, and have it recorded: --allow-lost-thinking"
        )
        self.report = report


async def check_thinking(backend: Backend, needs: Collection[ThinkingNeed]) -> DoctorReport:
    """Ask the backend what `needs` names: two small requests for each, and one more where no thinking is seen.

    The answer is *cannot tell* for a scripted backend, which says nothing but its script. Raises
    BackendUnreachableError if nobody answers.
    """
    # With patience: a server that loads its model first, or works for somebody else, is no reason not to start.
    return await examine(backend, only=needs, long=True)


def require_thinking(report: DoctorReport) -> None:
    """Raises LostThinkingError if `report` says that thinking is lost; not being able to tell is not enough."""
    if report.lost:
        raise LostThinkingError(report)
