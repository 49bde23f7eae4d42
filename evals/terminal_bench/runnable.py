"""What keeps a valid task from being run here, by name: it is refused for that, and nothing of it is ignored."""

from collections.abc import Iterator, Mapping

from evals.terminal_bench.compose_task import compose_problems
from evals.terminal_bench.mcp_servers import expanded, problem_of
from evals.terminal_bench.part import parts_of
from evals.terminal_bench.task_directory import SETTINGS, Problem, TaskDirectory
from evals.terminal_bench.task_file import environment_tables
from evals.terminal_bench.variables import MissingVariableError, filled

_ALONE = ("terminus", "command")


def obstacles(task: TaskDirectory, values: Mapping[str, str], agent: str, no_gpus: str = "") -> list[Problem]:
    """Why a valid task cannot be run by that agent with these variables of the environment; empty where it can.

    `no_gpus`: why containers can have none, where that is so.
    """
    without = [Problem(SETTINGS, key, f"containers can have no GPUs: {no_gpus}") for key in gpu_keys(task) if no_gpus]
    of_tools = _tools(task, values) if agent == "default" else _only_for_tools(task, agent)
    return [*of_tools, *compose_problems(task, agent), *_missing(task, values), *without]


def gpu_keys(task: TaskDirectory) -> list[str]:
    """Where a task asks for GPUs."""
    return [f"{name}.gpus" for name, table in environment_tables(task.file).items() if table.gpus]


def _only_for_tools(task: TaskDirectory, agent: str) -> Iterator[Problem]:
    """What can only be handed to an agent that takes tools and earlier turns from us."""
    if agent in _ALONE and task.file.environment.mcp_servers:
        yield Problem(SETTINGS, "environment.mcp_servers", f"the agent {agent} cannot be given the tools of a server")
    if agent in _ALONE and (earlier := next((part.earlier for part in parts_of(task) if part.earlier), None)):
        place = str(earlier.relative_to(task.path))
        yield Problem(place, "", f"the agent {agent} cannot go on from an earlier conversation")


def _missing(task: TaskDirectory, values: Mapping[str, str]) -> Iterator[Problem]:
    file = task.file
    tables = {"environment": file.environment.env, "solution": file.solution.env}
    verifiers = {"verifier": file.verifier}
    verifiers |= {f"steps[{number}].verifier": step.verifier for number, step in enumerate(file.steps or ())}
    for name, verifier in verifiers.items():
        tables[name] = verifier.env
        if verifier.environment:
            tables[f"{name}.environment"] = verifier.environment.env
    for name, variables in tables.items():
        try:
            filled(variables, values, f"[{name}].env")
        except MissingVariableError as error:
            yield Problem(SETTINGS, f"{name}.env", str(error))


def _tools(task: TaskDirectory, values: Mapping[str, str]) -> Iterator[Problem]:
    """What keeps an agent from the tools of the task's servers."""
    names = set[str]()
    for number, server in enumerate(task.file.environment.mcp_servers):
        key = f"environment.mcp_servers[{number}]"
        if server.name in names:
            yield Problem(SETTINGS, key, f"a second server is called {server.name}")
        names.add(server.name)
        if reason := problem_of(server):
            yield Problem(SETTINGS, key, reason)
            continue
        try:
            expanded([server], values)
        except MissingVariableError as error:
            yield Problem(SETTINGS, key, str(error))
