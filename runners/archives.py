"""Trees of files as tar archives (GNU format), packed and unpacked while they are being sent.

The standard library's `tarfile` takes longer for a small file than an engine does. What is unpacked here came out of
a container, and whoever made it may wish to write elsewhere on this machine.
"""

import errno
import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
_PIECE = 1 << 17  # larger ones take longer: they fit no cache, and cost the system fresh pages each time
_LONGEST_HEADER = 1 << 20
_LATEST = 1 << 40
_ENTRY_COST = 4096
_MOST_DIGITS = 20  # as many as 64 bits take
_LONG_NAME = b"././@LongLink"
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s247x")
_FILE, _HARD_LINK, _SYMBOLIC_LINK, _FOLDER, _OLD_FILE = b"0", b"1", b"2", b"5", b"\0"
_LONG_TARGET_TYPE, _LONG_NAME_TYPE, _EXTENDED, _EXTENDED_FOR_ALL = b"K", b"L", b"x", b"g"


class BrokenArchiveError(Exception):
    """An archive that ends in the middle, or holds what no archive may hold."""


@dataclass(frozen=True)
class Owner:
    """To whom unpacked files belong, by number."""

    user: int
    group: int


def pack(source: Path, path: tuple[str, ...], owner: Owner) -> Iterator[bytes]:
    """The pieces of an archive in which `source`, a file or a folder, stands at `path`, with the folders above it.

    Pipes, sockets and devices are left out. Raises OSError for what cannot be read.
    """
    yield from _Packing(owner).pieces(source, path)


def unpack(pieces: Iterator[bytes], target: Path, *, limit: int | None = None) -> None:
    """Unpack an archive whose single top entry becomes `target`.

    Nothing is written outside of `target`, whatever the archive says. Left out are links that lead out of it, and what
    is neither a file, a folder nor a link. Modes keep what the owner may do, and nobody else may write.
    Raises BrokenArchiveError, and OSError for what this machine refuses, or for more than `limit` bytes; whatever its
    size, each entry counts as another 4096, which is what it takes on a disk.
    """
    _Unpacking(_Reader(pieces), target, limit).run()


class _Packing:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._waiting = bytearray()
        self._linked: dict[tuple[int, int], bytes] = {}

    def pieces(self, source: Path, path: tuple[str, ...]) -> Iterator[bytes]:
        status = source.lstat()
        for depth in range(1, len(path)):
            name = os.fsencode("/".join(path[:depth]))
            self._add_header(name + b"/", 0o755, 0, status.st_mtime, _FOLDER)
        yield from self._entry(os.fsencode(source), os.fsencode("/".join(path)), status)
        self._waiting += bytes(2 * _BLOCK)
        yield bytes(self._waiting)

    def _entry(self, source: bytes, name: bytes, status: os.stat_result) -> Iterator[bytes]:
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            self._add_header(name + b"/", mode, 0, status.st_mtime, _FOLDER)
            with os.scandir(source) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    yield from self._entry(entry.path, name + b"/" + entry.name, entry.stat(follow_symlinks=False))
        elif stat.S_ISLNK(mode):
            self._add_header(name, mode, 0, status.st_mtime, _SYMBOLIC_LINK, os.readlink(source))  # noqa: PTH115
        elif stat.S_ISREG(mode):
            first = self._linked.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
            if first != name:
                self._add_header(name, mode, 0, status.st_mtime, _HARD_LINK, first)
            else:
                yield from self._file(source, name, status)
        if len(self._waiting) >= _PIECE:
            yield self._taken()

    def _file(self, source: bytes, name: bytes, status: os.stat_result) -> Iterator[bytes]:
        size = left = status.st_size
        self._add_header(name, status.st_mode, size, status.st_mtime, _FILE)
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while left and (data := os.read(descriptor, min(left, _PIECE))):
                left -= len(data)
                if self._waiting and len(self._waiting) + len(data) > _PIECE:
                    yield self._taken()
                if len(data) == _PIECE:
                    yield data
                else:
                    self._waiting += data
        finally:
            os.close(descriptor)
        # A file that shrinks meanwhile is filled up, since its size has been announced.
        while left > _PIECE:
            yield bytes(_PIECE)
            left -= _PIECE
        self._waiting += bytes(left + -size % _BLOCK)

    def _taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken

    def _add_header(self, name: bytes, mode: int, size: int, modified: float, kind: bytes, target: bytes = b"") -> None:
        if len(target) > 100:
            self._add_long(target, _LONG_TARGET_TYPE)
        if len(name) > 100:
            self._add_long(name, _LONG_NAME_TYPE)
        owner = self._owner
        self._waiting += _header(name, mode & 0o7777, owner.user, owner.group, size, int(modified), kind, target)

    def _add_long(self, text: bytes, kind: bytes) -> None:
        self._waiting += _header(_LONG_NAME, 0, 0, 0, len(text) + 1, 0, kind, b"")
        self._waiting += text + bytes(1 + -(len(text) + 1) % _BLOCK)


