"""Brings up the containers of one trial of a task that has several."""

import asyncio
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.terminal_bench.compose_file import Surroundings, own_command, trial_file
from evals.terminal_bench.compose_task import MAIN, compose_model
from evals.terminal_bench.image import service_images
from evals.terminal_bench.task_directory import TaskDirectory
from runners.compose import FILE_NAME, ComposeError, ComposeProject
from runners.container import ContainerSettings
from runners.docker_sandbox import DockerSandbox
from runners.owner import make_temporary_folder
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient


async def start_project(
    client: "DockerClient", task: TaskDirectory, settings: ContainerSettings
) -> tuple[DockerSandbox, ComposeProject]:
    """Bring up a task's containers. `settings`: of a task's only container, which hold for main.

    Close the sandbox, which is that of main, and all of them are gone. Raises SandboxError.
    """
    folder = await asyncio.to_thread(make_temporary_folder)
    try:
        settings, before = await asyncio.to_thread(_write, task, settings, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ComposeError):
            raise SandboxError(str(error)) from error
        raise
    seconds = task.file.environment.build_timeout_sec
    project = ComposeProject(client, f"sandbox-{secrets.token_hex(6)}", folder, seconds)
    return await project.start(settings, MAIN, before), project


def _write(task: TaskDirectory, settings: ContainerSettings, folder: Path) -> tuple[ContainerSettings, str]:
    model, environment = compose_model(task), task.path / "environment"
    main, copied = model["services"][MAIN], folder / "environment"
    shutil.copytree(environment, copied, symlinks=True)
    if not task.file.environment.workdir and main.get("working_dir"):
        settings = replace(settings, directory=main["working_dir"])
    settings = replace(settings, user=settings.user or main.get("user", ""))
    images = {name: recipe.name for name, recipe in service_images(task).items()}
    is_closed = settings.network == "none"
    made = trial_file(model, Surroundings(settings, images, is_closed, environment, copied))
    (folder / FILE_NAME).write_bytes(made)
    return settings, own_command(main)
