"""Ctrl-C, and the other signals that ask a process to end, as the cancellation of one task."""

import asyncio
import contextlib
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cancelled_by_signals(task: "asyncio.Task[Any]") -> Generator[None]:
    """While inside, the signals cancel `task` and nothing else. May be nested: the innermost one holds.

    Outside the main thread, which no signal reaches, this does nothing.
    """
    loop = asyncio.get_running_loop()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):
        for number in SIGNALS:
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
