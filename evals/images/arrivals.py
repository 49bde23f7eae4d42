"""Tells what we brought into an engine from what others have there, so that we never remove what is theirs.

While a pull waits, somebody may give its name to another image, or get the same image in another way. So ours is only
what was not here before, and what the engine then has under the digest that it pulled.
"""

import logging
from typing import TYPE_CHECKING

from evals.images.engine_pull import Answer
from evals.images.layers import LocalImage, all_image_ids, image_ids, local_image
from evals.images.names import ImageName
from evals.images.pulled_images import PulledImages

if TYPE_CHECKING:
    from docker import DockerClient

_LOGGER = logging.getLogger(__name__)


def images_of_others(client: "DockerClient", record: PulledImages) -> frozenset[str]:
    """The ids of the images that are here and that this tool did not bring. Raises DamagedFileError."""
    # The record first: what another process of ours brings meanwhile is at worst taken for theirs.
    ours = record.standing(image_ids(client), imported=True).values()
    return all_image_ids(client) - {one.image_id for one in ours}


def is_ours(client: "DockerClient", image: LocalImage, theirs: frozenset[str], answer: Answer) -> bool:
    """Whether a pull brought what its name stands for now; `theirs` is what others had before it."""
    if image.image_id in theirs or answer.was_here:
        return False
    if answer.digest is None:  # an image that came from no registry, a tagged or loaded one, has no digest
        return image.digest is not None
    name = ImageName.parse(image.name)
    pulled = local_image(client, f"{name.registry}/{name.repository}@{answer.digest}")
    return pulled is not None and pulled.image_id == image.image_id


def tell_changed(name: str, earlier: str, digest: str | None) -> str:
    """What a person is told of a name that was given to another image in the registry."""
    return f"{name} is another image than before: the digest was {earlier}, and is {digest}"


def warn_changed(image: LocalImage, earlier: str) -> None:
    """Say it where nobody else listens: on stderr, unless logging was set up otherwise."""
    from results.visible_text import visible

    _LOGGER.warning(
        "%s; scores may differ from those of runs before", visible(tell_changed(image.name, earlier, image.digest))
    )
