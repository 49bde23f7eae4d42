"""The record of the images that this tool brought into an engine, and of when each was last used.

One file for each engine, in the user's data folder, written whole; processes take turns at it. An image is ours as long
as its name still stands for the image that was brought: what somebody has tagged or pulled anew since is theirs. What
was imported stands apart from what was pulled: it goes only when a person says so.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from evals.images.layers import LocalImage
from evals.images.names import ImageName
from results.record_files import encode, read_record
from results.whole_files import write_whole

if TYPE_CHECKING:
    from docker import DockerClient

FORMAT = 1


class PulledImage(BaseModel):
    """An image that was pulled, or imported. It stays in the record when it goes, so that another digest is noticed."""

    image_id: str
    digest: str | None
    """Of the registry's manifest."""
    pulled: float
    used: float
    removed: float | None = None
    """When this tool removed it, or found that it is not its own."""


class PulledImagesFile(BaseModel):
    """What the file holds."""

    format: Annotated[int, Field(le=FORMAT)] = FORMAT
    engine: str
    images: dict[str, PulledImage] = Field(default_factory=dict[str, PulledImage])
    """By the names that they were pulled under."""
    imported: dict[str, PulledImage] = Field(default_factory=dict[str, PulledImage])
    """By the names that they have in the archive. What does not know of them takes none for its own."""

    def of(self, name: str) -> PulledImage | None:
        """What is known of a name."""
        return self.images.get(name) or self.imported.get(name)


@dataclass(frozen=True)
class PulledImages:
    """The record for one engine. Raises DamagedFileError where the file cannot be understood, OSError as files do."""

    path: Path
    engine: str

    @classmethod
    def of(cls, client: "DockerClient") -> "PulledImages":
        """The record for the engine that `client` speaks to."""
        engine = engine_identity(client.info())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return cls(default_folder() / f"{hashlib.sha256(engine.encode()).hexdigest()[:16]}.json", engine)

    def read(self) -> Mapping[str, PulledImage]:
        """What was pulled, by name, with what was removed since."""
        return self._load().images

    def standing(self, present: Mapping[ImageName, str], *, imported: bool = False) -> dict[str, PulledImage]:
        """What is ours, where `present` is what the engine's names stand for; with `imported`, that as well."""
        file = self._load()
        known = {**file.images, **(file.imported if imported else {})}
        return {
            name: one
            for name, one in known.items()
            if one.removed is None and present.get(ImageName.parse(name)) == one.image_id
        }

    def add(self, image: LocalImage, *, is_ours: bool = True) -> str | None:
        """Note that an image was pulled. Returns the digest that was recorded for its name, if it was another one.

        One that is not ours, since it was here before, is noted for its digest alone.
        """
        with self._changing() as file:
            before = file.of(image.name)
            now = time.time()
            file.imported.pop(image.name, None)
            file.images[image.name] = PulledImage(
                image_id=image.image_id, digest=image.digest, pulled=now, used=now, removed=None if is_ours else now
            )
        changed = before is not None and before.digest and image.digest and before.digest != image.digest
        return before.digest if before and changed else None

    def add_imported(self, image: LocalImage, digest: str | None, *, is_new: bool) -> None:
        """Note that an image came from an archive, where the registry's digest stands.

        What was pulled under its name is no longer here. One that is not new was here before, under another name,
        and is nobody's to remove.
        """
        with self._changing() as file:
            before = file.of(image.name)
            now = time.time()
            file.images.pop(image.name, None)
            file.imported[image.name] = PulledImage(
                image_id=image.image_id,
                digest=digest or (before and before.digest),
                pulled=now,
                used=now,
                removed=None if is_new else now,
            )

    def mark_used(self, name: str) -> None:
        """Note that an image is used now; nothing happens for one that is not ours."""
        if not self.path.exists() or self._load().of(name) is None:
            return
        self._change(name, lambda image: image.model_copy(update={"used": time.time()}))

    def mark_removed(self, name: str) -> None:
        """Note that this tool removed an image."""
        self._change(name, lambda image: image.model_copy(update={"removed": time.time()}))

    def _change(self, name: str, change: Callable[[PulledImage], PulledImage]) -> None:
        with self._changing() as file:
            for images in (file.images, file.imported):
                if name in images:
                    images[name] = change(images[name])

    @contextmanager
    def _changing(self) -> Generator[PulledImagesFile]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A file of its own is locked, since the record is another file after each change.
        with self.path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self._load()
            yield file
            write_whole(self.path, encode(file, indent=1) + b"\n")

    def _load(self) -> PulledImagesFile:
        if not self.path.exists():
            return PulledImagesFile(engine=self.engine)
        return read_record(self.path, PulledImagesFile)


def engine_identity(info: Mapping[str, Any]) -> str:
    """What tells an engine from others, and stays when it is started anew.

    Podman gives out another id each time that it is asked, so the place of its images stands for it.
    """
    place = f"{info.get('Name')}:{info.get('DockerRootDir')}"
    is_podman = "podman" in str(info.get("ServerVersion", "")).lower() or "BuildahVersion" in info
    return place if is_podman or not info.get("ID") else f"{info['ID']} {place}"


def default_folder() -> Path:
    """`$XDG_DATA_HOME/unbroken/images`, else below `~/.local/share`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unbroken" / "images"
