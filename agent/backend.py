"""What a backend is, and the ways in which one fails."""

from collections.abc import Callable
from typing import Literal, Protocol

from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.turn import AssistantTurn
from results.records.events import BackendDescription
from results.records.usage import Usage

DeltaKind = Literal["reasoning", "content", "tool_call"]
DeltaListener = Callable[[DeltaKind, str], None]
"""Called with each piece of a response as it streams in, for a person who watches."""

RetryListener = Callable[[str, float], None]
"""Called with the reason and the wait in seconds before a failed request is sent again."""

UsageListener = Callable[[Usage], None]
"""Called with what a request used, once for each and however it ended: cancellation, too, has to be paid for."""


class ThinkingWatch(Protocol):
    """Hears a response's thinking as it streams in: `agent.repetition.ThinkingGuard`."""

    def add(self, text: str) -> None:
        """Take the next piece. Raises EndlessThinkingError to break the response off."""
        ...


class BackendError(Exception):
    """A request failed for good; the message says what the server did."""


class BackendUnreachableError(BackendError):
    """Nobody answers at the address, or not in time."""


class ContextExhaustedError(BackendError):
    """The prompt no longer fits into the model's context window.

    Its length and that of the window are in tokens, None where the server does not tell.
    """

    def __init__(
        self,
        message: str,
        *,
        prompt_tokens: int | None = None,
        context_window: int | None = None,
    ) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.context_window = context_window


class Backend(Protocol):
    """A served model."""

    @property
    def description(self) -> BackendDescription:
        """What goes into the records."""
        ...

    @property
    def dialect(self) -> Dialect:
        """How its server family speaks."""
        ...

    async def complete(
        self,
        conversation: Conversation,
        on_delta: DeltaListener | None = None,
        on_retry: RetryListener | None = None,
        guard: ThinkingWatch | None = None,
        on_usage: UsageListener | None = None,
    ) -> AssistantTurn:
        """Send the conversation and receive the next turn, streamed or not, as its head asks for.

        Every try has a copy of `guard`, as it was handed over; where it raises, the turn as far as it came is
        returned, with the reason as `stopped`. Raises BackendError.
        """
        ...

    async def count(self, conversation: Conversation) -> int | None:
        """The tokens of its prompt, as the server counts them; None where it cannot be asked."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...
