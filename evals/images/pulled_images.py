"""The record of the images that this tool pulled into an engine, and of when each was last used.

One file for each engine, in the user's data folder, written whole; processes take turns at it. An image is ours as long
as its name still stands for the image that was pulled: what somebody has tagged or pulled anew since is theirs.
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
from results.record_files import encode, read_record
from results.whole_files import write_whole

if TYPE_CHECKING:
    from docker import DockerClient

FORMAT = 1


class PulledImage(BaseModel):
    """An image that was pulled. It stays in the record when it goes, so that another digest is noticed later."""

    image_id: str
    digest: str | None
    """Of the registry's manifest."""
    pulled: float
    used: float
    removed: float | None = None
    """When this tool removed it."""


class PulledImagesFile(BaseModel):
    """What the file holds."""

    format: Annotated[int, Field(le=FORMAT)] = FORMAT
    engine: str
    images: dict[str, PulledImage] = Field(default_factory=dict[str, PulledImage])
    """By the names that they were pulled under."""


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

    def add(self, image: LocalImage) -> str | None:
        """Note that an image was pulled. Returns the digest that was recorded for its name, if it was another one."""
        with self._changing() as file:
            before = file.images.get(image.name)
            now = time.time()
            file.images[image.name] = PulledImage(image_id=image.image_id, digest=image.digest, pulled=now, used=now)
        changed = before is not None and before.digest and image.digest and before.digest != image.digest
        return before.digest if before and changed else None

    def mark_used(self, name: str) -> None:
        """Note that an image is used now; nothing happens for one that is not ours."""
        if not self.path.exists() or name not in self.read():
            return
        self._change(name, lambda image: image.model_copy(update={"used": time.time()}))

    def mark_removed(self, name: str) -> None:
        """Note that this tool removed an image."""
        self._change(name, lambda image: image.model_copy(update={"removed": time.time()}))

    def _change(self, name: str, change: Callable[[PulledImage], PulledImage]) -> None:
        with self._changing() as file:
            if name in file.images:
                file.images[name] = change(file.images[name])

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
