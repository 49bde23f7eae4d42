"""Wrong dialects: each cell of one in turn replaced by something that is not so."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from agent.dialects.dialect import Dialect, Failures

WRONG = "wrong"

_OTHER_WORDS = {
    "reasoning.inline": ("split", "keep"),
    "thinking.preserves": ("asked", "always", "never", "unknown"),
    "rendering": ("apply-template", "tokenize", None),
}
_REMOVED = ("thinking.on", "thinking.off", "thinking.preserve", "thinking.forget", "sampling.names")
_NOT_OF_A_SERVER = {"name", "title", "extends", "address", "mends"}


@dataclass(frozen=True)
class Mutation:
    """A dialect with one wrong cell, and what was done to it: `usage.cached[0]`."""

    cell: str
    dialect: Dialect

    @property
    def section(self) -> str:
        return re.split(r"[.\[= ]", self.cell)[0]


def mutations(dialect: Dialect) -> Iterator[Mutation]:
    """Every cell that says something, and every part of one, removed or replaced."""
    cells = dialect.model_dump()
    is_stated = dialect.failures.passing != Failures().passing
    for name in cells:
        if name not in _NOT_OF_A_SERVER:
            for label, value in _wrong(name, cells[name]):
                if label.startswith("failures.passing") and not is_stated:
                    continue  # the default is the same for all, and has tests of its own
                yield Mutation(label, Dialect.model_validate({**cells, name: value}))


def _wrong(label: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Wrong values for a cell, each with a label that says which part is wrong."""
    if label in _OTHER_WORDS:
        yield from ((f"{label}={word}", word) for word in _OTHER_WORDS[label] if word != value)
    elif isinstance(value, bool):
        yield f"{label}={not value}", not value
    elif isinstance(value, int) and value != 1:
        yield f"{label}=1", 1
    elif isinstance(value, str):
        yield label, WRONG
    elif isinstance(value, dict):
        yield from _wrong_table(label, cast("dict[str, Any]", value))
    elif isinstance(value, tuple):
        yield from _wrong_list(label, cast("tuple[Any, ...]", value))


def _wrong_table(label: str, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """One with a wrong value in it; those that are sent, and those that may be missing, removed as well."""
    if label in _REMOVED and table:
        yield f"{label} removed", {}
    if label == "counting":
        yield f"{label} removed", None
    for key, inner in table.items():
        for name, wrong in _wrong(f"{label}.{key}", inner):
            yield name, {**table, key: wrong}


def _wrong_list(label: str, values: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """One without one of its elements, and without any."""
    for place in range(len(values)):
        yield f"{label}[{place}] removed", (*values[:place], *values[place + 1 :])
    if len(values) > 1:
        yield f"{label} removed", ()
    if label == "sampling.refused" and "temperature" not in values:
        yield f"{label} + temperature", (*values, "temperature")
