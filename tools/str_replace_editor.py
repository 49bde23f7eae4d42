"""The file editor that models were trained on: view, create, str_replace, insert, undo_edit.

Parameters, semantics and the functional phrases of the answers follow SWE-agent's `edit_anthropic` bundle (5 commands,
one tool) and Anthropic's reference editor (`computer-use-demo`, `edit.py`). It works on bytes through the sandbox, needs
no interpreter there, and takes at most two round trips a call. Different from both, on purpose:

* every byte outside the edit stays as it was (line ends, tabs, byte order mark, bytes that are no UTF-8);
* `undo_edit` of a `create` removes the file, and refuses to take back more than the editor did;
* an `old_str` that is not found is answered with the place that was probably meant.
"""

import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, WithJsonSchema

from tools import editor_view
from tools.file_text import FileText, Splice, UnwritableTextError
from tools.output import decode, neutralise, restore
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ToolResult

FILE_LIMIT = 100 * 1024 * 1024
"""Bytes; a larger file is refused."""
BINARY_PROBE = 8 * 1024
"""A NUL among this many first bytes means that the file is no text."""
HELPER_TIMEOUT = 60.0
"""Seconds that `find` and `rm` may take."""

_RANGE_PATTERN = re.compile(r"[\[(]?\s*(\d+)\s*(?:,|:|-|\.\.|\s)\s*(-?\d+)\s*[\])]?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ABSENT = ("", "null", "None")
"""How models that must write every parameter as text say that there is none."""
_REVIEW = "Review the changes and make sure they are as expected. Edit the file again if necessary."
_REVIEW_INSERTION = (
    "Review the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). "
    "Edit the file again if necessary."
)


def _read_range(value: Any) -> Any:
    """Understand `"10-40"` and `"[10, 40]"` as well as the array of the schema."""
    if isinstance(value, str) and (match := _RANGE_PATTERN.fullmatch(value.strip())):
        return [int(match[1]), int(match[2])]
    if isinstance(value, str) and value.strip() not in _ABSENT:
        raise ValueError("Invalid `view_range`. It should be a list of two integers, such as [11, 12]")
    return value or None if not isinstance(value, str) else None


def _read_number(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip() in _ABSENT else value


def _text(description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description})


class EditorParameters(BaseModel):
    """The public schema, in its public order; written out so that no `null` of ours gets into it."""

    command: Annotated[
        Literal["view", "create", "str_replace", "insert", "undo_edit"],
        WithJsonSchema(
            {
                "type": "string",
                "enum": ["view", "create", "str_replace", "insert", "undo_edit"],
                "description": "What to do: `view`, `create`, `str_replace`, `insert` or `undo_edit`.",
            }
        ),
    ]
    path: Annotated[str, _text("Absolute path of a file or directory, e.g. `/testbed/file.py` or `/testbed`.")]
    file_text: Annotated[str | None, _text("Required by `create`: the content of the new file.")] = None
    old_str: Annotated[
        str | None, _text("Required by `str_replace`: the text in `path` to replace, exactly as it is in the file.")
    ] = None
    new_str: Annotated[
        str | None,
        _text(
            "For `str_replace`: the text to put in its place (left out: `old_str` is deleted). "
            "Required by `insert`: the text to insert."
        ),
    ] = None
    insert_line: Annotated[
        int | None,
        BeforeValidator(_read_number),
        WithJsonSchema(
            {
                "type": "integer",
                "description": "Required by `insert`: `new_str` goes AFTER this line of `path`; 0 is the top.",
            }
        ),
    ] = None
    view_range: Annotated[
        list[int] | None,
        BeforeValidator(_read_range),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "integer"},
                "description": (
                    "For `view` of a file: the first and the last line to show, counted from 1. `[11, 12]` shows "
                    "lines 11 and 12, `[11, -1]` everything from line 11 on. Left out: the whole file."
                ),
            }
        ),
    ] = None


class _RefusalError(Exception):
    """What was asked for cannot be done; the message is the answer to the model."""


