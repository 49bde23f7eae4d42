"""Blocking calls that an interrupt need not wait for."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_background(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread that is left behind when this is cancelled.

    `asyncio.to_thread` would make the process wait for the call at its end, however long that takes. For calls that
    leave nothing behind when they are abandoned.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # whatever it is, the caller is told
            _tell(loop, answer.cancelled, answer.set_exception, error)
        else:
            _tell(loop, answer.cancelled, answer.set_result, value)

    threading.Thread(target=call, name=getattr(function, "__name__", "background"), daemon=True).start()
    return await answer


def _tell(loop: asyncio.AbstractEventLoop, abandoned: Callable[[], bool], tell: Callable[[T], None], value: T) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if abandoned() else tell(value))
