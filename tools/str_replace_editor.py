"""The file editor that models were trained on: view, create, str_replace, insert, undo_edit.

Parameters, semantics and the fixed phrases of its answers follow SWE-agent's `edit_anthropic` bundle (five commands,
one tool) and Anthropic's reference editor (`computer-use-demo`, `edit.py`). It works on bytes through the sandbox,
needs no interpreter there, and takes at most two round trips a call. Different from both, on purpose:

* every byte outside the edit stays as it was: line ends, tabs, byte order mark, bytes that are no UTF-8;
* `undo_edit` of a `create` removes the file, and no undo takes back more than the editor itself did;
* an `old_str` that is not found is answered with the place that was probably meant;
* a `view_range` that ends behind the end of the file shows what there is.
"""

import asyncio
import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tools import editor_answers as answers
from tools import editor_view
from tools.editor_parameters import EditorParameters
from tools.file_text import FileText, Splice, UnwritableTextError
from tools.output import decode, neutralise, restore
from tools.pictures import PictureError, is_picture, other_medium, read_picture
from tools.sandbox import CommandResult, OutputListener, Sandbox
from tools.tool import Access, ToolResult

FILE_LIMIT = 100 * 1024 * 1024
"""Bytes; a larger file is refused."""
BINARY_PROBE = 8 * 1024
"""A NUL among this many first bytes means that the file is no text."""
HELPER_TIMEOUT = 60.0
"""Seconds that listing a directory or removing a file may take."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REVIEW = "Review the changes and make sure they are as expected. Edit the file again if necessary."
_REVIEW_INSERTION = (
    "Review the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). "
    "Edit the file again if necessary."
)


class _RefusalError(Exception):
    """What was asked for cannot be done; the message is the answer to the model."""


class _PictureFound(Exception):  # noqa: N818 - a picture is no error
    """What is to be viewed is a picture."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data


@dataclass(frozen=True)
class _PastEdit:
    """What it takes to undo an edit: the change (None: the file was created) and a digest of what it led to."""

    change: Splice | None
    result: bytes


