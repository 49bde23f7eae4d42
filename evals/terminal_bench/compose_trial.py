"""Brings up the containers of one trial of a task that has several."""

import asyncio
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.terminal_bench.compose_file import Surroundings, own_entrypoint, trial_file
from evals.terminal_bench.compose_task import MAIN, compose_file_of, compose_model
from evals.terminal_bench.environment import IDLE
from evals.terminal_bench.image import service_images
from evals.terminal_bench.task_directory import TaskDirectory
from runners.bridge_firewall import INTERFACE_PREFIX
from runners.compose import FILE_NAME, ComposeError, ComposeProject
from runners.container import ContainerSettings
from runners.docker_sandbox import DockerSandbox
from runners.owner import make_temporary_folder
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient


def main_settings(task: TaskDirectory, settings: ContainerSettings) -> ContainerSettings:
    """The settings of a task's only container with what the file says of main: its folder, user, command and variables.

    What task.toml says comes before it.
    """
    main = compose_model(task)["services"][MAIN]
    of_image = settings.entrypoint[: -len(IDLE)]
    directory = "" if task.file.environment.workdir else main.get("working_dir")
    return replace(
        settings,
        directory=directory or settings.directory,
        user=settings.user or main.get("user", ""),
        entrypoint=own_entrypoint(main, of_image),
        environment={**main_variables(task), **settings.environment},
    )


def main_variables(task: TaskDirectory) -> dict[str, str]:
    """What the file sets for main; nothing for a task of one container."""
    if compose_file_of(task) is None:
        return {}
    stated: Mapping[str, str | None] = compose_model(task)["services"][MAIN].get("environment") or {}
    return {name: value for name, value in stated.items() if value is not None}


async def start_project(
    client: "DockerClient", task: TaskDirectory, settings: ContainerSettings
) -> tuple[DockerSandbox, ComposeProject]:
    """Bring up a task's containers. `settings`: of main.

    Close the sandbox, which is that of main, and all of them are gone. Raises SandboxError.
    """
    folder = await asyncio.to_thread(make_temporary_folder)
    try:
        bridges = await asyncio.to_thread(_write, task, settings, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ComposeError):
            raise SandboxError(str(error)) from error
        raise
    seconds = task.file.environment.build_timeout_sec
    project = ComposeProject(client, f"sandbox-{secrets.token_hex(6)}", folder, seconds, tuple(bridges))
    return await project.start(settings, MAIN), project


def _write(task: TaskDirectory, settings: ContainerSettings, folder: Path) -> list[str]:
    """Write the project's file. Returns the interfaces of networks that have no way out."""
    model, environment = compose_model(task), task.path / "environment"
    copied = folder / "environment"
    shutil.copytree(environment, copied, symlinks=True)
    images = {name: recipe.name for name, recipe in service_images(task).items()}
    bridges: dict[str, str] | None = None
    if settings.network == "none":
        names: Mapping[str, object] = model.get("networks") or {}
        bridges = {name: f"{INTERFACE_PREFIX}{secrets.token_hex(3)}" for name in names}
    made = trial_file(model, Surroundings(settings, images, bridges, environment, copied))
    (folder / FILE_NAME).write_bytes(made)
    return list((bridges or {}).values())
