"""Text of unknown origin made safe to show: nothing in it moves a cursor, turns a line around, or fills a page."""

import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, those that reorder text, and halves of surrogate pairs."""
_LINE_CHARACTERS = 1_000


def visible(text: str) -> str:
    """`text` with a picture or an escape for each character that acts instead of being seen; CRLF becomes LF."""
    return _UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str, characters: int = 200) -> str:
    """`text` for a cell of a table: visible, on one line, cut."""
    line = " ⏎ ".join(part.strip() for part in visible(text).strip().splitlines())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def shortened(text: str, characters: int) -> str:
    """`text` made visible, its middle left out when it is longer than `characters`, and so with each long line."""
    kept = _without_middle(text, characters, "\n… {:,} characters left out …\n")
    if len(kept) <= _LINE_CHARACTERS:
        return visible(kept)
    lines = [_without_middle(line, _LINE_CHARACTERS, " … {:,} characters left out … ") for line in kept.split("\n")]
    return visible("\n".join(lines))


def _without_middle(text: str, characters: int, notice: str) -> str:
    if len(text) <= characters:
        return text
    tail = characters // 3
    head = characters - tail
    return text[:head] + notice.format(len(text) - characters) + text[len(text) - tail :]


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
