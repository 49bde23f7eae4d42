"""One task on one repository: `agent run`. Sets up the sandbox, runs the loop, harvests the diff, records all of it."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from agent.approval import Approval
from agent.backend import Backend, DeltaKind
from agent.limits import Budget
from agent.listener import Listener, Listeners
from agent.loop import Agent, Instructions
from agent.workspace import Workspace, WorkspaceError
from results.records.events import EndEvent, Event, PatchEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.records.usage import Prices
from results.trajectory import TrajectoryWriter
from tools.sandbox import Sandbox, SandboxError
from tools.toolset import make_toolset

DOCKER = "docker:"
CONTAINER_REPOSITORY = "/workspace"
HARVEST_GRACE = 60.0


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
    repository: Path
    sandbox: str
    """`local`, or `docker:IMAGE`."""
    toolset: str
    limits: LimitsDescription
    prices: Prices | None
    approval: Approval


@dataclass(frozen=True)
class TaskResult:
    """What came of it."""

    outcome: Outcome
    patch: bytes
    failure: Exception | None
    folder: Path


def system_prompt() -> str:
    """The default system prompt."""
    return resources.files("agent").joinpath("prompts/system.md").read_text("utf-8").strip()


async def run_task(settings: TaskSettings, backend: Backend, view: Listener, folder: Path) -> TaskResult:
    """Work on the repository, and leave `trajectory.jsonl` and `patch.diff` in `folder`.

    Raises WorkspaceError when the repository is none, SandboxError when the sandbox cannot be had.
    """
    budget = Budget(settings.limits, settings.prices)
    toolset = make_toolset(settings.toolset)
    async with open_sandbox(settings.sandbox, settings.repository) as sandbox:
        workspace = Workspace(sandbox)
        await workspace.check()
        base = await workspace.snapshot()
        folder.mkdir(parents=True)
        with TrajectoryWriter(folder / "trajectory.jsonl") as writer:
            listener = Listeners(Recorder(writer), view)
            agent = Agent(
                backend, settings.toolset, toolset, sandbox, settings.sandbox, budget, settings.approval, listener
            )
            task = f"The repository is in {sandbox.working_directory}.\n\n{settings.task}"
            outcome = await run_interruptibly(agent, Instructions(system_prompt(), task))
            patch = await _harvest(workspace, base, listener)
            (folder / "patch.diff").write_bytes(patch)
            listener.event(EndEvent(time=time.time(), outcome=outcome))
    return TaskResult(outcome, patch, agent.failure, folder)


async def run_interruptibly(agent: Agent, instructions: Instructions) -> Outcome:
    """Run the agent such that the first Ctrl-C ends it with its work kept."""
    import signal

    task = asyncio.create_task(agent.run(instructions))
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # a loop without signals, or not in the main thread
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


@asynccontextmanager
async def open_sandbox(name: str, repository: Path) -> AsyncGenerator[Sandbox]:
    """Open `local`, or `docker:IMAGE` with the repository copied in. Raises ValueError for anything else."""
    if name == "local":
        from runners.local_sandbox import LocalSandbox

        sandbox: Sandbox = LocalSandbox(repository)
    elif name.startswith(DOCKER):
        sandbox = await _open_container(name.removeprefix(DOCKER))
    else:
        message = f"{name!r} is no sandbox: say local, or docker:IMAGE"
        raise ValueError(message)
    try:
        if name != "local":
            await sandbox.upload(repository.resolve(), CONTAINER_REPOSITORY)
        yield sandbox
    finally:
        await sandbox.close()


async def _open_container(image: str) -> Sandbox:
    from runners.docker_engine import connect, ensure_image
    from runners.docker_sandbox import ContainerSettings, DockerSandbox

    client = connect()
    ensure_image(client, image)
    settings = ContainerSettings(image=image, directory=CONTAINER_REPOSITORY, network="bridge")
    return await DockerSandbox.start(client, settings)


async def _harvest(workspace: Workspace, base: str, listener: Listener) -> bytes:
    try:
        async with asyncio.timeout(HARVEST_GRACE):
            patch = await workspace.diff(base)
    except (WorkspaceError, SandboxError, TimeoutError):
        return b""
    event = PatchEvent(
        time=time.time(), patch=patch.decode("utf-8", "replace"), sha256=hashlib.sha256(patch).hexdigest()
    )
    listener.event(event)
    return patch


def new_session_folder(sessions: Path) -> Path:
    """A folder name for a session that starts now."""
    return sessions / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
