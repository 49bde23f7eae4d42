"""Swebench's own grading, asked for over a process of its own (`evals.swebench.grader`)."""

import asyncio
import importlib.metadata
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evals.swebench.dataset import Row

_PROGRAM = "from unbroken.own_packages import import_own; import_own('evals.swebench.grader').main()"
_LONGEST_ANSWER = 64 * 1024 * 1024
ANSWER_DEADLINE = 300.0
"""Seconds for one log, the import included: reading the longest of 500 real ones takes less than a tenth of one."""


class GraderError(Exception):
    """Swebench's grading failed, or its process did."""


def swebench_version() -> str:
    """The version of swebench whose grading this is."""
    return importlib.metadata.version("swebench")


class Grader:
    """Starts the process at once, so that its import is over when the first trial ends."""

    def __init__(self, process: asyncio.subprocess.Process, deadline: float = ANSWER_DEADLINE) -> None:
        self._process = process
        self._deadline = deadline
        self._lock = asyncio.Lock()

    @classmethod
    async def start(cls) -> "Grader":
        """Start the process; it is ready later, and the first request waits for it."""
        return cls(await _start_process())

    async def eval_script(self, row: Row) -> str:
        """The script that runs the tests, as swebench runs it. Raises GraderError."""
        return str(await self._request({"operation": "script", "row": row.model_dump(mode="json")}))

    async def report(self, row: Row, patch: str, log: Path) -> dict[str, Any]:
        """Swebench's report on a log of that script. Raises GraderError."""
        request = {"operation": "report", "row": row.model_dump(mode="json"), "patch": patch, "log": str(log)}
        return dict(await self._request(request))

    async def close(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _request(self, request: dict[str, Any]) -> Any:
        # To its end even when nobody waits any more: an answer that is left in the pipe would be the next one's.
        return await asyncio.shield(asyncio.create_task(self._exchange(request)))

    async def _exchange(self, request: dict[str, Any]) -> Any:
        async with self._lock:
            if self._process.returncode is not None:  # it ended over an earlier request; this one deserves its own
                self._process = await _start_process()
            try:
                async with asyncio.timeout(self._deadline):
                    line = await self._answer(json.dumps(request).encode() + b"\n")
            except TimeoutError as error:
                await self.close()
                message = f"swebench's grading did not come to an end within {self._deadline:g} seconds, and was ended"
                raise GraderError(message) from error
            except (ConnectionError, ValueError) as error:
                raise GraderError("swebench's grading process ended") from error
        if not line:
            raise GraderError("swebench's grading process ended; does `python -c 'import swebench.harness'` work?")
        response = json.loads(line)
        if "error" in response:
            message = f"swebench's grading failed: {response['error']}"
            raise GraderError(message)
        return response["answer"]

    async def _answer(self, request: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        await self._process.stdin.drain()
        return await self._process.stdout.readline()


@asynccontextmanager
async def open_grader() -> AsyncGenerator[Grader]:
    """A grader for as long as it is needed."""
    grader = await Grader.start()
    try:
        yield grader
    finally:
        await grader.close()


async def _start_process() -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _PROGRAM,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment, limit=_LONGEST_ANSWER, start_new_session=True,
    )  # fmt: skip
