"""A run's folder on disk, read and written. The files are the truth; every index can be rebuilt from them.

    <runs>/<run-id>/run.json        the manifest
                   /sessions.jsonl  one line a start
                   /trials/<task-slug>/<attempt>/tries/<n>/   trajectory.jsonl patch.diff artifacts/ end.json
                                                /verdicts/<n>.json, and <n>/ for the logs of that grading
    <runs>/groups/<group-id>.json

Attempts, tries and verdicts count from 1. What is written is written whole or not at all.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter

from results.json_lines import encode_line, open_for_append, read_lines
from results.record_files import DamagedFileError, encode, read_record
from results.records.audit import TraceAudit
from results.records.manifest import Beginning, Extension, Group, Manifest, SessionRecord
from results.records.outcome import TryEnd
from results.records.verdict import Verdict
from results.whole_files import write_new, write_whole

_SLUG_LENGTH = 80
_LABEL_LENGTH = 60
_GROUPS = "groups"
_SESSION: TypeAdapter[SessionRecord] = TypeAdapter(SessionRecord)
Found = TypeVar("Found")


class RunNotFoundError(ValueError):
    """No run goes by that name, or several do, or what is there cannot be read."""


class RunExistsError(ValueError):
    """There is a run of that id already."""


class Listing(NamedTuple, Generic[Found]):
    """What was found, newest first, and a sentence for each thing that could not be read."""

    found: list[Found]
    damaged: list[str]


class TryDirectory:
    """One execution of a trial."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.name)

    @property
    def trajectory_path(self) -> Path:
        """Where the events go."""
        return self.path / "trajectory.jsonl"

    @property
    def patch_path(self) -> Path:
        """Where the harvested diff goes."""
        return self.path / "patch.diff"

    @property
    def artifacts(self) -> Path:
        """A folder for whatever else is kept; it exists from the start of the try."""
        return self.path / "artifacts"

    def end(self) -> TryEnd | None:
        """How the try ended; None while it runs, or when it was killed. Raises DamagedFileError."""
        path = self.path / "end.json"
        return read_record(path, TryEnd) if path.exists() else None

    def write_end(self, end: TryEnd) -> None:
        """Say that this try is over; the last thing to be written."""
        write_whole(self.path / "end.json", _dump(end))

    def audit(self) -> TraceAudit | None:
        """What the audit of the trajectory found; None when none was made. Raises DamagedFileError."""
        path = self.path / "audit.json"
        return read_record(path, TraceAudit) if path.exists() else None

    def write_audit(self, audit: TraceAudit) -> None:
        """Keep an audit, in the place of an earlier one: it can be made again at any time."""
        write_whole(self.path / "audit.json", _dump(audit))

    def write_patch(self, patch: bytes) -> None:
        """Keep the harvested diff, byte for byte."""
        write_whole(self.patch_path, patch)


class TrialDirectory:
    """One attempt at one task. Its folder comes into being with the first try."""

    def __init__(self, path: Path, task_id: str, attempt: int) -> None:
        self.path = path
        self.task_id = task_id
        self.attempt = attempt

    def tries(self) -> list[TryDirectory]:
        """The tries in their order, ended or not."""
        return [TryDirectory(self.path / "tries" / str(number)) for number in _numbers(self.path / "tries")]

    def start_try(self) -> TryDirectory:
        """Open the next try; two callers never get the same."""
        folder = self.path / "tries"
        folder.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(folder), default=0) + 1
        while True:
            try:
                (folder / str(number)).mkdir()
            except FileExistsError:
                number += 1
                continue
            started = TryDirectory(folder / str(number))
            started.artifacts.mkdir()
            return started

    def verdicts(self) -> list[Verdict]:
        """What was said about this trial, in order. Raises DamagedFileError."""
        folder = self.path / "verdicts"
        paths = [folder / f"{number}.json" for number in _numbers(folder)]
        return [read_record(path, Verdict) for path in paths if path.exists()]

    def next_verdict_number(self) -> int:
        """The number after all verdicts, and after all folders with logs of gradings that came to no verdict."""
        return max(_numbers(self.path / "verdicts"), default=0) + 1

    def verdict_files(self, number: int) -> Path:
        """The folder for the logs of grading `number`, made when it is not there."""
        folder = self.path / "verdicts" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def append_verdict(self, verdict: Verdict) -> Path:
        """Write `verdict` under its own number. Raises FileExistsError: a verdict is never overwritten."""
        folder = self.path / "verdicts"
        folder.mkdir(parents=True, exist_ok=True)
        return write_new(folder / f"{verdict.number}.json", _dump(verdict))


