r"""What stands on a terminal's lines after a program has written over them: progress bars, spinners, download lists.

Understood are the carriage return, the backspace, and the sequences of ECMA-48 that move the cursor or erase (CUU,
CUD, CUF, CUB, CNL, CPL, CHA, EL, ED); everything else that begins with an escape is taken out. A shorter text leaves
the end of a longer one that it is written over, as on a terminal: programs that mean otherwise erase or pad, and a line
must not lose what a person would still see. Unlike a terminal's, lines have no width, and none scrolls away.
"""

import re

WIDTH = 80
"""The column up to which the cursor can be moved where nothing was written."""
MOST_MOVES = 100_000
"""Beyond that many the cursor's moves are taken out unread: whoever moves it so often draws no lines."""

# OSC (titles, links), which no line break stands in: one that is never closed would swallow all that follows. Then DCS,
# SOS, PM, APC: pictures.
_STRING = r"(?:\][^\x07\x1b\r\n]*|[PX^_][^\x07\x1b]*)(?:\x07|\x1b\\)"
_SEQUENCE = re.compile(rf"\x1b(?:\[[0-?]*[ -/]*[@-~]|{_STRING}|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])")
_MOVE = re.compile(r"\x1b\[([0-9]{0,6})(?:;[0-9;]{0,20})?([A-GJKHf])|\x08")
_PIECE = re.compile(rf"{_MOVE.pattern}|(\r)|(\n)|[^\r\n\x08\x1b]+|.", re.DOTALL)


def as_left_standing(text: str) -> str:
    """The lines as they stand at the end. Takes time that grows with the length of `text` alone."""
    text = text.replace("\r\n", "\n")
    if "\x1b" in text:
        text = _SEQUENCE.sub(_only_moves, text)
    moves = len(_MOVE.findall(text))
    if 0 < moves <= MOST_MOVES:
        return _Lines().write(text)
    if moves:
        text = _MOVE.sub("", text)
    if "\r" in text:
        text = "\n".join(_overlaid(line) if "\r" in line else line for line in text.split("\n"))
    return text


def _only_moves(match: re.Match[str]) -> str:
    return match[0] if _MOVE.fullmatch(match[0]) else ""


def _overlaid(line: str) -> str:
    """What is left of texts that were each written from the line's beginning."""
    length = 0
    parts: list[str] = []
    for text in reversed(line.split("\r")):
        if len(text) > length:
            parts.append(text[length:])
            length = len(text)
    return "".join(parts).rstrip(" ")


class _Lines:
    """Lines without end, and a cursor."""

    def __init__(self) -> None:
        # A line is a list of characters from the moment at which it is changed.
        self._lines: list[str | list[str]] = [""]
        self._row = 0
        self._column = 0

    def write(self, text: str) -> str:
        for match in _PIECE.finditer(text):
            count, command, back, line_end = match.groups()
            if line_end:
                self._down()
            elif back:
                self._column = 0
            elif command:
                self._move(command, count)
            elif match[0] == "\x08":
                self._column = max(0, self._column - 1)
            else:
                self._put(match[0])
        return "\n".join(line if isinstance(line, str) else "".join(line).rstrip(" ") for line in self._lines)

    def _down(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self._lines):
            self._lines.append("")

    def _put(self, text: str) -> None:
        line = self._lines[self._row]
        if not line and not self._column:
            self._lines[self._row] = text
        else:
            line = self._changed()
            line.extend(" " * (self._column - len(line)))
            line[self._column : self._column + len(text)] = text
        self._column += len(text)

    def _changed(self) -> list[str]:
        line = self._lines[self._row]
        if isinstance(line, str):
            line = self._lines[self._row] = list(line)
        return line

    def _move(self, command: str, written: str) -> None:
        count = int(written or 0)
        if command in "AF":
            self._row = max(0, self._row - max(1, count))
        elif command in "BE":
            self._row = min(len(self._lines) - 1, self._row + max(1, count))
        elif command == "K":
            self._erase(count)
        elif command == "J" and count == 0:
            self._erase(0)
            del self._lines[self._row + 1 :]
        elif command in "Hf" and self._column:
            # To a corner of the screen, which has none here: what follows stands on its own.
            self._row = len(self._lines) - 1
            self._down()
        self._column = self._new_column(command, count)

    def _new_column(self, command: str, count: int) -> int:
        if command in "EF":
            return 0
        if command == "D":
            return max(0, self._column - max(1, count))
        column = self._column
        if command == "C":
            column += max(1, count)
        elif command == "G":
            column = max(1, count) - 1
        return min(column, max(len(self._lines[self._row]), WIDTH))

    def _erase(self, what: int) -> None:
        """The line from the cursor on, or all of it; its beginning alone stays, which hardly anybody erases."""
        if what == 2:
            self._lines[self._row] = ""
        elif what == 0 and self._column < len(self._lines[self._row]):
            del self._changed()[self._column :]
