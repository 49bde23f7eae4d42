"""Closes sandboxes beside the work: no trial and no verdict waits for a container to go."""

import asyncio
from dataclasses import dataclass, field

from tools.sandbox import Sandbox


@dataclass
class Janitor:
    """Await `finish` at the end of a run."""

    _closing: list["asyncio.Task[None]"] = field(default_factory=list["asyncio.Task[None]"])

    def close(self, sandbox: Sandbox) -> None:
        """Begin to close it."""
        self._closing.append(asyncio.create_task(sandbox.close()))

    async def finish(self) -> list[BaseException]:
        """Wait until all are closed, and return what went wrong with those that are not."""
        ended = await asyncio.gather(*self._closing, return_exceptions=True)
        return [failure for failure in ended if failure is not None]
