"""SWE-bench's instances: from a file or by name, checked, selected, hashed."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from evals.swebench.columns import DatasetError
from evals.swebench.dataset_hub import load_from_hub
from evals.swebench.dataset_sources import FILES, NAMES, locate, read_records
from evals.swebench.older_rows import completed
from evals.swebench.rows import AnyInstance, AnyRow, Instance, Kind, ProRow, Row, instance
from evals.swebench.selection import Selection

__all__ = ["NAMES", "AnyInstance", "Dataset", "DatasetError", "ProRow", "Row", "load_dataset"]


@dataclass(frozen=True)
class Dataset(Generic[AnyRow]):
    """Rows of one kind, and where they came from."""

    source: str
    """A file, or a name on the Hub, without the revision."""
    revision: str | None
    """The commit of the Hub that was really used; None for a file."""
    rows: Sequence[AnyRow]
    completed_from: str | None = None
    """Where rows of swebench 4.x have their missing columns from, as `load_dataset` takes it."""

    @property
    def kind(self) -> Kind:
        """Which benchmark's rows these are, and so which protocol grades them."""
        return self.rows[0].kind if self.rows else Row.kind

    @property
    def name(self) -> str:
        """A short name: of the file without its ending, or of the dataset without its owner."""
        path = Path(self.source)
        return path.stem if path.suffix in FILES else path.name

    def content_sha256(self) -> str:
        """The hash of all rows in their order."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row.model_dump(mode="json"), sort_keys=True).encode())
        return digest.hexdigest()

    def content_sha256_of(self, instance_ids: Sequence[str]) -> str:
        """The hash of some of its rows, in this order. Raises KeyError."""
        rows = {row.instance_id: row for row in self.rows}
        return dataclasses.replace(self, rows=[rows[name] for name in instance_ids]).content_sha256()

    def select(self, patterns: Sequence[str]) -> "Dataset[AnyRow]":
        """The rows whose id matches a pattern (`*` and `?` as in file names); all of them without patterns.

        Raises DatasetError for a pattern that matches nothing. There is more to select by in `Selection`.
        """
        return self.selected(Selection(ids=patterns))

    def selected(self, selection: Selection) -> "Dataset[AnyRow]":
        """What `selection` leaves. Raises DatasetError where that is nothing."""
        return dataclasses.replace(self, rows=selection.of(self.rows, self.source))

    def of(self, row_class: type[Row] | type[ProRow]) -> "Dataset[Any]":
        """The same dataset for code that knows one kind of row only. Raises DatasetError for the other kind."""
        if self.kind != row_class.kind:
            message = f"{self.source} holds rows of {self.kind}, and here only those of {row_class.kind} can be used"
            raise DatasetError(message)
        return self


def load_dataset(
    source: str, *, tell: Callable[[str], None] = lambda _: None, complete_from: str | None = None
) -> Dataset[Any]:
    """Load a Parquet, JSON or JSON Lines file, or a dataset of the Hub, by a short name or by its own.

    `tell` hears what a person should know of where the rows came from. Rows of swebench 4.x take the columns that they
    lack from the dataset `complete_from`. Which kind of rows came is in `Dataset.kind`. Raises DatasetError.
    """
    records, revision = _records(source, tell)
    lender = None
    if complete_from:
        newer = load_dataset(complete_from, tell=tell).of(Row)
        records = completed(records, newer.rows, complete_from)
        lender = f"{newer.source}@{newer.revision}" if newer.revision else newer.source
    rows = [instance(record, number, source) for number, record in enumerate(records, 1)]
    _check(rows, source)
    _tell_images(records, rows, tell)
    is_file = isinstance(locate(source), Path)
    return Dataset(source if is_file else source.partition("@")[0], revision, rows, lender)


def _records(source: str, tell: Callable[[str], None]) -> tuple[list[Any], str | None]:
    place = locate(source)
    if isinstance(place, Path):
        return read_records(place), None
    loaded = load_from_hub(place, tell)
    return loaded.records, loaded.revision


def _check(rows: Sequence[Instance], source: str) -> None:
    if not rows:
        message = f"{source} holds no rows"
        raise DatasetError(message)
    seen: set[str] = set()
    for row in rows:
        if row.instance_id in seen:
            message = f"{source} holds an instance twice: {row.instance_id}"
            raise DatasetError(message)
        seen.add(row.instance_id)
    if len({row.kind for row in rows}) > 1:
        message = f"{source} holds rows of SWE-bench and of SWE-bench Pro: give a file of each"
        raise DatasetError(message)


def _tell_images(records: Sequence[Any], rows: Sequence[Row | ProRow], tell: Callable[[str], None]) -> None:
    renamed = [row for record, row in zip(records, rows, strict=True) if row.image != record.get("image", row.image)]
    if renamed:
        tell(f"{len(renamed)} rows name an image without a namespace; taken instead: {renamed[0].image} and its like")
