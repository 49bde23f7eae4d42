"""The command `evals`."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import (
    control,
    from_manifest,
    grade,
    images,
    manifests,
    options,
    records,
    runs_place,
    tasks,
    terminal_bench,
)
from unbroken.commands.clean import clean
from unbroken.commands.command_agent import CommandOptions
from unbroken.commands.containers import PRESET_PARTS, Containers
from unbroken.commands.option_groups import GroupedCommand, with_groups
from unbroken.commands.replay import concluded, replay
from unbroken.commands.running import (
    AGENTS,
    DONE,
    AllowLostThinking,
    Concurrency,
    Requests,
    RunSeed,
    Setup,
    Tries,
    agent_name,
    exit_code,
    label,
    request_budget,
    run_seed,
    tell,
    tell_result,
    who,
)
from unbroken.commands.starting import RunId, Start, announce, going_on_told, resume, trials_left
from unbroken.commands.task_selection import TaskSelection
from unbroken.commands.verification import Verification
from unbroken.commands.watching import AsJson, tell_end, watching
from unbroken.invocation import Invocation

if TYPE_CHECKING:
    from evals.agents import TaskAgent
    from evals.command_agent import CommandAgent
    from evals.run import RunResult, RunSettings
    from evals.swebench.dataset import Dataset
    from results.run_directory import RunDirectory

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Measure how good a model is in this harness.",
)  # fmt: skip


@application.callback()
def evals() -> None:
    """Measure how good a model is in this harness."""


@application.command(cls=GroupedCommand)
@with_groups
def demo(
    *,
    asked: options.Asked,
    runs: runs_place.Runs = None,
    concurrency: Concurrency = 2,
    allow_lost_thinking: AllowLostThinking = False,
) -> None:
    """Run the nine bundled tasks with two scripted backends, or with a live model (--backend)."""
    import asyncio

    settings = asked.settings({})
    setup = Setup(asked, settings, allow_lost_thinking=allow_lost_thinking)
    in_terminal = replace(setup, benchmark="terminal_bench", toolset=terminal_bench.TOOLSET)
    setup.check()
    in_terminal.check()
    raise typer.Exit(asyncio.run(_demo(setup, in_terminal, runs_place.own_runs_directory(runs), concurrency)))


@application.command(cls=GroupedCommand)
@with_groups
def swebench(
    *,
    dataset: Annotated[
        str,
        typer.Option(
            help="verified, lite, full, multilingual, a dataset of the hub (OWNER/NAME, OWNER/NAME@REVISION), or a "
            ".parquet, .json or .jsonl file of rows."
        ),
    ],
    tasks: TaskSelection,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|command:…",
            help="default (a model, unless another is given), gold (the dataset's patch), nop (nothing), or a command"
            " to run in the container, which asks the model through a relay.",
        ),
    ] = None,
    command_options: CommandOptions,
    prompt: options.Prompt = None,
    asked: options.Asked,
    containers: Containers,
    runs: runs_place.Runs = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attempts at each task; 1 unless given.")
    ] = None,
    concurrency: Concurrency = 4,
    verifications: Annotated[int, typer.Option(min=1, help="Trials that are judged at the same time.")] = 2,
    verification: Verification,
    requests: Requests = None,
    seed_of_run: RunSeed = "0",
    tries: Tries = 2,
    allow_lost_thinking: AllowLostThinking = False,
    run_id: RunId = None,
    as_json: AsJson = False,
    invoked: typer.Context,
) -> None:
    """Run SWE-bench tasks in Docker and judge them with swebench's own grading.

    Exit: 0 every trial has a verdict, 1 some have none, 2 usage, 5 backend unreachable, 130 interrupted.
    """
    import asyncio

    from evals.run import RunSettings

    settings = asked.settings(
        {"agent": AGENTS, "attempts": None, "prompt": None, **PRESET_PARTS},
        agent=agent_name(agent),
        attempts=attempts,
        prompt=prompt,
        **containers.stated(),
    )
    invocation = Invocation.of(invoked)
    budget = request_budget(requests)
    setup = Setup(
        asked,
        settings,
        allow_lost_thinking=allow_lost_thinking,
        recorded=invocation.replayed,
        live_from=invocation.live_from,
        requests=budget,
        seed=run_seed(seed_of_run),
    )
    setup.check()
    command = command_options.check(agent, setup, prompt)
    opened = (
        command_options.open(command, setup, asked.backend) if command else _agent(setup.agent, asked.backend, setup)
    )
    sandbox = containers.options(settings, network="none")
    selected = tasks.load(dataset, tell)
    secrets = options.secrets(asked)
    start = Start.of(invoked, run_id, secrets, as_json=as_json)
    run_settings = RunSettings(
        concurrency,
        verifications,
        tries,
        start.command,
        budget,
        sandbox=sandbox,
        secrets=secrets,
        judging=verification.asked(selected),
    )
    directory = runs_place.runs_directory(runs, [run_id] if run_id else [])
    code = asyncio.run(_swebench(selected, setup, opened, directory, run_settings, start))
    raise typer.Exit(code)


grade.register(application)
terminal_bench.register(application)
application.command()(records.audit)
application.command()(records.export)
application.command()(manifests.manifest)
application.command()(manifests.diff)
application.command()(control.ctl)
application.command()(clean)
for _again in (resume, replay, from_manifest.run):
    application.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(_again)
application.add_typer(images.application, name="images")
application.add_typer(tasks.application, name="tasks")


async def _swebench(
    dataset: "Dataset",
    setup: Setup,
    opened: "AbstractAsyncContextManager[TaskAgent | CommandAgent]",
    runs: Path,
    settings: "RunSettings",
    start: Start,
) -> int:
    await _check_engine(settings)
    name = f"swebench:{dataset.name}"
    async with opened as task_agent:
        settings = await _examined(task_agent, settings, setup)
        run, result = await _run(name, dataset, task_agent, runs, setup.attempts, settings, start)
    code = concluded(start, run, result)
    if start.as_json:
        tell_end(run, result)
    typer.echo(f"\nresults show {run.manifest.run_id}" + runs_place.runs_option(runs))
    return code


async def _demo(setup: Setup, in_terminal: Setup, runs: Path, concurrency: int) -> int:
    import time

    from results.records.manifest import Group
    from results.report import score_table, write_report
    from results.run_directory import new_run_id, write_group
    from results.tables import new_console

    outcomes = await _demo_swebench(setup, runs, concurrency)
    outcomes += await _demo_terminal_bench(in_terminal, runs, concurrency)
    run_ids = [run.manifest.run_id for run, _ in outcomes]
    group = Group(group_id=new_run_id("demo"), title="The demo suite", created=time.time(), run_ids=run_ids)
    write_group(runs, group)
    report = write_report(runs, group)
    typer.echo("")
    new_console().print(score_table(runs, group))
    typer.echo(f"\nreport: {report}")
    return max(DONE, *(exit_code(result) for _, result in outcomes))


async def _demo_swebench(setup: Setup, runs: Path, concurrency: int) -> "list[tuple[RunDirectory, RunResult]]":
    import asyncio

    from evals.demo.suite import SCRIPTS, build_images, load_rows
    from evals.run import RunSettings
    from evals.swebench.dataset import Dataset, Row
    from evals.swebench.judging import Judging
    from evals.swebench.verifier_settings import VerifierSettings
    from runners.docker_engine import connect

    client = await asyncio.to_thread(connect)
    rows = load_rows()
    await build_images(client, rows, typer.echo)
    dataset = Dataset("evals/demo", None, [Row.model_validate(row) for row in rows])
    outcomes: list[tuple[RunDirectory, RunResult]] = []
    for choice in _backends(setup, SCRIPTS):
        async with _agent("default", choice, setup) as agent:
            settings = RunSettings(
                concurrency, secrets=options.secrets(setup.asked), judging=Judging(VerifierSettings("official"))
            )
            settings = await _examined(agent, settings, setup)
            outcomes.append(await _run("demo", dataset, agent, runs, 1, settings, Start()))
    return outcomes


async def _demo_terminal_bench(setup: Setup, runs: Path, concurrency: int) -> "list[tuple[RunDirectory, RunResult]]":
    from evals.demo.terminal_tasks import SCRIPTS, load_terminal_tasks
    from evals.terminal_bench.run import TerminalBenchSettings

    obtained = load_terminal_tasks()
    settings = TerminalBenchSettings(concurrency, secrets=options.secrets(setup.asked))
    return [
        await terminal_bench.run_tasks(
            obtained, obtained.found.tasks, setup, terminal_bench.open_default(setup, choice), runs, settings, Start()
        )
        for choice in _backends(setup, SCRIPTS)
    ]


def _backends(setup: Setup, scripts: "Mapping[str, Path]") -> list[str]:
    """The one that was asked for, else all the scripted ones."""
    asked = setup.asked.backend
    return [asked] if asked else [f"scripted:{path}" for path in scripts.values()]


async def _examined(agent: "TaskAgent | CommandAgent", settings: "RunSettings", setup: Setup) -> "RunSettings":
    """The settings with what was found out about the backend. Raises LostThinkingError unless that is allowed."""
    doctor = await setup.examine(agent)
    return replace(settings, doctor=doctor, allow_lost_thinking=setup.allow_lost_thinking) if doctor else settings


async def _check_engine(settings: "RunSettings") -> None:
    """Make sure, before a run is begun, that there is an engine, and that it can set the limits."""
    import asyncio

    from runners.docker_engine import connect

    with closing(await asyncio.to_thread(connect)) as client:
        await settings.sandbox.check(client)
        await settings.judging.settings.check(client)


async def _run(
    benchmark: str,
    dataset: "Dataset",
    agent: "TaskAgent | CommandAgent",
    runs: Path,
    attempts: int,
    settings: "RunSettings",
    start: Start,
) -> "tuple[RunDirectory, RunResult]":
    from evals.manifest import make_manifest
    from evals.run import carry_out
    from results.run_directory import new_run_id

    manifest = make_manifest(
        new_run_id(f"{benchmark}-{label(agent)}"),
        benchmark,
        dataset,
        agent,
        attempts,
        settings.sandbox,
        settings.judging,
    )
    run = start.open(runs, manifest, dataset.content_sha256_of)
    left = trials_left(run)
    announce(run, who(agent), left)
    with going_on_told(run):
        async with watching(run, left, as_json=start.as_json) as watch:
            result = await carry_out(run, dataset.rows, agent, settings, watch.report, watch.live)
    tell_result(run.manifest.run_id, result, left)
    return run, result


@asynccontextmanager
async def _agent(name: str, backend: str | None, setup: Setup) -> "AsyncGenerator[TaskAgent]":
    from evals.agents import GoldAgent, NopAgent

    match name:
        case "gold":
            yield GoldAgent()
        case "nop":
            yield NopAgent()
        case "default":
            async with setup.open_model(backend) as agent:
                yield agent
        case _:
            raise AssertionError(name)
