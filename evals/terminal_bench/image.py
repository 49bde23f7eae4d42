"""The images of a task: those that exist already, and those that are built, once for each content of a folder."""

import asyncio
import hashlib
import json
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.images.using import use_image
from evals.terminal_bench.compose_task import MAIN, NO_IMAGE, Model, compose_file_of, compose_model
from evals.terminal_bench.digest import folder_digest
from evals.terminal_bench.task_directory import TaskDirectory
from evals.terminal_bench.task_file import VerifierTable
from runners.docker_engine import ImageUnavailableError, in_thread

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "unbroken/task"
IMAGE_LABEL = {"unbroken.image": "task"}
"""By which images that were built here are found."""
_SHOWN = 1500
_LOG_LINES = 40


@dataclass(frozen=True)
class ImageRecipe:
    """How an image is called, and from what it is built where it is not here."""

    name: str
    folder: Path | None = None
    """With the Dockerfile; None: it has to be here, or in a registry."""
    seconds: float = 0.0
    """What building it may take."""
    bakes_tests: bool = False
    """It brings the tests along."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the engine's build: `dockerfile`, `buildargs`, `target`."""

    @classmethod
    def built(
        cls, folder: Path, seconds: float, *, bakes_tests: bool = False, options: Mapping[str, Any] | None = None
    ) -> "ImageRecipe":
        """One that is named by what it is built from."""
        digest = _recipe_digest(folder, options or {})
        return cls(f"{REPOSITORY}:{digest[:32]}", folder, seconds, bakes_tests, options or {})


@dataclass
class TaskImages:
    """The images of a run's tasks; each is built by the first trial that needs it, while the others wait."""

    client: "DockerClient"
    report: Callable[[str], None] = lambda _: None
    """Hears a line for each image that is built."""
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])

    async def obtain(self, recipe: ImageRecipe) -> str:
        """Make sure that an image is here, and return its id. Raises ImageUnavailableError, SandboxError."""
        async with self._locks.setdefault(recipe.name, asyncio.Lock()):
            if recipe.folder and not await in_thread(_is_here, self.client, recipe.name):
                self.report(f"building {recipe.name} from {recipe.folder}")
                await self._build(recipe, recipe.folder)
        return await in_thread(use_image, self.client, recipe.name)

    async def _build(self, recipe: ImageRecipe, folder: Path) -> None:
        try:
            async with asyncio.timeout(recipe.seconds):
                await in_thread(_build, self.client, recipe, folder)
        except TimeoutError as error:
            message = f"no image was built from {folder} within {recipe.seconds:g} seconds (build_timeout_sec)"
            raise ImageUnavailableError(message) from error


def agent_image(task: TaskDirectory) -> ImageRecipe:
    """The image of the container in which the agent works."""
    if compose_file_of(task):
        return service_images(task)[MAIN]
    return _of_environment(task)


def _of_environment(task: TaskDirectory) -> ImageRecipe:
    environment = task.file.environment
    if environment.docker_image:
        return ImageRecipe(environment.docker_image)
    return ImageRecipe.built(task.path / "environment", environment.build_timeout_sec)


def service_images(task: TaskDirectory) -> dict[str, ImageRecipe]:
    """The images of all containers of a task, by their services; of one container, it is called main."""
    if compose_file_of(task) is None:
        return {MAIN: _of_environment(task)}
    services: Mapping[str, Model] = compose_model(task)["services"]
    return {name: _of_service(task, service, is_main=name == MAIN) for name, service in services.items()}


def _of_service(task: TaskDirectory, service: Model, *, is_main: bool) -> ImageRecipe:
    environment, image, build = task.file.environment, service.get("image"), service.get("build")
    if is_main and environment.docker_image:
        return ImageRecipe(environment.docker_image)
    if build:
        options = {"dockerfile": build.get("dockerfile"), "buildargs": build.get("args"), "target": build.get("target")}
        stated = {key: value for key, value in options.items() if value and value != "Dockerfile"}
        return ImageRecipe.built(Path(build["context"]), environment.build_timeout_sec, options=stated)
    return _of_environment(task) if image in (None, NO_IMAGE) else ImageRecipe(image)


def verifier_image(task: TaskDirectory, verifier: VerifierTable, tests: Sequence[Path]) -> ImageRecipe:
    """The image of a verifier's own container: its own, one built from its tests, else a fresh one of the agent's.

    What a step says goes before what the task says of all of them, be it an image or a Dockerfile (Harbor 0.25.0).
    """
    of_task, tests_of_task = task.file.verifier.environment, task.path / "tests"
    of_step = None if verifier.environment is of_task else verifier.environment
    seconds = (verifier.environment or task.file.environment).build_timeout_sec
    for environment, folders in (of_step, set(tests) - {tests_of_task}), (of_task, {tests_of_task}):
        if environment and environment.docker_image:
            return ImageRecipe(environment.docker_image, bakes_tests=True)
        for folder in folders:
            if (folder / "Dockerfile").is_file():
                return ImageRecipe.built(folder, seconds, bakes_tests=True)
    return agent_image(task)


def _recipe_digest(folder: Path, options: Mapping[str, Any]) -> str:
    """Of all that an image is built from: also which files are programs, which the format's own digest leaves out."""
    programs = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_program(path))
    stated = [json.dumps(options, sort_keys=True)] if options else []
    return hashlib.sha256("\n".join([folder_digest(folder), *programs, *stated]).encode()).hexdigest()


def _is_program(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & stat.S_IXUSR)


def _is_here(client: "DockerClient", name: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _build(client: "DockerClient", recipe: ImageRecipe, folder: Path) -> None:
    log: list[str] = []
    api: Any = client.api
    options = {"path": str(folder), "tag": recipe.name, "labels": IMAGE_LABEL, **recipe.options}
    for said in api.build(**options, rm=True, forcerm=True, decode=True):
        if reason := said.get("error"):
            shown = "".join(log[-_LOG_LINES:])[-_SHOWN:].strip()
            message = f"{folder / recipe.options.get('dockerfile', 'Dockerfile')} cannot be built: {reason}\n{shown}"
            raise ImageUnavailableError(message)
        log.append(str(said.get("stream", "")))
