"""What differs between two manifests, field by field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from results.records.manifest import Manifest

_NAMES = {"run_id", "format"}
"""What is no part of what a run is: its own name, and how its file is written."""
_SHOWN = 120


@dataclass(frozen=True)
class Difference:
    """A field that has another value. None: the manifest does not have it."""

    key: str
    """Dotted: `backend.sampling.temperature`."""
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.first)} and {_shown(self.second)}"


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
        yield Difference(key, first, second)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
