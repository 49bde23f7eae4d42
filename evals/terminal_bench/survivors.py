"""What still runs in a container when its agent is done, by the engine's own list of processes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runners.docker_engine import in_thread

if TYPE_CHECKING:
    from docker import DockerClient

_OURS = ('IFS= read -r text; eval "$text"', "$_worker_loop", "$SERVICE_WORKER")
"""What the command lines of the harness's own shells hold."""
_MOST = 100
_LONGEST = 200
_COLUMNS = f"-o pid,args --cols {_LONGEST + 100}"
"""For `ps`, which shows else as much of a command line as there is: 128 kB and more of each."""


async def survivors(client: "DockerClient", container: str) -> list[str]:
    """The command lines of the processes that the agent left running. Raises SandboxError."""
    api: Any = client.api
    listed: dict[str, list[list[str]]] = await in_thread(api.top, container, ps_args=_COLUMNS)
    return command_lines(listed["Processes"] or ())


def command_lines(processes: Iterable[Sequence[str]]) -> list[str]:
    """Those that are not ours, shortened; `processes` are rows whose last column is the command line."""
    lines = [row[-1] for row in processes if not any(mark in row[-1] for mark in _OURS)]
    more = [f"… and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [line[:_LONGEST] for line in lines[:_MOST]] + more