class StrReplaceEditor:
    """Views and edits text files. One object for each agent: it remembers the edits that can be undone."""

    name = "str_replace_editor"
    description = (
        "Look at, create and edit text files. An edit stays until you change or undo it.\n"
        "* `view` shows a file with numbered lines, as `cat -n` does, or lists the files and directories up to 2 "
        "levels deep in a directory, without hidden ones.\n"
        "* `create` writes a new file. It does not overwrite one that exists.\n"
        "* `str_replace` replaces `old_str` by `new_str`. `old_str` must match EXACTLY one or more consecutive lines "
        "of the file, whitespace included, without the line numbers that `view` adds. When it is not unique in the "
        "file, nothing is replaced: add the lines around it until it is.\n"
        "* `insert` puts `new_str` after the line `insert_line`.\n"
        "* `undo_edit` takes back the last edit that this tool made to the file.\n"
        "Long answers are cut and marked with `<response clipped>`."
    )
    parameters = EditorParameters

    def __init__(self) -> None:
        self._past_edits: defaultdict[str, list[_PastEdit]] = defaultdict(list)

    def access(self, arguments: EditorParameters) -> Access:
        """Say that `view` changes nothing and everything else edits."""
        return "read" if arguments.command == "view" else "edit"

    async def __call__(
        self,
        arguments: EditorParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002 - nothing here comes out bit by bit
    ) -> ToolResult:
        """Carry out the command; what cannot be done is explained.

        All that the model sees is neutralised, so all that it writes is restored first: a control token that it
        copies from a view becomes the one in the file.
        """
        try:
            text = await self._run(_as_meant(arguments, sandbox), sandbox)
        except _RefusalError as refusal:
            return ToolResult(neutralise(str(refusal)), is_error=True)
        except IsADirectoryError:
            return ToolResult(neutralise(answers.is_directory(restore(arguments.path))), is_error=True)
        except _PictureFound as found:
            return await _shown_picture(restore(arguments.path), found.data)
        return ToolResult(neutralise(text))

    async def _run(self, arguments: EditorParameters, sandbox: Sandbox) -> str:
        path = arguments.path
        match arguments.command:
            case "view":
                return await _view(path, arguments.view_range, sandbox)
            case "create":
                return await self._create(path, _required(arguments, "file_text"), sandbox)
            case "str_replace":
                return await self._replace(path, _required(arguments, "old_str"), arguments.new_str or "", sandbox)
            case "insert":
                line, new = _required(arguments, "insert_line"), _required(arguments, "new_str")
                return await self._insert(path, line, new, sandbox)
            case "undo_edit":
                return await self._undo(path, sandbox)

    async def _create(self, path: str, text: str, sandbox: Sandbox) -> str:
        if await _exists(path, sandbox):
            raise _RefusalError(answers.exists_already(path))
        data = text.encode()
        await _write(path, data, sandbox)
        self._past_edits[path].append(_PastEdit(None, _digest(data)))
        return f"File created successfully at: {path}"

    async def _replace(self, path: str, old: str, new: str, sandbox: Sandbox) -> str:
        if not old:
            raise _RefusalError(answers.EMPTY_OLD_STR)
        if old == new:
            raise _RefusalError(answers.same(old))
        data = await _read_text(path, sandbox)
        before = FileText(data)
        old, new = _with_line_ends_of(before.shown, old, new)
        places = answers.occurrences(before.shown, old)
        if (start := next(places, None)) is None:
            raise _RefusalError(answers.found_none(path, before.shown, old))
        if next(places, None) is not None:
            raise _RefusalError(answers.found_several(before.shown, old))
        after = await self._edit(path, data, lambda: before.replace(start, start + len(old), new), sandbox)
        first = before.line_number(start)
        shown = editor_view.snippet(after.lines, f"a snippet of {path}", first, first + new.count("\n"))
        return f"The file {path} has been edited. {shown}{_REVIEW}"

    async def _insert(self, path: str, line: int, new: str, sandbox: Sandbox) -> str:
        data = await _read_text(path, sandbox)
        before = FileText(data)
        count = len(before.lines)
        if not 0 <= line <= count:
            raise _RefusalError(answers.line_out_of_range(line, count))
        after = await self._edit(path, data, lambda: before.insert(line, new), sandbox)
        last = line + 1 + new.count("\n")
        shown = editor_view.snippet(after.lines, "a snippet of the edited file", line + 1, last)
        return f"The file {path} has been edited. {shown}{_REVIEW_INSERTION}"

    async def _edit(self, path: str, data: bytes, make: Callable[[], Splice], sandbox: Sandbox) -> FileText:
        """Write the changed file and remember how to undo it."""
        try:
            change = make()
        except UnwritableTextError:
            raise _RefusalError(answers.unwritable(path)) from None
        result = change.apply(data)
        await _write(path, result, sandbox)
        self._past_edits[path].append(_PastEdit(change, _digest(result)))
        return FileText(result)

    async def _undo(self, path: str, sandbox: Sandbox) -> str:
        if not (past := self._past_edits[path]):
            raise _RefusalError(answers.no_history(path))
        last = past[-1]
        data = await _read(path, sandbox)  # text or not: an edit can move a NUL to where it means binary
        if _digest(data) != last.result:
            raise _RefusalError(answers.changed_since(path))
        if last.change is None:
            await _remove(path, sandbox)
            shown = "It had created the file, so the file has been removed."
        else:
            back = last.change.reverse()
            restored = back.apply(data)
            await _write(path, restored, sandbox)
            first = restored.count(b"\n", 0, back.start) + 1
            end = first + back.added.count(b"\n")
            shown = editor_view.snippet(FileText(restored).lines, f"a snippet of {path}", first, end)
        past.pop()
        return f"Last edit to {path} undone successfully. {shown}"


def _as_meant(arguments: EditorParameters, sandbox: Sandbox) -> EditorParameters:
    """The arguments with control tokens restored and the path made plain, if they can be used at all."""
    texts: dict[str, str] = {name: restore(value) for name, value in arguments if isinstance(value, str)}
    for name, value in texts.items():
        if found := _LONE_SURROGATE.search(value):
            raise _RefusalError(answers.half_character(name, found[0]))
        if "\0" in value:
            raise _RefusalError(answers.nul_character(name))
    path = texts["path"]
    if not path.startswith("/"):
        suggestion = PurePosixPath(sandbox.working_directory, path)
        raise _RefusalError(answers.relative_path(path, str(suggestion)))
    return arguments.model_copy(update={**texts, "path": str(PurePosixPath(path))})


def _required(arguments: EditorParameters, name: str) -> Any:
    value = getattr(arguments, name)
    if value is None:
        raise _RefusalError(answers.missing_parameter(name, arguments.command))
    return value


def _with_line_ends_of(shown: str, old: str, new: str) -> tuple[str, str]:
    """A model that writes CRLF is understood too: what it was shown has LF."""
    if "\r\n" in old and old not in shown:
        return old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    return old, new


