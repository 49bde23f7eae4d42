"""What the editor says when it does not do what was asked: what was wrong, and what to do instead.

The functional phrases are those of SWE-agent's `edit_anthropic` bundle and of Anthropic's reference editor, for they
are what models were trained on; the sentences behind them, which say what to do, are ours.
"""

import re
from collections.abc import Iterator

from tools.editor_closest import find_closest
from tools.editor_view import CLIPPED, numbered
from tools.file_text import PLACEHOLDER, FileText

EMPTY_OLD_STR = (
    "No replacement was performed, old_str is empty. Give the text to replace, or use `insert`: "
    "with `insert_line` 0 it puts `new_str` at the top of the file."
)
MALFORMED_RANGE = "Invalid `view_range`. It should be a list of two integers, such as [11, 12]."
RANGE_OF_DIRECTORY = "The `view_range` parameter is not allowed when `path` points to a directory."
STRANGE_OUTPUT = "strange output of `find`, `tr`, `sort` or `sed`, one of which may be missing,"
NOT_PERMITTED = ". `ls -ld` shows who may write to it and to its directory; `chmod u+w` lets the owner."
PUT_BACK = ". The file is as it was before."
NOTHING_LEFT = ". Nothing was created."
SPOILT = ". The file has lost its content, which could not be put back either: make room, and look at it with `view`."
WRITTEN_AS_UTF_8 = "the file holds bytes that are not UTF-8, and says nowhere what it is; new_str was written as UTF-8."

_QUOTE_LIMIT = 1_000
_LINE_NUMBERS_LISTED = 20
_CLOSEST_LINES_SHOWN = 20
_VIEW_LINE = re.compile(r"^ *\d+\t", re.MULTILINE)


def note(sentence: str) -> str:
    """Something to know about an edit that was made, on a line of its own below the answer."""
    return f"\nNote: {sentence}"


def matched_tolerantly(first: int, last: int, differs_in_indentation: bool) -> str:
    """Say that `old_str` was taken for what differs from it in whitespace."""
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    difference = "indentation" if differs_in_indentation else "whitespace at line ends"
    indented = ", and new_str was indented as the file is" if differs_in_indentation else ""
    return (
        f"old_str did not match exactly. The only place that differs from it in nothing but {difference}, {lines}, "
        f"was replaced{indented}."
    )


def used_other_spelling(path: str, meant: str) -> str:
    """Say that a file was found under a name that looks the same."""
    return f"there is no {_cut(path)}; {meant}, whose name is spelled with other Unicode characters, was used."


def leads_nowhere(target: str) -> str:
    """Explain a dangling link, or one that leads in a circle."""
    return f" It is a symbolic link to `{_cut(target)}`, which leads nowhere."


def dead_link(path: str, target: str) -> str:
    """Answer `create` for a link through which no file can be made."""
    return (
        f"The path {path} is a symbolic link to `{_cut(target)}`, which leads nowhere. Create the file at a path of "
        "its own, or remove the link with bash first."
    )


def maybe_meant(path: str) -> str:
    """Name the file that was probably meant."""
    return f" Maybe you meant {path}?"


def stale(path: str, command: str) -> str:
    """Answer an edit that depends on what the model saw, where something else has changed the file since."""
    what = "insertion" if command == "insert" else "replacement"
    reason = (
        "the line numbers may be others now"
        if what == "insertion"
        else "old_str does not match exactly what is there now"
    )
    return (
        f"No {what} was performed: {path} has been changed by something else since you last viewed or edited it with "
        f"this tool, and {reason}. Look at it with `view` again."
    )


def unspellable(path: str, character: str, encoding: str) -> str:
    """Answer new text that the file's encoding cannot hold."""
    return (
        f"The text cannot be written to {path}: its encoding is {encoding}, which has no `{character}` "
        f"(U+{ord(character):04X}). Use other characters or an escape, or convert the file with `iconv` in bash."
    )


def relative_path(path: str, suggestion: str) -> str:
    """Answer a path that does not start at the root."""
    problem = f"The path {_cut(path)} is not an absolute path, it should start with `/`."
    if path.startswith("~"):
        return f"{problem} `~` means nothing to this tool; `echo ~` in bash shows what it stands for."
    return f"{problem} Maybe you meant {_cut(suggestion)}?"


def half_character(name: str, found: str) -> str:
    """Answer a text with a lone surrogate, which JSON can spell and UTF-8 cannot."""
    return (
        f"Parameter `{name}` holds {found!a}, half of a character, which no file can hold. Write the whole character."
    )


def nul_character(name: str) -> str:
    """Answer a NUL, which no path may hold and which would make a text file a binary one."""
    return f"Parameter `{name}` holds a NUL character, which has no place in a path or a text. Use bash, if it must be."


def missing_parameter(name: str, command: str) -> str:
    """Answer a call without what its command needs."""
    return f"Parameter `{name}` is required for command: {command}"


def no_such_path(path: str, hint: str = "") -> str:
    """Answer a path that leads nowhere."""
    return f"The path {path} does not exist. Please provide a valid path.{hint}"


def is_directory(path: str) -> str:
    """Answer an attempt to edit a directory."""
    return f"The path {path} is a directory and only the `view` command can be used on directories"


