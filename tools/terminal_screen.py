"""The screen of a terminal: a grid of characters, and what xterm does to it.

Colours are left out, since a model is shown text. Two things bound the memory whatever a program does: the size of
the grid, and the number of lines that are kept of what has scrolled off. Which bytes mean which operation is for
`tools.terminal_codes` to know; meanings are those of ECMA-48 and of xterm's "Control Sequences".

Of the emulators for Python, pyte has no alternate screen, prints what it does not know (DCS strings, `CSI ! p`),
raises on numbers that a program may well send, and drops the rest of a line behind a character without width.
"""

import unicodedata
from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile

from tools.scrollback import Scrollback, Scrolled

HISTORY = 1_000
"""Lines of what has scrolled off that are kept until somebody looks."""
_TAB = 8
_LONGEST_CELL = 4
"""Code points in one cell: a character and what combines with it."""
LINE_DRAWING = dict(
    zip(
        (ord(character) for character in "`afgjklmnopqrstuvwxyz{|}~_"),
        "◆▒°±┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£· ",
        strict=True,
    )
)
"""DEC's special graphics, in which most programs draw their frames."""


@dataclass
class _Cursor:
    row: int = 0
    column: int = 0
    wraps: bool = False
    """Whether the last column has been written, so that the next character begins a line."""
    origin: bool = False
    """Whether rows are counted from the top margin."""
    graphics: list[bool] = field(default_factory=lambda: [False, False])
    """For each of the two character sets, whether it is the one of line drawings."""
    shift: int = 0

    def copy(self) -> "_Cursor":
        return _Cursor(self.row, self.column, self.wraps, self.origin, [*self.graphics], self.shift)


