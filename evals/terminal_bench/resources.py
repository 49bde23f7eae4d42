"""Whether this machine has what tasks ask for: with less, a task would be another one.

The published setting of a benchmark may be that of a large machine (32 processors and 48 GB for Qwen3.6 on
Terminal-Bench), so a person may say that what there is shall do; then both stand in the manifest.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evals.terminal_bench.environment import TaskLimits
from evals.terminal_bench.task_directory import TaskDirectory
from runners.sandbox_options import Capacity, SandboxOptionError

if TYPE_CHECKING:
    from docker import DockerClient


class TooLittleError(Exception):
    """The engine cannot give what was asked for; `reasons` say what, and for which task where it is one's own wish."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


async def limits_here(
    tasks: Sequence[TaskDirectory], limits: TaskLimits, client: "DockerClient", *, clip: bool
) -> TaskLimits:
    """The limits that hold on this machine. Raises TooLittleError, unless `clip` takes what there is; SandboxError."""
    if clip:
        limits = replace(limits, clipped_to=await Capacity.ask(client))
    reasons: list[str] = []
    for task in tasks:
        for options in dict.fromkeys(limits.all_options(task.file)):
            try:
                await options.check(client)
            except SandboxOptionError as error:
                is_for_all = getattr(limits, error.option, None) is not None
                reasons.append(str(error) if is_for_all else f"{task.name}: {error}")
    if reasons:
        raise TooLittleError([*dict.fromkeys(reasons)])
    return limits
