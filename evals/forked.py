"""A trial that goes as it was recorded up to a step, and from there on as another model takes it.

So two models can be put before the same moment of a task: the same conversation, the same files.
"""

from dataclasses import dataclass, field, replace

from agent.backend import Backend, DeltaListener, RetryListener, ThinkingWatch, UsageListener
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.turn import AssistantTurn
from evals.recorded import RecordedBackend
from results.records.events import BackendDescription


@dataclass
class ForkedBackend:
    """Recorded responses, and behind them a model's. Fulfils `agent.backend.Backend`."""

    live: Backend
    recorded: RecordedBackend
    live_from: int
    """The first step that the live one takes, from 1."""
    _taken: int = field(default=0, init=False)

    @property
    def description(self) -> BackendDescription:
        """That of the live one, in whose dialect the whole conversation is written."""
        return self.live.description

    @property
    def dialect(self) -> Dialect:
        """That of the live one."""
        return self.live.dialect

    async def complete(
        self,
        conversation: Conversation,
        on_delta: DeltaListener | None = None,
        on_retry: RetryListener | None = None,
        guard: ThinkingWatch | None = None,
        on_usage: UsageListener | None = None,
    ) -> AssistantTurn:
        """The next response. Raises BackendError, and NotRecordedError where there is nothing to begin with."""
        self._taken += 1
        if self._taken < self.live_from and not self.recorded.is_over:
            return await self.recorded.complete(conversation, on_delta, on_retry, guard, on_usage)
        return await self.live.complete(conversation, on_delta, on_retry, guard, on_usage)

    async def count(self, conversation: Conversation) -> int | None:
        """Ask the live one."""
        return await self.live.count(conversation)

    async def close(self) -> None:
        """Nothing: the live backend is the run's."""

    def of_trial(self, task_id: str, attempt: int, step: str) -> "ForkedBackend":
        """A trial's own, or that of one of its steps."""
        recorded = self.recorded.of_trial(task_id, attempt, step, responses=self.live_from - 1)
        return replace(self, recorded=recorded)
