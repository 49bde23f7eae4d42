"""`str_replace_editor` with parameters that are strings and plain integers only: the toolset `editor-strings`.

A chat template that renders past calls spells arrays in its own way, and the prompt is no longer what the model wrote.
"""

from typing import Annotated

from pydantic import BeforeValidator

from tools.editor_parameters import EditorParameters, read_range, text_schema
from tools.str_replace_editor import StrReplaceEditor


class EditorStringsParameters(EditorParameters):
    """What a call takes: that of `str_replace_editor`, with a range of lines as text."""

    view_range: Annotated[
        list[int] | None,
        BeforeValidator(read_range),
        text_schema(
            "For `view` of a file: the first and the last line to show, counted from 1. `11-12` shows lines 11 and 12, "
            "`11-` all lines from 11 on. Left out: the whole file is shown."
        ),
    ] = None


class EditorStrings(StrReplaceEditor):
    """Views and edits text files, as `StrReplaceEditor` does."""

    parameters = EditorStringsParameters