async def _shown_picture(path: str, data: bytes) -> ToolResult:
    try:
        picture = await asyncio.to_thread(read_picture, data)  # a large one takes seconds
    except PictureError as error:
        return ToolResult(neutralise(answers.no_picture(path, str(error))), is_error=True)
    return ToolResult(neutralise(answers.picture(path, picture.width, picture.height)), pictures=(picture,))


async def _view(path: str, view_range: list[int] | None, sandbox: Sandbox) -> str:
    try:
        data = await _read(path, sandbox)
    except IsADirectoryError:
        if view_range:
            raise _RefusalError(answers.RANGE_OF_DIRECTORY) from None
        return await _view_directory(path, sandbox)
    if is_picture(data):
        raise _PictureFound(data)
    lines = FileText(_as_text(path, data)).lines
    if not lines:
        return f"The file {path} is empty."
    if not view_range:
        return editor_view.cat_n(lines, path)
    first, last = _checked_range(view_range, len(lines))
    note = f"<NOTE>The file ends at line {len(lines)}.</NOTE>\n" if last > len(lines) else ""
    return editor_view.cat_n(lines[first - 1 : last], path, first) + note


def _checked_range(view_range: list[int], count: int) -> tuple[int, int]:
    if len(view_range) != 2:
        raise _RefusalError(answers.MALFORMED_RANGE)
    first, last = view_range
    if not 1 <= first <= count:
        raise _RefusalError(answers.range_starts_outside(view_range, count))
    if last != -1 and last < first:
        raise _RefusalError(answers.range_ends_early(view_range))
    return first, count if last == -1 else last


async def _view_directory(path: str, sandbox: Sandbox) -> str:
    # From inside the directory, so that a hidden folder on the way to it hides nothing; with NULs between the
    # names, which may hold newlines. What may not be read is left out.
    find = "find . -mindepth 1 -maxdepth 2 -name '.*' -prune -o -print0"
    command = f"cd {shlex.quote(path)} && {{ {find} 2>/dev/null || true; }}"
    result = await sandbox.exec(command, timeout=HELPER_TIMEOUT)
    if result.exit_code != 0:
        raise _RefusalError(answers.failed(_reason(result), "list", path))
    output = result.output[: result.head_length] if result.dropped else result.output
    names = sorted(decode(name).removeprefix("./") for name in output.split(b"\0") if name)
    return editor_view.listing(path, [str(PurePosixPath(path, name)) for name in names])


async def _exists(path: str, sandbox: Sandbox) -> bool:
    try:
        await sandbox.read_bytes(path, limit=1)
    except (FileNotFoundError, NotADirectoryError):
        return False  # a file where a directory is needed is for `_write` to explain
    except IsADirectoryError:
        raise
    except OSError as error:
        raise _RefusalError(answers.failed(error.strerror or type(error).__name__, "read", path)) from None
    return True


async def _read_text(path: str, sandbox: Sandbox) -> bytes:
    return _as_text(path, await _read(path, sandbox))


def _as_text(path: str, data: bytes) -> bytes:
    if medium := other_medium(data):
        raise _RefusalError(answers.other_medium(path, medium))
    if b"\0" in data[:BINARY_PROBE]:
        raise _RefusalError(answers.binary(path))
    return data


async def _read(path: str, sandbox: Sandbox) -> bytes:
    """The bytes of a file; IsADirectoryError is left to the caller."""
    try:
        data = await sandbox.read_bytes(path, limit=FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _RefusalError(answers.no_such_path(path)) from None
    except IsADirectoryError:
        raise
    except OSError as error:
        raise _RefusalError(answers.failed(error.strerror or type(error).__name__, "read", path)) from None
    if len(data) > FILE_LIMIT:
        raise _RefusalError(answers.too_large(path))
    return data


async def _write(path: str, data: bytes, sandbox: Sandbox) -> None:
    try:
        await sandbox.write_bytes(path, data)
    except OSError as error:
        raise _RefusalError(answers.failed(error.strerror or type(error).__name__, "write to", path)) from None


async def _remove(path: str, sandbox: Sandbox) -> None:
    result = await sandbox.exec(f"rm -f -- {shlex.quote(path)}", timeout=HELPER_TIMEOUT)
    if result.exit_code != 0:
        raise _RefusalError(answers.failed(_reason(result), "remove", path))


def _reason(result: CommandResult) -> str:
    return "a timeout" if result.timed_out else decode(result.output).strip()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
