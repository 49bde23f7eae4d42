"""Finds dialects by name: a person's own (`$XDG_CONFIG_HOME/unbroken/dialects/*.toml`) before those that come along.

`--dialect FILE.toml` names one that lies anywhere.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.dialect import Dialect

GENERIC = "generic"
_SUFFIX = ".toml"
_NOT_INHERITED = {"name", "extends", "address", "detection"}
_BEST_KNOWN = ("vllm", "sglang", "llama.cpp", "ollama", "lmstudio")


class DialectError(ValueError):
    """There is no such dialect, or its file is wrong; the message names the file and the cell."""


def load_dialect(name: str) -> Dialect:
    """The dialect of that name, or in that file (a name that ends in `.toml`). Raises DialectError."""
    if name.endswith(_SUFFIX):
        return _read_file(Path(name), ())
    return _load(name, ())


def dialect_names() -> list[str]:
    """Every name that `load_dialect` knows."""
    own = own_dialects_directory()
    names = {path.name.removesuffix(_SUFFIX) for path in own.glob(f"*{_SUFFIX}")} if own.is_dir() else set[str]()
    return sorted(names | set(_built_in_names()))


def all_dialects() -> list[Dialect]:
    """Every dialect there is, a person's own first. Raises DialectError for a file that is wrong."""
    return [load_dialect(name) for name in sorted(dialect_names(), key=lambda name: (not is_own(name), name))]


def is_own(name: str) -> bool:
    """Whether a person's own file stands behind a name."""
    return own_file(name).is_file()


def own_file(name: str) -> Path:
    """Where a person's own dialect of that name lies, or would lie."""
    return own_dialects_directory() / f"{name}{_SUFFIX}"


def own_dialects_directory() -> Path:
    """Where a person's own dialects lie, by the XDG convention."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "unbroken" / "dialects"


def local_addresses() -> dict[str, str]:
    """Where the servers that people run on their own machine listen unless told otherwise, by dialect.

    A person's own dialects come first, then the best known: some share an address.
    """
    dialects = {dialect.name: dialect for dialect in all_dialects()}
    best_known = sorted(dialects, key=lambda name: _BEST_KNOWN.index(name) if name in _BEST_KNOWN else len(_BEST_KNOWN))
    ordered = sorted(best_known, key=lambda name: not is_own(name))
    return {name: address for name in ordered if (address := dialects[name].address)}


def _load(name: str, extended_by: tuple[Path, ...]) -> Dialect:
    own = own_file(name)
    if own.is_file() and own not in extended_by:  # one that extends its own name means what came along
        return _read_file(own, extended_by)
    if name not in _built_in_names():
        if own in extended_by:
            message = f"{extended_by[-1]}: extends: {' and '.join(map(str, extended_by))} extend each other"
            raise DialectError(message)
        message = f"there is no dialect {name!r}; there are: {', '.join(dialect_names())}, or give a FILE.toml"
        raise DialectError(message)
    return _built_in(name)


@lru_cache
def _built_in(name: str) -> Dialect:
    text = resources.files("agent").joinpath("dialects", "data", name + _SUFFIX).read_text("utf-8")
    return _read(text, f"the built-in dialect {name}", _built_in)


@lru_cache
def _built_in_names() -> tuple[str, ...]:
    files = resources.files("agent").joinpath("dialects", "data").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def _read_file(path: Path, extended_by: tuple[Path, ...]) -> Dialect:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the dialect {path} cannot be read: {error}"
        raise DialectError(message) from error
    dialect = _read(text, str(path), lambda base: _load(base, (*extended_by, path)))
    if path == own_file(path.stem) and dialect.name != path.stem:
        message = f"{path}: name: it is {dialect.name!r}, but the file is called {path.name}; they have to agree"
        raise DialectError(message)
    return dialect


def _read(text: str, where: str, find: Callable[[str], Dialect]) -> Dialect:
    try:
        cells = tomllib.loads(text)
        if base := cells.get("extends"):
            cells = _merged(find(str(base)).model_dump(exclude=_NOT_INHERITED), cells)
        dialect = Dialect.model_validate(cells)
    except tomllib.TOMLDecodeError as error:
        message = f"{where} is no TOML: {error}"
        raise DialectError(message) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{where}: {'.'.join(str(part) for part in first['loc'])}: {_plain(first)}"
        raise DialectError(message) from error
    if unknown := [name for name in dialect.behaviours if name not in BEHAVIOURS]:
        message = f"{where}: behaviours: there is no {unknown[0]!r}; there are: {', '.join(BEHAVIOURS)}"
        raise DialectError(message)
    return dialect


def _plain(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such cell"
    if error["type"] == "missing":
        return "this cell is needed"
    return error["msg"].removeprefix("Value error, ")


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
