"""How the editor shows files and directories.

The fixed phrases (`Here's the result of running ...`, `<response clipped>`) and the limit of 16,000 characters, line
numbers not counted, are those of SWE-agent's `edit_anthropic` bundle and of Anthropic's reference editor. Unlike there,
tabs are not expanded: `old_str` must be able to repeat exactly what was shown, and an edit must not rewrite every tab
of a file. A long file is cut at the end of a line.
"""

from collections.abc import Sequence

from tools.output import CHARACTER_LIMIT, cut_lines

SNIPPET_LINES = 4
"""Lines shown before and after an edit."""
CLIPPED = "<response clipped>"


def numbered(lines: Sequence[str], first: int) -> str:
    """Lines in the format of `cat -n`, the first one numbered `first`; very long ones are cut."""
    return "\n".join(f"{number:6}\t{cut_lines(line)}" for number, line in enumerate(lines, first))


def cat_n(lines: Sequence[str], of: str, first: int = 1) -> str:
    """What `view` shows of `lines`: as many as fit, and a notice when that is not all."""
    fitting = _fitting(lines)
    text = f"Here's the result of running `cat -n` on {of}:\n{numbered(lines[:fitting], first)}\n"
    if fitting < len(lines):
        text += (
            f"{CLIPPED}<NOTE>Only lines {first} to {first + fitting - 1} are shown, {len(lines) - fitting} more "
            "are not. Find the line numbers that you need with `grep -n`, and view them with `view_range`.</NOTE>\n"
        )
    return text


def snippet(lines: Sequence[str], of: str, first: int, last: int) -> str:
    """The lines numbered `first` to `last`, with those around them."""
    start = max(1, first - SNIPPET_LINES)
    return cat_n(lines[start - 1 : last + SNIPPET_LINES], of, start)


def listing(path: str, entries: Sequence[str]) -> str:
    """What `view` shows of a directory, given the absolute paths of what it holds."""
    shown = [path, *entries]
    fitting = _fitting(shown)
    text = f"Here's the files and directories up to 2 levels deep in {path}, excluding hidden items:\n"
    text += "\n".join(shown[:fitting]) + "\n"
    if fitting < len(shown):
        text += (
            f"{CLIPPED}<NOTE>{len(shown) - fitting} more are not shown. View one of the directories, "
            "or list them with `ls`.</NOTE>\n"
        )
    return text


def _fitting(lines: Sequence[str]) -> int:
    """How many of `lines` fit into one result; never none, as a cut line is far shorter than the limit."""
    room = CHARACTER_LIMIT
    for index, line in enumerate(lines):
        room -= len(cut_lines(line)) + 1
        if room < 0:
            return index
    return len(lines)
