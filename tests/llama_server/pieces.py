"""Cuts replies into pieces, each of which becomes a token of its own.

A piece occurs once in the whole script, so that it alone says what comes next, and the server has to find the same
pieces again when a reply comes back as history: else its prefix cache would miss, which is what the tests measure.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from llama_server.replies import CALL, Texts

THINK = "<think>"
LINE_END = "\n"
THINKING_ENDS = "\n</think>\n\n"
TURN_ENDS = "<|im_end|>"
TURN_BEGINS = "<|im_start|>"
MARKUP = (THINKING_ENDS, CALL, THINK, TURN_ENDS, TURN_BEGINS, "<|endoftext|>", "</think>", "</tool_call>",
          "<tool_response>", "</tool_response>")  # fmt: skip
"""The tokens of the chat format. A Qwen has no single token for the end of thinking with its three line ends; here it
is one, because it means "now comes what is spoken", which neither `</think>` nor a line end alone says."""

SHORTEST_PIECE = 4
"""In characters: a shorter one would be found in every text."""

_TAG = re.compile(r"</?[a-z_]+(?:=[^<>\n]*)?>|<\|[a-z_]+\|>")


class CannotCutError(ValueError):
    """A reply says something that another one says as well, and nothing beside it; the message names it."""


class Pieces(NamedTuple):
    """The pieces of a reply's three parts."""

    thought: tuple[str, ...]
    spoken: tuple[str, ...]
    called: tuple[str, ...]

    @property
    def tokens(self) -> list[str]:
        """What is generated for it, from behind `<think>` and its line end on."""
        calls = [CALL, *self.called] if self.called else []
        return [*self.thought, THINKING_ENDS, *self.spoken, *calls, TURN_ENDS]


def cut_all(script: Sequence[Texts], length: int) -> list[Pieces]:
    """Cut every reply into pieces of about `length` characters; longer ones where those would be ambiguous.

    Raises CannotCutError.
    """
    scissors = _Scissors(script, length)
    cut = [
        Pieces(*(scissors.cut(text, f"reply {number}, {part}") for part, text in texts._asdict().items()))
        for number, texts in enumerate(script, 1)
    ]
    vocabulary = by_length([*MARKUP, *(piece for pieces in cut for part in pieces for piece in part)])
    for number, pieces in enumerate(cut, 1):
        expected = [THINK, LINE_END, *pieces.tokens]
        if split("".join(expected), vocabulary) != expected:
            message = f"reply {number} would not be read back in the pieces in which it is generated"
            raise CannotCutError(message)
    return cut


class _Scissors:
    """Cuts texts of one script."""

    def __init__(self, script: Sequence[Texts], length: int) -> None:
        self._everything = "\0".join(text for texts in script for text in texts)
        self._length = max(length, SHORTEST_PIECE)
        self._taken: set[str] = {*MARKUP}

    def cut(self, text: str, where: str) -> tuple[str, ...]:
        """Cut one text, each piece as short as the length, its own uniqueness and the tags in the text allow."""
        whole_tags = {place for tag in _TAG.finditer(text) for place in range(tag.start() + 1, tag.end())}
        pieces: list[str] = []
        start = 0
        while (end := self._end(text, start, whole_tags)) is not None:
            pieces.append(text[start:end])
            start = end
        if rest := text[start:]:  # it says nothing of its own, so it stays with the piece before it
            pieces[-1:] = [pieces[-1] + rest] if pieces else [rest]
        for piece in pieces:
            if piece in self._taken or len(piece) < SHORTEST_PIECE:
                message = f"{where}: {piece[:60]!r} is too short, or said elsewhere as well; let it say something else"
                raise CannotCutError(message)
            self._taken.add(piece)
        return tuple(pieces)

    def _end(self, text: str, start: int, whole_tags: set[int]) -> int | None:
        """Where a piece that begins at `start` can end soonest; None if it would have to go beyond the text."""
        shortest = start + self._length
        ends = range(shortest, len(text) + 1)
        # What is unique stays so when it grows, so the first unique end can be found by halving.
        end = shortest + bisect_left(ends, True, key=lambda end: self._is_unique(text[start:end]))
        while end in whole_tags:
            end += 1
        return end if end <= len(text) else None

    def _is_unique(self, piece: str) -> bool:
        return self._everything.find(piece, self._everything.find(piece) + 1) < 0


def by_length(tokens: Iterable[str]) -> list[str]:
    """Tokens in the order in which llama.cpp looks for them: the longest first, in bytes."""
    return sorted(tokens, key=lambda token: len(token.encode()), reverse=True)


def split(text: str, tokens: Sequence[str]) -> list[str]:
    """`text` as llama.cpp splits it at its special tokens, given in order: each takes what is left of the text."""
    present = [token for token in tokens if token in text]
    return list(_split(text, present))


def _split(text: str, tokens: Sequence[str]) -> Iterator[str]:
    for number, token in enumerate(tokens):
        before, found, after = text.partition(token)
        if found:
            yield from _split(before, tokens[number + 1 :])
            yield token
            yield from _split(after, tokens[number:])
            return
    if text:
        yield text
