"""Writes images to archives that a machine without a network can load.

An archive is what `docker save` writes, so that `docker load` reads it too. The images of one repository are in one
archive: `docker save` stores a layer once in each archive, and images of the same repository share most of theirs. What
they share with other repositories is a base system of some hundred megabytes, and an archive that breaks off is written
anew from its beginning: the archives should not be larger than sharing asks for.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from evals.images.archive_index import Archive, ArchivedImage, ArchiveIndex, index_path, read_index, write_index
from evals.images.layers import LocalImage, local_image
from evals.images.names import ImageName
from evals.images.patience import ImageError
from evals.images.pulling import WantedImage
from evals.images.sizes import shown

if TYPE_CHECKING:
    from docker import DockerClient

_PIECE = 2**20
_SHOWN = 5


def export_images(
    client: "DockerClient", wanted: Sequence[WantedImage], place: Path, tell: Callable[[str], None]
) -> ArchiveIndex:
    """Write archives into the folder `place`, or one archive to the file `place` if it ends in `.tar`.

    An archive that is there, whole, with the same images, is not written again; others in the folder stay. Raises
    ImageError where an image is missing, DamagedFileError for an index that cannot be read, OSError as files do.
    """
    images = _present(client, wanted)
    folder = place.parent if place.suffix == ".tar" else place
    folder.mkdir(parents=True, exist_ok=True)
    index = read_index(place) if index_path(place).exists() else ArchiveIndex()
    for file, names in _archives(wanted, place).items():
        described = [_described(images[name]) for name in names]
        known = next((archive for archive in index.archives if archive.file == file), None)
        if known and known.images == described and is_whole(folder / file, known):
            tell(f"{file}: is there already, {len(names)} images, {shown(known.size)}")
            continue
        size, sha256 = _save(client, names, folder / file)
        if [local_image(client, name) for name in names] != [images[name] for name in names]:
            message = f"images of {file} were replaced while it was written: export once more"
            raise ImageError(message)
        archive = Archive(file=file, sha256=sha256, size=size, images=described)
        index = ArchiveIndex(archives=[*(one for one in index.archives if one.file != file), archive])
        write_index(place, index)
        tell(f"{file}: {len(names)} images, {shown(size)}")
    return index


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


def _archives(wanted: Iterable[WantedImage], place: Path) -> dict[str, list[str]]:
    archives: dict[str, list[str]] = {}
    for one in wanted:
        file = place.name if place.suffix == ".tar" else f"{_safe(one.repository)}.tar"
        archives.setdefault(file, []).append(one.name)
    return archives


def _safe(repository: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", repository.replace("/", "__")).lstrip(".") or "images"


def _described(image: LocalImage) -> ArchivedImage:
    return ArchivedImage(name=image.name, image_id=image.image_id, digest=image.digest, layers=list(image.layers))


def _save(client: "DockerClient", names: Sequence[str], path: Path) -> tuple[int, str]:
    """Write an archive whole or not at all; return its size and its hash."""
    digest, size = hashlib.sha256(), 0
    with _partial(path) as file:
        for piece in _saved(client, names):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _saved(client: "DockerClient", names: Sequence[str]) -> Generator[bytes]:
    import requests

    api: Any = client.api  # a requests.Session; its own methods save one image at a time
    query = {"names": list(names)}
    with api.get(f"{api.base_url}/v{api.api_version}/images/get", params=query, stream=True, timeout=None) as answer:
        if answer.status_code != requests.codes.ok:
            message = f"the Docker engine does not save {', '.join(names[:_SHOWN])}: {answer.text.strip()}"
            raise ImageError(message)
        yield from answer.iter_content(_PIECE)


@contextmanager
def _partial(path: Path) -> Generator[IO[bytes]]:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another process is writing {path}"
            raise ImageError(message) from None
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
