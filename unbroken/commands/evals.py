"""The command `evals`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import grade, images, options, records, tasks
from unbroken.commands.clean import clean
from unbroken.commands.containers import PRESET_PARTS, Containers
from unbroken.commands.option_groups import GroupedCommand, with_groups
from unbroken.commands.task_selection import TaskSelection
from unbroken.commands.verification import Verification

if TYPE_CHECKING:
    from agent.profiles.settings import Settings
    from evals.agents import TaskAgent
    from evals.run import RunResult, RunSettings
    from evals.swebench.dataset import Dataset
    from results.records.outcome import Outcome
    from results.records.verdict import Verdict
    from results.run_directory import TrialDirectory

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Measure how good a model is in this harness.",
)  # fmt: skip

DONE, ERROR, INTERRUPTED = 0, 1, 130
STEPS_UNLESS_GIVEN = 250
AGENTS = ("default", "gold", "nop")

Concurrency = Annotated[int, typer.Option(min=1, help="Trials whose agents work at the same time.")]
AllowLostThinking = Annotated[
    bool,
    typer.Option("--allow-lost-thinking", help="Start even where the backend loses thinking that the agent needs."),
]


Tries = Annotated[
    int, typer.Option(min=1, metavar="N", help="Tries at a trial whose sandbox or verifier fails, the first included.")
]


@application.callback()
def evals() -> None:
    """Measure how good a model is in this harness."""


@application.command(cls=GroupedCommand)
@with_groups
def demo(
    *,
    asked: options.Asked,
    runs: options.Runs = None,
    concurrency: Concurrency = 2,
    allow_lost_thinking: AllowLostThinking = False,
) -> None:
    """Run the six bundled tasks with two scripted backends, or with a live model (--backend)."""
    import asyncio

    setup = _Setup(asked, asked.settings({}), allow_lost_thinking=allow_lost_thinking)
    setup.check()
    raise typer.Exit(asyncio.run(_demo(setup, options.runs_directory(runs), concurrency)))


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
            metavar="NAME",
            help="default (a model, unless another is given), gold (the dataset's patch) or nop (nothing).",
        ),
    ] = None,
    prompt: options.Prompt = None,
    asked: options.Asked,
    containers: Containers,
    runs: options.Runs = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attempts at each task; 1 unless given.")
    ] = None,
    concurrency: Concurrency = 4,
    verifications: Annotated[int, typer.Option(min=1, help="Trials that are judged at the same time.")] = 2,
    verification: Verification,
    tries: Tries = 2,
    allow_lost_thinking: AllowLostThinking = False,
) -> None:
    """Run SWE-bench tasks in Docker and judge them with swebench's own grading.

    Exit: 0 every trial has a verdict, 1 some have none, 2 usage, 5 backend unreachable, 130 interrupted.
    """
    import asyncio

    from evals.run import RunSettings

    settings = asked.settings(
        {"agent": AGENTS, "attempts": None, "prompt": None, **PRESET_PARTS},
        agent=_agent_name(agent),
        attempts=attempts,
        prompt=prompt,
        **containers.stated(),
    )
    setup = _Setup(asked, settings, allow_lost_thinking=allow_lost_thinking)
    setup.check()
    sandbox = containers.options(settings, network="none")
    selected = tasks.load(dataset, _tell)
    run_settings = RunSettings(
        concurrency,
        verifications,
        sandbox,
        options.secrets(asked),
        tries=tries,
        judging=verification.asked(selected),
    )
    code = asyncio.run(_swebench(selected, setup, options.runs_directory(runs), run_settings))
    raise typer.Exit(code)


grade.register(application)
application.command()(records.audit)
application.command()(records.export)
application.command()(clean)
application.add_typer(images.application, name="images")
application.add_typer(tasks.application, name="tasks")


@dataclass(frozen=True)
class _Setup:
    """How a model is asked, for every command that asks one."""

    asked: options.Asked
    settings: "Settings"
    allow_lost_thinking: bool = False
    """Start even where the backend loses thinking that the agent needs."""

    @property
    def agent(self) -> str:
        return self.settings["agent"] or "default"

    @property
    def attempts(self) -> int:
        return self.settings["attempts"] or 1

    def check(self) -> None:
        """Raise ValueError, or a usage error, for what could not work, before anything is started."""
        self.asked.check_prices()
        self.asked.toolset_name(self.settings)
        options.prompts(self.settings)


async def _swebench(dataset: "Dataset", setup: _Setup, runs: Path, settings: "RunSettings") -> int:
    await _check_engine(settings)
    async with _agent(setup.agent, setup.asked.backend, setup) as task_agent:
        settings = await _examined(task_agent, settings, allow_lost_thinking=setup.allow_lost_thinking)
        run_id, result = await _run(f"swebench:{dataset.name}", dataset, task_agent, runs, setup.attempts, settings)
    typer.echo(f"\nresults show {run_id}" + _runs_option(runs))
    return _exit_code(result)


async def _demo(setup: _Setup, runs: Path, concurrency: int) -> int:
    import asyncio
    import time

    from evals.demo.suite import SCRIPTS, build_images, load_rows
    from evals.run import RunSettings
    from evals.swebench.dataset import Dataset, Row
    from evals.swebench.judging import Judging
    from evals.swebench.verifier_settings import VerifierSettings
    from results.records.manifest import Group
    from results.report import score_table, write_report
    from results.run_directory import new_run_id, write_group
    from results.tables import new_console
    from runners.docker_engine import connect

    client = await asyncio.to_thread(connect)
    rows = load_rows()
    await build_images(client, rows, typer.echo)
    dataset = Dataset("evals/demo", None, [Row.model_validate(row) for row in rows])
    run_ids: list[str] = []
    worst = DONE
    backend = setup.asked.backend
    for choice in [backend] if backend else [f"scripted:{path}" for path in SCRIPTS.values()]:
        async with _agent("default", choice, setup) as agent:
            settings = RunSettings(
                concurrency, secrets=options.secrets(setup.asked), judging=Judging(VerifierSettings("official"))
            )
            settings = await _examined(agent, settings, allow_lost_thinking=setup.allow_lost_thinking)
            run_id, result = await _run("demo", dataset, agent, runs, 1, settings)
        run_ids.append(run_id)
        worst = max(worst, _exit_code(result))
    group = Group(group_id=new_run_id("demo"), title="The demo suite", created=time.time(), run_ids=run_ids)
    write_group(runs, group)
    report = write_report(runs, group)
    typer.echo("")
    new_console().print(score_table(runs, group))
    typer.echo(f"\nreport: {report}")
    return worst


async def _examined(agent: "TaskAgent", settings: "RunSettings", *, allow_lost_thinking: bool) -> "RunSettings":
    """The settings with what was found out about the backend. Raises LostThinkingError unless that is allowed."""
    from dataclasses import replace

    from evals.agents import ModelAgent
    from evals.preflight import check_thinking, require_thinking

    if not isinstance(agent, ModelAgent):
        return settings
    report = await check_thinking(agent.backend, agent.needs)
    if not allow_lost_thinking:
        require_thinking(report)
    for finding in report.lost:
        _tell(f"thinking is lost, and the run starts all the same: {finding.title}: {finding.detail}")
    return replace(settings, doctor=report, allow_lost_thinking=allow_lost_thinking)


async def _check_engine(settings: "RunSettings") -> None:
    """Make sure, before a run is begun, that there is an engine, and that it can set the limits."""
    import asyncio

    from runners.docker_engine import connect

    with closing(await asyncio.to_thread(connect)) as client:
        await settings.sandbox.check(client)
        await settings.judging.settings.check(client)


async def _run(
    benchmark: str, dataset: "Dataset", agent: "TaskAgent", runs: Path, attempts: int, settings: "RunSettings"
) -> "tuple[str, RunResult]":
    from evals.manifest import make_manifest
    from evals.run import carry_out
    from results.run_directory import RunDirectory, new_run_id

    label = f"{benchmark}-{_label(agent)}"
    manifest = make_manifest(
        new_run_id(label),
        benchmark,
        dataset,
        agent,
        attempts,
        settings.sandbox,
        settings.judging,
    )
    run = RunDirectory.create(runs, manifest)
    total = len(dataset.rows) * attempts
    typer.echo(f"run {manifest.run_id}: {total} trials, {_who(agent)}")
    result = await carry_out(run, dataset.rows, agent, settings, _Progress(total))
    if result.retried:
        typer.echo(f"tried again, or judged again, after an error: {len(result.retried)} of {total} trials")
    if result.reaped:
        typer.echo(f"removed what dead runs had left: {result.reaped}", err=True)
    for warning in result.warnings:
        _tell(warning)
    for (task_id, attempt), rules in sorted(result.flagged.items()):
        _tell(
            f"flagged: {task_id}, attempt {attempt}: {', '.join(rules)} (`evals audit {manifest.run_id}` shows where)"
        )
    for reason in result.leftovers:
        _tell(f"left behind, for `evals clean` to remove: {reason}")
    return manifest.run_id, result


class _Progress:
    """Prints a line for each trial that is over."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0

    def __call__(self, trial: "TrialDirectory", outcome: "Outcome", verdicts: "Sequence[Verdict]") -> None:
        from results.visible_text import visible

        self._over += 1
        error = f"  {outcome.error} error: {outcome.detail}" if outcome.error else ""
        line = (
            f"[{self._over}/{self._total}] {trial.task_id}  {grade.judged(verdicts)}  "
            f"{outcome.exit}, {outcome.steps} steps, {outcome.time.total:.1f} s{error}"
        )
        typer.echo(visible(line))  # what a sandbox said may stand in it


