"""A row as a task for an agent: where its repository is, and what the agent is told.

Of a row only what is told here ever reaches a model: no hints, no names of tests, no test patch, no solution, and no
instance id, which for SWE-bench Pro has the hash of the solution in it.
"""

from collections.abc import Mapping

from agent.loop import Instructions
from evals.swebench.prompt_sets import Prompts, fill
from evals.swebench.rows import Instance, Kind, ProRow

DIRECTORIES: Mapping[Kind, str] = {"swebench": "/testbed", "pro": "/app"}
"""Where the images of each benchmark have the repository."""


def directory_of(row: Instance) -> str:
    """Where the row's image has the repository."""
    return DIRECTORIES[row.kind]


def task_text(row: Instance) -> str:
    """What the row says about the task.

    For SWE-bench Pro that is more than its problem statement, laid out as in `helper_code/create_problem_statement.py`
    of scaleapi/SWE-bench_Pro-os (commit ca10a60): without the other two, a task cannot be known (its issue 64).
    """
    if isinstance(row, ProRow):
        return (
            f"{row.problem_statement}\n\nRequirements:\n{row.requirements}\n\n"
            f"New interfaces introduced:\n{row.interface}"
        )
    return row.problem_statement


def instructions(prompts: Prompts, row: Instance) -> Instructions:
    """What the agent is told about `row`."""
    values = {"directory": directory_of(row), "problem_statement": task_text(row)}
    return Instructions(prompts.system, fill(prompts.task, values))