@dataclass(frozen=True)
class _PastEdit:
    """What it takes to undo an edit: the change (None: the file was created) and a digest of what it led to."""

    change: Splice | None
    result: bytes


class StrReplaceEditor:
    """The tool. One object for each agent: it remembers the edits that `undo_edit` takes back."""

    name = "str_replace_editor"
    parameters = EditorParameters
    description = (
        "Look at, create and edit text files. Edits stay until you change or undo them.\n"
        "* `view` shows a file with numbered lines, as `cat -n` does, or lists the files and directories up to 2 "
        "levels deep in a directory, without hidden ones.\n"
        "* `create` writes a new file. It does not overwrite one that exists.\n"
        "* `str_replace` replaces `old_str` by `new_str`. `old_str` must be EXACTLY one or more consecutive lines of "
        "the file, whitespace included, without the line numbers that `view` adds. If it is not unique in the file, "
        "nothing is replaced: add lines before and after it until it is.\n"
        "* `insert` puts `new_str` after the line `insert_line`.\n"
        "* `undo_edit` takes back the last edit that this tool made to the file.\n"
        "Long answers are cut and marked with `<response clipped>`."
    )

    def __init__(self) -> None:
        self._past_edits: defaultdict[str, list[_PastEdit]] = defaultdict(list)

    def access(self, arguments: EditorParameters) -> Access:
        """Only `view` changes nothing."""
        return "read" if arguments.command == "view" else "edit"

    async def __call__(
        self, arguments: EditorParameters, sandbox: Sandbox, on_output: OutputListener | None = None
    ) -> ToolResult:
        """Do it. The model's text is restored on its way in, as all that it sees is neutralised on its way out."""
        try:
            text, is_error = await self._run(_as_meant(arguments, sandbox), sandbox), False
        except _RefusalError as refusal:
            text, is_error = str(refusal), True
        except IsADirectoryError:
            path = restore(arguments.path)
            text = f"The path {path} is a directory and only the `view` command can be used on directories"
            is_error = True
        return ToolResult(neutralise(text), is_error)

    async def _run(self, arguments: EditorParameters, sandbox: Sandbox) -> str:
        path = arguments.path
        match arguments.command:
            case "view":
                return await _view(path, arguments.view_range, sandbox)
            case "create":
                return await self._create(path, _required(arguments, "file_text"), sandbox)
            case "str_replace":
                old, new = _required(arguments, "old_str"), arguments.new_str or ""
                return await self._str_replace(path, old, new, sandbox)
            case "insert":
                line = cast("int", _required(arguments, "insert_line"))
                return await self._insert(path, line, _required(arguments, "new_str"), sandbox)
            case "undo_edit":
                return await self._undo_edit(path, sandbox)

    async def _create(self, path: str, text: str, sandbox: Sandbox) -> str:
        try:
            await sandbox.read_bytes(path, limit=1)
        except (FileNotFoundError, NotADirectoryError):
            pass  # the latter is for writing to explain
        except IsADirectoryError:
            raise
        except OSError as error:
            raise _failed(error, "read", path) from None
        else:
            raise _RefusalError(
                f"File already exists at: {path}. Cannot overwrite files using command `create`. "
                "Change it with `str_replace` or `insert`."
            )
        data = text.encode()
        await _write(path, data, sandbox)
        self._past_edits[path].append(_PastEdit(None, _digest(data)))
        return f"File created successfully at: {path}"

    async def _str_replace(self, path: str, old: str, new: str, sandbox: Sandbox) -> str:
        if not old:
            raise _RefusalError(
                "No replacement was performed, old_str is empty. Give the text to replace, or use `insert`: "
                "with `insert_line` 0 it puts `new_str` at the top of the file."
            )
        if old == new:
            raise _RefusalError(
                f"No replacement was performed, old_str {editor_view.quote(old)} is the same as new_str."
            )
        data = await _read(path, sandbox)
        before = FileText(data)
        old, new = _with_line_ends_of(before.shown, old, new)
        places = editor_view.occurrences(before.shown, old)
        if (start := next(places, None)) is None:
            raise _RefusalError(editor_view.explain_none(path, before.shown, old))
        if next(places, None) is not None:
            raise _RefusalError(editor_view.explain_several(before.shown, old))
        change = _change(path, lambda: before.replace(start, start + len(old), new))
        after = await self._edit(path, data, change, sandbox)
        first = before.line_number(start)
        shown = editor_view.snippet(after.lines, f"a snippet of {path}", first, first + new.count("\n"))
        return f"The file {path} has been edited. {shown}{_REVIEW}"

    async def _insert(self, path: str, line: int, new: str, sandbox: Sandbox) -> str:
        data = await _read(path, sandbox)
        before = FileText(data)
        if not 0 <= line <= len(before.lines):
            raise _RefusalError(
                f"Invalid `insert_line` parameter: {line}. "
                f"It should be within the range of lines of the file: {[0, len(before.lines)]}"
            )
        change = _change(path, lambda: before.insert(line, new))
        after = await self._edit(path, data, change, sandbox)
        last = line + 1 + new.count("\n")
        shown = editor_view.snippet(after.lines, "a snippet of the edited file", line + 1, last)
        return f"The file {path} has been edited. {shown}{_REVIEW_INSERTION}"

    async def _edit(self, path: str, data: bytes, change: Splice, sandbox: Sandbox) -> FileText:
        """Write the changed file and remember how to undo it."""
        result = change.apply(data)
        await _write(path, result, sandbox)
        self._past_edits[path].append(_PastEdit(change, _digest(result)))
        return FileText(result)

    async def _undo_edit(self, path: str, sandbox: Sandbox) -> str:
        if not (past := self._past_edits[path]):
            raise _RefusalError(f"No edit history found for {path}.")
        data = await _read(path, sandbox)
        last = past[-1]
        if _digest(data) != last.result:
            raise _RefusalError(
                f"No undo was performed: {path} has been changed by something else since its last edit with this tool, "
                "and that change would be lost. Use `view` and `str_replace` instead."
            )
        if last.change is None:
            await _remove(path, sandbox)
            past.pop()
            return f"Last edit to {path} undone successfully. It created the file, so the file has been removed."
        back = last.change.reverse()
        restored = back.apply(data)
        await _write(path, restored, sandbox)
        past.pop()
        first = restored.count(b"\n", 0, back.start) + 1
        end = first + back.added.count(b"\n")
        shown = editor_view.snippet(FileText(restored).lines, f"a snippet of {path}", first, end)
        return f"Last edit to {path} undone successfully. {shown}"


