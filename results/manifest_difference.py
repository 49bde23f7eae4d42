"""What differs between two manifests, field by field."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from results.records.base import Record
from results.records.manifest import Manifest

_NAMES = {"run_id", "format"}
"""What is no part of what a run is: its own name, and how its file is written."""
_SHOWN = 120


class Difference(Record):
    """A field that has another value. None: the manifest does not have it."""

    key: str
    """Dotted: `backend.sampling.temperature`."""
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.first)} and {_shown(self.second)}"

    def lines(self) -> list[str]:
        """All of it: texts of several lines as a unified diff, lists as what only one of them has."""
        first: Any = self.first
        second: Any = self.second
        if isinstance(first, str) and isinstance(second, str) and "\n" in first + second:
            diff = difflib.unified_diff(first.splitlines(), second.splitlines(), "first", "second", lineterm="")
            return [f"{self.key}:", *(f"  {line}" for line in diff)]
        if isinstance(first, list) and isinstance(second, list):
            return [f"{self.key}:", *_list_lines(cast("list[Any]", first), cast("list[Any]", second))]
        return [f"{self.key}: {first!r} and {second!r}"]


def manifest_differences(first: Manifest, second: Manifest) -> list[Difference]:
    """What differs, in the order of the fields. A field that is not set is the same as one with its default."""
    before, after = (manifest.model_dump(mode="json", exclude=_NAMES) for manifest in (first, second))
    return list(_differences("", before, after))


def _differences(key: str, first: Any, second: Any) -> Iterator[Difference]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        one, other = cast("Mapping[str, Any]", first), cast("Mapping[str, Any]", second)
        for name in dict.fromkeys([*one, *other]):
            yield from _differences(f"{key}.{name}" if key else name, one.get(name), other.get(name))
    elif first != second:
        yield Difference(key=key, first=first, second=second)


def _list_lines(first: list[Any], second: list[Any]) -> list[str]:
    alone = [("only in the first", first, second), ("only in the second", second, first)]
    said = [f"  {title}: {each!r}" for title, here, there in alone for each in here if each not in there]
    return said or ["  the same in another order"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
