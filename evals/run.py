"""A run on SWE-bench, from the network of its containers to the predictions that it leaves."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from evals.agents import TaskAgent
from evals.command_agent import CommandAgent
from evals.execution import Execution, ExecutionSettings, RunResult
from evals.images.leases import leased_images
from evals.janitor import Janitor
from evals.scheduling.live_run import LiveRun
from evals.session import describe_session
from evals.swebench.dataset import AnyInstance
from evals.swebench.exports import export_predictions
from evals.swebench.judging import SWEBENCH, Judging
from evals.swebench.trial import AgentPhase, SwebenchFlow
from evals.trial import Report
from results.records.doctor import DoctorReport
from results.run_at_work import run_at_work
from results.run_directory import RunDirectory
from runners.docker_engine import connect
from runners.networks import open_network
from runners.reaper import Reaping, reap_beside, remove_containers
from runners.sandbox_options import SandboxOptions

_REAPER_GRACE = 10.0
PREDICTIONS = "predictions.jsonl"
"""The patches of a run in swebench's format, so that its own tools can grade them again."""


@dataclass(frozen=True)
class RunSettings(ExecutionSettings):
    """How a run is carried out; what could change its score is in its manifest as well."""

    sandbox: SandboxOptions = field(default_factory=SandboxOptions)
    """The agent's, as the manifest has them; the verifier's are what the protocol says."""
    secrets: frozenset[str] = frozenset()
    """What is taken out of everything that is recorded."""
    doctor: DoctorReport | None = None
    """What was found out about the backend before the start."""
    allow_lost_thinking: bool = False
    """A person wants the run although the backend loses thinking that the agent needs."""
    judging: Judging = SWEBENCH
    """How patches are judged, as the manifest has it."""


async def carry_out(
    run: RunDirectory,
    rows: Sequence[AnyInstance],
    agent: TaskAgent | CommandAgent,
    settings: RunSettings,
    report: Report,
    live: LiveRun | None = None,
) -> RunResult:
    """Carry out all trials of `run`, telling `report` of each that ends, and `live` of all that goes on.

    Raises EngineUnavailableError when there is no Docker engine, ValueError for limits that it cannot set, SandboxError
    when the containers' network cannot be made.
    """
    run_id, janitor = run.manifest.run_id, Janitor()
    options = settings.sandbox.with_host() if isinstance(agent, CommandAgent) else settings.sandbox
    with run_at_work(run), contextlib.closing(await asyncio.to_thread(connect)) as client:
        async with (
            leased_images(client, run_id, (row.image for row in rows)),
            settings.judging.open(client, janitor, run_id, list(run.manifest.verifiers)) as verifiers,
            open_network(client, options, run=run_id) as network,
        ):
            run.append_session(
                describe_session(
                    run, client, settings.concurrency, settings.doctor, settings.allow_lost_thinking, settings.command
                )
            )
            phase = AgentPhase(client, agent, janitor, network, run_id, settings.secrets)
            execution = Execution(run, rows, SwebenchFlow(phase, verifiers), settings, report, live or LiveRun())
            reaping = reap_beside(client)
            try:
                await execution.carry_out()
            finally:
                failures = [str(failure) for failure in await janitor.finish()]
                failures += await asyncio.to_thread(remove_containers, client, run_id)
                remarks = export_predictions(run, run.path / PREDICTIONS, attempt=1, force=True).remarks
        result = execution.result
        result.leftovers = [*failures, *network.leftovers]
        result.warnings += [*network.remarks, *(f"{PREDICTIONS}: {remark}" for remark in remarks)]
        result.reaped = await reaped(reaping)
    return result


async def reaped(reaping: "Future[Reaping]") -> str:
    """What the reaper removed; it began with the run and has long ended, unless the run was over in no time."""
    with contextlib.suppress(Exception):  # the boundary of what may never fail a run
        async with asyncio.timeout(_REAPER_GRACE):
            return (await asyncio.wrap_future(reaping)).counts
    return ""