class RunDirectory:
    """A run: its manifest, its starts, its trials.

    The manifest is that of `run.json`, with the attempts and tasks that later starts have added (`sessions.jsonl`).
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, runs: Path, manifest: Manifest, beginning: Beginning | None = None) -> "RunDirectory":
        """Begin a run under `runs`. Raises RunExistsError, and ValueError for an id that is no file name."""
        _require_file_name(manifest.run_id, "run")
        path = runs / manifest.run_id
        path.mkdir(parents=True, exist_ok=True)
        try:
            if beginning and not (path / "run.json").exists():
                write_whole(path / "begun.json", _dump(beginning))
            write_new(path / "run.json", _dump(manifest))
        except FileExistsError:
            message = f"there is a run {manifest.run_id} in {runs} already"
            raise RunExistsError(message) from None
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The run in the folder `path`. Raises DamagedFileError."""
        run = cls(path, read_record(path / "run.json", Manifest))
        if extension := run.extension():
            run.manifest = extension.extend(run.manifest)
        return run

    def extension(self) -> Extension | None:
        """What the run has grown to; None where it is as it was begun. Raises DamagedFileError."""
        path = self.path / "sessions.jsonl"
        if not path.exists() or b'"extension":{' not in path.read_bytes():  # nearly always: nothing has to be parsed
            return None
        return next((each.extension for each in reversed(self.sessions(lambda _: None)) if each.extension), None)

    def beginning(self) -> Beginning | None:
        """By what command the run was begun; None where nobody said. Raises DamagedFileError."""
        path = self.path / "begun.json"
        return read_record(path, Beginning) if path.exists() else None

    def append_session(self, session: SessionRecord) -> None:
        """Note a start."""
        with open_for_append(self.path / "sessions.jsonl") as file:
            file.write(encode_line(session))
            file.flush()
            os.fsync(file.fileno())

    def sessions(self, on_cut: Callable[[str], None] | None = None) -> list[SessionRecord]:
        """All starts in order; `on_cut` hears of a last line that was cut. Raises DamagedFileError."""
        path = self.path / "sessions.jsonl"
        return list(read_lines(path, _SESSION, on_cut)) if path.exists() else []

    def trial(self, task_id: str, attempt: int) -> TrialDirectory:
        """The trial, whether it has a folder or not."""
        return TrialDirectory(self.path / "trials" / task_slug(task_id) / str(attempt), task_id, attempt)

    def trials(self) -> list[TrialDirectory]:
        """All trials that the manifest speaks of: tasks in its order, the attempts of each together."""
        attempts = range(1, self.manifest.attempts + 1)
        return [self.trial(task_id, attempt) for task_id in self.manifest.benchmark.task_ids for attempt in attempts]


def new_run_id(label: str, now: datetime | None = None) -> str:
    """An id that sorts by time (UTC), says what it is, and is a safe file name: `20261122-125800-demo-careful-3f9a`."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    parts = [moment.strftime("%Y%m%d-%H%M%S"), _safe(label, _LABEL_LENGTH), secrets.token_hex(2)]
    return "-".join(part for part in parts if part)


def task_slug(task_id: str) -> str:
    """A task id as a file name of at most 80 characters: what is safe of it, and a hash, so that none meet."""
    digest = hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_safe(task_id, _SLUG_LENGTH - len(digest) - 1) or 'task'}-{digest}"


def default_runs_directory() -> Path:
    """`$UNBROKEN_RUNS`, else `$XDG_DATA_HOME/unbroken/runs`, else `~/.local/share/unbroken/runs`."""
    if stated := os.environ.get("UNBROKEN_RUNS"):
        return Path(stated)
    return _data_home() / "runs"


def shared_copies_directory() -> Path:
    """Where this machine's copies of runs lie that live elsewhere, beside its own runs."""
    return _data_home() / "shared"


