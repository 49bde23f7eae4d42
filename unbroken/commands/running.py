"""What the commands that carry out runs share: how a model is asked, what is printed of trials, how they end."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import grade, options

if TYPE_CHECKING:
    from agent.backend import Backend
    from agent.profiles.settings import Settings
    from agent.request_budget import RequestBudget
    from evals.agents import ModelAgent
    from evals.execution import RunResult
    from evals.manifest import NamedAgent
    from results.records.doctor import DoctorReport
    from results.records.outcome import Outcome
    from results.records.verdict import Verdict
    from results.run_directory import RunDirectory, TrialDirectory

DONE, ERROR, INTERRUPTED = 0, 1, 130
STEPS_UNLESS_GIVEN = 250
OUTAGE = 600.0
"""Seconds for which a run waits for a server that went away: one that loads 35B weights again takes minutes."""
COMMAND = "command"
"""What `command:…` is called."""
AGENTS = ("default", "gold", "nop", COMMAND)

Concurrency = Annotated[int, typer.Option(min=1, help="Trials whose agents work at the same time.")]
Requests = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Requests that the backend gets at the same time; auto finds how many do it good. As many as there are "
        "agents at work, unless given.",
    ),
]
RunSeed = Annotated[
    str,
    typer.Option(
        "--run-seed",
        metavar="N|none",
        help="From it follows a seed for each trial, which goes to servers that are known to take one.",
    ),
]
AllowLostThinking = Annotated[
    bool,
    typer.Option("--allow-lost-thinking", help="Start even where the backend loses thinking that the agent needs."),
]
Tries = Annotated[
    int, typer.Option(min=1, metavar="N", help="Tries at a trial whose sandbox or verifier fails, the first included.")
]


@dataclass(frozen=True)
class Setup:
    """How a model is asked, for every command that asks one."""

    asked: options.Asked
    settings: "Settings"
    benchmark: str = "swebench"
    """Whose prompt sets there are."""
    toolset: str | None = None
    """The one that a model gets unless another is given; None: that of every command."""
    allow_lost_thinking: bool = False
    """Start even where the backend loses thinking that the agent needs."""
    recorded: "RunDirectory | None" = None
    """The run whose responses stand in the place of a model's."""
    live_from: int | None = None
    """The step from which the model answers itself."""
    requests: "RequestBudget | None" = None
    """How many requests the backend gets at once."""
    seed: int | None = None
    """The run's, for servers that take seeds."""

    @property
    def agent(self) -> str:
        """Its name."""
        return self.settings["agent"] or "default"

    @property
    def attempts(self) -> int:
        """At each task."""
        return self.settings["attempts"] or 1

    def check(self) -> None:
        """Raise ValueError, or a usage error, for what could not work, before anything is started."""
        self.asked.check_prices()
        self.asked.toolset_name(self.settings, self.toolset)
        options.prompts(self.settings, self.benchmark)

    @asynccontextmanager
    async def open_model(self, backend: str | None) -> "AsyncGenerator[ModelAgent]":
        """The default agent with a model behind it. Raises what opening a backend raises."""
        from evals.agents import ModelAgent

        asked, settings = self.asked, self.settings
        async with self._open_backend(backend) as opened:
            limits = asked.limits(settings, on_context="stop", steps=STEPS_UNLESS_GIVEN)
            prices = asked.prices(settings, opened.description, tell)
            prompts = options.prompts(settings, self.benchmark)
            toolset = asked.toolset_name(settings, self.toolset)
            seed = self.seed if opened.dialect.sampling.seed else None
            yield ModelAgent(opened, toolset, prompts, limits, prices, asked.mcp_servers(), seed)

    @asynccontextmanager
    async def _open_backend(self, backend: str | None) -> "AsyncGenerator[Backend]":
        from agent.backends import open_backend
        from evals.forked import ForkedBackend
        from evals.recorded import RecordedBackend

        recorded = None
        if self.recorded:
            assert self.recorded.manifest.backend is not None
            recorded = RecordedBackend(self.recorded, self.recorded.manifest.backend)
            if self.live_from is None:
                yield recorded
                return
        asked = self.asked.backend_options(self.settings)
        backend_options = replace(asked, outage=OUTAGE, requests=self.requests)
        async with open_backend(backend, backend_options, tell) as opened:
            yield opened if recorded is None else ForkedBackend(opened, recorded, self.live_from or 1)

    async def examine(self, agent: object) -> "DoctorReport | None":
        """What was found out about the backend; None without one. Raises LostThinkingError unless that is allowed."""
        from evals.preflight import check_thinking, require_thinking

        if (model := asked_model(agent)) is None or (self.recorded and self.live_from is None):
            return None
        report = await check_thinking(model.backend, model.needs)
        if not self.allow_lost_thinking:
            require_thinking(report)
        for finding in report.lost:
            tell(f"thinking is lost, and the run starts all the same: {finding.title}: {finding.detail}")
        return report


