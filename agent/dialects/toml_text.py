"""Writes a dialect's cells as TOML, for a person to read and to begin a dialect of their own with."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from agent.dialects.dialect import Dialect

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 110


def dialect_as_toml(dialect: Dialect) -> str:
    """All cells that say something, those that come from the dialect which it extends as well."""
    cells = dialect.model_dump(exclude_defaults=True, exclude={"extends"})
    plain = {name: value for name, value in cells.items() if not isinstance(value, dict)}
    tables = {name: cast("dict[str, Any]", value) for name, value in cells.items() if isinstance(value, dict)}
    return "\n".join([_lines(plain), *(f"[{_key(name)}]\n{_lines(value)}" for name, value in tables.items())])


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in table.items() if value is not None)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    match value:
        case bool() | int() | float():
            return json.dumps(value)
        case str():
            return _text(value)
        case dict():
            stated = {name: inner for name, inner in cast("dict[str, Any]", value).items() if inner is not None}
            return "{ " + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in stated.items()) + " }"
        case _:
            return _list([_value(element) for element in cast("tuple[Any, ...]", value)])


def _list(elements: list[str]) -> str:
    if sum(map(len, elements)) <= _WIDTH:
        return f"[{', '.join(elements)}]"
    return "[\n" + "".join(f"    {element},\n" for element in elements) + "]"


def _text(text: str) -> str:
    """JSON's strings are TOML's, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
