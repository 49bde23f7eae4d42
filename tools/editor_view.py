"""How the editor shows files and directories.

The fixed phrases (`Here's the result of running ...`, `<response clipped>`) and the limit of 16,000 characters, line
numbers not counted, are those of SWE-agent's `edit_anthropic` bundle and of Anthropic's reference editor. Unlike there,
tabs are not expanded: `old_str` must be able to repeat exactly what was shown, and an edit must not rewrite every tab
of a file. A long file is cut at the end of a line.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tools.file_text import FileText
from tools.output import CHARACTER_LIMIT, cut_lines

SNIPPET_LINES = 4
"""Lines shown before and after an edit."""
CLIPPED = "<response clipped>"


def numbered(lines: Iterable[str], first: int) -> str:
    """Lines in the format of `cat -n`, the first one numbered `first`; very long ones are cut."""
    return "\n".join(f"{number:6}\t{cut_lines(line)}" for number, line in enumerate(lines, first))


def cat_n(text: FileText, of: str, first: int = 1, last: int | None = None) -> str:
    """What `view` shows of the lines `first` to `last`: as many as fit, and a notice when that is not all."""
    return _cat_n(text.lines(first, last), of, first, lambda: min(last or text.line_count, text.line_count))


def snippet(text: FileText, of: str, offset: int, line_ends: int) -> str:
    """The line that holds `offset`, those that `line_ends` line ends lead to, and those around them."""
    start = offset
    for _ in range(SNIPPET_LINES + 1):
        start = text.shown.rfind("\n", 0, start)
        if start == -1:
            break
    first = text.line_number(start + 1)
    skipped = text.shown.count("\n", start + 1, offset)
    last = first + skipped + line_ends + SNIPPET_LINES
    lines = islice(text.lines_at(start + 1), last - first + 1)
    return _cat_n(lines, of, first, lambda: min(last, text.line_count))


def _cat_n(lines: Iterator[str], of: str, first: int, find_last: Callable[[], int]) -> str:
    shown, are_all = _fitting(lines)
    result = f"Here's the result of running `cat -n` on {of}:\n{numbered(shown, first)}\n"
    if not are_all:
        missing = find_last() - first + 1 - len(shown)
        result += (
            f"{CLIPPED}<NOTE>Only lines {first} to {first + len(shown) - 1} are shown, {missing} more "
            "are not. Find the line numbers that you need with `grep -n`, and view them with `view_range`.</NOTE>\n"
        )
    return result


@dataclass(frozen=True)
class Listing:
    """What a directory holds, two levels deep: the first of its entries, and how many there are."""

    entries: Sequence[str]
    """Absolute paths, in order."""
    count: int
    unreadable: int = 0
    """How many of the directories may not be read."""


def listing(path: str, found: Listing) -> str:
    """What `view` shows of a directory."""
    shown = [cut_lines(entry) for entry in _fitting([path, *found.entries])[0]]
    text = f"Here's the files and directories up to 2 levels deep in {path}, excluding hidden items:\n"
    text += "\n".join(shown) + "\n"
    if missing := found.count + 1 - len(shown):
        text += (
            f"{CLIPPED}<NOTE>{missing} more are not shown. View one of the directories, "
            "or list them with `ls`.</NOTE>\n"
        )
    if found.unreadable:
        text += f"<NOTE>{found.unreadable} of the directories may not be read.</NOTE>\n"
    return text


def _fitting(lines: Iterable[str]) -> tuple[list[str], bool]:
    """The first of `lines`, as many as fit into one result (a cut line always does), and whether these are all."""
    room = CHARACTER_LIMIT
    fitting: list[str] = []
    for line in lines:
        room -= len(cut_lines(line)) + 1
        if room < 0:
            return fitting, False
        fitting.append(line)
    return fitting, True
