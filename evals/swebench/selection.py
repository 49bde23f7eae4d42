"""Which instances of a dataset: by what they are, then a sample, a slice, and a shard of what is left.

The steps are always taken in that order, so shards of any selection are disjoint and together the whole of it. Rows
keep the dataset's order; only a sample has its own, in which a smaller sample of one seed is the beginning of a larger.
Each condition must match something in the dataset, so that a slip of the pen is an error and not a smaller benchmark.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TypeVar

from evals.swebench.columns import DatasetError
from evals.swebench.rows import Instance

_Row = TypeVar("_Row", bound=Instance)
_SHOWN = 8


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a selection, `number` from 1 on; their sizes differ by one at most."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `2/8`. Raises DatasetError."""
        first, _, second = text.partition("/")
        try:
            shard = cls(int(first), int(second))
        except ValueError:
            shard = cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            message = f"{text!r} is no shard: give I/N with I from 1 to N, such as 2/8"
            raise DatasetError(message)
        return shard

    def of(self, rows: Sequence[_Row]) -> list[_Row]:
        """Its rows, in their order. Which they are depends on the ids alone, not on the order of the rows."""
        ranked = sorted(rows, key=lambda row: _rank("shard", row.instance_id))
        own = {row.instance_id for row in ranked[self.number - 1 :: self.count]}
        return [row for row in rows if row.instance_id in own]


@dataclass(frozen=True)
class Selection:
    """What is wanted. What is empty or None asks for nothing; several values of one field are alternatives."""

    ids: Sequence[str] = ()
    """Ids, or patterns with `*` and `?` as in file names."""
    tasks: Sequence[str] | None = None
    """Ids or patterns of a file."""
    excluded: Sequence[str] = ()
    """Ids or patterns of what is not wanted."""
    repositories: Sequence[str] = ()
    """`owner/name`, or `name` alone, or patterns of either."""
    difficulties: Sequence[str] = ()
    """As the dataset spells them, but for case and blanks; or patterns."""
    created_after: datetime | None = None
    """Created then or later."""
    created_before: datetime | None = None
    """Created earlier than then."""
    sample: int | None = None
    seed: int = 0
    part: slice | None = None
    """By position, as Python counts."""
    shard: Shard | None = None

    def of(self, rows: Sequence[_Row], source: str) -> list[_Row]:
        """What is left of the rows of `source`. Raises DatasetError, with what is close, where that is nothing."""
        left = list(rows)
        said: list[str] = []
        for condition, ids in self._conditions(rows, source):
            left = [row for row in left if row.instance_id in ids]
            said.append(f"{condition} leaves {len(left)}")
        if not left:
            message = f"no instance of {source} is left: {', then '.join(said) or 'it has none'}"
            raise DatasetError(message)
        return self._sharded(self._sliced(self._sampled(left, source), source), source)

    def _conditions(self, rows: Sequence[Instance], source: str) -> Iterator[tuple[str, set[str]]]:
        every = [row.instance_id for row in rows]
        if self.tasks is not None:
            yield "the file of tasks", _matching_ids(self.tasks, every, source)
        if self.ids:
            yield "the ids", _matching_ids(self.ids, every, source)
        if self.repositories:
            patterns = [name if "/" in name else f"*/{name}" for name in self.repositories]
            yield "the repository", _with_value("repo", patterns, rows, source)
        if self.difficulties:
            yield "the difficulty", _with_value("difficulty", self.difficulties, rows, source)
        if self.created_after or self.created_before:
            yield "the date", _created(rows, source, self.created_after, self.created_before)
        if self.excluded:
            yield "what is excluded", set(every) - _matching_ids(self.excluded, every, source)

    def _sampled(self, rows: list[_Row], source: str) -> list[_Row]:
        if self.sample is None:
            return rows
        if self.sample > len(rows):
            message = f"a sample of {self.sample} cannot be taken: {len(rows)} instances of {source} are selected"
            raise DatasetError(message)
        return sorted(rows, key=lambda row: _rank(f"sample {self.seed}", row.instance_id))[: self.sample]

    def _sliced(self, rows: list[_Row], source: str) -> list[_Row]:
        found = rows if self.part is None else rows[self.part]
        if self.part is not None and not found:
            start, stop = ("" if end is None else end for end in (self.part.start, self.part.stop))
            message = f"the slice {start}:{stop} is empty: {len(rows)} instances of {source} are selected"
            raise DatasetError(message)
        return found

    def _sharded(self, rows: list[_Row], source: str) -> list[_Row]:
        found = rows if self.shard is None else self.shard.of(rows)
        if self.shard is not None and not found:
            which = f"{self.shard.number}/{self.shard.count}"
            message = f"the shard {which} is empty: {len(rows)} instances of {source} are selected"
            raise DatasetError(message)
        return found


