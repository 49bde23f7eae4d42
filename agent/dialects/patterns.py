"""Regular expressions and dotted paths, the two small languages of a dialect's cells."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

_STEP = re.compile(r"(?P<name>[^\[\]]*)(?P<list>\[(?P<key>[^\[\]]*)\])?")


def check_pattern(pattern: str) -> str:
    """Return a regular expression. Raises ValueError for what is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"{pattern!r} is no regular expression: {error}"
        raise ValueError(message) from error
    return pattern


def check_path(path: str) -> str:
    """Return a path. Raises ValueError for what is none."""
    steps = path.split(".")
    if not all(step and _STEP.fullmatch(step) for step in steps):
        message = f"{path!r} is no path: it is keys joined by dots, with [] or [key] behind the name of a list"
        raise ValueError(message)
    return path


def matches_any(patterns: Sequence[str], text: str) -> bool:
    """Whether one of `patterns` is found in `text`, whatever the case."""
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def values_at(value: object, path: str, model: str | None = None) -> Iterator[Any]:
    """Everything that stands at `path` in parsed JSON, None left out.

    `name[]` goes into every element of a list, `name[key]` into those whose `key` is `model`; without a name, the
    value itself is the list.
    """
    step, _, rest = path.partition(".")
    for element in _elements(value, step, model):
        if rest:
            yield from values_at(element, rest, model)
        elif element is not None:
            yield element


def _elements(value: object, step: str, model: str | None) -> list[Any]:
    match = _STEP.fullmatch(step)
    assert match, "a path is checked where it is written"
    found = value
    if name := match["name"]:
        if not isinstance(value, Mapping):
            return []
        found = cast("Mapping[str, Any]", value).get(name)
    if not match["list"]:
        return [found]
    elements = cast("list[Any]", found) if isinstance(found, list) else []
    key = match["key"]
    return [element for element in elements if not key or _is_called(element, key, model)]


def _is_called(element: object, key: str, model: str | None) -> bool:
    return isinstance(element, Mapping) and cast("Mapping[str, Any]", element).get(key) == model
