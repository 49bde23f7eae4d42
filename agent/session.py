"""One task on one repository: `agent run`. Sets up the sandbox, runs the loop, harvests the diff, records all of it."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from agent.approval import Approval
from agent.backend import Backend, DeltaKind
from agent.interrupts import cancelled_by_signals
from agent.limits import Budget
from agent.listener import Listener, Listeners
from agent.loop import Agent, Instructions
from agent.redaction import Redacting
from agent.sandboxes import SandboxChoice, open_sandbox
from agent.workspace import Checkout, Diff, Workspace, WorkspaceError, printable
from results.records.events import EndEvent, Event, PatchEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.records.usage import Prices
from results.trajectory import TrajectoryWriter
from tools.mcp_servers import McpServer
from tools.mcp_toolset import OpenToolset, open_toolset
from tools.pictures import Picture
from tools.sandbox import SandboxError

HARVEST_GRACE = 60.0
SHOWN_PATCH = 1024 * 1024
SHOWN_LEFT_OUT = 100
LEFT_OUT = "left_out"
"""What an outcome counts files by that are not in the diff."""


class RecordError(Exception):
    """A session cannot be written where it was to be recorded."""


class Recorder:
    """A listener that writes events to a trajectory."""

    def __init__(self, writer: TrajectoryWriter) -> None:
        self._writer = writer

    def event(self, event: Event) -> None:
        """Write it."""
        self._writer.write(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Leave pieces out."""

    def output(self, data: bytes) -> None:
        """Leave pieces out."""


@dataclass(frozen=True)
class TaskSettings:
    """What a person asks for with `agent run`."""

    task: str
    repository: Checkout
    sandbox: SandboxChoice
    toolset: str
    limits: LimitsDescription
    prices: Prices | None
    approval: Approval
    secrets: Collection[str] = ()
    """What is taken out of everything that is recorded and shown."""
    pictures: tuple[Picture, ...] = ()
    """What the model is shown with the task."""
    mcp: tuple[McpServer, ...] = ()
    """Servers whose tools the model gets besides, with their variables put in."""


@dataclass(frozen=True)
class TaskResult:
    """What came of it."""

    outcome: Outcome
    patch: bytes | None
    """The diff; None when there is none to be had, and `failure` says why."""
    failure: Exception | None
    folder: Path


def system_prompt() -> str:
    """The default system prompt."""
    return resources.files("agent").joinpath("prompts/system.md").read_text("utf-8").strip()


