"""Loads images from archives that `evals.images.exporting` wrote, each checked before and after."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.images.archive_index import Archive, ArchivedImage, read_index
from evals.images.archive_streams import load
from evals.images.exporting import is_whole
from evals.images.layers import LocalImage, all_image_ids, local_image
from evals.images.names import ImageName
from evals.images.patience import ImageError
from evals.images.pulled_images import PulledImages

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass
class Importing:
    """Loads into one engine. What is loaded is recorded, and removed only when a person says so."""

    client: "DockerClient"
    record: PulledImages
    tell: Callable[[str], None]
    force: bool = False
    """Take names away from other images on this machine."""
    _last: Mapping[str, tuple[str, ArchivedImage]] = field(default_factory=dict[str, tuple[str, ArchivedImage]])

    def import_all(self, place: Path) -> int:
        """Load the archives of a folder or of a file; return how many of them failed, which `tell` hears.

        An archive whose images are all here is not loaded again. One that is not as it was written is not loaded at
        all, and neither is one that would take a name away from another image, unless by `force`. Of a name that is in
        several archives, what was written last counts. Raises DamagedFileError.
        """
        folder = place.parent if place.suffix == ".tar" else place
        index = read_index(place)
        self._last = index.last()
        failed = 0
        for archive in index.archives:
            try:
                self.tell(f"{archive.file}: {self._import(folder / archive.file, archive)}")
            except ImageError as error:
                failed += 1
                self.tell(f"{archive.file}: {error}")
        return failed

    def _import(self, path: Path, archive: Archive) -> str:
        images = [image for image in archive.images if self._last[image.name][0] == archive.file]
        before = {image.name: local_image(self.client, image.name) for image in archive.images}
        missing = [one for one in images if not ((here := before[one.name]) and here.image_id == one.image_id)]
        if not images:
            return "not loaded, all its images were exported again since, to other archives"
        if not missing:
            return f"all {len(images)} images are here already"
        others = [image.name for image in missing if before[image.name]]
        if others and not self.force:
            message = (
                f"{others[0]} stands for another image on this machine; --force gives the name to the imported one"
            )
            raise ImageError(message)
        if not path.is_file():
            raise ImageError("the archive is not there; copy it once more")
        if not is_whole(path, archive):
            raise ImageError(
                "it is not as it was written (size or sha256 differ) and was not loaded; copy it once more"
            )
        known = all_image_ids(self.client)
        load(self.client, path)
        self._put_back({one.name: before[one.name] for one in archive.images if one not in images}, known)
        wrong = [image.name for image in images if not self._note(image, known, is_missing=image in missing)]
        if wrong:
            message = f"it was loaded, and {', '.join(wrong)} is not the image that was exported"
            raise ImageError(message)
        return f"{len(images)} images"

    def _note(self, archived: ArchivedImage, known: frozenset[str], *, is_missing: bool) -> bool:
        """Record what was loaded; whether it is what was exported."""
        image = local_image(self.client, archived.name)
        if image is None or not _is(image, archived):
            return False
        if is_missing:
            self.record.add_imported(image, archived.digest, is_new=image.image_id not in known)
        return True

    def _put_back(self, before: Mapping[str, LocalImage | None], known: frozenset[str]) -> None:
        """Let names stand for what they stood for before, or for nothing: what counts for them is in another archive.

        What this one brought for them goes, where nothing else holds it.
        """
        from docker.errors import APIError

        api: Any = self.client.api
        for name, image in before.items():
            loaded = local_image(self.client, name)
            if loaded is None or (image and loaded.image_id == image.image_id):
                continue
            if image:
                parsed = ImageName.parse(name)
                api.tag(image.image_id, f"{parsed.registry}/{parsed.repository}", parsed.reference)
            with contextlib.suppress(APIError):  # it has other names, or a container uses it
                if image is None:
                    api.remove_image(name)
                elif loaded.image_id not in known:
                    api.remove_image(loaded.image_id)


def _is(image: LocalImage | None, archived: ArchivedImage) -> bool:
    """Whether what was loaded is what was saved: by its id, or by its layers.

    An engine that keeps its images in containerd gives another id to an image than one that does not.
    """
    return image is not None and (image.image_id == archived.image_id or list(image.layers) == archived.layers)
