"""The demo suite: its rows, its images, and the scripts that stand in for two models.

Nothing here needs a network: the images are built from the base image and from what lies in `tasks/`.
"""

import asyncio
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evals.demo.repository import RepositoryError, build_repository
from evals.demo.task import BASE_IMAGE, DemoTask, load_tasks
from runners.docker_engine import OWNER_LABEL, ImageUnavailableError, in_thread
from runners.owner import temporary_folder, this_process
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["BASE_IMAGE", "IMAGE_LABEL", "REPOSITORY", "SCRIPTS", "build_images", "load_rows"]

REPOSITORY = "/testbed"
"""Where an image has its repository."""
IMAGE_LABEL = {"unbroken.image": "demo"}
"""By which the suite's images are found."""
SCRIPTS = {name: Path(__file__).parent / "scripts" / f"{name}.yaml" for name in ("careful", "hasty")}
"""The scripted backends, in the order in which they are shown."""

_AT_ONCE = 2
# An edit and the run of the tests after it fall into one second, which is the resolution of a bytecode file's date.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}


def load_rows() -> list[dict[str, str]]:
    """The six tasks as rows with SWE-bench's columns; no Docker engine is needed for that."""
    return [task.row() for task in load_tasks()]


async def build_images(
    client: "DockerClient",
    rows: Iterable[Mapping[str, str]] | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Build the images that are missing, for all tasks or those of `rows`; `report` hears a line for each one built.

    Raises ImageUnavailableError when the base image is not there or an image cannot be built.
    """
    wanted = None if rows is None else {row["instance_id"] for row in rows}
    tasks = [task for task in load_tasks() if wanted is None or task.file.instance_id in wanted]
    there = await asyncio.gather(*(in_thread(_is_there, client, task.image) for task in tasks))
    missing = [task for task, is_there in zip(tasks, there, strict=True) if not is_there]
    if not missing:
        return
    if not await in_thread(_is_there, client, BASE_IMAGE):
        message = f"the image {BASE_IMAGE} is not on this machine, and the demo's images are built from it: "
        raise ImageUnavailableError(message + "run scripts/base_image.")
    await _build_all(client, missing, report)


async def _build_all(client: "DockerClient", tasks: Iterable[DemoTask], report: Callable[[str], None]) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def build(task: DemoTask) -> None:
        async with limit:
            try:
                await in_thread(_build, client, task)
            except (RepositoryError, SandboxError) as error:
                message = f"the image {task.image} cannot be built: {error}"
                raise ImageUnavailableError(message) from error
        report(f"built {task.image}")

    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(build(task))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _is_there(client: "DockerClient", image: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _build(client: "DockerClient", task: DemoTask) -> None:
    archive = _archive(task)
    # An image has the settings of the container that it is made from.
    container = client.containers.create(
        BASE_IMAGE,
        labels=IMAGE_LABEL | {"unbroken.instance": task.file.instance_id, OWNER_LABEL: str(this_process())},
        environment=_ENVIRONMENT,
        working_dir=REPOSITORY,
    )
    try:
        container.put_archive("/", archive)  # pyright: ignore[reportUnknownMemberType]
        name, _, tag = task.image.rpartition(":")
        # The image is nobody's, or containers that people make from it would be taken for leftovers of ours.
        container.commit(name, tag, changes=f'LABEL "{OWNER_LABEL}"=""')  # pyright: ignore[reportUnknownMemberType]
    finally:
        container.remove(force=True)


def _archive(task: DemoTask) -> bytes:
    """The task's repository as a tar that unpacks at the root."""
    stream = io.BytesIO()
    with temporary_folder() as folder:
        build_repository(task, folder)
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(folder, REPOSITORY.lstrip("/"), filter=_plain_member)
    return stream.getvalue()


def _plain_member(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root, and with the modes of a plain umask, whatever this machine's is."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() else (member.mode | 0o444) & 0o755
    return member
