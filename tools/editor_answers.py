"""What the editor says when it does not do what was asked: what was wrong, and what to do instead.

The functional phrases are those of SWE-agent's `edit_anthropic` bundle and of Anthropic's reference editor, for they
are what models were trained on; the sentences behind them, which say what to do, are ours.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from tools.editor_view import CLIPPED, numbered
from tools.file_text import PLACEHOLDER

EMPTY_OLD_STR = (
    "No replacement was performed, old_str is empty. Give the text to replace, or use `insert`: "
    "with `insert_line` 0 it puts `new_str` at the top of the file."
)
MALFORMED_RANGE = "Invalid `view_range`. It should be a list of two integers, such as [11, 12]."
RANGE_OF_DIRECTORY = "The `view_range` parameter is not allowed when `path` points to a directory."

_QUOTE_LIMIT = 1_000
_LINE_NUMBERS_LISTED = 20
_CLOSEST_LINES_SHOWN = 20
_CLOSENESS = 1 / 3
"""The share of `old_str`, in characters, that must be found before a place is called the most similar one."""
_SEARCHABLE = 2_000_000
"""Characters of a file in which looking for the most similar place takes no more than about a second."""
_PLACES_OF_A_LINE = 5
"""A line that `old_str` repeats more often, such as `}`, says nothing more about the place."""
_VIEW_LINE = re.compile(r"^ *\d+\t", re.MULTILINE)


def relative_path(path: str, suggestion: str) -> str:
    """Answer a path that does not start at the root."""
    return f"The path {path} is not an absolute path, it should start with `/`. Maybe you meant {suggestion}?"


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


def no_such_path(path: str) -> str:
    """Answer a path that leads nowhere."""
    return f"The path {path} does not exist. Please provide a valid path."


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
    return f"Ran into {reason} while trying to {action} {path}"


def no_history(path: str) -> str:
    """Answer `undo_edit` when nothing was edited."""
    return f"No edit history found for {path}."


def changed_since(path: str) -> str:
    """Answer `undo_edit` when it would destroy what someone else wrote."""
    return (
        f"No undo was performed: {path} has been changed by something else since its last edit with this tool, "
        "and that change would be lost. Use `view` and `str_replace` instead."
    )


def unwritable(path: str) -> str:
    """Answer an edit that would replace bytes which the model cannot spell."""
    return (
        f"No replacement was performed. The text to replace in {path} holds bytes that are not UTF-8, shown as "
        f"{PLACEHOLDER}, and new_str holds {PLACEHOLDER} too. Leave those characters out of the edit, or use bash."
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


def found_none(path: str, text: str, old: str) -> str:
    """Answer an `old` that does not occur, with what may have been meant."""
    return f"No replacement was performed, old_str {_quote(old)} did not appear verbatim in {path}. {_hint(text, old)}"


def _quote(text: str) -> str:
    """`text` between backticks, cut when it is long: the model has just written it."""
    return f"`{text}`" if len(text) <= _QUOTE_LIMIT else f"`{text[:_QUOTE_LIMIT]}{CLIPPED}`"


def _hint(text: str, old: str) -> str:
    unnumbered = _VIEW_LINE.sub("", old)
    if unnumbered != old and unnumbered in text:
        return "It holds the line numbers that `view` adds: leave them out, and the tab behind them."
    similar = _most_similar(text.split("\n"), old.strip("\n").split("\n")) if len(text) <= _SEARCHABLE else None
    if similar is None:
        return "Look at the file's present text with `view`, or search it with `grep -n`."
    first, lines, only_whitespace_differs = similar
    difference = "differs in whitespace only" if only_whitespace_differs else "is the most similar"
    shown = numbered(lines[:_CLOSEST_LINES_SHOWN], first)
    return f"The text at line {first} {difference}; repeat it exactly as it is in the file:\n{shown}\n"


def _most_similar(lines: list[str], old: list[str]) -> tuple[int, list[str], bool] | None:
    """Number and text of the lines most like `old`, and whether only whitespace differs.

    Every line that the two share, whitespace aside, votes for where `old` would begin, with its length as weight.
    """
    squeezed = ["".join(line.split()) for line in old]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, line in enumerate(squeezed):
        if line and len(places[line]) < _PLACES_OF_A_LINE:
            places[line].append(index)
    votes = Counter[int]()
    for index, line in enumerate("".join(line.split()) for line in lines):
        for place in places.get(line, ()):
            votes[index - place] += len(line)
        if len(old) == 1 and squeezed[0] and squeezed[0] in line:
            votes[index] += len(squeezed[0])
    start, weight = max(votes.items(), key=lambda vote: (vote[1], -vote[0]), default=(0, 0))
    total = sum(map(len, squeezed))
    if weight == 0 or weight < total * _CLOSENESS:
        return None
    first = max(0, start)
    return first + 1, lines[first : start + len(old)], weight >= total
