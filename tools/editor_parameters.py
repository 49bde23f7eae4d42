"""What `str_replace_editor` takes: the public schema that models were trained on, and leniency in reading it.

Names, types and order are those of SWE-agent's `edit_anthropic` bundle. The JSON types are written out, so that the
`null` by which we say "left out" never shows in what the model sees.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, WithJsonSchema

Command = Literal["view", "create", "str_replace", "insert", "undo_edit"]

_RANGE = re.compile(r"[\[(]?\s*(\d{1,18})\s*(?:,|:|-|\.\.|\s)\s*(-?\d{1,18}|end)?\s*[\])]?")
_LEFT_OUT = ("", "[]", "null", "None")
"""How a model that writes every parameter as text says that there is none."""


def read_range(value: Any) -> Any:
    """Understand `"10-40"`, `"10-"` and `"[10, 40]"` as well as the array of the schema."""
    if not isinstance(value, str):
        return value or None
    if value.strip() in _LEFT_OUT:
        return None
    if match := _RANGE.fullmatch(value.strip()):
        return [int(match[1]), int(match[2]) if match[2] not in (None, "end") else -1]
    raise ValueError("Invalid `view_range`. It should be a list of two integers, such as [11, 12], or `11-12`")


def _read_number(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip() in _LEFT_OUT else value


def text_schema(description: str) -> WithJsonSchema:
    """The schema of a text that may be left out."""
    return WithJsonSchema({"type": "string", "description": description})


class EditorParameters(BaseModel):
    """What a call of `str_replace_editor` takes; which of it is needed depends on `command`."""

    command: Annotated[
        Command,
        WithJsonSchema({"type": "string", "enum": list(get_args(Command)), "description": "What to do."}),
    ]
    path: Annotated[str, text_schema("Absolute path of a file or directory, e.g. `/testbed/file.py` or `/testbed`.")]
    file_text: Annotated[str | None, text_schema("Required by `create`: the content of the new file.")] = None
    old_str: Annotated[
        str | None, text_schema("Required by `str_replace`: the text to replace, exactly as it is in the file.")
    ] = None
    new_str: Annotated[
        str | None,
        text_schema(
            "For `str_replace`: what replaces `old_str` (left out: `old_str` is deleted). "
            "Required by `insert`: the text to insert."
        ),
    ] = None
    insert_line: Annotated[
        int | None,
        BeforeValidator(_read_number),
        WithJsonSchema(
            {
                "type": "integer",
                "description": "Required by `insert`: `new_str` goes AFTER this line; 0 is the top of the file.",
            }
        ),
    ] = None
    view_range: Annotated[
        list[int] | None,
        BeforeValidator(read_range),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "integer"},
                "description": (
                    "For `view` of a file: the first and the last line to show, counted from 1. `[11, 12]` shows "
                    "lines 11 and 12, `[11, -1]` all lines from 11 on. Left out: the whole file is shown."
                ),
            }
        ),
    ] = None