def _header(
    name: bytes, mode: int, user: int, group: int, size: int, modified: int, kind: bytes, target: bytes
) -> bytes:
    numbers = (_number(mode, 8), _number(user, 8), _number(group, 8), _number(size, 12), _number(modified, 12))
    fields = (name[:100], *numbers, b" " * 8, kind, target[:100], b"ustar  \0")
    block = _HEADER.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int, width: int) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value & (256**width - 1) | 0x80 << 8 * (width - 1)).to_bytes(width, "big")


@dataclass
class _Entry:
    name: bytes
    kind: bytes
    mode: int
    size: int
    modified: int
    target: bytes


class _Reader:
    """The blocks of an archive that comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data: memoryview[int] = memoryview(b"")
        self._extended: dict[bytes, bytes] = {}

    def entries(self) -> Iterator[_Entry]:
        """The entries, one after the other; what the file of one is must be taken before the next."""
        while (block := self.take(_BLOCK)) != bytes(_BLOCK):
            fields = _HEADER.unpack(block)
            kind = fields[7]
            size = _read_number(fields[4])
            if kind in (_LONG_NAME_TYPE, _LONG_TARGET_TYPE, _EXTENDED, _EXTENDED_FOR_ALL):
                self._read_extension(kind, size)
            else:
                yield self._entry(block, fields, size)
                self._extended.clear()
        for _ in self._pieces:  # to its end, so that the engine sees nothing broken off
            pass

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        return b"".join(self.pieces_of(size))

    def pieces_of(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, as they come."""
        while size:
            if not self._data:
                self._data = self._next_piece()
            piece, self._data = self._data[:size], self._data[size:]
            size -= len(piece)
            yield piece

    def _next_piece(self) -> memoryview:
        for piece in self._pieces:
            if piece:
                return memoryview(piece)
        raise BrokenArchiveError("it ends in the middle")

    def _entry(self, block: bytes, fields: tuple[bytes, ...], size: int) -> _Entry:
        name = fields[0].rstrip(b"\0")
        if block[257:263] == b"ustar\0" and (prefix := block[345:500].rstrip(b"\0")):
            name = prefix + b"/" + name
        extended = self._extended
        return _Entry(
            name=extended.get(b"path", name),
            kind=fields[7],
            mode=_read_number(fields[1]),
            size=_whole(extended[b"size"]) if b"size" in extended else size,
            modified=min(_read_number(fields[5]), _LATEST),
            target=extended.get(b"linkpath", fields[8].rstrip(b"\0")),
        )

    def _read_extension(self, kind: bytes, size: int) -> None:
        if size > _LONGEST_HEADER:
            raise BrokenArchiveError("a name in it is longer than any file system takes")
        data = self.take(size)
        self.take(-size % _BLOCK)
        if kind == _LONG_NAME_TYPE:
            self._extended[b"path"] = data.rstrip(b"\0")
        elif kind == _LONG_TARGET_TYPE:
            self._extended[b"linkpath"] = data.rstrip(b"\0")
        elif kind == _EXTENDED:
            self._extended.update(_records(data))


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header: `LENGTH KEY=VALUE` and a line break each, the length counting all of it."""
    while data:
        digits, _, _ = data[:_MOST_DIGITS].partition(b" ")
        length = _whole(digits)
        key, separator, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not length or not separator:
            raise BrokenArchiveError("a header in it makes no sense")
        yield key, value
        data = data[length:]


def _whole(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        raise BrokenArchiveError("a number in it is none")
    return int(text)


def _read_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
    digits = field.strip(b" \0") or b"0"
    if digits.strip(b"01234567"):
        raise BrokenArchiveError("a number in it is none")
    return int(digits, 8)


class _Unpacking:
    def __init__(self, reader: _Reader, target: Path, limit: int | None) -> None:
        self._reader = reader
        self._limit = self._left = math.inf if limit is None else limit
        self._top = os.fsencode(target)
        self._folders: set[bytes] = set()
        """Those that are known to be folders, and no links to any."""
        self._finished: list[tuple[bytes, int, int]] = []

    def run(self) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(self._top)), exist_ok=True)  # noqa: PTH100, PTH103, PTH120
        for entry in self._reader.entries():
            size = entry.size if entry.kind in (_FILE, _OLD_FILE) else 0
            self._left -= size + _ENTRY_COST
            if self._left < 0:
                raise OSError(errno.EFBIG, f"more than the {self._limit} bytes that may be copied")
            left = _Left(self._reader, size)
            parts = _parts(entry.name)
            self._make(entry, parts, left)
            left.skip()
        # Last, since writing into a folder changes its time, and its mode may forbid that.
        for path, mode, modified in reversed(self._finished):
            os.chmod(path, mode)  # noqa: PTH101
            os.utime(path, (modified, modified))

    def _make(self, entry: _Entry, parts: list[bytes], left: "_Left") -> None:
        path = b"/".join((self._top, *parts[1:]))
        if entry.kind == _FOLDER:
            self._make_folder(path, parts)
            self._finished.append((path, entry.mode & 0o755 | 0o700, entry.modified))
            return
        self._make_folder(os.path.dirname(path), parts[:-1])  # noqa: PTH120
        if entry.kind in (_FILE, _OLD_FILE):
            self._make_file(path, entry, left)
        elif entry.kind == _SYMBOLIC_LINK and _stays_below(entry.target, len(parts) - 2):
            _remove(path)
            os.symlink(entry.target, path)  # noqa: PTH211
        elif entry.kind == _HARD_LINK:
            self._make_hard_link(path, _parts(entry.target))

    def _make_folder(self, path: bytes, parts: list[bytes]) -> None:
        """Make a folder in `target`, and those above it, where no link leads elsewhere."""
        if path in self._folders or not parts:
            return
        if len(parts) > 1:
            self._make_folder(os.path.dirname(path), parts[:-1])  # noqa: PTH120
        try:
            os.mkdir(path, 0o700)  # noqa: PTH102
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)  # noqa: PTH108
                os.mkdir(path, 0o700)  # noqa: PTH102
        self._folders.add(path)

    def _make_file(self, path: bytes, entry: _Entry, left: "_Left") -> None:
        mode = entry.mode & 0o755 | 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError:
            os.unlink(path)  # noqa: PTH108
            descriptor = os.open(path, flags, mode)
        try:
            for piece in left.pieces():
                while piece:
                    piece = piece[os.write(descriptor, piece) :]
            os.fchmod(descriptor, mode)
            os.utime(descriptor, (entry.modified, entry.modified))
        finally:
            os.close(descriptor)

    def _make_hard_link(self, path: bytes, parts: list[bytes]) -> None:
        first = b"/".join((self._top, *parts[1:]))
        if os.path.dirname(first) in self._folders and _is_file(first):  # noqa: PTH120
            _remove(path)
            os.link(first, path, follow_symlinks=False)


class _Left:
    """What is left of the content of an entry."""

    def __init__(self, reader: _Reader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._padding = -size % _BLOCK

    def pieces(self) -> Iterator[memoryview]:
        size, self._size = self._size, 0
        return self._reader.pieces_of(size)

    def skip(self) -> None:
        for _ in self._reader.pieces_of(self._size + self._padding):
            pass


def _parts(name: bytes) -> list[bytes]:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts or b"\0" in name:
        message = f"it holds a name that leads elsewhere: {name[:200]!r}"
        raise BrokenArchiveError(message)
    return parts


def _stays_below(target: bytes, depth: int) -> bool:
    """Whether a link, that many folders below the top, leads into the same tree.

    `..` after another part is refused: that part may be a link itself, and go back to somewhere else.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    back = next((number for number, part in enumerate(parts) if part != b".."), len(parts))
    return back <= depth and b".." not in parts[back:]


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _remove(path: bytes) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
