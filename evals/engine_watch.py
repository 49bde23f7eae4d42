"""Waits for a Docker engine that is away: somebody restarts it, or it fell and is brought up again."""

import asyncio
from dataclasses import dataclass, field

from agent.background import in_background

PATIENCE = 60.0
_PAUSE = 0.5


@dataclass
class EngineWatch:
    """All trials of a run wait together; once they have waited in vain, the next ones no longer do."""

    patience: float = PATIENCE
    """Seconds that an engine has to come back."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _given_up: bool = False

    async def answers(self) -> bool:
        """Whether the engine answers, now or soon."""
        await asyncio.sleep(_PAUSE)  # what was just broken off may be on its way down
        async with self._lock:
            self._given_up = not await _answers_within(_PAUSE if self._given_up else self.patience)
            return not self._given_up


async def _answers_within(seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if await in_background(_takes_connections):
                    return True
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        return False


def _takes_connections() -> bool:
    # A new connection: on one that it has already, an engine answers while it shuts down.
    from runners.docker_engine import EngineUnavailableError, connect

    try:
        connect().close()
    except EngineUnavailableError:
        return False
    return True
