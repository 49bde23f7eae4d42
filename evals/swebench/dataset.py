"""SWE-bench rows: from a file or by name, checked, selected, hashed.

A row has the columns of the v5 datasets (`facts`: SWE-bench repository, dataset revision of August 2026): beside the
classic ones `image`, `eval_script`, `log_parser` and `eval_type`.
"""

import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError

NAMES = {"verified": "SWE-bench/SWE-bench_Verified"}
"""Names that people use, and where those datasets live on the hub."""


class DatasetError(ValueError):
    """A dataset cannot be had, or is none."""


class Row(BaseModel):
    """One instance. Fields that grading does not need stay in `model_extra`, so that a row goes on as it came."""

    model_config = ConfigDict(frozen=True, extra="allow")

    instance_id: str
    repo: str
    base_commit: str
    version: str
    problem_statement: str
    patch: str
    test_patch: str
    FAIL_TO_PASS: str | list[str]
    PASS_TO_PASS: str | list[str]
    image: str
    eval_script: str
    log_parser: str
    eval_type: str


@dataclass(frozen=True)
class Dataset:
    """Rows, and where they came from."""

    source: str
    revision: str | None
    rows: Sequence[Row]

    def content_sha256(self) -> str:
        """The hash of all rows in their order."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row.model_dump(mode="json"), sort_keys=True).encode())
        return digest.hexdigest()

    def select(self, patterns: Sequence[str]) -> "Dataset":
        """The rows whose id matches a pattern (`*` and `?` as in file names); all of them without patterns.

        Raises DatasetError for a pattern that matches nothing.
        """
        if not patterns:
            return self
        ids = [row.instance_id for row in self.rows]
        wanted: set[str] = set()
        for pattern in patterns:
            matches = fnmatch.filter(ids, pattern)
            if not matches:
                raise DatasetError(_unknown_instance(pattern, ids, self.source))
            wanted.update(matches)
        rows = [row for row in self.rows if row.instance_id in wanted]
        return Dataset(self.source, self.revision, rows)


def load_dataset(source: str) -> Dataset:
    """Load a Parquet, JSON or JSON Lines file, or a dataset by name. Raises DatasetError."""
    path = Path(source)
    if source in NAMES:
        records, revision = _from_hub(NAMES[source])
    elif path.is_file():
        records, revision = _from_file(path), None
    elif path.exists() or path.suffix or "/" in source:
        message = f"there is no dataset file {source}"
        raise DatasetError(message)
    else:
        message = f"{source!r} is no dataset: give a .parquet, .json or .jsonl file, or a name ({', '.join(NAMES)})"
        raise DatasetError(message)
    rows = [_row(record, number, source) for number, record in enumerate(records, 1)]
    if not rows:
        message = f"{source} holds no rows"
        raise DatasetError(message)
    if len({row.instance_id for row in rows}) < len(rows):
        message = f"{source} holds an instance twice"
        raise DatasetError(message)
    return Dataset(source, revision, rows)


def _from_file(path: Path) -> list[Any]:
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_table(path).to_pylist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        text = path.read_text("utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        records: Any = json.loads(text)
    except (ValueError, OSError) as error:
        message = f"{path} cannot be read as a dataset: {error}"
        raise DatasetError(message) from error
    if not isinstance(records, list):
        message = f"{path} is no dataset: it holds no list of rows"
        raise DatasetError(message)
    return cast("list[Any]", records)


def _from_hub(name: str) -> tuple[list[Any], str | None]:
    import datasets

    try:
        loaded = cast("Any", datasets.load_dataset(name, split="test"))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # the library raises what its many layers raise
        message = (
            f"the dataset {name} cannot be had from the hub: {error}\n"
            "Without a network, give a file: --dataset PATH (.parquet, .json or .jsonl)"
        )
        raise DatasetError(message) from error
    return list(loaded), next(iter(loaded.info.download_checksums or {}), None)


def _row(record: Any, number: int, source: str) -> Row:
    try:
        return Row.model_validate(record)
    except ValidationError as error:
        problems = ", ".join(
            f"{problem['loc'][0] if problem['loc'] else 'it'}: {problem['msg']}" for problem in error.errors()
        )
        message = f"row {number} of {source} is no SWE-bench instance ({problems})"
        raise DatasetError(message) from error


def _unknown_instance(pattern: str, ids: Sequence[str], source: str) -> str:
    close = get_close_matches(pattern, ids, n=3)
    hint = f"; close to it: {', '.join(close)}" if close else ""
    return f"no instance of {source} matches {pattern!r}{hint}"