class Progress:
    """Prints a line for each trial that is over."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0

    def __call__(self, trial: "TrialDirectory", outcome: "Outcome", verdicts: "Sequence[Verdict]") -> None:
        """A trial is over."""
        from results.visible_text import visible

        self._over += 1
        error = f"  {outcome.error} error: {outcome.detail}" if outcome.error else ""
        line = (
            f"[{self._over}/{self._total}] {trial.task_id}  {grade.judged(verdicts)}  "
            f"{outcome.exit}, {outcome.steps} steps, {outcome.time.total:.1f} s{error}"
        )
        typer.echo(visible(line))  # what a sandbox said may stand in it


def tell_result(run_id: str, result: "RunResult", total: int) -> None:
    """Print what a person should know at the end of a run beside its score."""
    if result.retried:
        typer.echo(f"tried again, or judged again, after an error: {len(result.retried)} of {total} trials")
    if result.reaped:
        typer.echo(f"removed what dead runs had left: {result.reaped}", err=True)
    for warning in result.warnings:
        tell(warning)
    for (task_id, attempt), rules in sorted(result.flagged.items()):
        tell(f"flagged: {task_id}, attempt {attempt}: {', '.join(rules)} (`evals audit {run_id}` shows where)")
    for reason in result.leftovers:
        tell(f"left behind, for `evals clean` to remove: {reason}")


def request_budget(stated: str | None) -> "RequestBudget":
    """What `--requests` says. Raises a usage error."""
    from agent.request_budget import Adaptive, Fixed, RequestBudget

    if stated is None:
        return RequestBudget()
    if stated == "auto":
        return RequestBudget(Adaptive())
    if not stated.isascii() or not stated.isdigit() or int(stated) < 1:
        message = f"{stated!r} is neither a number of requests nor auto"
        raise typer.BadParameter(message, param_hint="--requests")
    return RequestBudget(Fixed(int(stated)))


def run_seed(stated: str) -> int | None:
    """What `--run-seed` says. Raises a usage error."""
    if stated == "none":
        return None
    if not stated.isascii() or not stated.isdigit():
        message = f"{stated!r} is neither a number nor none"
        raise typer.BadParameter(message, param_hint="--run-seed")
    return int(stated)


def agent_name(name: str | None, agents: Sequence[str] = AGENTS) -> str | None:
    """The name, if it is one of `agents`, of which `command` needs its command; a usage error otherwise."""
    if name is None or (name in agents and name != COMMAND):
        return name
    if name.startswith(f"{COMMAND}:"):
        return COMMAND
    known = [f"{COMMAND}:'what to run in the container'" if one == COMMAND else one for one in agents]
    message = f"{name!r} is no agent; there are: {', '.join(known)}"
    raise typer.BadParameter(message, param_hint="--agent")


def tell(text: str) -> None:
    """Print for a person, apart from the results."""
    from results.visible_text import visible

    typer.echo(visible(text), err=True)


def asked_model(agent: object) -> "ModelAgent | None":
    """The model that an agent asks, in our loop or as a command; None for one that asks none."""
    from evals.agents import ModelAgent
    from evals.command_agent import CommandAgent

    model = agent.model if isinstance(agent, CommandAgent) else agent
    return model if isinstance(model, ModelAgent) else None


def label(agent: "NamedAgent") -> str:
    """What a run of it is called."""
    model = asked_model(agent)
    return model.backend.description.model.rpartition("/")[2] if model else agent.name


def who(agent: "NamedAgent") -> str:
    """Who works in a run, for its first line."""
    if (model := asked_model(agent)) is None:
        return f"agent {agent.name}"
    description = model.backend.description
    scripted = " (scripted: replies come from a file, not from a model)" if description.scripted else ""
    working = "" if agent is model else f"agent {agent.name}, "
    return f"{working}{description.model} at {description.base_url}{scripted}"


def exit_code(result: "RunResult") -> int:
    """What the command ends with."""
    if result.interrupted:
        return INTERRUPTED
    return ERROR if result.errors else DONE