def exists_already(path: str) -> str:
    """Answer `create` for something that is there."""
    return (
        f"File already exists at: {path}. Cannot overwrite files using command `create`. "
        "Change it with `str_replace` or `insert`."
    )


def picture(path: str, width: int, height: int) -> str:
    """Answer a view of a picture, which is shown beside the text."""
    return f"The picture {path}, shown at {width} × {height} pixels."


def no_picture(path: str, problem: str) -> str:
    """Answer a view of what was to be shown, and cannot."""
    return f"The file {path} cannot be shown: {problem}."


def other_medium(path: str, medium: str) -> str:
    """Answer a view of a PDF or a video."""
    return f"The file {path} is a {medium}, which this tool does not show. Take text or pictures out of it with bash."


def binary(path: str) -> str:
    """Answer a file that is no text."""
    return f"The file {path} is binary, and this tool is for text. Use bash, with `xxd` for example."


def too_large(path: str) -> str:
    """Answer a file that nobody would read whole."""
    return f"The file {path} is larger than 100 MB. Use bash, with `sed -n` or `grep -n` for example."


def failed(reason: str, action: str, path: str) -> str:
    """Answer what the system did not allow."""
    return f"Ran into {reason} while trying to {action} {_cut(path)}"


def no_history(path: str, has_forgotten: bool) -> str:
    """Answer `undo_edit` when nothing was edited, or too long ago."""
    return f"No edit history found for {path}{', only the last 100 edits are remembered' if has_forgotten else ''}."


def changed_since(path: str) -> str:
    """Answer `undo_edit` when it would destroy what someone else wrote."""
    return (
        f"No undo was performed: {path} has been changed by something else since its last edit with this tool, "
        "and that change would be lost. Use `view` and `str_replace` instead."
    )


def unwritable(path: str, encoding: str) -> str:
    """Answer new text with placeholders for bytes, which the model cannot spell."""
    return (
        f"No replacement was performed. The file {path} holds bytes that are not {encoding.upper()}, shown as "
        f"{PLACEHOLDER}, and new_str holds {PLACEHOLDER} where it cannot be told which bytes are meant. Leave those "
        "characters out of the edit, or use bash."
    )


def line_out_of_range(line: int, count: int) -> str:
    """Answer an `insert_line` that the file does not have."""
    return f"Invalid `insert_line` parameter: {line}. It should be within the range of lines of the file: {[0, count]}"


def range_starts_outside(view_range: list[int], count: int) -> str:
    """Answer a `view_range` whose first line the file does not have."""
    return (
        f"Invalid `view_range`: {view_range}. "
        f"Its first element `{view_range[0]}` should be within the range of lines of the file: {[1, count]}"
    )


def range_ends_early(view_range: list[int]) -> str:
    """Answer a `view_range` that ends before it starts."""
    return (
        f"Invalid `view_range`: {view_range}. "
        f"Its second element `{view_range[1]}` should be larger or equal than its first `{view_range[0]}`"
    )


def same(old: str) -> str:
    """Answer a replacement by itself."""
    return f"No replacement was performed, old_str {_quote(old)} is the same as new_str."


def occurrences(text: str, part: str) -> Iterator[int]:
    """The offsets at which `part` occurs, also those that overlap: replacing one of them would be a guess too."""
    offset = text.find(part)
    while offset != -1:
        yield offset
        offset = text.find(part, offset + 1)


def found_several(text: str, old: str) -> str:
    """Answer an `old` that occurs more than once, with the lines at which it begins."""
    numbers: list[int] = []
    line, counted, offset = 1, 0, text.find(old)
    while offset != -1 and len(numbers) < _LINE_NUMBERS_LISTED:
        line, counted = line + text.count("\n", counted, offset), offset
        numbers.append(line)
        line_end = text.find("\n", offset)
        offset = -1 if line_end == -1 else text.find(old, line_end + 1)
    more = "" if offset == -1 else " and more"
    return (
        f"No replacement was performed. Multiple occurrences of old_str {_quote(old)} in lines {numbers}{more}. "
        "Please ensure it is unique, for example by adding the lines around it."
    )


def found_none(path: str, text: FileText, old: str) -> str:
    """Answer an `old` that does not occur, with what may have been meant."""
    return f"No replacement was performed, old_str {_quote(old)} did not appear verbatim in {path}. {_hint(text, old)}"


def _quote(text: str) -> str:
    """`text` between backticks, cut when it is long: the model has just written it."""
    return f"`{_cut(text)}`"


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + CLIPPED


def _hint(text: FileText, old: str) -> str:
    unnumbered = _VIEW_LINE.sub("", old)
    if unnumbered != old and unnumbered in text.shown:
        return "It holds the line numbers that `view` adds: leave them out, and the tab behind them."
    if (closest := find_closest(text, old)) is None:
        return "Look at the file's present text with `view`, or search it with `grep -n`."
    likeness = "differs in whitespace only" if closest.differs_in_whitespace_only else "is the most similar"
    shown = numbered(closest.lines[:_CLOSEST_LINES_SHOWN], closest.first)
    return (
        f"The text at line {closest.first} {likeness}; repeat it exactly as it is in the file:\n{shown}\n"
        f"{closest.difference}\n"
    )