def _data_home() -> Path:
    data_home = os.environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "unbroken"


def find_run(runs: Path, name: str) -> RunDirectory:
    """The run that `name` means: a folder's path, an id, or the beginning or the end of one id alone.

    Raises RunNotFoundError when there is none, when it could be several, and when it cannot be read.
    """
    try:
        return RunDirectory.open(_find_folder(runs, name))
    except DamagedFileError as error:
        raise RunNotFoundError(str(error)) from error


def list_runs(runs: Path) -> Listing[RunDirectory]:
    """All runs in `runs`, by their ids, which begin with the time; a folder that is not there holds none."""
    return _read_all(_run_folders(runs), RunDirectory.open)


def write_group(runs: Path, group: Group) -> Path:
    """Keep a group, in the place of an older one of the same id. Raises ValueError for an id that is no file name."""
    _require_file_name(group.group_id, "group")
    folder = runs / _GROUPS
    folder.mkdir(parents=True, exist_ok=True)
    return write_whole(folder / f"{group.group_id}.json", _dump(group))


def list_groups(runs: Path) -> Listing[Group]:
    """All groups in `runs`, newest first."""
    paths = sorted((runs / _GROUPS).glob("[!.]*.json"), reverse=True)
    found, damaged = _read_all(paths, lambda path: read_record(path, Group))
    return Listing(sorted(found, key=lambda group: group.created, reverse=True), damaged)


def _require_file_name(identifier: str, kind: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", identifier) is None or identifier == _GROUPS:
        message = f"{identifier!r} cannot be the id of a {kind}: use letters, digits, '.', '_' and '-'"
        raise ValueError(message)


def _find_folder(runs: Path, name: str) -> Path:
    if name and _holds_manifest(Path(name)):
        return Path(name)
    folders = _run_folders(runs) if name else []
    exact = [path for path in folders if path.name == name]
    candidates = exact or [path for path in folders if path.name.startswith(name) or path.name.endswith(name)]
    if not candidates:
        message = f"there is no run {name!r} in {runs}; `results list` shows those that there are"
        raise RunNotFoundError(message)
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates[:10]) + (", …" if len(candidates) > 10 else "")
        message = f"{name!r} could be any of {len(candidates)} runs: {names}"
        raise RunNotFoundError(message)
    return candidates[0]


def _holds_manifest(path: Path) -> bool:
    try:
        return (path / "run.json").is_file()
    except OSError:  # a name that is too long to be a path
        return False


def _run_folders(runs: Path) -> list[Path]:
    """The folders that are runs, or were meant to be, newest first."""
    marks = ("run.json", "trials", "sessions.jsonl")
    folders = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    return sorted((path for path in folders if any((path / mark).exists() for mark in marks)), reverse=True)


def _read_all(paths: list[Path], read: Callable[[Path], Found]) -> Listing[Found]:
    listing: Listing[Found] = Listing([], [])
    for path in paths:
        try:
            listing.found.append(read(path))
        except DamagedFileError as error:
            listing.damaged.append(str(error))
    return listing


def _dump(record: BaseModel) -> bytes:
    return encode(record, indent=2) + b"\n"


def _numbers(folder: Path) -> list[int]:
    """The numbers that name files (`3.json`) or folders (`3`) in `folder`, each once, in order."""
    names = [path.name.removesuffix(".json") for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({int(name) for name in names if re.fullmatch(r"[1-9][0-9]*", name)})


def _safe(text: str, length: int) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:length].strip("-.")
