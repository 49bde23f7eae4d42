"""Who decides whether a tool call may run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tools.tool import Access

Policy = Literal["ask", "edits", "all", "read-only"]
"""`ask`: everything but reading needs a yes. `edits`: only commands do. `all`: nothing does. `read-only`: no more
than reading is allowed, without a question."""


@dataclass(frozen=True)
class Decision:
    """Whether a call may run. `reason` is what the model reads when it may not."""

    allowed: bool
    reason: str = ""
    final: bool = False
    """True where nobody is there who could decide otherwise: the task ends as refused."""


Question = Callable[[str, str], Awaitable[Decision]]
"""Asks a person about a call: the tool's name and its arguments as the model wrote them."""

_ALLOWED: dict[Policy, frozenset[Access]] = {
    "ask": frozenset({"read"}),
    "edits": frozenset({"read", "edit"}),
    "all": frozenset({"read", "edit", "execute"}),
    "read-only": frozenset({"read"}),
}


@dataclass(frozen=True)
class Approval:
    """A policy, and the person to ask where there is one."""

    policy: Policy
    question: Question | None = None

    async def decide(self, name: str, arguments: str, access: Access) -> Decision:
        """Decide on one call."""
        if access in _ALLOWED[self.policy]:
            return Decision(allowed=True)
        if self.policy == "read-only":
            return Decision(allowed=False, reason="Denied: this session is read-only.")
        if self.question is None:
            reason = f"Denied: --approve {self.policy} asks before this call, and nobody is there to ask."
            return Decision(allowed=False, reason=reason, final=True)
        return await self.question(name, arguments)