def parse_slice(text: str) -> slice:
    """Read `A:B`, either of which may be missing, or negative to count from the end. Raises DatasetError."""
    first, colon, second = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first.strip() else None, int(second) if second.strip() else None)
    except ValueError:
        message = f"{text!r} is no slice: give A:B, such as 0:50, :50 or 450:"
        raise DatasetError(message) from None


def parse_date(text: str) -> datetime:
    """Read a date or a time of ISO 8601, of UTC unless it says otherwise. Raises DatasetError."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        message = f"{text!r} is no date: give one such as 2023-01-31"
        raise DatasetError(message) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _rank(purpose: str, name: str) -> tuple[str, str]:
    return hashlib.sha256(f"{purpose}\0{name}".encode()).hexdigest(), name


def _matching_ids(patterns: Iterable[str], ids: Sequence[str], source: str) -> set[str]:
    known, found, unknown = set(ids), set[str](), list[str]()
    for pattern in patterns:
        matches = [pattern] if pattern in known else fnmatch.filter(ids, pattern)
        found.update(matches)
        if not matches:
            unknown.append(pattern)
    if unknown:
        close = get_close_matches(unknown[0], ids, n=3)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        others = f" (nor {len(unknown) - 1} more of those asked for)" if len(unknown) > 1 else ""
        message = f"no instance of {source} matches {unknown[0]!r}{others}{hint}"
        raise DatasetError(message)
    return found


def _with_value(column: str, patterns: Sequence[str], rows: Sequence[Instance], source: str) -> set[str]:
    values = {str(value): None for row in rows if (value := getattr(row, column, None))}
    if not values:
        raise DatasetError(_no_column(column, source))
    wanted: set[str] = set()
    for pattern in patterns:
        matches = [value for value in values if fnmatch.fnmatchcase(_plain(value), _plain(pattern))]
        if not matches:
            raise DatasetError(_unknown_value(column, pattern, list(values), source))
        wanted.update(matches)
    return {row.instance_id for row in rows if str(getattr(row, column, None)) in wanted}


def _plain(text: str) -> str:
    return "".join(text.lower().split())


def _unknown_value(column: str, pattern: str, values: list[str], source: str) -> str:
    shown = get_close_matches(pattern, values, n=3, cutoff=0.5) if len(values) > _SHOWN else []
    what = f"close to it: {', '.join(shown)}" if shown else f"there are: {', '.join(sorted(values))}"
    return f"no {column} of {source} matches {pattern.removeprefix('*/')!r}; {what}"


def _created(rows: Sequence[Instance], source: str, after: datetime | None, before: datetime | None) -> set[str]:
    dates = {row.instance_id: _creation(row, number, source) for number, row in enumerate(rows, 1)}
    known = {name: date for name, date in dates.items() if date}
    if not known:
        raise DatasetError(_no_column("created_at", source))
    found = {name for name, date in known.items() if (not after or after <= date) and (not before or date < before)}
    if not found:
        message = f"none of {source} was created then: its dates go from {min(known.values())} to {max(known.values())}"
        raise DatasetError(message)
    return found


def _creation(row: Instance, number: int, source: str) -> datetime | None:
    value = getattr(row, "created_at", None)
    if value in (None, ""):
        return None
    try:
        return parse_date(str(value))
    except DatasetError as error:
        message = f"row {number} of {source} ({row.instance_id}) has no date in created_at: {error}"
        raise DatasetError(message) from None


def _no_column(column: str, source: str) -> str:
    return f"no instance of {source} has a {column}, so none can be selected by it"
