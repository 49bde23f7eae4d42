"""Files that are written whole or not at all: temporary name in the same folder, fsync, then their own name."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, data: bytes) -> Path:
    """Put `data` at `path`, in the place of what was there, and return `path`."""
    with _temporary(path, data) as temporary:
        temporary.replace(path)
    _sync_folder(path.parent)
    return path


def write_new(path: Path, data: bytes) -> Path:
    """Put `data` at `path`, where nothing may be yet, and return `path`. Raises FileExistsError."""
    with _temporary(path, data) as temporary:
        path.hardlink_to(temporary)  # unlike a rename, this refuses to overwrite
    _sync_folder(path.parent)
    return path


@contextmanager
def _temporary(path: Path, data: bytes) -> Generator[Path]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
