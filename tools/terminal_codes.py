"""What a program writes to its terminal, read as operations on a `Screen`, and what the terminal answers.

Never raises, whatever the bytes are, and takes time in proportion to their number. What is unknown is left out and
never shown as text. Sequences are those of xterm, whose description in terminfo even small images have.
"""

import codecs
import re
from collections.abc import Callable

from tools.terminal_screen import Screen

_PENDING = 256
"""Characters of a sequence whose end has not come yet; a longer one is none."""
_PARAMETERS = 16
_LARGEST = 9999
_ANSWERS = 4096
"""Bytes of answers to one piece of output: a file full of questions must not become a flood of keys."""

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<prefix>[<-?]?)(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|(?P<string>\x1b[P\]X^_])"
    r"|\x1b(?P<between_escape>[ -/]*)(?P<escape>[0-Z\\-~])"
    r"|(?P<unfinished>\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z)"
    r"|(?P<broken>\x1b(?:\[[0-?]*[ -/]*|[ -/]*))"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
_STRING_END = re.compile(r"[\x07\x18\x1a\x1b]")
_TITLE_END = re.compile(r"[\x07\x18\x1a\x1b\r\n]")  # a title has no line break: it would swallow all that follows

_Parameters = list[int]


class TerminalCodes:
    """Reads output piece by piece; a sequence or a character may be cut anywhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._string_end: re.Pattern[str] | None = None
        """What ends the string that is being skipped."""
        self._answers = bytearray()
        self._sequences = _sequences(screen)

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of output, and return what to send back to the program."""
        text = self._pending + self._decoder.decode(data)
        self._pending = ""
        position = 0
        while position < len(text):
            if self._string_end:
                position = self._skip(text, position)
                continue
            match = _TOKEN.match(text, position)
            assert match
            position = match.end()
            self._take(match)
        answers = bytes(self._answers[:_ANSWERS])
        self._answers.clear()
        return answers

    def _take(self, match: re.Match[str]) -> None:
        kind, whole = match.lastgroup, match[0]
        if kind == "text":
            self._screen.draw(whole)
        elif kind == "control":
            self._control(whole)
        elif kind == "final":
            self._sequence(match["prefix"], match["parameters"], match["between"] + match["final"])
        elif kind == "escape":
            self._escape(match["between_escape"], match["escape"])
        elif kind == "string":
            self._string_end = _TITLE_END if whole == "\x1b]" else _STRING_END
        elif kind == "unfinished":
            self._pending = whole if len(whole) <= _PENDING else ""

    def _skip(self, text: str, position: int) -> int:
        assert self._string_end
        match = self._string_end.search(text, position)
        if not match:
            return len(text)
        self._string_end = None
        # An escape ends the string and begins something, be it only the rest of the proper end.
        return match.start() if match[0] in "\x1b\r\n" else match.end()

    def _control(self, control: str) -> None:
        screen = self._screen
        if control == "\r":
            screen.go(column=0)
        elif control in "\n\v\f":
            (screen.next_line if screen.newline_mode else screen.index)()
        elif control == "\b":
            screen.move(0, -1)
        elif control == "\t":
            screen.tab()
        elif control in "\x0e\x0f":
            screen.shift(1 if control == "\x0e" else 0)

    def _escape(self, kind: str, final: str) -> None:
        screen = self._screen
        if kind in ("(", ")"):
            screen.choose_set(kind == ")", final == "0")
        elif kind == "#" and final == "8":
            screen.fill("E")
        elif kind == "" and final in _ESCAPES:
            _ESCAPES[final](screen)

    def _sequence(self, prefix: str, parameters: str, final: str) -> None:
        numbers = [_number(part) for part in parameters.split(";", _PARAMETERS)[:_PARAMETERS]]
        if final in ("h", "l") and prefix in ("", "?"):
            for number in numbers:
                self._set_mode(f"{prefix}{number}", final == "h")
        elif answer := self._answer(f"{prefix}{final}", numbers):
            self._answers += answer.encode()
        elif (prefix in ("", "?") and final in "JK") or (prefix == "" and final in self._sequences):
            self._sequences[final](numbers)
        elif prefix == "" and final == "!p":
            self._screen.soft_reset()

    def _answer(self, sequence: str, numbers: _Parameters) -> str:
        row, column = (place + 1 for place in self._screen.cursor_in_margins)
        answers = {
            ("c", 0): "\x1b[?1;2c",
            (">c", 0): "\x1b[>0;10;0c",
            ("n", 5): "\x1b[0n",
            ("n", 6): f"\x1b[{row};{column}R",
            ("?n", 6): f"\x1b[?{row};{column}R",
            ("t", 18): f"\x1b[8;{self._screen.rows};{self._screen.columns}t",
            ("?$p", numbers[0]): f"\x1b[?{numbers[0]};0$y",
        }
        return answers.get((sequence, numbers[0]), "")

    def _set_mode(self, mode: str, on: bool) -> None:
        screen = self._screen
        if mode in _SWITCHES:
            setattr(screen, _SWITCHES[mode], on)
        elif mode == "?6":
            screen.set_origin(on)
        elif mode in ("?47", "?1047"):
            screen.show_alternate(on)
        elif mode == "?1048":
            (screen.save_cursor if on else screen.restore_cursor)()
        elif mode == "?1049":
            if on:
                screen.save_cursor()
            screen.show_alternate(on)
            if not on:
                screen.restore_cursor()