def _as_meant(arguments: EditorParameters, sandbox: Sandbox) -> EditorParameters:
    """The arguments with their control tokens restored and the path made plain, if they can be used at all."""
    texts: dict[str, str] = {name: restore(value) for name, value in arguments if isinstance(value, str)}
    for name, value in texts.items():
        if found := _LONE_SURROGATE.search(value):
            raise _RefusalError(
                f"Parameter `{name}` holds {ascii(found[0])}, half of a character, which no file can hold. "
                "Write the whole character."
            )
    path = texts["path"]
    if "\0" in path:
        raise _RefusalError("Parameter `path` holds a NUL character, which no path can hold.")
    if not path.startswith("/"):
        suggestion = PurePosixPath(sandbox.working_directory, path)
        raise _RefusalError(
            f"The path {path} is not an absolute path, it should start with `/`. Maybe you meant {suggestion}?"
        )
    return arguments.model_copy(update={**texts, "path": str(PurePosixPath(path))})


def _required(arguments: EditorParameters, name: str) -> Any:
    value = getattr(arguments, name)
    if value is None:
        raise _RefusalError(f"Parameter `{name}` is required for command: {arguments.command}")
    return value


def _with_line_ends_of(shown: str, old: str, new: str) -> tuple[str, str]:
    """A model that writes CRLF is understood in a file that is shown with LF."""
    if "\r\n" in old and old not in shown:
        return old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    return old, new


