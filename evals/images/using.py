"""How a trial comes by its image, so that the record knows what was pulled for it and when it was used."""

import contextlib
from typing import TYPE_CHECKING

from runners.docker_engine import ensure_image

if TYPE_CHECKING:
    from docker import DockerClient


def use_image(client: "DockerClient", name: str) -> str:
    """Make sure that the image is here, as `ensure_image` does, and return its id. Raises ImageUnavailableError.

    If it has to be pulled, it is recorded as ours; if it is ours already, as used now. No trouble with the record keeps
    a trial from its image.
    """
    was_here = _is_here(client, name)
    image_id = ensure_image(client, name)
    with contextlib.suppress(OSError, ValueError):  # a full disk, or a damaged record, which `evals images` tells of
        if was_here:
            mark_used(client, name)
        else:
            _record_pull(client, name)
    return image_id


def mark_used(client: "DockerClient", name: str) -> None:
    """Note that an image is used now; nothing happens for one that this tool did not pull."""
    from evals.images.pulled_images import PulledImages, default_folder

    if default_folder().exists():  # else the engine need not be asked who it is
        PulledImages.of(client).mark_used(name)


def _is_here(client: "DockerClient", name: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _record_pull(client: "DockerClient", name: str) -> None:
    from evals.images.layers import local_image
    from evals.images.pulled_images import PulledImages

    if image := local_image(client, name):
        PulledImages.of(client).add(image)
