"""Which images go when the disk budget is spent: ours, the least recently used first; never one that anybody uses."""

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evals.images.layers import Layers, LocalImage, local_image, size_of, united
from evals.images.names import ImageName, ImageNameError
from evals.images.patience import ImageError
from evals.images.pulled_images import PulledImages

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class OwnImage:
    """An image that this tool pulled, and that is still here."""

    image: LocalImage
    used: float

    @property
    def name(self) -> str:
        """The name that it was pulled under."""
        return self.image.name


@dataclass(frozen=True)
class Choice:
    """What has to go, and what the rest takes on the disk then."""

    going: Sequence[OwnImage]
    size: int


@dataclass
class OwnImages:
    """Finds ours in an engine. What an image is made of never changes, so it is asked for once."""

    client: "DockerClient"
    record: PulledImages
    _known: dict[tuple[str, str], LocalImage] = field(default_factory=dict[tuple[str, str], LocalImage])

    def here(self) -> list[OwnImage]:
        """Ours, the least recently used first. One whose name stands for another image by now is no longer ours."""
        found: list[OwnImage] = []
        present = _image_ids(self.client)
        for name, pulled in self.record.read().items():
            is_ours = not pulled.removed and present.get(ImageName.parse(name)) == pulled.image_id
            if is_ours and (image := self._image(name, pulled.image_id)):
                found.append(OwnImage(image, pulled.used))
        return sorted(found, key=lambda own: (own.used, own.name))

    def _image(self, name: str, image_id: str) -> LocalImage | None:
        if (name, image_id) not in self._known and (image := local_image(self.client, name)):
            self._known[name, image.image_id] = image
        return self._known.get((name, image_id))


def choose(images: Sequence[OwnImage], budget: int, arriving: Layers, kept: Collection[str]) -> Choice:
    """The images to remove, in this order, so that the others and what arrives fit into `budget` bytes.

    Images whose names are `kept` stay. Where removing all others is not enough, all others are chosen, and the size is
    above the budget.
    """
    everything = [arriving, *(own.image.layers for own in images)]
    sizes = united(everything)
    users = Counter(chain for layers in everything for chain in layers)
    size = sum(sizes.values())
    going: list[OwnImage] = []
    for own in images:
        if size <= budget:
            break
        if own.name in kept:
            continue
        going.append(own)
        for chain in own.image.layers:
            users[chain] -= 1
            size -= 0 if users[chain] else sizes[chain]
    return Choice(going, size)


def used_by_containers(client: "DockerClient") -> set[str]:
    """The ids of images that a container uses, running or not."""
    api: Any = client.api
    containers: list[dict[str, Any]] = api.containers(all=True)
    return {str(container.get("ImageID")) for container in containers}


def remove(client: "DockerClient", record: PulledImages, own: OwnImage) -> None:
    """Take an image away; its layers stay where others share them. Raises ImageError for one that has to stay.

    Nothing is forced: the engine refuses for an image that a container began to use just now.
    """
    from docker.errors import APIError, ImageNotFound

    api: Any = client.api
    try:
        api.remove_image(own.name)
    except ImageNotFound:
        pass  # somebody was faster
    except APIError as error:
        message = f"{own.name} cannot be removed: {error.explanation or error}"
        raise ImageError(message) from error
    record.mark_removed(own.name)


def size_of_own(images: Sequence[OwnImage]) -> int:
    """What they take on the disk together."""
    return size_of(own.image.layers for own in images)


def _image_ids(client: "DockerClient") -> dict[ImageName, str]:
    """What each name stands for."""
    api: Any = client.api
    images: list[dict[str, Any]] = api.images()
    found: dict[ImageName, str] = {}
    for image in images:
        names: list[str] = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        for name in names:
            with contextlib.suppress(ImageNameError):  # <none>, for what has lost its name
                found[ImageName.parse(name)] = str(image["Id"])
    return found
