"""Regular expressions and dotted paths, the two small languages of a dialect's cells."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast


def check_pattern(pattern: str) -> str:
    """Return a regular expression. Raises ValueError for what is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"{pattern!r} is no regular expression: {error}"
        raise ValueError(message) from error
    return pattern


def matches_any(patterns: Sequence[str], text: str) -> bool:
    """Whether one of `patterns` is found in `text`, whatever the case."""
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def values_at(value: object, path: str) -> Iterator[Any]:
    """Everything that stands at `path` in parsed JSON, None left out."""
    key, _, rest = path.partition(".")
    name, is_list = key.removesuffix("[]"), key.endswith("[]")
    if not isinstance(value, Mapping):
        return
    found = cast("Mapping[str, Any]", value).get(name)
    elements = cast("list[Any]", found) if is_list and isinstance(found, list) else ([] if is_list else [found])
    for element in elements:
        if rest:
            yield from values_at(element, rest)
        elif element is not None:
            yield element
