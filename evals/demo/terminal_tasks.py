"""The part of the demo that is Terminal-Bench: three tasks of our own suite, and the scripts in the place of models."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.terminal_bench.dataset_source import ObtainedTasks

SUITE = Path(__file__).parents[1] / "terminal_bench" / "suite"
NAMES = ("junit-report", "service-stays", "typed-into")
"""A program with tests, a service that has to go on running, and a program that only talks to a terminal."""
SCRIPTS = {name: Path(__file__).parent / "scripts" / "terminal" / f"{name}.yaml" for name in ("careful", "hasty")}
"""The scripted backends; they are called as those for the other tasks, in the same order."""


def load_terminal_tasks() -> "ObtainedTasks":
    """The three tasks."""
    from dataclasses import replace

    from evals.terminal_bench.dataset_source import obtain

    obtained = obtain(str(SUITE), lambda _: None)
    tasks = [task for task in obtained.found.tasks if task.path.name in NAMES]
    return replace(obtained, source="evals/terminal_bench/suite", found=replace(obtained.found, tasks=tasks))