@asynccontextmanager
async def _agent(name: str, backend: str | None, setup: _Setup) -> "AsyncGenerator[TaskAgent]":
    from agent.backends import open_backend
    from evals.agents import GoldAgent, ModelAgent, NopAgent

    match name:
        case "gold":
            yield GoldAgent()
        case "nop":
            yield NopAgent()
        case "default":
            asked, settings = setup.asked, setup.settings
            async with open_backend(backend, asked.backend_options(settings), _tell) as opened:
                limits = asked.limits(settings, on_context="stop", steps=STEPS_UNLESS_GIVEN)
                prices = asked.prices(settings, opened.description, _tell)
                toolset = asked.toolset_name(settings)
                yield ModelAgent(opened, toolset, options.prompts(settings), limits, prices, asked.mcp_servers())
        case _:
            raise AssertionError(name)


def _agent_name(name: str | None) -> str | None:
    if name is None or name in AGENTS:
        return name
    message = f"{name!r} is no agent; there are: {', '.join(AGENTS)}"
    raise typer.BadParameter(message, param_hint="--agent")


def _tell(text: str) -> None:
    from results.visible_text import visible

    typer.echo(visible(text), err=True)


def _label(agent: "TaskAgent") -> str:
    from evals.agents import ModelAgent

    return agent.backend.description.model.rpartition("/")[2] if isinstance(agent, ModelAgent) else agent.name


def _who(agent: "TaskAgent") -> str:
    from evals.agents import ModelAgent

    if not isinstance(agent, ModelAgent):
        return f"agent {agent.name}"
    description = agent.backend.description
    scripted = " (scripted: replies come from a file, not from a model)" if description.scripted else ""
    return f"{description.model} at {description.base_url}{scripted}"


def _runs_option(runs: Path) -> str:
    from results.run_directory import default_runs_directory

    return "" if runs == default_runs_directory() else f" --runs {runs}"


def _exit_code(result: "RunResult") -> int:
    if result.interrupted:
        return INTERRUPTED
    return ERROR if result.errors else DONE