_SWITCHES = {
    "4": "insert_mode",
    "20": "newline_mode",
    "?1": "application_cursor",
    "?7": "auto_wrap",
    "?25": "cursor_visible",
}

_ESCAPES: dict[str, Callable[[Screen], None]] = {
    "7": Screen.save_cursor,
    "8": Screen.restore_cursor,
    "D": Screen.index,
    "E": Screen.next_line,
    "H": Screen.set_tab,
    "M": Screen.reverse_index,
    "c": Screen.reset,
}


def _sequences(screen: Screen) -> dict[str, Callable[[_Parameters], None]]:
    """The operations by the last character of `CSI … final`; `n[0] or 1` is a count that may be left out."""

    def go(numbers: _Parameters) -> None:
        screen.go((numbers[0] or 1) - 1, (numbers[1] or 1) - 1 if len(numbers) > 1 else 0)

    def set_margins(numbers: _Parameters) -> None:
        screen.set_margins((numbers[0] or 1) - 1, ((numbers[1] if len(numbers) > 1 else 0) or screen.rows) - 1)

    def move_lines(rows: int) -> None:
        screen.move(rows, 0)
        screen.go(column=0)

    return {
        "@": lambda n: screen.insert_characters(n[0] or 1),
        "A": lambda n: screen.move(-(n[0] or 1), 0),
        "B": lambda n: screen.move(n[0] or 1, 0),
        "C": lambda n: screen.move(0, n[0] or 1),
        "D": lambda n: screen.move(0, -(n[0] or 1)),
        "E": lambda n: move_lines(n[0] or 1),
        "F": lambda n: move_lines(-(n[0] or 1)),
        "G": lambda n: screen.go(column=(n[0] or 1) - 1),
        "H": go,
        "I": lambda n: screen.tab(n[0] or 1),
        "J": lambda n: screen.erase_screen(n[0]),
        "K": lambda n: screen.erase_line(n[0]),
        "L": lambda n: screen.shift_lines(-(n[0] or 1)),
        "M": lambda n: screen.shift_lines(n[0] or 1),
        "P": lambda n: screen.delete_characters(n[0] or 1),
        "S": lambda n: screen.scroll(n[0] or 1),
        "T": lambda n: screen.scroll(-(n[0] or 1)),
        "X": lambda n: screen.erase_characters(n[0] or 1),
        "Z": lambda n: screen.tab(-(n[0] or 1)),
        "`": lambda n: screen.go(column=(n[0] or 1) - 1),
        "a": lambda n: screen.move(0, n[0] or 1),
        "b": lambda n: screen.repeat(n[0] or 1),
        "d": lambda n: screen.go(row=(n[0] or 1) - 1),
        "e": lambda n: screen.move(n[0] or 1, 0),
        "f": go,
        "g": lambda n: screen.clear_tab(n[0]),
        "r": set_margins,
        "s": lambda _: screen.save_cursor(),
        "u": lambda _: screen.restore_cursor(),
    }


def _number(text: str) -> int:
    """A parameter; parts of one (`4:3`) are for colours and underlines."""
    digits = text.partition(":")[0].lstrip("0")
    return 0 if not digits.isdecimal() else min(int(digits[:5]), _LARGEST)
