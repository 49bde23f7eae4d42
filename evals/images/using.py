"""How a trial comes by its image, so that the record knows what was pulled for it and when it was used."""

import contextlib
from typing import TYPE_CHECKING

from runners.docker_engine import ensure_image

if TYPE_CHECKING:
    from docker import DockerClient


def use_image(client: "DockerClient", name: str) -> str:
    """Make sure that the image is here, as `ensure_image` does, and return its id. Raises ImageUnavailableError.

    If it has to be pulled, it is recorded as ours; if it is ours already, as used now. If the registry has given its
    name to another image since the one that is recorded, it is used all the same, and a warning has both digests. No
    trouble with the record keeps a trial from its image.
    """
    was_here = _is_here(client, name)
    theirs = None if was_here else _images_of_others(client)
    image_id = ensure_image(client, name)
    with contextlib.suppress(OSError, ValueError):  # a full disk, or a damaged record, which `evals images` tells of
        if was_here:
            mark_used(client, name)
        elif theirs is not None:
            _record_pull(client, name, theirs)
    return image_id


def mark_used(client: "DockerClient", name: str) -> None:
    """Note that an image is used now; nothing happens for one that this tool did not bring."""
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


def _images_of_others(client: "DockerClient") -> frozenset[str] | None:
    """None where the record cannot be read: then nothing can be written into it."""
    from evals.images.arrivals import images_of_others
    from evals.images.pulled_images import PulledImages

    with contextlib.suppress(OSError, ValueError):
        return images_of_others(client, PulledImages.of(client))
    return None


def _record_pull(client: "DockerClient", name: str, theirs: frozenset[str]) -> None:
    from evals.images.arrivals import is_ours, warn_changed
    from evals.images.engine_pull import Answer
    from evals.images.layers import local_image
    from evals.images.pulled_images import PulledImages

    image = local_image(client, name)
    # Without a digest no registry has it: somebody gave the name to an image of theirs before we pulled.
    if image is None or image.digest is None:
        return
    # The engine's own answer stays in `ensure_image`, so what is not known is left out.
    earlier = PulledImages.of(client).add(image, is_ours=is_ours(client, image, theirs, Answer()))
    if earlier:
        warn_changed(image, earlier)
