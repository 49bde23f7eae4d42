"""A run that is at work is changed by lines in its folder: `control.jsonl`, which `evals ctl` appends to.

A file, and no socket: it works wherever the run's folder can be reached, it is a record of what was changed when, and
nothing has to be cleaned up. What the run says of itself, and how many lines it has heeded, stands in `live.json`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from evals.scheduling.live_run import LiveRun
from evals.scheduling.places import Places
from results.json_lines import encode_line, open_for_append, read_lines
from results.record_files import DamagedFileError, encode, read_record
from results.records.control import Change, LiveState
from results.whole_files import write_whole

_CHANGES = "control.jsonl"
_STATE = "live.json"
_LOOK_EVERY = 0.25
_TELL_EVERY = 2.0
_CHANGE: TypeAdapter[Change] = TypeAdapter(Change)


class Resizable(Protocol):
    """A budget of requests, as the backend has it."""

    @property
    def number(self) -> int | None:
        """How many at once; None: no limit of its own."""
        ...

    def resize(self, number: int) -> None:
        """Have another number."""
        ...


@dataclass
class Budgets:
    """All that a person may change of a run at work."""

    sandboxes: Places
    verifications: Places
    requests: Resizable | None = None
    """None where no model is asked."""

    def change(self, change: Change) -> None:
        """Let it hold from now on."""
        if change.concurrency is not None:
            self.sandboxes.resize(change.concurrency)
        if change.verifications is not None:
            self.verifications.resize(change.verifications)
        if change.requests is not None and self.requests is not None:
            self.requests.resize(change.requests)
        if change.paused is not None:
            self.sandboxes.pause(paused=change.paused)


def ask(run: Path, change: Change) -> int:
    """Append a change for the run in the folder `run`; the number of lines that there are now."""
    path = run / _CHANGES
    with open_for_append(path) as file:
        file.write(encode_line(change))
        file.flush()
        os.fsync(file.fileno())
    return len(_changes(path))


def live_state(run: Path) -> LiveState | None:
    """What the run in the folder says of itself; None where it says nothing. Raises DamagedFileError."""
    return read_record(run / _STATE, LiveState) if (run / _STATE).exists() else None


@contextlib.asynccontextmanager
async def heeding(run: Path, budgets: Budgets, live: LiveRun, trials: int) -> AsyncGenerator[None]:
    """Heed what is asked of the run from now on, and say what goes on in it. Changes of earlier starts are over.

    `trials`: how many this start has to do.
    """
    heed = _Heeding(run, budgets, live, trials, len(_changes(run / _CHANGES)))
    watching = asyncio.create_task(heed.watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        (run / _STATE).unlink(missing_ok=True)


@dataclass
class _Heeding:
    run: Path
    budgets: Budgets
    live: LiveRun
    trials: int
    heeded: int
    size: int = -1
    told: float = 0.0

    async def watch(self) -> None:
        """Look and tell until cancelled."""
        while True:
            with contextlib.suppress(OSError):  # a full disk stops the run where it records, not where it tells
                await self._look()
            await asyncio.sleep(_LOOK_EVERY)

    async def _look(self) -> None:
        path = self.run / _CHANGES
        size = path.stat().st_size if path.exists() else 0
        if size != self.size:
            self.size = size
            changes = await asyncio.to_thread(_changes, path)
            for change in changes[self.heeded :]:
                self.budgets.change(change)
            if len(changes) > self.heeded:
                self.heeded = len(changes)
                self.live.changed(self._state())
                self.told = 0.0
        if time.monotonic() - self.told >= _TELL_EVERY:
            state = self._state()
            await asyncio.to_thread(write_whole, self.run / _STATE, encode(state, indent=2) + b"\n")
            self.told = time.monotonic()

    def _state(self) -> LiveState:
        budgets = self.budgets
        return LiveState(
            time=time.time(),
            pid=os.getpid(),
            paused=budgets.sandboxes.is_paused,
            concurrency=budgets.sandboxes.number,
            verifications=budgets.verifications.number,
            requests=budgets.requests.number if budgets.requests else None,
            changes=self.heeded,
            over=self.live.tally.over,
            left=self.trials - self.live.tally.over,
            trials=self.live.trials,
        )


def _changes(path: Path) -> list[Change]:
    try:
        return list(read_lines(path, _CHANGE)) if path.exists() else []
    except DamagedFileError:  # written by hand, and wrong: no reason to end a run
        return []
