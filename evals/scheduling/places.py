"""Places for what is done at once: a number of them, and the processors and the memory that they may take together.

They are given in the order in which they are asked for. Whoever needs more than is free waits, and everybody behind
him too: else a large task would wait until all small ones are over.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import NamedTuple


class Demand(NamedTuple):
    """What a trial declares that it takes; 0 where it declares nothing."""

    cpus: float = 0.0
    memory: int = 0
    """Bytes."""


NOTHING = Demand()
UNLIMITED = 2**63


@dataclass(eq=False)
class _Waiting:
    demand: Demand
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places:
    """A budget: of live sandboxes, say, or of verifications."""

    def __init__(self, number: int = UNLIMITED, room: Demand | None = None) -> None:
        """`room`: what all that is admitted may declare together; 0 of something, or None: no limit."""
        self._number = number
        self._room = room or NOTHING
        self._taken = 0
        self._cpus = 0.0
        self._memory = 0
        self._paused = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def number(self) -> int:
        """How many there are."""
        return self._number

    @property
    def taken(self) -> int:
        """How many are taken; more than there are, for a while after there became fewer."""
        return self._taken

    @property
    def is_paused(self) -> bool:
        """Whether none is given at the moment."""
        return self._paused

    def resize(self, number: int) -> None:
        """Have another number of them; whoever has one keeps it."""
        self._number = number
        self._admit()

    def pause(self, *, paused: bool) -> None:
        """Give none until further notice, or go on."""
        self._paused = paused
        self._admit()

    async def acquire(self, demand: Demand = NOTHING) -> None:
        """Wait for a place."""
        waiting = _Waiting(demand)
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            if waiting.admitted.cancelled():
                self._admit()  # others may have waited behind it
            else:
                self.release(demand)
            raise

    def release(self, demand: Demand = NOTHING) -> None:
        """Give a place back that was taken for the same demand."""
        self._taken -= 1
        self._cpus -= demand.cpus
        self._memory -= demand.memory
        self._admit()

    @contextlib.asynccontextmanager
    async def one(self, demand: Demand = NOTHING) -> AsyncGenerator[None]:
        """Have a place for a while."""
        await self.acquire(demand)
        try:
            yield
        finally:
            self.release(demand)

    def _admit(self) -> None:
        while self._waiting:
            waiting = self._waiting[0]
            if waiting.admitted.cancelled():
                self._waiting.popleft()
                continue
            if self._paused or not self._fits(waiting.demand):
                return
            self._waiting.popleft()
            self._taken += 1
            self._cpus += waiting.demand.cpus
            self._memory += waiting.demand.memory
            waiting.admitted.set_result(None)

    def _fits(self, demand: Demand) -> bool:
        if self._taken >= self._number:
            return False
        if self._taken == 0:  # what needs more than there is has it all to itself
            return True
        cpus_fit = not self._room.cpus or self._cpus + demand.cpus <= self._room.cpus
        return cpus_fit and (not self._room.memory or self._memory + demand.memory <= self._room.memory)
