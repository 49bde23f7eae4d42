"""The scripted backend in a process of its own, and what it saw of its clients."""

import json
import subprocess
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.commands import own_command
from benchmarks.measurement import BenchmarkError


@dataclass(frozen=True)
class ScriptedServer:
    """A server that runs."""

    url: str
    """The base URL for clients, which ends in /v1."""

    def gaps(self, first_step: int, last_step: int) -> list[float]:
        """Seconds between the last byte of the response of each step and the arrival of the request of the next.

        Both times are of the server's own clock. Raises BenchmarkError when not so many steps were taken.
        """
        requests = self._requests()
        if len(requests) <= last_step:
            message = f"{last_step + 1} requests were needed and {len(requests)} came"
            raise BenchmarkError(message)
        steps = range(first_step, last_step + 1)
        return [requests[step]["arrived"] - requests[step - 1]["last_byte"] for step in steps]

    def _requests(self) -> list[dict[str, Any]]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url.removesuffix("/v1") + "/scripted/requests", timeout=60) as response:
            return cast("list[dict[str, Any]]", json.load(response)["requests"])


@contextmanager
def serve_script(script: Path) -> Generator[ScriptedServer]:
    """Serve `script` while the `with` lasts."""
    command = [own_command("agent"), "backends", "serve-script", str(script), "--port", "0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise BenchmarkError("the scripted backend did not start")
            yield ScriptedServer(line.split()[-1])
        finally:
            process.terminate()
