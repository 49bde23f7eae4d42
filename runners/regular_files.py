"""Opening files without ever waiting: what a path leads to is up to an agent.

For the harness, and for the supervisor of a sandbox; on the standard library, and on little of that.
"""

import errno
import os
import stat

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_file(path: str | bytes, flags: int) -> int:
    """Open a regular file, or a folder where `flags` ask for one, and return its descriptor.

    Raises OSError, with EINVAL for what is neither: a pipe, a device or a socket would hang, or never end.
    """
    try:
        _check(path, os.stat(path), flags)  # noqa: PTH116 - first, since opening some devices does something already
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
    try:
        _check(path, os.fstat(descriptor), flags)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_link(status: os.stat_result) -> bool:
    """Whether it is a symbolic link, for a status that does not follow those."""
    return stat.S_ISLNK(status.st_mode)


def is_folder(status: os.stat_result) -> bool:
    """Whether it is a folder."""
    return stat.S_ISDIR(status.st_mode)


def is_content(status: os.stat_result) -> bool:
    """Whether it is a file or a folder."""
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def make_folders(path: str | bytes) -> None:
    """Make a folder, and those above it. Raises NotADirectoryError where one of them is a file."""
    try:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None


def make_link(path: str | bytes, target: str | bytes) -> None:
    """Make a symbolic link, in place of one that is there."""
    try:
        os.symlink(target, path)  # noqa: PTH211
    except FileExistsError:
        if not os.path.islink(path):  # noqa: PTH114
            raise
        os.unlink(path)  # noqa: PTH108
        os.symlink(target, path)  # noqa: PTH211


def _check(path: str | bytes, status: os.stat_result, flags: int) -> None:
    if stat.S_ISDIR(status.st_mode) and not flags & os.O_DIRECTORY:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(errno.EINVAL, f"{name}, not a file with content", path)
