"""The index beside archives of images: what is in which archive, and how to know that it arrived as it was written."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from results.record_files import encode, read_record
from results.whole_files import write_whole

FORMAT = 1
_INDEX = "index.json"


def _plain(name: str) -> str:
    if Path(name).name != name or name.startswith(".") or not name.endswith(".tar"):
        message = f"{name!r} is no name of an archive in this folder"
        raise ValueError(message)
    return name


class ArchivedImage(BaseModel):
    """An image in an archive."""

    name: str
    image_id: str
    digest: str | None
    """Of the registry's manifest; an image that is loaded from an archive no longer has it."""
    layers: list[str]
    """The chain ids of its layers."""


class Archive(BaseModel):
    """A file of `docker save`."""

    file: Annotated[str, AfterValidator(_plain)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    images: list[ArchivedImage]


class ArchiveIndex(BaseModel):
    """All archives that lie together."""

    format: Annotated[int, Field(le=FORMAT)] = FORMAT
    archives: list[Archive] = Field(default_factory=list[Archive])
    """In the order in which they were written. A name may be in several: what was written last is what counts."""

    def last(self) -> dict[str, tuple[str, ArchivedImage]]:
        """What counts for each name, and the file that it is in."""
        return {image.name: (archive.file, image) for archive in self.archives for image in archive.images}


def index_path(place: Path) -> Path:
    """Where the index is: in a folder of archives, or beside the one archive that is a file."""
    return place.with_name(f"{place.name}.{_INDEX}") if place.suffix == ".tar" else place / _INDEX


def read_index(place: Path) -> ArchiveIndex:
    """The index of a folder or of a file. Raises DamagedFileError."""
    return read_record(index_path(place), ArchiveIndex)


def write_index(place: Path, index: ArchiveIndex) -> None:
    """Write it whole, or leave the old one."""
    write_whole(index_path(place), encode(index, indent=1) + b"\n")