async def run_task(
    settings: TaskSettings,
    backend: Backend,
    view: Listener,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> TaskResult:
    """Work on the repository, and leave `trajectory.jsonl` and `patch.diff` in `folder`.

    `tell` hears what a person should know beside the events. Once the loop has begun it always ends in a result: what
    went wrong is in there. Raises before that: WorkspaceError where git cannot work, SandboxError where the sandbox
    cannot be had, McpError for a server of tools that cannot be had, RecordError.
    """
    async with (
        _open_toolset(settings) as toolset,
        open_sandbox(settings.sandbox, settings.repository, tell) as sandbox,
    ):
        for warning in toolset.warnings:
            tell(f"note: {warning}")
        workspace = Workspace(sandbox)
        await workspace.check()
        base = await workspace.snapshot()
        with _open_trajectory(folder, settings.repository) as writer:
            listener = Redacting(Listeners(Recorder(writer), view), settings.secrets)
            agent = Agent(
                backend=backend,
                toolset_name=toolset.name,
                toolset=toolset.tools,
                sandbox=sandbox,
                sandbox_name=str(settings.sandbox),
                budget=Budget(settings.limits, settings.prices),
                approval=settings.approval,
                listener=listener,
            )
            task = f"The repository is in {sandbox.working_directory}.\n\n{settings.task}"
            outcome, failure = await _work(agent, Instructions(system_prompt(), task, settings.pictures))
            outcome, failure, diff = await _harvest(workspace, base, outcome, failure)
            if diff is not None:
                (folder / "patch.diff").write_bytes(diff.patch)
                listener.event(patch_event(diff))
            listener.event(EndEvent(time=time.time(), outcome=outcome))
    return TaskResult(outcome, diff.patch if diff else None, failure, folder)


async def run_interruptibly(agent: Agent, instructions: Instructions) -> Outcome:
    """Run the agent such that the first Ctrl-C ends it with its work kept."""
    task = asyncio.create_task(agent.run(instructions))
    with cancelled_by_signals(task):
        return await task


async def locate(directory: Path) -> Checkout:
    """Find the repository of a folder on this machine. Raises NoRepositoryError, WorkspaceError."""
    from runners.local_sandbox import LocalSandbox

    sandbox = LocalSandbox(directory)
    try:
        return await Workspace(sandbox).check()
    finally:
        await sandbox.close()


def new_session_folder(sessions: Path) -> Path:
    """A folder name for a session that starts now."""
    return sessions.absolute() / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def patch_event(diff: Diff) -> PatchEvent:
    """The event of a harvest. What is longer than anybody reads is cut; `patch.diff` has the whole."""
    names = {printable(left.name): left.reason for left in diff.left_out[:SHOWN_LEFT_OUT]}
    return PatchEvent(
        time=time.time(),
        patch=diff.patch[:SHOWN_PATCH].decode("utf-8", "replace"),
        sha256=hashlib.sha256(diff.patch).hexdigest(),
        left_out=len(diff.left_out),
        left_out_names=names,
    )


def with_left_out(outcome: Outcome, diff: Diff) -> Outcome:
    """The outcome that counts what is not in the diff."""
    if not diff.left_out:
        return outcome
    return outcome.model_copy(update={"counts": {**outcome.counts, LEFT_OUT: len(diff.left_out)}})


def _told_of_loss(outcome: Outcome, diff: Diff) -> Outcome:
    """The outcome that says so if the repository is none any more."""
    if not diff.repository_is_gone or outcome.detail:
        return outcome
    detail = "the repository's own data (.git) were removed or broken meanwhile; the work is in the diff"
    return outcome.model_copy(update={"detail": detail})


def _open_toolset(settings: TaskSettings) -> AbstractAsyncContextManager[OpenToolset]:
    from runners.command_environment import local_environment
    from runners.marked_processes import MARK, new_mark

    # Marked like the commands of a sandbox, so that servers which outlive a harness that was killed are found.
    environment = {**local_environment(), MARK: new_mark()} if settings.mcp else {}
    directory = Path(settings.repository.top)
    return open_toolset(settings.toolset, settings.mcp, environment=environment, directory=directory)


def _open_trajectory(folder: Path, repository: Checkout) -> TrajectoryWriter:
    try:
        folder.mkdir(parents=True)
        if folder.resolve().is_relative_to(repository.top):  # the record of the work is no part of the work
            (folder / ".gitignore").write_text("*\n")
        return TrajectoryWriter(folder / "trajectory.jsonl")
    except OSError as error:
        reason = error.strerror or error
        message = f"the session cannot be recorded in {folder}: {reason}; choose another folder with --sessions"
        raise RecordError(message) from error


async def _work(agent: Agent, instructions: Instructions) -> tuple[Outcome, Exception | None]:
    try:
        return await run_interruptibly(agent, instructions), agent.failure
    except Exception as error:  # a fault of ours must not cost the record of the work
        detail = f"Unbroken itself failed: {type(error).__name__}: {error}"
        outcome = Outcome(
            exit="error", error="harness", detail=detail, steps=agent.budget.steps, usage=agent.budget.usage
        )
        return outcome, error


async def _harvest(
    workspace: Workspace, base: str, outcome: Outcome, failure: Exception | None
) -> tuple[Outcome, Exception | None, Diff | None]:
    try:
        async with asyncio.timeout(HARVEST_GRACE):
            diff = await workspace.diff(base)
        return with_left_out(_told_of_loss(outcome, diff), diff), failure, diff
    except asyncio.CancelledError:
        detail = "interrupted while the diff was made; the changes themselves are kept"
        return outcome.model_copy(update={"exit": "interrupted", "detail": detail}), failure, None
    except (WorkspaceError, SandboxError, TimeoutError) as error:
        if outcome.error is not None and outcome.error != "cancelled":
            return outcome, failure, None
        reason = str(error) or f"it took longer than {HARVEST_GRACE:g} seconds"
        missing = WorkspaceError(f"there is no diff of the work: {reason}")
        return outcome.model_copy(update={"error": "sandbox", "detail": str(missing)}), missing, None