class Screen:
    """A grid of `columns` × `rows` with a cursor. Rows and columns are counted from 0 here; numbers are bounded."""

    def __init__(self, columns: int, rows: int, scrollback: Scrollback | None = None) -> None:
        self.columns, self.rows = columns, rows
        self._scrollback = scrollback or Scrollback(newest=HISTORY)
        self._told: deque[str] = deque()
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after `reset`; what has scrolled off stays."""
        self._grid = [self._blank() for _ in range(self.rows)]
        self._main: list[list[str]] | None = None
        """The ordinary screen, while the alternate one is shown."""
        self._cursor, self._saved = _Cursor(), _Cursor()
        self._last = " "
        self.soft_reset()
        self._tabs = set(range(_TAB, self.columns, _TAB))

    def soft_reset(self) -> None:
        """Put the modes back, and leave what is shown."""
        self.top, self.bottom = 0, self.rows - 1
        self.insert_mode = self.newline_mode = self.application_cursor = False
        self.auto_wrap = self.cursor_visible = True
        self._cursor.origin, self._cursor.graphics, self._cursor.shift = False, [False, False], 0

    # -- what there is to see

    def lines(self) -> list[str]:
        """Show the rows without the spaces at their ends, and without empty rows at the end."""
        shown = [_text(row) for row in self._grid]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def rows_as_before(self) -> int:
        """How many rows at the top are those that were there at the last call of `take_scrolled`, or have moved up."""
        pairs = zip(self._told, map(_text, self._grid), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def take_scrolled(self) -> Scrolled:
        """Give the lines that have scrolled off unseen since the last call, and how much of them was lost.

        Lines that were on the screen at the last call, and have not changed since, count as seen.
        """
        self._told = deque() if self._main else deque(_text(row) for row in self._grid)
        return self._scrollback.take()

    def lose(self, count: int) -> None:
        """Note that so many bytes were printed which never came here."""
        self._scrollback.lose(count)

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor."""
        return self._cursor.row, self._cursor.column

    @property
    def cursor_in_margins(self) -> tuple[int, int]:
        """Row and column of the cursor as programs count them in the present mode."""
        return self._cursor.row - (self.top if self._cursor.origin else 0), self._cursor.column

    # -- writing

    def draw(self, text: str) -> None:
        """Write text at the cursor; it holds no control characters."""
        if self._cursor.graphics[self._cursor.shift]:
            text = text.translate(LINE_DRAWING)
        if text.isascii() and self.auto_wrap and not self.insert_mode:
            self._draw_narrow(text)
        else:
            for character in text:
                self._draw_character(character)
        self._last = text[-1:] or self._last

    def repeat(self, count: int) -> None:
        """Write the last character again."""
        self.draw(self._last * min(count, self.columns))

    def _draw_narrow(self, text: str) -> None:
        position = 0
        while position < len(text):
            self._wrap()
            piece = text[position : position + self.columns - self._cursor.column]
            self._put(piece)
            position += len(piece)

    def _draw_character(self, character: str) -> None:
        width = _width(character)
        if width == 0:
            self._combine(character)
            return
        if width == 2 and self.columns < 2:
            return
        if self.auto_wrap:
            self._wrap()
            if self._cursor.column + width > self.columns:
                self._put(" ")
                self._wrap()
        self._cursor.column = min(self._cursor.column, self.columns - width)
        if self.insert_mode:
            self.insert_characters(width)
        self._put([character, ""] if width == 2 else character)

    def _put(self, cells: "str | list[str]") -> None:
        cursor, row = self._cursor, self._grid[self._cursor.row]
        end = cursor.column + len(cells)
        if row[cursor.column] == "":  # the right half of a wide character
            row[cursor.column - 1] = " "
        if end < self.columns and row[end] == "":
            row[end] = " "
        row[cursor.column : end] = cells
        cursor.wraps = end >= self.columns
        cursor.column = min(end, self.columns - 1)

    def _wrap(self) -> None:
        if self._cursor.wraps:
            self._cursor.column, self._cursor.wraps = 0, False
            self.index()

    def _combine(self, character: str) -> None:
        if not unicodedata.combining(character):
            return
        row = self._grid[self._cursor.row]
        column = self._cursor.column if self._cursor.wraps else self._cursor.column - 1
        if column > 0 and row[column] == "":
            column -= 1
        if column >= 0 and len(row[column]) < _LONGEST_CELL:
            row[column] += character

    # -- the cursor

    def move(self, rows: int, columns: int) -> None:
        """Move from where the cursor is, and stop at the margins or the edges."""
        row, column = self.cursor
        upper = self.top if row >= self.top else 0
        lower = self.bottom if row <= self.bottom else self.rows - 1
        self._place(min(max(row + rows, upper), lower), column + columns)

    def go(self, row: int | None = None, column: int | None = None) -> None:
        """Move to a row, or a column, or both, as programs count them."""
        if row is None:
            row = self._cursor.row
        elif self._cursor.origin:
            row = min(row + self.top, self.bottom)
        self._place(row, self._cursor.column if column is None else column)

    def _place(self, row: int, column: int) -> None:
        self._cursor.row = min(max(row, 0), self.rows - 1)
        self._cursor.column = min(max(column, 0), self.columns - 1)
        self._cursor.wraps = False

    def tab(self, count: int = 1) -> None:
        """Move over `count` tab stops, backwards if it is negative."""
        step = 1 if count > 0 else -1
        column = self._cursor.column
        for _ in range(min(abs(count), self.columns)):
            column += step
            while 0 < column < self.columns - 1 and column not in self._tabs:
                column += step
        self._place(self._cursor.row, column)

    def set_tab(self) -> None:
        """Set a tab stop at the cursor."""
        self._tabs.add(self._cursor.column)

    def clear_tab(self, how: int) -> None:
        """Clear the tab stop at the cursor, or all of them."""
        if how == 0:
            self._tabs.discard(self._cursor.column)
        elif how == 3:
            self._tabs.clear()

    def save_cursor(self) -> None:
        """Remember the cursor with its character sets."""
        self._saved = self._cursor.copy()

    def restore_cursor(self) -> None:
        """Put it back."""
        self._cursor = self._saved.copy()

    def set_origin(self, on: bool) -> None:
        """Count rows from the top margin, or from the top."""
        self._cursor.origin = on
        self.go(0, 0)

    def choose_set(self, number: int, graphics: bool) -> None:
        """Say whether a character set is the one of line drawings."""
        self._cursor.graphics[number] = graphics

    def shift(self, number: int) -> None:
        """Write with that character set."""
        self._cursor.shift = number

    # -- lines

    def index(self) -> None:
        """Move a row down; at the bottom margin the screen scrolls."""
        if self._cursor.row == self.bottom:
            self.scroll(1)
        elif self._cursor.row < self.rows - 1:
            self._cursor.row += 1
        self._cursor.wraps = False

    def next_line(self) -> None:
        """Move to the beginning of the next row."""
        self.index()
        self.go(column=0)

    def reverse_index(self) -> None:
        """Move a row up; at the top margin the screen scrolls back."""
        if self._cursor.row == self.top:
            self.scroll(-1)
        elif self._cursor.row > 0:
            self._cursor.row -= 1
        self._cursor.wraps = False

    def set_margins(self, top: int, bottom: int) -> None:
        """Scroll only from row `top` to row `bottom` from now on."""
        bottom = min(bottom, self.rows - 1)
        if 0 <= top < bottom:
            self.top, self.bottom = top, bottom
            self.go(0, 0)

    def scroll(self, count: int) -> None:
        """Scroll what is between the margins up by `count` rows, or down if it is negative."""
        if count > 0 and self.top == 0 and self._main is None:
            for row in self._grid[: min(count, self.bottom + 1)]:
                self._keep(_text(row))
        self._shift_rows(self.top, count)

    def shift_lines(self, count: int) -> None:
        """Take out `count` lines at the cursor, or put empty ones in if it is negative."""
        if self.top <= self._cursor.row <= self.bottom:
            self._shift_rows(self._cursor.row, count)
            self._place(self._cursor.row, 0)

    def _shift_rows(self, first: int, count: int) -> None:
        height = self.bottom - first + 1
        blank = [self._blank() for _ in range(min(abs(count), height))]
        rows = self._grid[first : self.bottom + 1]
        self._grid[first : self.bottom + 1] = (rows[count:] + blank) if count > 0 else (blank + rows)[:height]

    def _keep(self, line: str) -> None:
        if self._told and self._told.popleft() == line:
            return
        self._scrollback.add(line)

    # -- characters

    def insert_characters(self, count: int) -> None:
        """Push the rest of the line to the right."""
        row, column = self._grid[self._cursor.row], self._cursor.column
        row[column:column] = [" "] * min(count, self.columns)
        del row[self.columns :]
        _mend(row)

    def delete_characters(self, count: int) -> None:
        """Pull the rest of the line to the left."""
        row, column = self._grid[self._cursor.row], self._cursor.column
        del row[column : column + count]
        row += [" "] * (self.columns - len(row))
        _mend(row)

    def erase_characters(self, count: int) -> None:
        """Blank characters from the cursor on."""
        self._erase(self._cursor.row, self._cursor.column, min(self._cursor.column + count, self.columns))

    def erase_line(self, how: int) -> None:
        """Blank the line from the cursor on (0), up to the cursor (1), or whole (2)."""
        row, column = self.cursor
        if how in (0, 1, 2):
            self._erase(row, column if how == 0 else 0, column + 1 if how == 1 else self.columns)

    def erase_screen(self, how: int) -> None:
        """Blank the screen from the cursor on (0), up to the cursor (1), or whole (2)."""
        whole = {0: range(self._cursor.row + 1, self.rows), 1: range(self._cursor.row), 2: range(self.rows)}
        for row in whole.get(how, ()):
            self._grid[row] = self._blank()
        if how in (0, 1):
            self.erase_line(how)

    def fill(self, character: str) -> None:
        """Fill the screen with one character."""
        self._grid = [[character] * self.columns for _ in range(self.rows)]

    def _erase(self, row: int, start: int, end: int) -> None:
        cells = self._grid[row]
        cells[start:end] = [" "] * (end - start)
        _mend(cells)
        self._cursor.wraps = False

    # -- the alternate screen

    def show_alternate(self, on: bool) -> None:
        """Change to the screen of full-screen programs, which begins empty, or back to the one of before."""
        if on and self._main is None:
            self._main, self._grid = self._grid, [self._blank() for _ in range(self.rows)]
        elif not on and self._main is not None:
            self._main, self._grid = None, self._main

    def _blank(self) -> list[str]:
        return [" "] * self.columns


def _text(row: list[str]) -> str:
    return "".join(row).rstrip(" ")


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cs", "Cc", "Zl", "Zp"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _mend(row: list[str]) -> None:
    """Blank the halves of wide characters whose other half is gone."""
    if "".join(row).isascii() and "" not in row:
        return
    for column, cell in enumerate(row):
        if cell == "":
            if column == 0 or not row[column - 1] or _width(row[column - 1][0]) != 2:
                row[column] = " "
        elif _width(cell[0]) == 2 and row[column + 1 : column + 2] != [""]:
            row[column] = " "
