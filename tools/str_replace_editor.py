"""The file editor that models were trained on: view, create, str_replace, insert, undo_edit.

Parameters, semantics and the fixed phrases of its answers follow SWE-agent's `edit_anthropic` bundle (five commands,
one tool) and Anthropic's reference editor (`computer-use-demo`, `edit.py`). It works on bytes through the sandbox,
needs no interpreter there, and takes at most two round trips a call. Different from both, on purpose:

* every byte outside the edit stays as it was: line ends, tabs, byte order mark, bytes that are no UTF-8;
* `undo_edit` of a `create` removes the file, and no undo takes back more than the editor itself did;
* an `old_str` that is not found is answered with the place that was probably meant, or taken for the only place that
  differs from it in whitespace alone (`editor_matching`), and the answer says so;
* what depends on what the model saw is refused when the file has changed since: an insertion, such a replacement;
* a `view_range` that ends behind the end of the file shows what there is.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tools import editor_answers as answers
from tools import editor_encoding, editor_files, editor_view
from tools.editor_files import MissingFileError, RefusalError
from tools.editor_history import EditHistory, PastEdit
from tools.editor_matching import Match, find_tolerant
from tools.editor_parameters import Command, EditorParameters
from tools.file_text import FileText, Splice, UnwritableTextError
from tools.output import neutralise, restore
from tools.pictures import PictureError, is_picture, read_picture
from tools.python_syntax import advice_on_edit, advice_on_new_file
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ToolResult

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REVIEW = "Review the changes and make sure they are as expected. Edit the file again if necessary."
_REVIEW_INSERTION = (
    "Review the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). "
    "Edit the file again if necessary."
)


class _PictureFound(Exception):  # noqa: N818 - a picture is no error
    """What is to be viewed is a picture."""

    def __init__(self, path: str, data: bytes) -> None:
        super().__init__()
        self.path = path
        self.data = data


@dataclass(frozen=True)
class _Opened:
    """A text file that is to be edited."""

    path: str
    data: bytes
    text: FileText


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
        self._history = EditHistory()
        self._seen: dict[str, int] = {}  # a digest of each file as the model last saw it
        self._real_spellings: dict[str, str] = {}  # paths that the model writes in another Unicode form

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
            text = await self._run_where_it_is(_as_meant(arguments, sandbox), sandbox)
        except RefusalError as refusal:
            return ToolResult(neutralise(str(refusal)), is_error=True)
        except IsADirectoryError:
            return ToolResult(neutralise(answers.is_directory(restore(arguments.path))), is_error=True)
        except _PictureFound as found:
            return await _shown_picture(found.path, found.data)
        return ToolResult(neutralise(text))

    async def _run_where_it_is(self, arguments: EditorParameters, sandbox: Sandbox) -> str:
        """Find the file also where its name is in another Unicode form: some models cannot write every form."""
        path = arguments.path
        if real := self._real_spellings.get(path):
            arguments = arguments.model_copy(update={"path": real})
        for _ in PurePosixPath(path).parts:
            try:
                text = await self._run(arguments, sandbox)
            except MissingFileError:
                lead = await editor_files.look_for(arguments.path, sandbox)
                if lead.meant is None:
                    raise RefusalError(answers.no_such_path(path, lead.hint)) from None
                arguments = arguments.model_copy(update={"path": lead.meant})
            else:
                if arguments.path == path:
                    return text
                self._real_spellings[path] = arguments.path
                return text + answers.note(answers.used_other_spelling(path, arguments.path))
        raise RefusalError(answers.no_such_path(path))

    async def _run(self, arguments: EditorParameters, sandbox: Sandbox) -> str:
        path = arguments.path
        match arguments.command:
            case "view":
                return await self._view(path, arguments.view_range, sandbox)
            case "create":
                return await self._create(path, _required(arguments, "file_text"), sandbox)
            case "str_replace":
                return await self._replace(path, _required(arguments, "old_str"), arguments.new_str or "", sandbox)
            case "insert":
                line, new = _required(arguments, "insert_line"), _required(arguments, "new_str")
                return await self._insert(path, line, new, sandbox)
            case "undo_edit":
                return await self._undo(path, sandbox)

    async def _view(self, path: str, view_range: list[int] | None, sandbox: Sandbox) -> str:
        try:
            data = await editor_files.read(path, sandbox)
        except IsADirectoryError:
            if view_range:
                raise RefusalError(answers.RANGE_OF_DIRECTORY) from None
            return editor_view.listing(path, await editor_files.list_directory(path, sandbox))
        if is_picture(data):
            raise _PictureFound(path, data)
        text = FileText(editor_files.as_text(path, data))
        self._seen[path] = _digest(data)
        if not (count := text.line_count):
            return f"The file {path} is empty."
        if not view_range:
            return editor_view.cat_n(text, path)
        first, last = _checked_range(view_range, count)
        note = f"<NOTE>The file ends at line {count}.</NOTE>\n" if last > count else ""
        return editor_view.cat_n(text, path, first, last) + note

    async def _create(self, path: str, text: str, sandbox: Sandbox) -> str:
        if await editor_files.exists(path, sandbox):
            raise RefusalError(answers.exists_already(path))
        try:
            data = editor_encoding.encoding_for(text).spell(text)
        except editor_encoding.UnspellableError as error:
            raise RefusalError(answers.unspellable(path, error.character, error.encoding)) from None
        await editor_files.write(path, data, None, sandbox)
        self._remember(path, None, data)
        advice = advice_on_new_file(path, FileText(data))
        return f"File created successfully at: {path}{_noted([advice])}"

    async def _replace(self, path: str, old: str, new: str, sandbox: Sandbox) -> str:
        if not old:
            raise RefusalError(answers.EMPTY_OLD_STR)
        if old == new:
            raise RefusalError(answers.same(old))
        opened = await _open(path, sandbox)
        match, note = self._find(opened, *_with_line_ends_of(opened.text.shown, old, new))
        after = await self._edit(opened, lambda: opened.text.replace(match.start, match.end, match.new), sandbox)
        shown = editor_view.snippet(after, f"a snippet of {path}", match.start, match.new.count("\n"))
        notes = [note, *_remarks(opened, after, match.start, match.new)]
        return f"The file {path} has been edited. {shown}{_REVIEW}{_noted(notes)}"

    def _find(self, opened: _Opened, old: str, new: str) -> tuple[Match, str | None]:
        """The one place that is meant, and what there is to say about it. Raises RefusalError."""
        places = answers.occurrences(opened.text.shown, old)
        if (start := next(places, None)) is not None:
            if next(places, None) is not None:
                raise RefusalError(answers.found_several(opened.text.shown, old))
            return Match(start, start + len(old), new), None
        if (match := find_tolerant(opened.text.shown, old, new)) is None:
            raise RefusalError(answers.found_none(opened.path, opened.text, old))
        self._refuse_if_stale(opened, "str_replace")
        first, last = opened.text.line_number(match.start), opened.text.line_number(max(match.start, match.end - 1))
        return match, answers.matched_tolerantly(first, last, match.differs_in_indentation)

    async def _insert(self, path: str, line: int, new: str, sandbox: Sandbox) -> str:
        opened = await _open(path, sandbox)
        self._refuse_if_stale(opened, "insert")
        count = opened.text.line_count
        if not 0 <= line <= count:
            raise RefusalError(answers.line_out_of_range(line, count))
        after = await self._edit(opened, lambda: opened.text.insert(line, new), sandbox)
        start = after.offset_of_line(line + 1)
        shown = editor_view.snippet(after, "a snippet of the edited file", start, new.count("\n"))
        notes = _remarks(opened, after, start, new)
        return f"The file {path} has been edited. {shown}{_REVIEW_INSERTION}{_noted(notes)}"

    async def _edit(self, opened: _Opened, make: Callable[[], Splice], sandbox: Sandbox) -> FileText:
        """Write the changed file and remember how to undo it."""
        try:
            change = make()
        except UnwritableTextError:
            raise RefusalError(answers.unwritable(opened.path, opened.text.encoding.codec)) from None
        except editor_encoding.UnspellableError as error:
            raise RefusalError(answers.unspellable(opened.path, error.character, error.encoding)) from None
        result = change.apply(opened.data)
        await editor_files.write(opened.path, result, opened.data, sandbox)
        self._remember(opened.path, change, result)
        return FileText(result)

    async def _undo(self, path: str, sandbox: Sandbox) -> str:
        if (last := self._history.last(path)) is None:
            raise RefusalError(answers.no_history(path, self._history.has_forgotten(path)))
        data = await editor_files.read(path, sandbox)  # text or not: an edit can move a NUL to where it means binary
        if _digest(data) != last.result:
            raise RefusalError(answers.changed_since(path))
        if last.change is None:
            await editor_files.remove(path, sandbox)
            self._seen.pop(path, None)
            shown = "It had created the file, so the file has been removed."
        else:
            shown = await self._put_back(path, last.change.reverse(), data, sandbox)
        self._history.take_out(last)
        return f"Last edit to {path} undone successfully. {shown}"

    async def _put_back(self, path: str, back: Splice, data: bytes, sandbox: Sandbox) -> str:
        restored = back.apply(data)
        await editor_files.write(path, restored, data, sandbox)
        self._seen[path] = _digest(restored)
        text = FileText(restored)
        start = text.offset_of_byte(restored, back.start)
        end = text.offset_of_byte(restored, back.start + len(back.added))
        return editor_view.snippet(text, f"a snippet of {path}", start, text.shown.count("\n", start, end))

    def _remember(self, path: str, change: Splice | None, result: bytes) -> None:
        digest = _digest(result)
        self._history.remember(PastEdit(path, change, digest))
        self._seen[path] = digest

    def _refuse_if_stale(self, opened: _Opened, command: Command) -> None:
        """Refuse what depends on what the model saw. A file that it never saw here it knows from elsewhere."""
        if (seen := self._seen.get(opened.path)) is not None and seen != _digest(opened.data):
            raise RefusalError(answers.stale(opened.path, command))


async def _open(path: str, sandbox: Sandbox) -> _Opened:
    data = await editor_files.read_text(path, sandbox)
    return _Opened(path, data, FileText(data))


def _remarks(opened: _Opened, after: FileText, start: int, new: str) -> list[str | None]:
    """What there is to say about an edit that put `new` at `start`."""
    is_guess = not opened.text.is_exact and not new.isascii() and not opened.text.encoding.label
    return [
        answers.WRITTEN_AS_UTF_8 if is_guess else None,
        advice_on_edit(opened.path, opened.text, after, start, start + len(new)),
    ]


def _noted(notes: Sequence[str | None]) -> str:
    return "".join(answers.note(sentence) for sentence in notes if sentence)


def _as_meant(arguments: EditorParameters, sandbox: Sandbox) -> EditorParameters:
    """The arguments with control tokens restored and the path made plain, if they can be used at all."""
    texts: dict[str, str] = {name: restore(value) for name, value in arguments if isinstance(value, str)}
    for name, value in texts.items():
        if not value.isascii() and (found := _LONE_SURROGATE.search(value)):
            raise RefusalError(answers.half_character(name, found[0]))
        if "\0" in value:
            raise RefusalError(answers.nul_character(name))
    path = texts["path"]
    if not path.startswith("/"):
        suggestion = PurePosixPath(sandbox.working_directory, path.strip(" \t\r\n'\"`"))
        raise RefusalError(answers.relative_path(path, str(suggestion)))
    return arguments.model_copy(update={**texts, "path": str(PurePosixPath("/", path.lstrip("/")))})


def _required(arguments: EditorParameters, name: str) -> Any:
    value = getattr(arguments, name)
    if value is None:
        raise RefusalError(answers.missing_parameter(name, arguments.command))
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


def _checked_range(view_range: list[int], count: int) -> tuple[int, int]:
    if len(view_range) != 2:
        raise RefusalError(answers.MALFORMED_RANGE)
    first, last = view_range
    if not 1 <= first <= count:
        raise RefusalError(answers.range_starts_outside(view_range, count))
    if last != -1 and last < first:
        raise RefusalError(answers.range_ends_early(view_range))
    return first, count if last == -1 else last


def _digest(data: bytes) -> int:
    # Of 64 bits, with a key that nobody knows: enough to tell two contents of a file apart, and faster than the rest.
    return hash(data)
