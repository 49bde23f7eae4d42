"""How what a program printed is shown to a model: safe, short, and the same bytes every time.

A result becomes part of every later prompt, so each step here is a pure function of its input: no clock, no
random name. The order is decode, clean, cut, neutralise, and a fixed header line on top.
"""

import re
from collections import deque

CHARACTER_LIMIT = 16_000
"""Characters of one result that a model gets to see; more than that costs context and says little."""
LINE_LIMIT = 2_000
HEAD_SHARE = 0.4
"""Errors stand at the end of most outputs, so the tail gets the larger share."""

JOINER = "\u2060"  # word joiner: invisible, zero width, and no tokenizer's control token holds one
_CONTROL_TOKEN = re.compile(
    r"<(\u2060*)(\|[A-Za-z0-9_]{1,40}\|>|\uff5c[^\uff5c<>\n]{1,40}\uff5c>|/?(?:think|tool_call|tool_response|start_of_turn|end_of_turn)>)"
)
_DEFUSED_TOKEN = re.compile(_CONTROL_TOKEN.pattern.replace("(\\u2060*)", "\\u2060(\\u2060*)"))
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL_CHARACTER = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""C0 and C1 controls, what turns the direction of text, line ends of no terminal, and invisible tags (UTR 36)."""


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
    """Take out what only a terminal understands: colours, cursor moves, progress that overwrites its line."""
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return _CONTROL_CHARACTER.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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


def neutralise(text: str) -> str:
    """Defuse the control tokens of chat formats, which many servers would take for the real ones.

    `<|im_end|>` in a file that is shown would end the tool's turn on a server that parses control tokens
    wherever they stand. An invisible joiner behind the `<` prevents it. `restore` is the exact inverse.
    """
    return _CONTROL_TOKEN.sub(rf"<\1{JOINER}\2", text)


def restore(text: str) -> str:
    """Undo `neutralise`, for text that a model copied from what it was shown."""
    return _DEFUSED_TOKEN.sub(r"<\1\2", text)
