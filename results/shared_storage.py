"""Runs that live at a URL which several machines reach: `s3://…`, `file://…`, whatever fsspec knows.

A machine works in a copy of its own, which it can append to, lock and rename in; what is over is sent to the storage
trial by trial, and what others have sent is brought before it is looked at. So a run goes on wherever its storage is.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import time_ns
from typing import Any, Protocol, cast

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from results.run_directory import RunDirectory
from results.run_lock import RunBusyError
from results.whole_files import write_new

_MARK = "shared.json"
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_OF_A_PROCESS = ("lock", "held.json", "live.json", "control.jsonl")
"""What says something about the process that is at work, and nothing about the run."""
_AT_ONCE = 8
_PATIENTLY = retry(
    retry=retry_if_exception_type(OSError),
    stop=stop_after_attempt(4),
    wait=wait_exponential_jitter(multiplier=0.2),
    reraise=True,
)


class SharedStorageError(ValueError):
    """A storage cannot be reached, read or written."""


class _Files(Protocol):
    """What is used of an fsspec file system."""

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]: ...
    def ls(self, path: str, *, detail: bool) -> list[str]: ...
    def get_file(self, rpath: str, lpath: str) -> None: ...
    def put_file(self, lpath: str, rpath: str) -> None: ...
    def cat_file(self, path: str) -> bytes: ...
    def pipe_file(self, path: str, value: bytes, mode: str = ...) -> None: ...
    def rm_file(self, path: str) -> None: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def mv(self, path1: str, path2: str) -> None: ...
    def invalidate_cache(self) -> None: ...


def is_url(stated: str) -> bool:
    """Whether it names a shared storage rather than a folder."""
    return _PROTOCOL.match(stated) is not None


@dataclass(frozen=True)
class SharedStorage:
    """Runs at a URL, and this machine's copy of them."""

    url: str
    copy: Path

    @classmethod
    def at(cls, url: str, copies: Path) -> "SharedStorage":
        """The storage at `url`, with a copy below `copies`. Raises SharedStorageError."""
        url = url.rstrip("/")
        name = re.sub(r"[^A-Za-z0-9]+", "-", url)[-40:].strip("-")
        storage = cls(url, copies / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}")
        with told(url):
            storage.open()
        storage.copy.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_new(storage.copy / _MARK, json.dumps({"url": url, "copy": secrets.token_hex(8)}).encode())
        return storage

    @classmethod
    def of(cls, runs: Path) -> "SharedStorage | None":
        """The storage whose copy the folder `runs` is; None for a folder that is no copy."""
        mark = runs / _MARK
        return cls(json.loads(mark.read_bytes())["url"], runs) if mark.exists() else None

    def open(self) -> tuple[_Files, str]:
        """The file system, and the place in it. Raises what fsspec raises."""
        from fsspec.core import url_to_fs  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

        files, place = cast("tuple[Any, str]", url_to_fs(self.url))
        return cast("_Files", files), place.rstrip("/")

    @property
    def copy_id(self) -> str:
        """By which other machines know this copy."""
        return json.loads((self.copy / _MARK).read_bytes())["copy"]

    @property
    def replaces_whole(self) -> bool:
        """Whether a reader sees an object as it was or as it is, and never a part of it; so with stores of objects."""
        return not self.url.startswith(("file:", "local:", "sftp:", "ssh:", "smb:"))

    def bring(self, names: Iterable[str] | None = None) -> None:
        """Copy what the storage has of the runs that `names` may mean (an id, its beginning or end), or of all.

        A trial that both have, and that is not the same, is set aside here (`set-aside`), and the storage's stands.
        Raises SharedStorageError.
        """
        with told(self.url):
            files, root = self.open()
            found = dict[PurePosixPath, int]()
            for run_id in _run_ids(files, root, names):
                found |= _listed(files, root, run_id)
            for trial in _trials(found):
                self._set_aside(trial, {path: size for path, size in found.items() if trial in path.parents})
            missing = [path for path, size in found.items() if self._size(path) != size or not _is_in_trial(path)]
            _each(missing, lambda path: self._get(files, root, path))

    def send(self, folder: Path) -> None:
        """Copy what lies in a run's folder, or in a part of it, to the storage, where it is not there yet.

        Tries that are not over stay. What says that a try is over comes last. Raises SharedStorageError.
        """
        with told(self.url):
            files, root = self.open()
            below = PurePosixPath(folder.relative_to(self.copy))
            found = _listed(files, root, str(below))
            sessions = self.copy / below.parts[0] / "sessions.jsonl"
            whole = {*_whole_files(folder), *([sessions] if sessions.exists() else [])}
            here = sorted(PurePosixPath(path.relative_to(self.copy)) for path in whole)
            missing = [path for path in here if found.get(path) != self._size(path) or not _is_in_trial(path)]
            ends = [path for path in missing if path.name == "end.json"]
            _each([path for path in missing if path not in set(ends)], lambda path: self._put(files, root, path))
            _each(ends, lambda path: self._put(files, root, path))

    def _size(self, path: PurePosixPath) -> int | None:
        here = self.copy / path
        return here.stat().st_size if here.is_file() else None

    def _set_aside(self, trial: PurePosixPath, found: Mapping[PurePosixPath, int]) -> None:
        here = self.copy / trial
        if all(self._size(path) in (None, size) for path, size in found.items()) and not _has_open_try(here, found):
            return
        aside = self.copy / trial.parts[0] / "set-aside" / f"{trial.parts[2]}-{trial.parts[3]}-{time_ns()}"
        aside.parent.mkdir(exist_ok=True)
        here.rename(aside)

    @_PATIENTLY
    def _get(self, files: _Files, root: str, path: PurePosixPath) -> None:
        target = self.copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.brought")
        files.get_file(f"{root}/{path}", str(temporary))
        temporary.replace(target)

    @_PATIENTLY
    def _put(self, files: _Files, root: str, path: PurePosixPath) -> None:
        target = f"{root}/{path}"
        if self.replaces_whole:
            files.put_file(str(self.copy / path), target)
            return
        files.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        temporary = f"{PurePosixPath(target).parent}/.{path.name}.sent"
        files.put_file(str(self.copy / path), temporary)
        files.mv(temporary, target)