def _change(path: str, make: Callable[[], Splice]) -> Splice:
    try:
        return make()
    except UnwritableTextError:
        raise _RefusalError(
            f"No replacement was performed. The text to replace in {path} holds bytes that are not UTF-8, shown as "
            "\ufffd, and new_str holds \ufffd too. Leave those characters out of the edit, or make it with bash."
        ) from None


async def _view(path: str, view_range: list[int] | None, sandbox: Sandbox) -> str:
    try:
        lines = FileText(await _read(path, sandbox)).lines
    except IsADirectoryError:
        if view_range:
            raise _RefusalError(
                "The `view_range` parameter is not allowed when `path` points to a directory."
            ) from None
        return await _view_directory(path, sandbox)
    if not lines:
        return f"The file {path} is empty."
    if not view_range:
        return editor_view.cat_n(lines, path)
    first, last = _checked_range(view_range, len(lines))
    note = f"<NOTE>The file ends at line {len(lines)}.</NOTE>\n" if last > len(lines) else ""
    return editor_view.cat_n(lines[first - 1 : last], path, first) + note


def _checked_range(view_range: list[int], count: int) -> tuple[int, int]:
    if len(view_range) != 2:
        raise _RefusalError("Invalid `view_range`. It should be a list of two integers, such as [11, 12].")
    first, last = view_range
    if not 1 <= first <= count:
        raise _RefusalError(
            f"Invalid `view_range`: {view_range}. "
            f"Its first element `{first}` should be within the range of lines of the file: {[1, count]}"
        )
    if last != -1 and last < first:
        raise _RefusalError(
            f"Invalid `view_range`: {view_range}. "
            f"Its second element `{last}` should be larger or equal than its first `{first}`"
        )
    return first, count if last == -1 else last


async def _view_directory(path: str, sandbox: Sandbox) -> str:
    # From inside the directory, so that a hidden folder on the way to it hides nothing; NUL, as names hold newlines.
    command = (
        f"cd {shlex.quote(path)} && "
        "{ find . -mindepth 1 -maxdepth 2 -name '.*' -prune -o -mindepth 1 -print0 2>/dev/null || true; }"
    )
    result = await sandbox.exec(command, timeout=HELPER_TIMEOUT)
    if result.exit_code != 0:
        reason = decode(result.output).strip() or "a deadline"
        raise _RefusalError(f"Ran into {reason} while trying to list {path}")
    output = result.output[: result.head_length] if result.dropped else result.output
    names = sorted(decode(name).removeprefix("./") for name in output.split(b"\0") if name)
    return editor_view.listing(path, [str(PurePosixPath(path, name)) for name in names])


async def _read(path: str, sandbox: Sandbox) -> bytes:
    """The bytes of a text file; a directory is left to the caller."""
    try:
        data = await sandbox.read_bytes(path, limit=FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _RefusalError(f"The path {path} does not exist. Please provide a valid path.") from None
    except IsADirectoryError:
        raise
    except OSError as error:
        raise _failed(error, "read", path) from None
    if b"\0" in data[:BINARY_PROBE]:
        raise _RefusalError(f"The file {path} is binary, and this tool is for text. Use bash, with `xxd` for example.")
    if len(data) > FILE_LIMIT:
        raise _RefusalError(f"The file {path} is larger than 100 MB. Use bash, with `sed -n` or `grep -n` for example.")
    return data


async def _write(path: str, data: bytes, sandbox: Sandbox) -> None:
    try:
        await sandbox.write_bytes(path, data)
    except OSError as error:
        raise _failed(error, "write to", path) from None


async def _remove(path: str, sandbox: Sandbox) -> None:
    result = await sandbox.exec(f"rm -f -- {shlex.quote(path)}", timeout=HELPER_TIMEOUT)
    if result.exit_code != 0:
        raise _RefusalError(f"Ran into {decode(result.output).strip()} while trying to remove {path}")


def _failed(error: OSError, action: str, path: str) -> _RefusalError:
    return _RefusalError(f"Ran into {error.strerror or error} while trying to {action} {path}")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
