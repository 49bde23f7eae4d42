"""The command `evals terminal-bench`."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unbroken.commands import options, runs_place, terminus_agent
from unbroken.commands.command_agent import CommandOptions
from unbroken.commands.containers import PRESET_PARTS
from unbroken.commands.harbor_job import JobConfigs
from unbroken.commands.option_groups import CONTAINERS, TASKS, VERIFIER, GroupedCommand, option, with_groups
from unbroken.commands.replay import concluded
from unbroken.commands.running import (
    AGENTS,
    COMMAND,
    AllowLostThinking,
    Concurrency,
    Requests,
    RunSeed,
    Setup,
    Tries,
    agent_name,
    label,
    request_budget,
    run_seed,
    tell,
    tell_result,
    who,
)
from unbroken.commands.starting import RunId, Start, announce, going_on_told, trials_left
from unbroken.commands.terminus_agent import TERMINUS
from unbroken.commands.watching import AsJson, tell_end, watching
from unbroken.invocation import Invocation

if TYPE_CHECKING:
    from evals.agents import ModelAgent
    from evals.command_agent import CommandAgent
    from evals.execution import RunResult
    from evals.terminal_bench.agents import TerminalAgent
    from evals.terminal_bench.dataset_source import ObtainedTasks
    from evals.terminal_bench.environment import TaskLimits
    from evals.terminal_bench.run import TerminalBenchSettings
    from evals.terminal_bench.task_directory import TaskDirectory
    from results.run_directory import RunDirectory

TOOLSET = "bash+editor+terminal"
INVALID = 2
_AGENTS = (*AGENTS, TERMINUS)


def register(application: typer.Typer) -> None:
    """Give `evals` this command."""
    application.command("terminal-bench", cls=GroupedCommand)(terminal_bench)


@with_groups
def terminal_bench(
    *,
    dataset: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Tasks in Harbor's format: a directory, terminal-bench@2.1, FILE.json#NAME@VERSION of a registry.json,"
            " or git+URL@COMMIT:PATH.",
        ),
    ],
    tasks: Annotated[
        str,
        option("--tasks", group=TASKS, metavar="NAMES", help="Names, separated by commas; * and ? stand for any text."),
    ] = "*",
    exclude: Annotated[
        str, option("--exclude", group=TASKS, metavar="NAMES", help="Not these, in the same spelling.")
    ] = "",
    first: Annotated[
        int | None, option("--first", group=TASKS, min=1, metavar="N", help="Only the first N of them, by name.")
    ] = None,
    config: JobConfigs = None,
    skip_invalid: Annotated[
        bool,
        option("--skip-invalid", group=TASKS, help="Leave out tasks that cannot be run, instead of refusing to start."),
    ] = False,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|command:…",
            help="default (a model, unless another is given), terminus (a model that types at a terminal, as"
            " Terminus-2 does), gold (the task's own solution), nop (nothing), or a command to run in the container,"
            " which asks the model through a relay.",
        ),
    ] = None,
    command_options: CommandOptions,
    prompt: options.Prompt = None,
    asked: options.Asked,
    cpus: Annotated[
        float | None, option(group=CONTAINERS, min=0.01, metavar="N", help="Processors of each; else as the task says.")
    ] = None,
    memory: Annotated[
        str | None, option(group=CONTAINERS, metavar="SIZE", help="Memory of each, such as 4g; else as the task says.")
    ] = None,
    clip_resources: Annotated[
        bool,
        option(
            "--clip-resources",
            group=CONTAINERS,
            help="Where more processors or memory are asked for than there are, take what there is, and record both.",
        ),
    ] = False,
    timeout_multiplier: Annotated[
        float,
        option(group=VERIFIER, min=0.01, metavar="X", help="Times what tasks give to the agent and to their tests."),
    ] = 1.0,
    verdicts: Annotated[
        Literal["official", "both"],
        option(
            group=VERIFIER,
            help="official: on the container as the agent left it; both: also on its files, with nothing running.",
        ),
    ] = "official",
    runs: runs_place.Runs = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attempts at each task; 1 unless given.")
    ] = None,
    concurrency: Concurrency = 4,
    verifications: Annotated[int, typer.Option(min=1, help="Trials that are judged at the same time.")] = 4,
    requests: Requests = None,
    seed_of_run: RunSeed = "0",
    tries: Tries = 2,
    allow_lost_thinking: AllowLostThinking = False,
    run_id: RunId = None,
    as_json: AsJson = False,
    invoked: typer.Context,
) -> None:
    """Run tasks in Harbor's format (Terminal-Bench) in Docker, and judge them by their own tests.

    Exit: 0 every trial has a verdict, 1 some have none, 2 usage or invalid tasks, 5 backend unreachable, 130
    interrupted.
    """
    import asyncio

    del config  # its callback has put what it says in the place of what was not given
    from evals.terminal_bench.judging import OFFICIAL, VERIFIERS
    from evals.terminal_bench.run import TerminalBenchSettings

    settings = asked.settings(
        {"agent": _AGENTS, "attempts": None, "prompt": None, **PRESET_PARTS},
        agent=agent_name(agent, _AGENTS),
        attempts=attempts,
        prompt=prompt,
        cpus=cpus,
    )
    invocation = Invocation.of(invoked)
    budget = request_budget(requests)
    setup = Setup(
        asked,
        settings,
        "terminal_bench",
        TOOLSET,
        allow_lost_thinking,
        recorded=invocation.replayed,
        live_from=invocation.live_from,
        requests=budget,
        seed=run_seed(seed_of_run),
    )
    setup.check()
    command = command_options.check(agent, setup, prompt)
    if setup.agent == TERMINUS:
        terminus_agent.check(setup, prompt)
    secrets = options.secrets(asked)
    start = Start.of(invoked, run_id, secrets, as_json=as_json)
    run_settings = TerminalBenchSettings(
        concurrency,
        verifications,
        tries,
        start.command,
        budget,
        limits=_limits(setup, memory, timeout_multiplier),
        clip_resources=clip_resources,
        verifiers=tuple(VERIFIERS) if verdicts == "both" else (OFFICIAL,),
        secrets=secrets,
    )
    obtained = obtained_tasks(dataset)
    selected = selected_tasks(obtained, tasks, setup.agent, skip_invalid=skip_invalid, excluded=exclude, first=first)
    opened = _command(command_options.open(command, setup, asked.backend)) if command else _agent(setup)
    directory = runs_place.runs_directory(runs, [run_id] if run_id else [])
    run, result = asyncio.run(run_tasks(obtained, selected, setup, opened, directory, run_settings, start))
    code = concluded(start, run, result)
    if start.as_json:
        tell_end(run, result)
    typer.echo(f"\nresults show {run.manifest.run_id}" + runs_place.runs_option(directory))
    raise typer.Exit(code)


def _limits(setup: Setup, memory: str | None, timeout_multiplier: float) -> "TaskLimits":
    from evals.terminal_bench.environment import TaskLimits
    from runners.sandbox_options import SandboxOptionError, size

    of_preset = setup.settings["memory_gib"]
    stated = memory or (f"{of_preset}g" if of_preset else None)
    try:
        limit = None if stated is None else size(stated, "memory")
    except SandboxOptionError as error:
        raise typer.BadParameter(str(error), param_hint="--memory") from error
    return TaskLimits(setup.settings["cpus"], limit, timeout_multiplier=timeout_multiplier)


def obtained_tasks(dataset: str) -> "ObtainedTasks":
    """The tasks of a source. Raises a usage error where they cannot be had."""
    from evals.terminal_bench.dataset_source import obtain
    from evals.terminal_bench.source_spelling import TaskSourceError

    try:
        return obtain(dataset, tell)
    except TaskSourceError as error:
        raise typer.BadParameter(str(error), param_hint="--dataset") from error


def selected_tasks(
    obtained: "ObtainedTasks",
    names: str,
    agent: str,
    *,
    skip_invalid: bool,
    excluded: str = "",
    first: int | None = None,
) -> "list[TaskDirectory]":
    """The tasks that were asked for. Exits with the reasons, where some cannot be run and nobody said to skip them."""
    from evals.terminal_bench.runnable import gpu_keys, obstacles

    found = obtained.found

    def is_asked(*called: str) -> bool:
        return _is_one_of(called, names) and not _is_one_of(called, excluded)

    asked = [task for task in found.tasks if is_asked(task.name, task.path.name)][:first]
    reasons = [f"{error.path.name}: {problem}" for error in found.invalid for problem in error.problems
               if is_asked(error.path.name)]  # fmt: skip
    no_gpus = _why_no_gpus() if any(gpu_keys(task) for task in asked) else ""
    in_the_way = {task.name: obstacles(task, os.environ, agent, no_gpus) for task in asked}
    reasons += [f"{name}: {problem}" for name, problems in in_the_way.items() for problem in problems]
    selected = [task for task in asked if not in_the_way[task.name]]
    for reason in reasons:
        tell(reason)
    if reasons and not skip_invalid:
        tell("no run was begun: put these tasks right, leave them out with --tasks, or give --skip-invalid")
        raise typer.Exit(INVALID)
    if not selected:
        source = obtained.source
        message = f"no task of {source} that can be run is called {names!r}; `evals tasks check {source}` lists them"
        raise typer.BadParameter(message, param_hint="--tasks")
    return selected


def _is_one_of(called: "Sequence[str]", names: str) -> bool:
    patterns = [pattern.strip() for pattern in names.split(",") if pattern.strip()]
    return any(fnmatchcase(name, pattern) for name in called for pattern in patterns)


def _why_no_gpus() -> str:
    from runners.docker_engine import connect
    from runners.gpus import why_no_gpus

    with closing(connect()) as client:
        return why_no_gpus(client)


async def run_tasks(
    obtained: "ObtainedTasks",
    tasks: "Sequence[TaskDirectory]",
    setup: Setup,
    opened: "AbstractAsyncContextManager[tuple[TerminalAgent, ModelAgent | None]]",
    runs: Path,
    settings: "TerminalBenchSettings",
    start: Start,
) -> "tuple[RunDirectory, RunResult]":
    """Carry out a run on these tasks, and tell of it; what came of it. Raises what a backend raises."""
    from dataclasses import replace

    from evals.terminal_bench.run import carry_out, content_sha256, make_manifest
    from results.run_directory import new_run_id

    limits = await _limits_here(tasks, settings)
    async with opened as (agent, model):
        doctor = await setup.examine(model)
        settings = replace(settings, limits=limits, doctor=doctor, allow_lost_thinking=setup.allow_lost_thinking)
        manifest = make_manifest(
            new_run_id(f"terminal-bench-{label(model or agent)}"),
            obtained.source,
            tasks,
            agent,
            setup.attempts,
            limits,
            settings.verifiers,
            obtained.revision,
        )
        run = start.open(runs, manifest, lambda names: content_sha256(_named(tasks, names)))
        left = trials_left(run)
        working = f"agent {agent.name}, " if agent.name in (COMMAND, TERMINUS) else ""
        announce(run, f"{working}{who(model or agent)}", left)
        with going_on_told(run):
            async with watching(run, left, as_json=start.as_json) as watch:
                result = await carry_out(run, tasks, agent, settings, watch.report, tell, watch.live)
    tell_result(run.manifest.run_id, result, left)
    return run, result


def _named(tasks: "Sequence[TaskDirectory]", names: Sequence[str]) -> "list[TaskDirectory]":
    by_name = {task.name: task for task in tasks}
    return [by_name[name] for name in names]


async def _limits_here(tasks: "Sequence[TaskDirectory]", settings: "TerminalBenchSettings") -> "TaskLimits":
    """The limits that hold on this machine. Exits with the reasons where it has too little."""
    import asyncio

    from evals.terminal_bench.resources import TooLittleError, limits_here
    from runners.docker_engine import connect

    with closing(await asyncio.to_thread(connect)) as client:
        try:
            return await limits_here(tasks, settings.limits, client, clip=settings.clip_resources)
        except TooLittleError as error:
            for reason in error.reasons:
                tell(reason)
            tell(
                "no run was begun: ask for less, leave tasks out with --tasks, or take what there is: --clip-resources"
            )
            raise typer.Exit(INVALID) from error


@asynccontextmanager
async def open_default(setup: Setup, backend: str | None) -> "AsyncGenerator[tuple[TerminalAgent, ModelAgent | None]]":
    """A model in the default loop. Raises what opening a backend raises."""
    from evals.terminal_bench.agents import ModelTerminalAgent

    async with setup.open_model(backend) as model:
        yield ModelTerminalAgent(model), model


@asynccontextmanager
async def _agent(setup: Setup) -> "AsyncGenerator[tuple[TerminalAgent, ModelAgent | None]]":
    from evals.terminal_bench.agents import IdleAgent, SolutionAgent

    match setup.agent:
        case "gold":
            yield SolutionAgent(), None
        case "nop":
            yield IdleAgent(), None
        case "terminus":
            async with terminus_agent.open_terminus(setup) as opened:
                yield opened
        case _:
            async with open_default(setup, setup.asked.backend) as opened:
                yield opened


@asynccontextmanager
async def _command(
    opened: "AbstractAsyncContextManager[CommandAgent]",
) -> "AsyncGenerator[tuple[TerminalAgent, ModelAgent | None]]":
    from evals.terminal_bench.agents import CommandTerminalAgent

    async with opened as agent:
        yield CommandTerminalAgent(agent), agent.model
