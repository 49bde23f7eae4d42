"""Finds a pattern in Markdown, but for where it is quoted as code: who explains a format does not use it.

Fences and code spans are those of CommonMark (0.31, sections 4.5 and 6.1), with three liberties: a fence may be
indented as deep as it likes and stand in a list or a quotation, a span of one or two backticks ends in its own line
(a lone backtick in prose must not pair with one far below), and a longer one in its own paragraph.
"""

import re
from bisect import bisect_left
from functools import cached_property

_FENCE = r"^[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)?(?P<fence>`{3,}+(?=[^`\n]*+$)|~{3,}+)"
_TICKS = r"(?P<ticks>`++)"
_CLOSING_FENCE = re.compile(r"^[ \t>]*+(`{3,}+|~{3,}+)[ \t]*+$", re.MULTILINE)
_RUN = re.compile("`++")
_LINE_END = re.compile("\n")
_PARAGRAPH_END = re.compile(r"\n[ \t]*+\n")
_LONGEST_INLINE = 2


def outside_code(pattern: str) -> re.Pattern[str]:
    """The pattern that `Unquoted` takes to find `pattern`, in which every group must have a name."""
    return re.compile(f"{_FENCE}|{_TICKS}|{pattern}", re.MULTILINE)


class Unquoted:
    """Searches one text. Searches from left to right, none before where the last one ended, take linear time in all."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._pattern = pattern
        self._text = text

    def search(self, position: int) -> re.Match[str] | None:
        """The next match from `position` on, which itself must not be within a quotation."""
        while mark := self._pattern.search(self._text, position):
            if mark["fence"]:
                position = self._fence_end(mark)
            elif mark["ticks"]:
                position = self._span_end(mark)
            else:
                return mark
        return None

    def _fence_end(self, mark: re.Match[str]) -> int:
        fence = mark["fence"]
        for closing in _CLOSING_FENCE.finditer(self._text, mark.end()):
            if closing[1].startswith(fence):
                return closing.end()
        return len(self._text)

    def _span_end(self, mark: re.Match[str]) -> int:
        length = len(mark["ticks"])
        starts = self._runs.get(length, [])
        number = bisect_left(starts, mark.end())
        if number == len(starts):
            return mark.end()
        border = _LINE_END if length <= _LONGEST_INLINE else _PARAGRAPH_END
        return mark.end() if border.search(self._text, mark.end(), starts[number]) else starts[number] + length

    @cached_property
    def _runs(self) -> dict[int, list[int]]:
        """Where runs of backticks begin, by their length."""
        runs: dict[int, list[int]] = {}
        for run in _RUN.finditer(self._text):
            runs.setdefault(len(run[0]), []).append(run.start())
        return runs
