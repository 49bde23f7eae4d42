"""A search pattern in ripgrep's syntax, said to each of the programs that may have to look for it.

There are three: `rg` itself, `grep -P` and `grep -E`. Each form is written anew from what the pattern means, so that
all three find the same lines and refuse the same mistakes. Only whole lines are looked for, which makes greedy and
lazy repetition the same, and groups no more than parentheses. The meaning is that of the Rust crate `regex`, without
its set operations, and with one leniency: a brace that repeats nothing stands for itself, as in `struct {`.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tools.search_classes import Class, ClassItem, PatternError, escaped, named_class

Case = Literal["sensitive", "insensitive", "smart"]

LONGEST = 2_000
MOST_REPETITIONS = 1_000
MOST_PARTS = 5_000
"""Of a pattern whose repetitions are written out: `grep -E` takes seconds and gigabytes for more."""
_REPETITION = re.compile(r"\{(\d{0,9})(?:(,)(\d{0,9}))?\}")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|:)")
_FLAGS = re.compile(r"\?([ims]*)(?:-([ims]+))?([:)])")
_CODE_POINT = re.compile(r"x([0-9A-Fa-f]{2})|[xuU]\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_CONTROLS = {"t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_ONE_LINE = "a search looks at one line at a time, and no line holds a line break"


@dataclass(frozen=True)
class SearchPattern:
    """The same pattern for each program."""

    rust: str
    perl: str
    extended: str | None
    """None: it cannot be said in a POSIX extended expression."""
    ignore_case: bool


class _Piece(NamedTuple):
    rust: str
    perl: str
    extended: str | None
    repeatable: bool = False


def read_pattern(pattern: str, case: Case) -> SearchPattern:
    """Read what a model wrote. Raises PatternError, whose message says what to write instead."""
    if not pattern:
        raise PatternError("it is empty")
    if len(pattern) > LONGEST:
        message = f"it has {len(pattern)} characters, and {LONGEST} are the most"
        raise PatternError(message)
    reader = _Reader(pattern)
    pieces = reader.pieces()
    extended = [piece.extended for piece in pieces if piece.extended is not None]
    if reader.anchors_in_group and reader.repeats_group:  # the C library's own expressions get these wrong
        extended = []
    smart = case == "smart" and not reader.has_capital
    return SearchPattern(
        rust="".join(piece.rust for piece in pieces),
        perl="(*UCP)" + "".join(piece.perl for piece in pieces),
        extended="".join(extended) if len(extended) == len(pieces) else None,
        ignore_case=case == "insensitive" or smart or reader.ignores_case,
    )


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[int] = []
        """Where the groups begin that are not closed yet."""
        self._sizes = [0]
        """How many parts there are on each level, and how many the last of them has."""
        self._last_size = 0
        self.has_capital = False
        self.anchors_in_group = False
        self.repeats_group = False
        self.ignores_case = False

    def pieces(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        while self._at < len(self._text):
            pieces.append(self._next(pieces))
            if pieces[-1].repeatable and pieces[-1].rust != ")":
                self._add_size(1)
        if self._open:
            message = rf"the parenthesis at character {self._open[-1] + 1} is not closed; write \( for one itself"
            raise PatternError(message)
        return pieces

    def _add_size(self, size: int) -> None:
        self._last_size = size
        self._sizes[-1] += size
        if self._sizes[-1] > MOST_PARTS:
            message = f"it is too large: with its repetitions written out it has more than {MOST_PARTS} parts"
            raise PatternError(message)

    def _begin_group(self, start: int) -> None:
        self._open.append(start)
        self._sizes.append(0)

    def _next(self, before: list[_Piece]) -> _Piece:
        character = self._text[self._at]
        self._at += 1
        match character:
            case "\\":
                return self._escape()
            case "[":
                return self._bracket()
            case "(":
                return self._group(first=not before)
            case ")":
                return self._close()
            case "*" | "+" | "?":
                return self._repeat(character, before)
            case "{":
                return self._brace(before)
            case ".":
                return _Piece(".", ".", ".", repeatable=True)
            case "^" | "$" | "|":
                self.anchors_in_group |= character != "|" and bool(self._open)
                return _Piece(character, character, character)
            case _:
                return self._literal(character)

    def _literal(self, character: str) -> _Piece:
        self._see(character)
        return _Piece(*escaped(character), repeatable=True)

    def _see(self, character: str, *, in_class: bool = False) -> None:
        if character == "\n":
            raise PatternError(_ONE_LINE)
        if (character == "\0" and not in_class) or "\ud800" <= character <= "\udfff":
            message = f"{character!a} is in no text file"
            raise PatternError(message)
        self.has_capital |= character.isupper()

    # Escapes

    def _escape(self) -> _Piece:
        letter = self._letter()
        if letter in "bB":
            self.anchors_in_group |= bool(self._open)
            return _Piece(f"\\{letter}", f"\\{letter}", f"\\{letter}")
        item = self._escaped_item(letter)
        if isinstance(item, str):
            return self._literal(item)
        return _Piece(item.rust, item.perl, Class((item,)).extended, repeatable=True)

    def _letter(self) -> str:
        if self._at == len(self._text):
            raise PatternError(r"it ends with a backslash; write \\ for one itself")
        self._at += 1
        return self._text[self._at - 1]

    def _escaped_item(self, letter: str) -> ClassItem | str:
        """What an escape means: a class of characters, or one character."""
        if match := _CODE_POINT.match(self._text, self._at - 1):
            self._at = match.end()
            number = int(next(group for group in match.groups() if group), 16)
            if number > 0x10FFFF:
                message = f"there is no character {match[0]}"
                raise PatternError(message)
            return chr(number)
        if letter == "n":
            raise PatternError(_ONE_LINE)
        if letter in "pP":
            return self._category(letter)
        if item := named_class(f"\\{letter}"):
            return item
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter.isalnum():
            raise PatternError(_explain_escape(letter))
        return letter

    def _category(self, letter: str) -> ClassItem:
        match = re.compile(r"\{(\w+)\}|(\w)").match(self._text, self._at)
        item = named_class(f"\\{letter}{{{match[1] or match[2]}}}") if match else None
        if not match or not item:
            message = rf"\{letter} needs a category of Unicode, such as \{letter}{{L}} or \{letter}{{Lu}}"
            raise PatternError(message)
        self._at = match.end()
        return item

    # Classes

    def _bracket(self) -> _Piece:
        start = self._at - 1
        if named := re.compile(r"\[:\^?[a-z]+:\]").match(self._text, start):
            message = f"the class {named[0]} stands outside of a bracket; write [{named[0]}]"
            raise PatternError(message)
        negated = self._take("^")
        items: list[ClassItem] = []
        while True:
            if self._at == len(self._text):
                message = rf"the bracket at character {start + 1} is not closed; write \[ for one itself"
                raise PatternError(message)
            if items and self._take("]"):
                break
            items.append(self._class_item())
        whole = Class(tuple(items), negated=negated)
        return _Piece(whole.rust, whole.perl, whole.extended, repeatable=True)

    def _take(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _class_item(self) -> ClassItem:
        if match := re.compile(r"\[:\^?[a-z]+:\]").match(self._text, self._at):
            if item := named_class(match[0]):
                self._at = match.end()
                return item
            message = f"there is no class {match[0]}"
            raise PatternError(message)
        first = self._class_character()
        if isinstance(first, ClassItem):
            return first
        is_range = self._text.startswith("-", self._at) and self._text[self._at + 1 : self._at + 2] not in ("]", "")
        if not is_range:
            return ClassItem.of_range(first, first)
        self._at += 1
        last = self._class_character()
        first = max(first, "\x01")  # `[^\x00-\x7f]` is how people say "not ASCII", and no text holds a NUL
        if isinstance(last, ClassItem) or last < first:
            message = rf"the range that begins with {first!r} in a bracket has no end; write \- for a dash itself"
            raise PatternError(message)
        return ClassItem.of_range(first, last)

    def _class_character(self) -> ClassItem | str:
        character = self._letter()
        if character == "\\":
            item = self._escaped_item(self._letter())
            if isinstance(item, ClassItem):
                return item
            character = item
        self._see(character, in_class=True)
        return character

    # Groups and repetition

    def _group(self, *, first: bool) -> _Piece:
        start = self._at - 1
        if match := _GROUP.match(self._text, self._at):
            self._at = match.end()
        elif match := _FLAGS.match(self._text, self._at):
            self._at = match.end()
            on, off = "i" in match[1], "i" in (match[2] or "")
            if match[3] == ")":
                return self._flag(on=on, off=off, first=first)
            self._begin_group(start)
            flag = "i" if on and not off else "-i" if off else ""
            return _Piece(f"(?{flag}:", f"(?{flag}:", None if flag else "(")
        elif self._text.startswith("?", self._at):
            raise PatternError("groups that begin with (? and look around, name or comment are not in ripgrep's syntax")
        self._begin_group(start)
        return _Piece("(?:", "(?:", "(")

    def _flag(self, *, on: bool, off: bool, first: bool) -> _Piece:
        if first and on and not off:
            self.ignores_case = True
        elif on or off:
            flag = "(?-i)" if off else "(?i)"
            return _Piece(flag, flag, None)
        return _Piece("", "", "")

    def _close(self) -> _Piece:
        if not self._open:
            message = rf"the parenthesis at character {self._at} closes nothing; write \) for one itself"
            raise PatternError(message)
        self._open.pop()
        self._add_size(self._sizes.pop())
        return _Piece(")", ")", ")", repeatable=True)

    def _repeat(self, sign: str, before: list[_Piece]) -> _Piece:
        if not (before and before[-1].repeatable):
            message = rf"the {sign} at character {self._at} has nothing to repeat; write \{sign} for one itself"
            raise PatternError(message)
        self._take("?")  # lazy
        self.repeats_group |= before[-1].rust == ")"
        return _Piece(sign, sign, sign)

    def _brace(self, before: list[_Piece]) -> _Piece:
        match = _REPETITION.match(self._text, self._at - 1)
        if not (match and (match[1] or match[3]) and before and before[-1].repeatable):
            return self._literal("{")
        self._at = match.end()
        least = int(match[1] or 0)
        most = least if not match[2] else int(match[3]) if match[3] else None
        if max(least, most or 0) > MOST_REPETITIONS or (most is not None and most < least):
            message = f"{match[0]} is no repetition: up to {MOST_REPETITIONS} are, the smaller number first"
            raise PatternError(message)
        self._add_size(self._last_size * (max(least, most or 0) - 1))
        spelled = f"{{{least}}}" if most == least else f"{{{least},{'' if most is None else most}}}"
        self._take("?")  # lazy
        self.repeats_group |= before[-1].rust == ")"
        return _Piece(spelled, spelled, spelled)


def _explain_escape(letter: str) -> str:
    if letter.isdigit():
        return f"\\{letter} refers back to a group, which is not in ripgrep's syntax"
    if letter in "AzZ":
        return f"\\{letter} is not needed: ^ and $ are the beginning and the end of a line"
    return f"\\{letter} has no meaning in ripgrep's syntax"
