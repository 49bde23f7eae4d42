"""How work ends: by an exception, whatever ended it, and as an outcome in which nothing of that is lost."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Never

from agent.backend import BackendError, ContextExhaustedError
from agent.calls import ToolFailedError
from agent.pictures import PicturesRefusedError
from results.records.outcome import ErrorSource, Exit
from tools.sandbox import SandboxError


@dataclass(frozen=True)
class Ending:
    """Why an agent stopped, whose fault it was if it is one, and a sentence for a person."""

    exit: Exit
    detail: str = ""
    error: ErrorSource | None = None
    failure: Exception | None = None
    """What made it an error, for who wants to know more than the sentence says."""


class TaskOver(Exception):  # noqa: N818 - an end is no error
    """Ends an agent's loop; carries how."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.detail)
        self.ending = ending


async def ending_of(work: Coroutine[Any, Any, Never], seconds: float | None) -> Ending:
    """Let an agent work for `seconds` at most, and say how it ended.

    Never raises for what a model, a limit, a sandbox or a person does.
    """
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            await work
        raise AssertionError("an agent's loop only ends by an exception")
    except TaskOver as over:
        return over.ending
    except TimeoutError:
        if not deadline.expired():
            raise
        return Ending("limit:time", f"the limit of {seconds:g} seconds was reached")
    except asyncio.CancelledError:
        return Ending("interrupted", "interrupted", "cancelled")
    except ContextExhaustedError as failure:
        return Ending("limit:context", str(failure), failure=failure)
    except BackendError as failure:
        return Ending("error", str(failure), "backend", failure)
    except (SandboxError, ToolFailedError, PicturesRefusedError) as failure:
        return Ending("error", str(failure), _fault_of(failure), failure)


def _fault_of(failure: Exception) -> ErrorSource:
    match failure:
        case SandboxError():
            return "sandbox"
        case PicturesRefusedError():
            return "backend"
        case _:
            return "harness"
