"""Seeds: each trial has its own, which follows from the run's, the task and the attempt.

So attempts differ, a trial gets the same seed in whatever order and after however many resumes, and another run with
the same manifest samples alike where the server is deterministic at all (few are, under changing load).
"""

import hashlib
from dataclasses import dataclass

from agent.backend import Backend, DeltaListener, RetryListener, ThinkingWatch, UsageListener
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.turn import AssistantTurn
from results.records.events import BackendDescription

_BITS = 31
"""All servers take these; llama.cpp reads the largest of 32 bits as chance."""


def trial_seed(run_seed: int, task_id: str, attempt: int) -> int:
    """The seed of a trial, from 0 to 2**31 - 1."""
    digest = hashlib.sha256(f"{run_seed}/{attempt}/{task_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4]) >> (32 - _BITS)


@dataclass(frozen=True)
class SeededBackend:
    """A backend whose requests carry a seed. Fulfils `agent.backend.Backend`."""

    backend: Backend
    seed: int

    @property
    def description(self) -> BackendDescription:
        """What goes into the records, and into the head of each request. The dialect has a field for the seed."""
        described, name = self.backend.description, self.dialect.sampling.seed
        assert name is not None
        return described.model_copy(update={"sampling": {name: self.seed, **described.sampling}})

    @property
    def dialect(self) -> Dialect:
        """That of the backend."""
        return self.backend.dialect

    async def complete(
        self,
        conversation: Conversation,
        on_delta: DeltaListener | None = None,
        on_retry: RetryListener | None = None,
        guard: ThinkingWatch | None = None,
        on_usage: UsageListener | None = None,
    ) -> AssistantTurn:
        """Send the conversation."""
        return await self.backend.complete(conversation, on_delta, on_retry, guard, on_usage)

    async def count(self, conversation: Conversation) -> int | None:
        """Count the tokens of its prompt."""
        return await self.backend.count(conversation)

    async def close(self) -> None:
        """Nothing: the backend is the run's."""
