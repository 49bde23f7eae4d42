"""How what a program printed is shown to a model: safe, short, and the same bytes every time.

A result becomes part of every later prompt, so each step here is a pure function of its input: no clock, no
random name. The order is decode, clean, cut, neutralise, and a fixed header line on top.
"""

import re
from collections import deque

from tools.control_tokens import JOINER, neutralise, restore
from tools.overwritten import as_left_standing

__all__ = [
    "CHARACTER_LIMIT", "JOINER", "LINE_LIMIT", "BoundedOutput", "clean", "cut_lines", "cut_middle", "decode", "header",
    "neutralise", "restore",
]  # fmt: skip

CHARACTER_LIMIT = 16_000
"""Characters of one result that a model gets to see; more than that costs context and says little."""
LINE_LIMIT = 2_000
HEAD_SHARE = 0.4
"""Errors stand at the end of most outputs, so the tail gets the larger share."""

_UNSEEN = (
    ((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F)),  # C0 and C1 controls
    ((0x61C, 0x61C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069)),  # what turns the direction of text
    ((0x2028, 0x2029), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F), (0xE0100, 0xE01EF)),  # line ends of no terminal; tags
    ((0xAD, 0xAD), (0x34F, 0x34F), (0x115F, 0x1160), (0x180E, 0x180E), (0x200B, 0x200B)),  # of no width, or blank
    ((0x2060, 0x2064), (0x3164, 0x3164), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0)),
)
"""What a person would not see, or see elsewhere (UTR 36, UTS 39). Joiners stay, since emoji are made with them."""


def _spelling(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_RANGES = [(first, last) for group in _UNSEEN for first, last in group]
_SPELLED = {code: _spelling(code) for first, last in _RANGES for code in range(first, last + 1)}
_ANY_UNSEEN = re.compile(
    "[" + "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in _RANGES) + "]"
)


class BoundedOutput:
    """Keeps the head and the tail of a stream of bytes, in memory that does not grow with what is printed."""

    def __init__(self, limit: int) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_length = 0
        self._half = limit // 2
        self.dropped = 0
        """Bytes that were thrown away between head and tail."""

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        room = self._half - len(self._head)
        self._head += data[:room]
        if rest := data[room:]:
            self._tail.append(rest)
            self._tail_length += len(rest)
        while self._tail and self._tail_length - len(self._tail[0]) >= self._half:
            oldest = self._tail.popleft()
            self._tail_length -= len(oldest)
            self.dropped += len(oldest)

    def finish(self) -> tuple[bytes, int]:
        """Head and tail as one, and the offset of the gap between them when `dropped` is not 0."""
        return bytes(self._head) + b"".join(self._tail), len(self._head)


def header(exit_code: int | None, seconds: float) -> str:
    """The first line of every result: `exit=0 0.4s`. A template that trims a result cannot eat indentation."""
    return f"exit={'none' if exit_code is None else exit_code} {seconds:.1f}s"


def decode(data: bytes) -> str:
    r"""Read bytes as UTF-8; what is no UTF-8 is shown as `\xff`."""
    return data.decode("utf-8", "backslashreplace")


def clean(text: str) -> str:
    """Give the lines as a terminal shows them at the end, without colours, and spell what no person would see."""
    text = as_left_standing(text)
    return text.translate(_SPELLED) if _ANY_UNSEEN.search(text) else text


def cut_lines(text: str, limit: int = LINE_LIMIT) -> str:
    """Cut every line that is longer than `limit` characters, and say how much is missing."""
    if len(text) <= limit:
        return text
    return "\n".join(
        line if len(line) <= limit else f"{line[:limit]} [{len(line) - limit} characters of this line cut]"
        for line in text.split("\n")
    )


def cut_middle(text: str, notice: str, limit: int = CHARACTER_LIMIT) -> str:
    """Keep the head and the tail of a long `text`, at line ends where possible; `{count}` in `notice` is filled."""
    if len(text) <= limit:
        return text
    head_end = int(limit * HEAD_SHARE)
    tail_start = len(text) - (limit - head_end)
    if (line_end := text.rfind("\n", head_end // 2, head_end)) != -1:
        head_end = line_end + 1
    if (line_end := text.find("\n", tail_start, tail_start + (limit - head_end) // 2)) != -1:
        tail_start = line_end + 1
    gap = notice.replace("{count}", str(tail_start - head_end))
    return f"{text[:head_end].removesuffix(chr(10))}\n{gap}\n{text[tail_start:]}"
