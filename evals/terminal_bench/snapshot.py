"""The files of an agent's container as an image: what is started from it runs nothing of the agent's."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from runners.docker_engine import OWNER_LABEL, SNAPSHOT_LABEL, in_thread, obtain
from runners.owner import this_process
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient


@asynccontextmanager
async def snapshot(client: "DockerClient", container: str) -> AsyncGenerator[str]:
    """The id of the image, which is removed afterwards. What lies in volumes is not in it. Raises SandboxError."""
    api: Any = client.api

    def commit() -> str:
        # Its containers say themselves whose they are; what they would inherit is the agent's container's.
        labels = [f'LABEL "{label}"="{this_process()}"' for label in (OWNER_LABEL, SNAPSHOT_LABEL)]
        return str(api.commit(container, changes=labels)["Id"])

    def remove(image: str) -> None:
        api.remove_image(image, force=True, noprune=True)

    image = await obtain(commit, remove)
    try:
        yield image
    finally:
        with suppress(SandboxError):
            await in_thread(remove, image)
