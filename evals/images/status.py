"""Which of the wanted images are here, what the missing ones will cost, and what room there is."""

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from evals.images.layers import LocalImage, local_chains, local_image, size_of
from evals.images.names import ImageNameError
from evals.images.registry import RegistryError
from evals.images.remote_images import RemoteImage, RemoteImages

if TYPE_CHECKING:
    from docker import DockerClient

_ASKED_AT_ONCE = 8


class HereImage(BaseModel):
    """An image that is here."""

    name: str
    image_id: str
    digest: str | None
    size: int
    """On the disk, with the layers that it shares."""


class MissingImage(BaseModel):
    """An image that is not here; the sizes leave out what is here already. None: unknown."""

    name: str
    digest: str | None = None
    download: int | None = None
    on_disk: int | None = None
    problem: str = ""
    """Why nothing is known of it."""


class Cost(BaseModel):
    """What the missing images take together, layers shared by several counted once."""

    known: int = 0
    """How many images the registries told of."""
    download: int | None = None
    """For all; None: unknown."""
    on_disk: int | None = None
    is_estimate: bool = False


class ImagesStatus(BaseModel):
    """What `evals images status` says."""

    here: list[HereImage]
    here_size: int
    """On the disk, layers shared by several counted once."""
    missing: list[MissingImage]
    cost: Cost
    free: int | None
    """Where the engine keeps its images; None where that is not on this machine."""


def images_status(client: "DockerClient", names: Sequence[str], remote: RemoteImages | None) -> ImagesStatus:
    """Look at the images of these names; registries are asked unless `remote` is None. Nothing is changed."""
    here = [image for name in names if (image := local_image(client, name))]
    missing = sorted(set(names) - {image.name for image in here}, key=list(names).index)
    found = _asked(missing, remote)
    chains = local_chains(client) if missing else set[str]()
    info: Mapping[str, Any] = client.info()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return ImagesStatus(
        here=[HereImage(name=one.name, image_id=one.image_id, digest=one.digest, size=one.size) for one in here],
        here_size=size_of(image.layers for image in here),
        missing=[_missing(name, found[name], chains) for name in missing],
        cost=cost([one for one in found.values() if isinstance(one, RemoteImage)], len(missing), here, chains),
        free=free_space(info),
    )


def cost(known: Sequence[RemoteImage], count: int, here: Sequence[LocalImage], chains: set[str]) -> Cost:
    """What `count` images take of which some are known; the others are taken to be like those, or like those here."""
    layers = {layer.chain: layer for image in known for layer in image.layers if layer.chain not in chains}
    download = sum({layer.digest: layer.compressed for layer in layers.values()}.values())
    on_disk = sum(layer.unpacked for layer in layers.values())
    if len(known) == count:
        estimated = any(layer.is_estimate for layer in layers.values())
        return Cost(known=count, download=download, on_disk=on_disk, is_estimate=estimated)
    if known:
        times = count / len(known)
        return Cost(
            known=len(known), download=round(download * times), on_disk=round(on_disk * times), is_estimate=True
        )
    if here:
        likely = round(size_of(image.layers for image in here) / len(here) * count)
        return Cost(known=0, on_disk=likely, is_estimate=True)
    return Cost()


def free_space(info: Mapping[str, Any]) -> int | None:
    """The bytes that are free where the engine keeps its images; None where we cannot look there."""
    address = os.environ.get("DOCKER_HOST", "unix://")
    folder = Path(str(info.get("DockerRootDir") or ""))
    # The socket of an engine may lead into a virtual machine or out of a container, to other folders of that name.
    if not address.startswith("unix://") or info.get("Name") != socket.gethostname() or not folder.is_absolute():
        return None
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _asked(names: Sequence[str], remote: RemoteImages | None) -> dict[str, RemoteImage | str]:
    """What the registries know of each, or why that cannot be had."""
    if remote is None:
        return dict.fromkeys(names, "the registry was not asked")

    def ask(name: str) -> RemoteImage | str:
        try:
            return remote.find(name, spare_pulls=True)
        except (RegistryError, ImageNameError) as error:
            return str(error)

    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        try:
            return dict(zip(names, threads.map(ask, names), strict=True))
        except KeyboardInterrupt:
            remote.registries.stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _missing(name: str, found: RemoteImage | str, chains: set[str]) -> MissingImage:
    if isinstance(found, str):
        return MissingImage(name=name, problem=found)
    layers = [layer for layer in found.layers if layer.chain not in chains]
    download, on_disk = sum(layer.compressed for layer in layers), sum(layer.unpacked for layer in layers)
    return MissingImage(name=name, digest=found.digest, download=download, on_disk=on_disk)
