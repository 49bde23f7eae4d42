"""Leases: the images that live runs still need, which nobody removes until the run is over.

A container protects its image, but a run needs images longer: between the agent's container and the verifier's, and for
the trials that have not begun. So a run leaves a file that names its images and its owner. It counts until the run
takes it away, or until the owner is known to be dead, as with all that a run may leave behind (`runners.owner`).
"""

import contextlib
import fcntl
import logging
import secrets
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from evals.images.layers import LocalImage, image_ids
from evals.images.names import ImageName, ImageNameError
from evals.images.pulled_images import PulledImages
from results.record_files import DamagedFileError, encode, read_record
from results.whole_files import write_new
from runners.docker_engine import obtain
from runners.owner import Owner, this_process

if TYPE_CHECKING:
    from docker import DockerClient

FORMAT = 1
_LOGGER = logging.getLogger(__name__)


class LeaseFile(BaseModel):
    """What the file of a lease holds."""

    format: Annotated[int, Field(le=FORMAT)] = FORMAT
    owner: str
    """The text of a `runners.owner.Owner`."""
    run: str
    images: dict[str, str | None]
    """What each name stood for when the lease was taken; None for an image that was not here."""


@dataclass(frozen=True)
class Lease:
    """A lease that counts."""

    run: str
    owner: Owner | None
    names: frozenset[ImageName]
    image_ids: frozenset[str]
    path: Path

    def covers(self, image: LocalImage) -> bool:
        """Whether the run needs this image, under whatever name."""
        return image.image_id in self.image_ids or ImageName.parse(image.name) in self.names

    @property
    def reason(self) -> str:
        """Why an image has to stay; and what to do where we cannot know whether the run still lives."""
        if self.owner and self.owner.is_here:
            return f"in use by run {self.run}"
        where = f"process {self.owner.process_id} on {self.owner.host}" if self.owner else "an unknown process"
        return f"in use by run {self.run} ({where}; if that has ended, remove {self.path})"


@dataclass(frozen=True)
class Leases:
    """The leases on the images of one engine."""

    folder: Path

    @classmethod
    def beside(cls, record: PulledImages) -> "Leases":
        """Those of the engine that `record` is about."""
        return cls(record.path.with_suffix(".leases"))

    def take(self, run: str, images: Mapping[str, str | None]) -> Path:
        """Take a lease on images, by name, with what each name stands for, and return its file. Raises OSError."""
        with self._locked():
            self._remove_dead()
            lease = LeaseFile(owner=str(this_process()), run=run, images=dict(images))
            return write_new(self.folder / f"{secrets.token_hex(8)}.json", encode(lease, indent=1) + b"\n")

    def live(self) -> list[Lease]:
        """The leases that count. Raises DamagedFileError for one that is not understood: what it names is unknown."""
        return [lease for path in sorted(self.folder.glob("*.json")) if (lease := _read(path))]

    @contextmanager
    def held_still(self) -> Generator[list[Lease]]:
        """The leases that count, while no other one is taken. Raises DamagedFileError, OSError."""
        with self._locked():
            yield self.live()

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_dead(self) -> None:
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, DamagedFileError):
                lease = _read(path)
                if lease is None:
                    path.unlink(missing_ok=True)


@asynccontextmanager
async def leased_images(client: "DockerClient", run: str, names: Iterable[str]) -> AsyncGenerator[None]:
    """Keep others from removing these images meanwhile. Raises SandboxError where the engine does not answer.

    Where no lease can be left, on a full disk say, that is told, and the run goes on.
    """
    wanted = list(names)
    path = await obtain(lambda: _take(client, run, wanted), _give_back)
    try:
        yield
    finally:
        _give_back(path)


def _take(client: "DockerClient", run: str, names: Iterable[str]) -> Path | None:
    leases, present = Leases.beside(PulledImages.of(client)), image_ids(client)
    images: dict[str, str | None] = {}
    for name in names:
        with contextlib.suppress(ImageNameError):  # there can be no such image, which its trial will say
            images[name] = present.get(ImageName.parse(name))
    try:
        return leases.take(run, images)
    except OSError as error:
        _LOGGER.warning("nothing keeps `evals images` from removing images of run %s meanwhile: %s", run, error)
        return None


def _give_back(path: Path | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):  # it ends with this process at the latest
            path.unlink(missing_ok=True)


def _read(path: Path) -> Lease | None:
    """None: it has been given back, or its owner is dead. Raises DamagedFileError."""
    try:
        file = read_record(path, LeaseFile)
        names = frozenset(map(ImageName.parse, file.images))
    except DamagedFileError:
        if not path.exists():
            return None
        raise
    except ImageNameError as error:
        message = f"{path} is damaged: {error}"
        raise DamagedFileError(message) from error
    owner = Owner.parse(file.owner)
    if owner and owner.is_dead:
        return None
    return Lease(file.run, owner, names, frozenset(filter(None, file.images.values())), path)