def storage_of(run: RunDirectory) -> SharedStorage | None:
    """The storage that a run is to be sent to; None for one that stays on this machine."""
    return SharedStorage.of(run.path.parent)


def _run_ids(files: _Files, root: str, names: Iterable[str] | None) -> list[str]:
    """What there is that `names` may mean."""
    if names is not None and not (names := list(names)):
        return []
    files.invalidate_cache()
    try:
        found = [PurePosixPath(path).name for path in files.ls(root, detail=False)]
    except FileNotFoundError:
        return []
    return [
        each for each in found if names is None or any(each.startswith(name) or each.endswith(name) for name in names)
    ]


def _listed(files: _Files, root: str, below: str) -> dict[PurePosixPath, int]:
    """Every file in a folder below `root`, relative to that, with its size."""
    files.invalidate_cache()
    try:
        found = files.find(f"{root}/{below}", detail=True)
    except FileNotFoundError:
        return {}
    paths = {PurePosixPath(name).relative_to(root): int(entry["size"]) for name, entry in found.items()}
    return {
        path: size
        for path, size in paths.items()
        if not path.name.startswith(".") and path.name not in _OF_A_PROCESS and ".." not in path.parts
    }


def _trials(paths: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """The folders of trials among them: `RUN/trials/TASK/ATTEMPT`."""
    return sorted({PurePosixPath(*path.parts[:4]) for path in paths if _is_in_trial(path)})


def _is_in_trial(path: PurePosixPath) -> bool:
    """Whether it is `RUN/trials/TASK/ATTEMPT/…`: what never changes once it is there."""
    return len(path.parts) > 4 and path.parts[1] == "trials"


def _has_open_try(trial: Path, found: Iterable[PurePosixPath]) -> bool:
    """Whether a try was begun here that the storage has from elsewhere."""
    numbers = {path.parts[5] for path in found if len(path.parts) > 6 and path.parts[4] == "tries"}
    tries = [trial / "tries" / number for number in numbers]
    return any(one.is_dir() and not (one / "end.json").exists() for one in tries)


def _whole_files(folder: Path) -> Iterator[Path]:
    """What can be sent: no temporary files, and nothing of tries that are not over."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink() or path.name.startswith(".") or path.name in _OF_A_PROCESS:
            continue
        tries = [parent for parent in path.parents if parent.parent.name == "tries" and folder in parent.parents]
        if "set-aside" not in path.parts and all((one / "end.json").exists() for one in tries):
            yield path


def _each(paths: Iterable[PurePosixPath], work: Callable[[PurePosixPath], None]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(work, paths):
            pass


@contextmanager
def told(url: str) -> Generator[None]:
    """Raise SharedStorageError for whatever a storage's own package raises: each has errors of its own."""
    try:
        yield
    except (RunBusyError, SharedStorageError):
        raise
    except Exception as error:  # the boundary to packages of many makers
        message = f"{url} cannot be used: {error or type(error).__name__}"
        if isinstance(error, ImportError):
            message += " (for s3:// install unbroken[s3])"
        raise SharedStorageError(message) from error
