"""Files that name instances: one id a line, or a JSON object with the ids under `tasks`, as `evals validate` writes."""

import json
from pathlib import Path
from typing import Any, cast

from evals.swebench.columns import DatasetError


def read_ids(path: Path) -> list[str]:
    """The ids or patterns in a file, in its order. Raises DatasetError for a file that names none.

    In a file of lines, `#` begins a comment. JSON is an object with a list under `tasks`, or the list alone.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise DatasetError(message) from error
    is_json = text.lstrip().startswith(("{", "["))
    ids = _of_json(text, path) if is_json else [line.partition("#")[0].strip() for line in text.splitlines()]
    ids = [name for name in ids if name]
    if not ids:
        message = f"{path} names no instance"
        raise DatasetError(message)
    return ids


def _of_json(text: str, path: Path) -> list[str]:
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        message = f"{path} is no JSON: {error}"
        raise DatasetError(message) from error
    found: Any = cast("dict[str, Any]", content).get("tasks") if isinstance(content, dict) else content
    if not isinstance(found, list) or not all(isinstance(name, str) for name in cast("list[Any]", found)):
        message = f'{path} names no instances: give {{"tasks": ["id", …]}}, or one id a line'
        raise DatasetError(message)
    return cast("list[str]", found)
