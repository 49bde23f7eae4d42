"""Archives on their way into and out of a container: what is in them, and what they cannot do to this machine."""

import contextlib
import errno
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.archives import BrokenArchiveError, Owner, pack, unpack

OWNER = Owner(1000, 3_000_000)


def archive(*members: tarfile.TarInfo, kind: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as made:
        for member in members:
            data = f"data of {member.name}".encode("utf-8", "surrogateescape")
            if member.isreg():
                member.size = len(data)
            made.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return file.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, mode
    return member


def in_pieces(data: bytes, size: int = 700) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_packed_is_what_other_programs_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "ünï" / ("n" * 150)).mkdir(parents=True)
    (source / "file").write_bytes(b"x" * 1000)
    (source / "file").chmod(0o750)
    (source / "link").symlink_to("t" * 120)
    packed = b"".join(pack(source, ("a", "b"), OWNER))
    assert len(packed) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(packed)) as members:
        found = {member.name: member for member in members}
        assert list(found) == ["a", "a/b", "a/b/file", "a/b/link", "a/b/ünï", f"a/b/ünï/{'n' * 150}"]
        assert {(member.uid, member.gid) for member in found.values()} == {(1000, 3_000_000)}
        assert found["a/b/file"].mode == 0o750
        assert found["a/b/link"].linkname == "t" * 120
        content = members.extractfile(found["a/b/file"])
        assert content is not None
        assert content.read() == b"x" * 1000


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_of_any_size_comes_through(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    pieces = list(pack(tmp_path / "file", ("name",), OWNER))
    assert all(pieces)  # an empty piece would end the stream
    unpack(iter(pieces), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_other_programs_pack_is_unpacked(tmp_path: Path, kind: int) -> None:
    long = f"top/{'d' * 90}/{'f' * 40}"
    data = archive(
        entry("top", tarfile.DIRTYPE), entry("top/tool", mode=0o4777), entry(long),
        entry("top/link", tarfile.SYMTYPE, "./tool"), entry("top/again", tarfile.LNKTYPE, "top/tool"), kind=kind,
    )  # fmt: skip
    unpack(in_pieces(data), tmp_path / "copy")
    copy = tmp_path / "copy"
    assert tree(copy) == ["again", "d" * 90, f"{'d' * 90}/{'f' * 40}", "link", "tool"]
    assert (copy / "tool").stat().st_mode & 0o7777 == 0o755
    assert (copy / "again").samefile(copy / "tool")
    assert os.readlink(copy / "link") == "./tool"  # noqa: PTH115 - as it is spelled


def test_a_pax_name_that_is_no_unicode_stays_as_it_is(tmp_path: Path) -> None:
    name = os.fsdecode(b"top/\xff\xfe")
    unpack(in_pieces(archive(entry(name))), tmp_path / "copy")
    assert [os.fsencode(path.name) for path in (tmp_path / "copy").iterdir()] == [b"\xff\xfe"]


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "..", "/", "."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokenArchiveError):
        unpack(in_pieces(archive(entry("top", tarfile.DIRTYPE), entry(name))), tmp_path / "copy")
    assert [path for path in tree(tmp_path) if "evil" in path] == []


@pytest.mark.parametrize(
    "target", ["/etc", "..", "../..", "sub/../../..", "sub/..", "", "../x/../..", "/", "./../"]
)  # fmt: skip
def test_a_link_that_leads_out_is_left_out(tmp_path: Path, target: str) -> None:
    unpack(in_pieces(archive(entry("top", tarfile.DIRTYPE), entry("top/l", tarfile.SYMTYPE, target))), tmp_path / "c")
    assert tree(tmp_path / "c") == []


@pytest.mark.parametrize("target", ["file", "sub/file", "./a/b", "nowhere"])
def test_a_link_within_the_tree_is_kept(tmp_path: Path, target: str) -> None:
    unpack(in_pieces(archive(entry("top", tarfile.DIRTYPE), entry("top/l", tarfile.SYMTYPE, target))), tmp_path / "c")
    assert os.readlink(tmp_path / "c" / "l") == target  # noqa: PTH115 - as it is spelled


def test_nothing_is_written_through_a_link_that_is_there_already(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "folder").symlink_to(outside)
    (copy / "file").symlink_to(outside / "kept")
    (copy / "hard").symlink_to(outside / "kept")
    data = archive(
        entry("top", tarfile.DIRTYPE), entry("top/folder/new"), entry("top/file"),
        entry("top/other", tarfile.LNKTYPE, "top/hard"),
    )  # fmt: skip
    unpack(in_pieces(data), copy)
    assert tree(outside) == ["kept"]
    assert (outside / "kept").read_bytes() == b"kept"
    assert (copy / "folder" / "new").read_bytes() == b"data of top/folder/new"
    assert not (copy / "other").exists()


def test_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    kinds = [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
    data = archive(*(entry(f"top/{number}", kind) for number, kind in enumerate(kinds)), entry("top/file"))
    unpack(in_pieces(data), tmp_path / "copy")
    assert tree(tmp_path / "copy") == ["file"]


def test_an_archive_that_ends_early_is_told(tmp_path: Path) -> None:
    data = archive(entry("top", tarfile.DIRTYPE), entry("top/file"))
    for end in (0, 100, 512, 1100, 1536):
        with pytest.raises(BrokenArchiveError):
            unpack(in_pieces(data[:end]), tmp_path / "copy")


def pax_header(record: bytes, size: bytes | None = None) -> bytes:
    header = bytearray(entry("x", tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = (size or b"%011o" % len(record)).ljust(12, b"\0")
    return bytes(header) + record.ljust(512, b"\0")


@pytest.mark.parametrize(
    "header",
    [
        pax_header(b"0 path=a\n"),
        pax_header(b"=\n"),
        pax_header(b"3 path=a\n"),
        pax_header(b"9" * 5000 + b" path=a\n"),
        pax_header(b"4311 size=" + b"9" * 4300 + b"\n"),
        pax_header(b"9 path=a\n", size=b"-5"),
        pax_header(b"9 path=a\n", size=b"0_11"),
    ],
    ids=["no-length", "nothing", "short", "endless-length", "endless-size", "negative", "underscore"],
)
@pytest.mark.timeout(20)
def test_a_header_that_makes_no_sense_is_told(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(BrokenArchiveError):
        unpack(in_pieces(header + archive(entry("top"))), tmp_path / "copy")


_NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
_KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
_ENTRIES = st.lists(st.tuples(_NAMES, _KINDS, _NAMES), max_size=8)


def is_a_loop(link: Path) -> bool:
    """`realpath` says of a link such as `a -> a//a` that it leads to `/a`; it leads nowhere."""
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


@settings(max_examples=300, deadline=None)
@given(entries=_ENTRIES, first=st.integers(0, 1))
def test_whatever_an_archive_holds_nothing_outside_is_touched(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes, str]], first: int
) -> None:
    guard = tmp_path_factory.mktemp("guard")
    for name in ("a", "b"):
        (guard / name).write_bytes(b"outside")
    members = [entry(f"top/{name}" if first else name, kind, target) for name, kind, target in entries]
    with contextlib.suppress(BrokenArchiveError, OSError):
        unpack(in_pieces(archive(*members)), guard / "inner" / "copy")
    outside = {name for name in tree(guard) if not name.startswith("inner/copy")}
    assert outside <= {"a", "b", "inner"}
    assert (guard / "a").read_bytes() == (guard / "b").read_bytes() == b"outside"
    for path in (guard / "inner").rglob("*"):
        assert is_a_loop(path) or os.path.realpath(path).startswith(os.path.realpath(guard / "inner"))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=3000), start=st.integers(0, 1500))
def test_damage_is_an_error_and_nothing_worse(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: int
) -> None:
    whole = bytearray(archive(entry("top", tarfile.DIRTYPE), entry("top/ü" * 40), entry("top/l", tarfile.SYMTYPE, "a")))
    whole[start : start + len(data)] = data
    folder = tmp_path_factory.mktemp("damaged")
    with contextlib.suppress(BrokenArchiveError, OSError):
        unpack(in_pieces(bytes(whole)), folder / "copy")
    assert {path.name for path in folder.iterdir()} <= {"copy"}


def test_no_more_is_unpacked_than_is_allowed(tmp_path: Path) -> None:
    packed = archive(entry("top", tarfile.DIRTYPE), *(entry(f"top/{number}") for number in range(10)))
    unpack(in_pieces(packed), tmp_path / "all", limit=11 * 4096 + 10 * len("data of top/0"))
    assert len(tree(tmp_path / "all")) == 10
    with pytest.raises(OSError, match="more than the 20000 bytes") as raised:
        unpack(in_pieces(packed), tmp_path / "some", limit=20000)
    assert raised.value.errno == errno.EFBIG
    huge = entry("top")
    huge.size = 1 << 40  # what a file with a hole takes no place for
    with pytest.raises(OSError, match="more than"):
        unpack(iter([huge.tobuf()]), tmp_path / "huge", limit=1 << 30)
    assert not (tmp_path / "huge").exists()
