"""Layers of images: what several images share lies on the disk once, and so it is counted once.

A layer is known by its chain id: an engine stores a layer once for each different stack of layers below it (OCI image
specification, "Layer ChainID").
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.images.names import ImageName, ImageNameError

if TYPE_CHECKING:
    from docker import DockerClient

_WITHOUT_LAYER = (
    *("ENV", "CMD", "LABEL", "ENTRYPOINT", "EXPOSE", "USER", "ARG", "VOLUME", "STOPSIGNAL"),
    *("HEALTHCHECK", "MAINTAINER", "ONBUILD", "SHELL"),
)

_NOTHING: Mapping[str, Any] = {}

Layers = Mapping[str, int]
"""Sizes on disk by chain id."""


@dataclass(frozen=True)
class LocalImage:
    """An image that is here."""

    name: str
    image_id: str
    digest: str | None
    """Of the registry's manifest; None for an image that came from no registry."""
    layers: Layers

    @property
    def size(self) -> int:
        """What it takes on the disk if nothing is shared."""
        return sum(self.layers.values())


def size_of(images: Iterable[Layers]) -> int:
    """What they take on the disk together."""
    return sum(united(images).values())


def united(images: Iterable[Layers]) -> dict[str, int]:
    """Their layers, each once."""
    together: dict[str, int] = {}
    for layers in images:
        together.update(layers)
    return together


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer, from the hashes of all of them, lowest first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        below = f"sha256:{hashlib.sha256(f'{chain[-1]} {diff_id}'.encode()).hexdigest()}" if chain else diff_id
        chain.append(below)
    return chain


def local_image(client: "DockerClient", name: str) -> LocalImage | None:
    """The image of that name, if it is here."""
    from docker.errors import APIError, ImageNotFound

    try:
        image: Any = client.images.get(name)
        history: list[dict[str, Any]] = image.history()
    except ImageNotFound:
        return None
    except APIError as error:
        if error.status_code == 400:  # the name is none: there can be no such image
            return None
        raise
    attributes: dict[str, Any] = image.attrs
    chain = _chain(attributes)
    sizes = layer_sizes(history[::-1], len(chain))
    return LocalImage(name, str(image.id), _digest(attributes, name), dict(zip(chain, sizes, strict=True)))


def local_chains(client: "DockerClient") -> set[str]:
    """The chain ids of all layers that are here."""
    from docker.errors import NotFound

    api: Any = client.api
    found: set[str] = set()
    for identity in api.images(quiet=True):
        with contextlib.suppress(NotFound):  # somebody has removed it meanwhile
            found.update(_chain(api.inspect_image(identity)))
    return found


def all_image_ids(client: "DockerClient") -> frozenset[str]:
    """The ids of all images that are here, with and without a name."""
    api: Any = client.api
    ids: list[str] = api.images(all=True, quiet=True)
    return frozenset(ids)


def image_ids(client: "DockerClient") -> dict[ImageName, str]:
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


def layer_sizes(history: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """The sizes of an image's `count` layers from its history, lowest first.

    The engine does not say which entries made a layer: those with a size did, and as many as are missing of those
    whose instruction usually makes one. A doubt changes where an empty layer stands, never the sum.
    """
    layers = [entry for entry in history if entry["Size"] > 0 or not _is_setting(str(entry.get("CreatedBy") or ""))]
    surplus = len(layers) - count
    kept: list[int] = []
    for entry in layers:
        if surplus > 0 and entry["Size"] == 0:
            surplus -= 1
        else:
            kept.append(int(entry["Size"]))
    kept = [*kept, *[0] * (count - len(kept))]
    return [*kept[: count - 1], sum(kept[count - 1 :])] if count else []


def _chain(attributes: Mapping[str, Any]) -> list[str]:
    file_system: Mapping[str, list[str] | None] = attributes.get("RootFS") or _NOTHING
    return chain_ids(file_system.get("Layers") or [])


def _is_setting(instruction: str) -> bool:
    words = instruction.removeprefix("/bin/sh -c").strip().removeprefix("#(nop)").split()
    return bool(words) and words[0] in _WITHOUT_LAYER


def _digest(attributes: Mapping[str, Any], name: str) -> str | None:
    wanted = ImageName.parse(name)
    known: list[str] = attributes.get("RepoDigests") or []
    for one in known:
        repository, _, digest = one.partition("@")
        if repository == "<none>":
            continue
        if ImageName.parse(f"{repository}@{digest}").repository == wanted.repository:
            return digest
    return None
