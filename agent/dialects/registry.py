"""Finds dialects by name: a person's own (`$XDG_CONFIG_HOME/unbroken/dialects/*.toml`) before those that come along.

`--dialect FILE.toml` names one that lies anywhere.
"""

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.dialect import Dialect

GENERIC = "generic"
_SUFFIX = ".toml"


class DialectError(ValueError):
    """There is no such dialect, or its file is wrong; the message names the file and the cell."""


def load_dialect(name: str) -> Dialect:
    """The dialect of that name, or in that file (a name that ends in `.toml`). Raises DialectError."""
    if name.endswith(_SUFFIX):
        return _read_file(Path(name))
    own = own_dialects_directory() / f"{name}{_SUFFIX}"
    if own.is_file():
        return _read_file(own)
    if name not in _built_in_names():
        message = f"there is no dialect {name!r}; there are: {', '.join(dialect_names())}, or give a FILE.toml"
        raise DialectError(message)
    return _built_in(name)


def dialect_names() -> list[str]:
    """Every name that `load_dialect` knows."""
    own = own_dialects_directory()
    names = {path.name.removesuffix(_SUFFIX) for path in own.glob(f"*{_SUFFIX}")} if own.is_dir() else set[str]()
    return sorted(names | set(_built_in_names()))


def own_dialects_directory() -> Path:
    """Where a person's own dialects lie, by the XDG convention."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "unbroken" / "dialects"


@lru_cache
def _built_in(name: str) -> Dialect:
    text = resources.files("agent").joinpath("dialects", "data", name + _SUFFIX).read_text("utf-8")
    return _read(text, f"the built-in dialect {name}")


@lru_cache
def _built_in_names() -> tuple[str, ...]:
    files = resources.files("agent").joinpath("dialects", "data").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def _read_file(path: Path) -> Dialect:
    try:
        return _read(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        message = f"the dialect {path} cannot be read: {error}"
        raise DialectError(message) from error


def _read(text: str, where: str) -> Dialect:
    try:
        cells = tomllib.loads(text)
        base = cells.get("extends")
        if base is not None:
            cells = _merged(load_dialect(str(base)).model_dump(exclude={"detection", "extends"}), cells)
        dialect = Dialect.model_validate(cells)
    except tomllib.TOMLDecodeError as error:
        message = f"{where} is no TOML: {error}"
        raise DialectError(message) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{where}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise DialectError(message) from error
    if unknown := [name for name in dialect.behaviours if name not in BEHAVIOURS]:
        message = f"{where}: behaviours: there is no {unknown[0]!r}; there are: {', '.join(BEHAVIOURS)}"
        raise DialectError(message)
    return dialect


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`: tables are merged a level deep, so that a cell which is stated is stated whole."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = {**cast("dict[str, Any]", below), **cast("dict[str, Any]", value)}
        else:
            merged[key] = value
    return merged
