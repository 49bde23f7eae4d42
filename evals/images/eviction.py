"""Which images go when the disk budget is spent: ours, the least recently used first; never one that anybody uses."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evals.images.layers import Layers, LocalImage, image_ids, local_image, size_of, united
from evals.images.leases import Leases
from evals.images.patience import ImageError
from evals.images.pulled_images import PulledImages

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class OwnImage:
    """An image that this tool brought, and that is still here."""

    image: LocalImage
    used: float

    @property
    def name(self) -> str:
        """The name that it was brought under."""
        return self.image.name


@dataclass(frozen=True)
class Choice:
    """What has to go, and what the rest takes on the disk then."""

    going: Sequence[OwnImage]
    size: int
    staying: Sequence[OwnImage]
    """Those whose turn it would have been, and that are kept."""


@dataclass
class OwnImages:
    """Finds ours in an engine. What an image is made of never changes, so it is asked for once."""

    client: "DockerClient"
    record: PulledImages
    _known: dict[tuple[str, str], LocalImage] = field(default_factory=dict[tuple[str, str], LocalImage])

    def here(self, *, imported: bool = False) -> list[OwnImage]:
        """Ours, the least recently used first; with `imported`, what came from archives as well.

        One whose name stands for another image by now is no longer ours.
        """
        found: list[OwnImage] = []
        for name, brought in self.record.standing(image_ids(self.client), imported=imported).items():
            if image := self._image(name, brought.image_id):
                found.append(OwnImage(image, brought.used))
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
    staying: list[OwnImage] = []
    for own in images:
        if size <= budget:
            break
        if own.name in kept:
            staying.append(own)
            continue
        going.append(own)
        for chain in own.image.layers:
            users[chain] -= 1
            size -= 0 if users[chain] else sizes[chain]
    return Choice(going, size, staying)


def in_use(client: "DockerClient", record: PulledImages, images: Sequence[OwnImage]) -> dict[str, str]:
    """Why images have to stay, by name: a live run needs them, or a container, running or not.

    Raises DamagedFileError for a lease that is not understood.
    """
    api: Any = client.api
    containers: list[dict[str, Any]] = api.containers(all=True)
    used = {str(container.get("ImageID")) for container in containers}
    leases = Leases.beside(record).live()
    reasons: dict[str, str] = {}
    for own in images:
        if lease := next((lease for lease in leases if lease.covers(own.image)), None):
            reasons[own.name] = lease.reason
        elif own.image.image_id in used:
            reasons[own.name] = "in use by a container"
    return reasons


def remove(client: "DockerClient", record: PulledImages, own: OwnImage) -> None:
    """Take an image away; its layers stay where others share them. Raises ImageError for one that has to stay.

    A run that began just now has its lease before it looks for its images, so it finds them, or pulls them. And nothing
    is forced: the engine refuses for an image that a container began to use.
    """
    from docker.errors import APIError, ImageNotFound

    api: Any = client.api
    with Leases.beside(record).held_still() as leases:
        if lease := next((lease for lease in leases if lease.covers(own.image)), None):
            message = f"kept {own.name}: {lease.reason}"
            raise ImageError(message)
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
