"""What an image would cost that is not here: its layers, what they weigh on the way, and what on the disk.

A registry says how large a layer is compressed. How large it is unpacked stands in the last four bytes of a gzip file
(RFC 1952, ISIZE), which a registry gives out by themselves. Descriptions are kept in the user's cache by the digest of
their image, for ever: a digest means one image, and Docker Hub counts each manifest as a pull.
"""

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.images.layers import Layers, chain_ids
from evals.images.names import ImageName
from evals.images.registry import Registries, RegistryError

TYPICAL_RATIO = 3.0
"""Unpacked to compressed, for layers that do not say; Python environments and git repositories lie around it."""
_LEAST_PULLS_LEFT = 0.5
_WRAP = 2**32


class RemoteLayer(BaseModel):
    """A layer in a registry."""

    model_config = ConfigDict(frozen=True)

    chain: str
    digest: str
    compressed: int
    unpacked: int
    is_estimate: bool
    """Of the unpacked size."""


class RemoteImage(BaseModel):
    """An image in a registry, for one platform."""

    model_config = ConfigDict(frozen=True)

    digest: str
    """What the name stands for: of the index, where the image is there for several platforms."""
    layers: list[RemoteLayer]

    def on_disk(self) -> Layers:
        """Its layers as they will lie on the disk."""
        return {layer.chain: layer.unpacked for layer in self.layers}


@dataclass(frozen=True)
class Platform:
    """What images are pulled for."""

    system: str = "linux"
    architecture: str = "amd64"


@dataclass
class RemoteImages:
    """Looks images up. Many threads may ask."""

    registries: Registries
    platform: Platform = Platform()
    cache: Path | None = None
    """A folder for descriptions; it need not be there."""
    _sizes: dict[str, tuple[int, bool]] = field(default_factory=dict[str, tuple[int, bool]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, text: str, *, spare_pulls: bool = False) -> RemoteImage:
        """Describe the image of a name. Raises RegistryError, or ImageNameError.

        `spare_pulls`: leave at least half of the pulls that a registry grants for pulling.
        """
        name = ImageName.parse(text)
        newest = self.registries.newest(name)
        if newest.digest and (known := self._cached(newest.digest)):
            return known
        left = newest.pulls_left
        if spare_pulls and left is not None and left < _LEAST_PULLS_LEFT:
            message = f"{name.registry} grants few more pulls, and to ask counts as one: those are left for pulling"
            raise RegistryError(message)
        found = self._described(name, newest.digest or name.reference)
        self._keep(found)
        return found

    def _described(self, name: ImageName, reference: str) -> RemoteImage:
        first = self.registries.manifest(name, reference)
        body = first.body
        if (index := _parse(_Index, body, name)).manifests is not None:
            body = self.registries.manifest(name, self._chosen(index.manifests, name)).body
        manifest = _parse(_Manifest, body, name)
        config = _parse(_Config, self.registries.blob(name, manifest.config.digest), name)
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            message = f"{name.registry} describes {name.repository} with another number of layers than it has"
            raise RegistryError(message)
        chain = chain_ids(config.rootfs.diff_ids)
        layers = [self._layer(name, layer, at) for layer, at in zip(manifest.layers, chain, strict=True)]
        return RemoteImage(digest=first.digest, layers=layers)

    def _chosen(self, manifests: "Sequence[_Descriptor]", name: ImageName) -> str:
        for one in manifests:
            if one.platform and (one.platform.os, one.platform.architecture) == (
                self.platform.system,
                self.platform.architecture,
            ):
                return one.digest
        message = f"{name.registry} has {name.repository} for other platforms than {self.platform.architecture}"
        raise RegistryError(message)

    def _layer(self, name: ImageName, layer: "_Descriptor", chain: str) -> RemoteLayer:
        with self._lock:
            known = self._sizes.get(layer.digest)
        size, is_estimate = known or self._unpacked(name, layer)
        with self._lock:
            self._sizes[layer.digest] = size, is_estimate
        return RemoteLayer(
            chain=chain, digest=layer.digest, compressed=layer.size, unpacked=size, is_estimate=is_estimate
        )

    def _unpacked(self, name: ImageName, layer: "_Descriptor") -> tuple[int, bool]:
        if layer.media_type.endswith(("tar", "diff.tar")):
            return layer.size, False
        if "gzip" in layer.media_type:
            with contextlib.suppress(RegistryError):
                end = self.registries.end_of_blob(name, layer.digest, layer.size, 4)
                if end and len(end) == 4:
                    return unpacked_size(layer.size, int.from_bytes(end, "little"))
        return round(layer.size * TYPICAL_RATIO), True

    def _cached(self, digest: str) -> RemoteImage | None:
        try:
            return RemoteImage.model_validate_json(self._cache_file(digest).read_bytes()) if self.cache else None
        except (OSError, ValidationError):
            return None

    def _keep(self, image: RemoteImage) -> None:
        from results.whole_files import write_whole

        if self.cache is None or not image.digest.startswith("sha256:"):
            return
        with contextlib.suppress(OSError):  # it is asked for again
            path = self._cache_file(image.digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, image.model_dump_json().encode())

    def _cache_file(self, digest: str) -> Path:
        assert self.cache is not None
        safe = "".join(letter if letter.isalnum() else "-" for letter in digest)
        return self.cache / f"{self.platform.system}-{self.platform.architecture}" / f"{safe}.json"


def unpacked_size(compressed: int, told: int) -> tuple[int, bool]:
    """The size of what a gzip file holds, and whether it is an estimate; the file tells it modulo 4 GiB.

    A file of several members tells the size of the last alone, which is then less than the file itself has.
    """
    typical = round(compressed * TYPICAL_RATIO)
    wraps = max(0, round((typical - told) / _WRAP))
    size = told + wraps * _WRAP
    least = compressed - compressed // 100 - 64  # what does not compress gets a little longer
    return (size, wraps > 0) if size >= least else (typical, True)


def engine_platform(info: Mapping[str, Any]) -> Platform:
    """What an engine pulls images for, from its own `info`, which names machines as the kernel does."""
    machine = str(info.get("Architecture") or "x86_64")
    return Platform(str(info.get("OSType") or "linux"), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/unbroken/images`, else below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unbroken" / "images"


class _Platform(BaseModel):
    os: str = ""
    architecture: str = ""


class _Descriptor(BaseModel):
    media_type: str = Field("", alias="mediaType")
    digest: str = Field(pattern=r"^sha(256|512):[0-9a-f]{64,128}$")
    size: int = Field(ge=0)
    platform: _Platform | None = None


class _Index(BaseModel):
    manifests: list[_Descriptor] | None = None


class _Manifest(BaseModel):
    config: _Descriptor
    layers: list[_Descriptor]


class _FileSystem(BaseModel):
    diff_ids: list[str]


class _Config(BaseModel):
    rootfs: _FileSystem


_Kind = TypeVar("_Kind", bound=BaseModel)


def _parse(kind: type[_Kind], body: bytes, name: ImageName) -> _Kind:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        message = f"{name.registry} describes {name.repository} in a way that is not understood"
        raise RegistryError(message) from error
