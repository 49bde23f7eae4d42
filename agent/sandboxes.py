"""Opens the place in which a task is worked on: this machine, or a container that gets a copy of the repository."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.workspace import Checkout, NoRepositoryError
from tools.sandbox import Sandbox, SandboxError

if TYPE_CHECKING:
    from runners.sandbox_options import SandboxOptions

DOCKER = "docker:"
CONTAINER_REPOSITORY = "/workspace"


@dataclass(frozen=True)
class SandboxChoice:
    """Where a person wants the work to be done."""

    name: str = "local"
    """`local`, or `docker:IMAGE`."""
    confine: bool = False
    """Whether commands on this machine can write to the repository and a temporary folder alone."""
    container: "SandboxOptions | None" = None
    """Network and limits of a container; with the engine's own network unless given."""

    def __post_init__(self) -> None:
        if self.name != "local" and (not self.name.startswith(DOCKER) or self.name == DOCKER):
            message = f"{self.name!r} is no sandbox: say local, or docker:IMAGE"
            raise ValueError(message)

    def __str__(self) -> str:
        """As it is recorded."""
        if self.name == "local":
            return "local, confined" if self.confine else "local"
        if self.container is None:
            return self.name
        return f"{self.name}, network {' '.join((self.container.network, *self.container.allowed_hosts))}"


@asynccontextmanager
async def open_sandbox(
    choice: SandboxChoice, repository: Checkout, tell: Callable[[str], None] = lambda _: None
) -> AsyncGenerator[Sandbox]:
    """Open it, with the repository in it, and close it in the end. `tell` hears what a person should know.

    Raises SandboxError, NoRepositoryError for a repository that cannot be copied, and EngineUnavailableError,
    ImageUnavailableError and ValueError for containers that cannot be had like this.
    """
    opened = _on_this_machine(choice, repository) if choice.name == "local" else _container(choice, repository, tell)
    async with opened as sandbox:
        yield sandbox


@asynccontextmanager
async def _on_this_machine(choice: SandboxChoice, repository: Checkout) -> AsyncGenerator[Sandbox]:
    from runners.confinement import Confinement
    from runners.local_sandbox import LocalSandbox

    confinement = Confinement(writable=(Path(repository.top),)) if choice.confine else None
    sandbox = LocalSandbox(Path(repository.top) / repository.prefix, confinement)
    try:
        yield sandbox
    finally:
        await sandbox.close()


@asynccontextmanager
async def _container(
    choice: SandboxChoice, repository: Checkout, tell: Callable[[str], None]
) -> AsyncGenerator[Sandbox]:
    from agent.background import in_background
    from runners.docker_engine import connect, engine_errors, ensure_image
    from runners.docker_sandbox import ContainerSettings, DockerSandbox
    from runners.networks import open_network
    from runners.reaper import reap_beside
    from runners.sandbox_options import SandboxOptions

    image = choice.name.removeprefix(DOCKER)
    if not repository.self_contained:
        message = (
            f"{repository.top} keeps git's data elsewhere (a linked worktree, a submodule or a shared clone), so it "
            "cannot be copied into a container: clone it first, or work with --sandbox local"
        )
        raise NoRepositoryError(message)
    with engine_errors():
        client = await in_background(connect)
        await in_background(ensure_image, client, image)
    reap_beside(client)
    directory = f"{CONTAINER_REPOSITORY}/{repository.prefix}".rstrip("/")
    async with open_network(client, choice.container or SandboxOptions(network="bridge")) as network:
        settings = network.container(ContainerSettings(image=image, directory=directory))
        sandbox = await DockerSandbox.start(client, settings)
        try:
            for warning in (network.warning, *sandbox.warnings):
                if warning:
                    tell(warning)
            await sandbox.upload(Path(repository.top), CONTAINER_REPOSITORY)
            yield sandbox
        finally:
            try:
                await sandbox.close()
            except SandboxError as error:  # the work is done, and must not be lost over this
                tell(f"left behind, for `evals clean` to remove: {error}")
            for remark in network.remarks:
                if remark != network.warning:
                    tell(remark)
