"""What `evals validate` has found so far, on disk as soon as it is found: a killed validation goes on where it was."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, TypeAdapter

from results.json_lines import encode_line, open_for_append, read_lines
from results.record_files import DamagedFileError
from results.records.reliability import TaskReliability, ValidationConditions

_ENTRIES: TypeAdapter[ValidationConditions | TaskReliability] = TypeAdapter(ValidationConditions | TaskReliability)


class ValidationProgressError(ValueError):
    """What lies there is of another validation, or one that still runs."""


class ValidationProgress:
    """The tasks that are done, and where the next ones are noted."""

    def __init__(self, file: BinaryIO, found: dict[str, TaskReliability]) -> None:
        self._file = file
        self.found = found

    def note(self, found: TaskReliability) -> None:
        """Put down what was found of a task."""
        self._write(found)
        self.found[found.task_id] = found

    def note_conditions(self, conditions: ValidationConditions) -> None:
        """Put down how tasks are judged."""
        self._write(conditions)

    def _write(self, entry: BaseModel) -> None:
        self._file.write(encode_line(entry))
        self._file.flush()


def progress_path(output: Path) -> Path:
    """Where the progress of a validation lies that will write `output`."""
    return output.with_name(f"{output.name}.progress.jsonl")


@contextmanager
def open_progress(path: Path, conditions: ValidationConditions) -> Generator[ValidationProgress]:
    """Go on with a validation under these conditions, or begin it. Tasks that could not be judged are left to do.

    Raises ValidationProgressError, DamagedFileError.
    """
    with open_for_append(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another `evals validate` is at work on {path}"
            raise ValidationProgressError(message) from None
        begun, *entries = list(read_lines(path, _ENTRIES)) or [None]
        progress = ValidationProgress(file, {})
        if begun is None:
            progress.note_conditions(conditions)
        elif not isinstance(begun, ValidationConditions):
            message = f"{path} does not begin with the conditions of a validation"
            raise DamagedFileError(message)
        elif differing := _differing(begun, conditions):
            message = f"{path} is of a validation with another {differing}: give the same, or remove the file"
            raise ValidationProgressError(message)
        found = (one for one in entries if isinstance(one, TaskReliability))
        progress.found |= {one.task_id: one for one in found if one.reliability != "unknown"}
        yield progress


def _differing(begun: ValidationConditions, asked: ValidationConditions) -> str:
    """What differs, each with both values."""
    before, now = begun.model_dump(), asked.model_dump()
    names = [name for name in now if before[name] != now[name]]
    return ", ".join(f"{name.replace('_', ' ')} ({before[name]}, now {now[name]})" for name in names)
