"""How the editor shows files and explains a text that it did not find, in the words that models were trained on.

The functional phrases (`Here's the result of running ...`, `<response clipped>`) are those of SWE-agent's
`edit_anthropic` bundle and of Anthropic's reference editor. Tabs are not expanded, as both of these do: what is shown
must be what `old_str` can repeat, and an edit must not rewrite the tabs of a whole file.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tools.output import CHARACTER_LIMIT, cut_lines

SNIPPET_LINES = 4
"""Lines shown before and after an edit."""
CLIPPED = "<response clipped>"

_QUOTE_LIMIT = 1_000
_LINE_NUMBERS_LISTED = 20
_CLOSEST_LINES_SHOWN = 20
_CLOSENESS = 1 / 3
"""The share of `old_str`, in characters, that must be found before a place is called the closest one."""
_SEARCHABLE = 4_000_000
"""Characters of a file in which looking for the closest place stays a matter of a second."""
_VIEW_LINE = re.compile(r"^ *\d+\t", re.MULTILINE)


def numbered(lines: Sequence[str], first: int) -> str:
    """Lines in the format of `cat -n`, the first one numbered `first`; very long ones are cut."""
    return "\n".join(f"{number:6}\t{cut_lines(line)}" for number, line in enumerate(lines, first))


def cat_n(lines: Sequence[str], of: str, first: int = 1) -> str:
    """What `view` shows of `lines`: as many as fit into 16,000 characters, and a notice when that is not all."""
    fitting = _fitting(lines)
    text = f"Here's the result of running `cat -n` on {of}:\n{numbered(lines[:fitting], first)}\n"
    if fitting < len(lines):
        text += (
            f"{CLIPPED}<NOTE>Only lines {first}-{first + fitting - 1} are shown, {len(lines) - fitting} more were asked "
            "for. Search the file with `grep -n` for the line numbers that you need, and give them as `view_range`."
            "</NOTE>\n"
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


def occurrences(text: str, part: str) -> Iterator[int]:
    """The offsets at which `part` occurs, also those that overlap: replacing one of them would be a guess too."""
    offset = text.find(part)
    while offset != -1:
        yield offset
        offset = text.find(part, offset + 1)


def quote(text: str) -> str:
    """`text` between backticks, cut when it is long: the model has just written it."""
    return f"`{text}`" if len(text) <= _QUOTE_LIMIT else f"`{text[:_QUOTE_LIMIT]}{CLIPPED}`"


def explain_several(text: str, old: str) -> str:
    """What to say when `old` occurs more than once."""
    numbers: list[int] = []
    line, counted = 1, 0
    for offset in occurrences(text, old):
        line, counted = line + text.count("\n", counted, offset), offset
        if len(numbers) == _LINE_NUMBERS_LISTED:
            break
        if line not in numbers:
            numbers.append(line)
    more = " and more" if len(numbers) == _LINE_NUMBERS_LISTED else ""
    return (
        f"No replacement was performed. Multiple occurrences of old_str {quote(old)} in lines {numbers}{more}. "
        "Please ensure it is unique, for example by adding the lines around it."
    )


def explain_none(path: str, text: str, old: str) -> str:
    """What to say when `old` does not occur: that, and what may have been meant."""
    return f"No replacement was performed, old_str {quote(old)} did not appear verbatim in {path}. {_hint(text, old)}"


def _hint(text: str, old: str) -> str:
    unnumbered = _VIEW_LINE.sub("", old)
    if unnumbered != old and unnumbered in text:
        return "It holds the line numbers that `view` adds: leave them and the tab behind them out."
    closest = _closest(text.split("\n"), old.strip("\n").split("\n")) if len(text) <= _SEARCHABLE else None
    if closest is None:
        return "Look at the file's present text with `view`, or search it with `grep -n`."
    first, lines, whitespace_only = closest
    difference = "differs in whitespace only" if whitespace_only else "is the most similar"
    return (
        f"The text at line {first} {difference}; repeat it exactly as it is in the file:\n"
        f"{numbered(lines[:_CLOSEST_LINES_SHOWN], first)}\n"
    )


def _closest(lines: list[str], old: list[str]) -> tuple[int, list[str], bool] | None:
    """Number and text of the lines most like `old`, and whether only whitespace differs.

    Every line that the two share, whitespace aside, votes for where `old` would begin, with its length as weight.
    """
    squeezed = ["".join(line.split()) for line in old]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, line in enumerate(squeezed):
        if line:
            places[line].append(index)
    votes = Counter[int]()
    for index, line in enumerate("".join(line.split()) for line in lines):
        for place in places.get(line, ()):
            votes[index - place] += len(line)
        if len(old) == 1 and squeezed[0] and squeezed[0] in line:
            votes[index] += len(squeezed[0])
    if not votes:
        return None
    start, weight = max(votes.items(), key=lambda vote: (vote[1], -vote[0]))
    total = sum(map(len, squeezed))
    if weight < total * _CLOSENESS:
        return None
    first = max(0, start)
    return first + 1, lines[first : start + len(old)], weight >= total


def _fitting(lines: Sequence[str]) -> int:
    """How many of `lines` fit into one result; at least one, for no single line is longer than half of it."""
    room = CHARACTER_LIMIT
    for index, line in enumerate(lines):
        room -= len(cut_lines(line)) + 1
        if room < 0:
            return max(1, index)
    return len(lines)
