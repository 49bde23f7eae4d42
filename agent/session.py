"""One task on one repository: `agent run`. Sets up the sandbox, runs the loop, harvests the diff, records all of it."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
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
from agent.workspace import Checkout, NoRepositoryError, Workspace, WorkspaceError
from results.records.events import EndEvent, Event, PatchEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.records.usage import Prices
from results.trajectory import TrajectoryWriter
from tools.pictures import Picture
from tools.sandbox import Sandbox, SandboxError
from tools.toolset import make_toolset

DOCKER = "docker:"
CONTAINER_REPOSITORY = "/workspace"
HARVEST_GRACE = 60.0
SHOWN_PATCH = 1024 * 1024


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
    sandbox: str
    """`local`, or `docker:IMAGE`."""
    toolset: str
    limits: LimitsDescription
    prices: Prices | None
    approval: Approval
    secrets: Collection[str] = ()
    """What is taken out of everything that is recorded and shown."""
    pictures: tuple[Picture, ...] = ()
    """What the model is shown with the task."""


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


async def run_task(settings: TaskSettings, backend: Backend, view: Listener, folder: Path) -> TaskResult:
    """Work on the repository, and leave `trajectory.jsonl` and `patch.diff` in `folder`.

    Once the loop has begun it always ends in a result: what went wrong is in there. Raises before that:
    WorkspaceError where git cannot work, SandboxError where the sandbox cannot be had, RecordError.
    """
    budget = Budget(settings.limits, settings.prices)
    toolset = make_toolset(settings.toolset)
    async with open_sandbox(settings.sandbox, settings.repository) as sandbox:
        workspace = Workspace(sandbox)
        await workspace.check()
        base = await workspace.snapshot()
        with _open_trajectory(folder, settings.repository) as writer:
            listener = Redacting(Listeners(Recorder(writer), view), settings.secrets)
            agent = Agent(
                backend, settings.toolset, toolset, sandbox, settings.sandbox, budget, settings.approval, listener
            )
            task = f"The repository is in {sandbox.working_directory}.\n\n{settings.task}"
            outcome, failure = await _work(agent, Instructions(system_prompt(), task, settings.pictures))
            outcome, failure, patch = await _harvest(workspace, base, outcome, failure)
            if patch is not None:
                (folder / "patch.diff").write_bytes(patch)
                listener.event(patch_event(patch))
            listener.event(EndEvent(time=time.time(), outcome=outcome))
    return TaskResult(outcome, patch, failure, folder)


async def run_interruptibly(agent: Agent, instructions: Instructions) -> Outcome:
    """Run the agent such that the first Ctrl-C ends it with its work kept."""
    task = asyncio.create_task(agent.run(instructions))
    with cancelled_by_signals(task):
        return await task


@asynccontextmanager
async def open_sandbox(name: str, repository: Checkout) -> AsyncGenerator[Sandbox]:
    """Open `local`, or `docker:IMAGE` with the repository copied in. Raises ValueError for anything else."""
    if check_sandbox_name(name) == "local":
        from runners.local_sandbox import LocalSandbox

        sandbox: Sandbox = LocalSandbox(Path(repository.top) / repository.prefix)
    else:
        sandbox = await _open_container(name.removeprefix(DOCKER), repository)
    try:
        if name != "local":
            await _copy_in(sandbox, repository)
        yield sandbox
    finally:
        await sandbox.close()


def check_sandbox_name(name: str) -> str:
    """Return the name of a sandbox. Raises ValueError for a name that is none."""
    if name == "local" or (name.startswith(DOCKER) and name != DOCKER):
        return name
    message = f"{name!r} is no sandbox: say local, or docker:IMAGE"
    raise ValueError(message)


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


def patch_event(patch: bytes) -> PatchEvent:
    """The event of a harvest. What is longer than anybody reads is cut; `patch.diff` has the whole."""
    text = patch[:SHOWN_PATCH].decode("utf-8", "replace")
    return PatchEvent(time=time.time(), patch=text, sha256=hashlib.sha256(patch).hexdigest())


async def _open_container(image: str, repository: Checkout) -> Sandbox:
    from agent.background import in_background
    from runners.docker_engine import connect, engine_errors, ensure_image
    from runners.docker_sandbox import ContainerSettings, DockerSandbox

    if not repository.self_contained:
        message = (
            f"{repository.top} keeps git's data elsewhere (a linked worktree, a submodule or a shared clone), so it "
            "cannot be copied into a container: clone it first, or work with --sandbox local"
        )
        raise NoRepositoryError(message)
    with engine_errors():
        client = await in_background(connect)
        await in_background(ensure_image, client, image)
    directory = f"{CONTAINER_REPOSITORY}/{repository.prefix}".rstrip("/")
    settings = ContainerSettings(image=image, directory=directory, network="bridge")
    start = asyncio.create_task(DockerSandbox.start(client, settings))
    try:
        return await asyncio.shield(start)
    except asyncio.CancelledError:
        # The engine makes the container all the same, and nobody else would ever remove it.
        with contextlib.suppress(SandboxError):
            await (await start).close()
        raise


async def _copy_in(sandbox: Sandbox, repository: Checkout) -> None:
    """Copy the repository in, and give it to the image's user, who need not be root. Raises SandboxError."""
    await sandbox.upload(Path(repository.top), CONTAINER_REPOSITORY)
    user = await sandbox.exec("id -u", timeout=60)
    owner = user.output.decode(errors="replace").strip()
    if owner.isdecimal() and owner != "0":
        given = await sandbox.exec(f"chown -R {owner} {CONTAINER_REPOSITORY}", timeout=HARVEST_GRACE, user="root")
        if given.exit_code != 0:
            message = (
                f"the image's user ({owner}) cannot be given the copy of the repository: this Docker engine lets "
                "nobody do so in a container without new privileges; use an image whose user is root"
            )
            raise SandboxError(message)


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
) -> tuple[Outcome, Exception | None, bytes | None]:
    try:
        async with asyncio.timeout(HARVEST_GRACE):
            return outcome, failure, await workspace.diff(base)
    except asyncio.CancelledError:
        detail = "interrupted while the diff was made; the changes themselves are kept"
        return outcome.model_copy(update={"exit": "interrupted", "detail": detail}), failure, None
    except (WorkspaceError, SandboxError, TimeoutError) as error:
        if outcome.error is not None and outcome.error != "cancelled":
            return outcome, failure, None
        reason = str(error) or f"it took longer than {HARVEST_GRACE:g} seconds"
        missing = WorkspaceError(f"there is no diff of the work: {reason}")
        return outcome.model_copy(update={"error": "sandbox", "detail": str(missing)}), missing, None
