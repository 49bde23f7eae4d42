"""Loads images from archives that `evals.images.exporting` wrote, each checked before and after."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.images.archive_index import Archive, ArchivedImage, read_index
from evals.images.exporting import is_whole
from evals.images.layers import LocalImage, local_image
from evals.images.patience import ImageError

if TYPE_CHECKING:
    from docker import DockerClient


def import_images(client: "DockerClient", place: Path, tell: Callable[[str], None], *, force: bool = False) -> int:
    """Load the archives of a folder or of a file; return how many of them failed, which `tell` hears.

    An archive whose images are all here is not loaded again. One that is not as it was written is not loaded at all,
    and neither is one that would take a name away from another image, unless `force`. Raises DamagedFileError.
    """
    folder = place.parent if place.suffix == ".tar" else place
    failed = 0
    for archive in read_index(place).archives:
        try:
            tell(_import(client, folder / archive.file, archive, force=force))
        except ImageError as error:
            failed += 1
            tell(f"{archive.file}: {error}")
    return failed


def _import(client: "DockerClient", path: Path, archive: Archive, *, force: bool) -> str:
    here = [(image, local_image(client, image.name)) for image in archive.images]
    if all(found and found.image_id == image.image_id for image, found in here):
        return f"{archive.file}: all {len(archive.images)} images are here already"
    others = [image.name for image, found in here if found and found.image_id != image.image_id]
    if others and not force:
        message = f"{others[0]} stands for another image on this machine; --force gives the name to the imported one"
        raise ImageError(message)
    if not path.is_file():
        raise ImageError("the archive is not there; copy it once more")
    if not is_whole(path, archive):
        raise ImageError("it is not as it was written (size or sha256 differ) and was not loaded; copy it once more")
    _load(client, path)
    wrong = [image.name for image in archive.images if not _is(local_image(client, image.name), image)]
    if wrong:
        message = f"it was loaded, and {', '.join(wrong)} is not the image that was exported"
        raise ImageError(message)
    return f"{archive.file}: {len(archive.images)} images"


def _is(image: LocalImage | None, archived: ArchivedImage) -> bool:
    """Whether what was loaded is what was saved: by its id, or by its layers.

    An engine that keeps its images in containerd gives another id to an image than one that does not.
    """
    return image is not None and (image.image_id == archived.image_id or list(image.layers) == archived.layers)


def _load(client: "DockerClient", path: Path) -> None:
    from docker.errors import DockerException

    api: Any = client.api
    try:
        with path.open("rb") as file:
            events: Iterable[Mapping[str, Any]] = api.load_image(file, quiet=True)
            for event in events:
                if "error" in event:
                    raise ImageError(str(event["error"]).strip())
    except DockerException as error:
        message = f"the Docker engine does not load it: {getattr(error, 'explanation', None) or error}"
        raise ImageError(message) from error
