"""Writes images to archives that a machine without a network can load.

An archive is what `docker save` writes, so that `docker load` reads it too. The images of one repository are in one
archive: `docker save` stores a layer once in each archive, and images of the same repository share most of theirs. What
they share with other repositories is a base system of some hundred megabytes, and an archive that breaks off is written
anew from its beginning: the archives should not be larger than sharing asks for.

An export adds. An archive that is whole is never written again, and never leaves the index: what is missing of its
repository goes to another one beside it.
"""

import fcntl
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from evals.images.archive_index import Archive, ArchivedImage, ArchiveIndex, index_path, read_index, write_index
from evals.images.archive_streams import saved
from evals.images.layers import LocalImage, local_image
from evals.images.names import ImageName
from evals.images.patience import ImageError
from evals.images.pulling import WantedImage
from evals.images.sizes import shown

if TYPE_CHECKING:
    from docker import DockerClient

_SHOWN = 5


def export_images(
    client: "DockerClient", wanted: Sequence[WantedImage], place: Path, tell: Callable[[str], None]
) -> ArchiveIndex:
    """Write archives into the folder `place`, or one archive to the file `place` if it ends in `.tar`.

    Images that are in a whole archive there are not written again; everything else in the folder stays. Raises
    ImageError where an image is missing, DamagedFileError for an index that cannot be read, OSError as files do.
    """
    images = _present(client, wanted)
    _folder(place).mkdir(parents=True, exist_ok=True)
    with _alone(index_path(place)):
        for stem, names in _archives(wanted, place):
            _add(client, place, stem, [images[name] for name in names], tell)
        return _index(place)


def is_whole(path: Path, archive: Archive) -> bool:
    """Whether a file is the archive that was written: its size, and then its hash."""
    if not path.is_file() or path.stat().st_size != archive.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == archive.sha256


def _present(client: "DockerClient", wanted: Sequence[WantedImage]) -> dict[str, LocalImage]:
    found = {one.name: local_image(client, one.name) for one in wanted}
    missing = [name for name, image in found.items() if image is None]
    if missing:
        others = f" and {len(missing) - _SHOWN} others" if len(missing) > _SHOWN else ""
        message = f"not on this machine: {', '.join(missing[:_SHOWN])}{others}; `evals images pull` gets them"
        raise ImageError(message)
    for name in found:
        if ImageName.parse(name).is_by_digest:
            message = f"{name} cannot be exported: an archive keeps tags, and this is a digest"
            raise ImageError(message)
    return {name: image for name, image in found.items() if image is not None}


def _archives(wanted: Iterable[WantedImage], place: Path) -> list[tuple[str, list[str]]]:
    """What an archive is best called, without `.tar`, and the images that belong together in it."""
    together: dict[str, list[str]] = {}
    for one in wanted:
        together.setdefault("" if place.suffix == ".tar" else one.repository, []).append(one.name)
    return [(_safe(repository) if repository else place.stem, names) for repository, names in together.items()]


def _safe(repository: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", repository.replace("/", "__")).lstrip(".") or "images"


def _add(
    client: "DockerClient", place: Path, stem: str, images: Sequence[LocalImage], tell: Callable[[str], None]
) -> None:
    index = _index(place)
    broken: list[Archive] = []
    missing = {image.name: image for image in images}
    for archive, names in _holding(index, images):
        if is_whole(_folder(place) / archive.file, archive):
            tell(f"{archive.file}: is there already, {len(names)} images, {shown(archive.size)}")
            missing = {name: image for name, image in missing.items() if name not in names}
        else:
            broken.append(archive)
    if missing:
        replaced = [archive for archive in broken if all(image.name in missing for image in archive.images)]
        file = _free_name(place, stem, index, replaced)
        archive = _write(client, place, file, list(missing.values()), replaced)
        tell(f"{file}: {len(missing)} images, {shown(archive.size)}")
        broken = [archive for archive in broken if archive not in replaced]
    for archive in broken:
        left = ", ".join([image.name for image in archive.images if image.name not in missing][:_SHOWN])
        tell(f"{archive.file}: is not as it was written; copy it once more, or export what else was in it: {left}")


def _holding(index: ArchiveIndex, images: Iterable[LocalImage]) -> list[tuple[Archive, list[str]]]:
    """The archives that hold some of the images, and which. What was exported last under a name is what counts."""
    last: Mapping[str, tuple[str, ArchivedImage]] = index.last()
    held: dict[str, list[str]] = {}
    for image in images:
        file, archived = last.get(image.name, ("", None))
        if archived and archived.image_id == image.image_id:
            held.setdefault(file, []).append(image.name)
    return [(archive, held[archive.file]) for archive in index.archives if archive.file in held]


def _free_name(place: Path, stem: str, index: ArchiveIndex, replaced: Sequence[Archive]) -> str:
    """The name of a new archive: no other one's, on whatever file system. Raises ImageError."""
    if replaced:
        return replaced[0].file
    taken = {archive.file.casefold() for archive in index.archives}
    for number in itertools.count(1):
        file = f"{stem}.tar" if number == 1 else f"{stem}-{number}.tar"
        path = _folder(place) / file
        if file.casefold() not in taken and not path.exists():
            return file
        if path == place and file.casefold() not in taken:
            message = f"{path} is there, and {index_path(place).name} does not say what is in it; choose another name"
            raise ImageError(message)
    raise AssertionError


def _write(
    client: "DockerClient", place: Path, file: str, images: Sequence[LocalImage], replaced: Sequence[Archive]
) -> Archive:
    """Write an archive whole or not at all, and put it into the index in the place of broken ones."""
    names = [image.name for image in images]
    with _partial(_folder(place) / file) as partial:
        digest, size = hashlib.sha256(), 0
        for piece in saved(client, names):
            partial.write(piece)
            digest.update(piece)
            size += len(piece)
        if [local_image(client, name) for name in names] != list(images):
            message = f"images of {file} were replaced while it was written: export once more"
            raise ImageError(message)
        described = [_described(image) for image in images]
        archive = Archive(file=file, sha256=digest.hexdigest(), size=size, images=described)
        # Before the archive has its name: one that is missing is written by the next export, one that no index knows
        # would lie there for ever.
        kept = [one for one in _index(place).archives if one not in replaced]
        write_index(place, ArchiveIndex(archives=[*kept, archive]))
    return archive


def _described(image: LocalImage) -> ArchivedImage:
    return ArchivedImage(name=image.name, image_id=image.image_id, digest=image.digest, layers=list(image.layers))


def _folder(place: Path) -> Path:
    return place.parent if place.suffix == ".tar" else place


def _index(place: Path) -> ArchiveIndex:
    return read_index(place) if index_path(place).exists() else ArchiveIndex()


@contextmanager
def _alone(index: Path) -> Generator[None]:
    """Keep other exports away: two that write one index would lose what the other has added. Raises ImageError."""
    lock = index.with_name(f".{index.name}.lock")
    with lock.open("a") as file:
        _lock(file, f"another process is exporting to {index.parent}")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _partial(path: Path) -> Generator[IO[bytes]]:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("ab") as file:
        _lock(file, f"another process is writing {path}")
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _lock(file: IO[str] | IO[bytes], otherwise: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))  # noqa: PTH116
    except (BlockingIOError, FileNotFoundError):
        is_there = False
    if not is_there:  # locked, or given back and removed just now
        raise ImageError(otherwise)
