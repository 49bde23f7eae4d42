"""Tokens: a small vocabulary that cuts any text without loss, and a prefix cache over it.

A token is a control token, a short piece of a word, a digit, a line end, or another character. Counts are those of
no real model; they are exact for comparisons.
"""

import re
from collections import deque
from functools import lru_cache

_PIECE = re.compile(
    r"<\|[a-z_]+(?::[0-9a-f]+)?\|>|</?(?:think|tool_call|tool_response)>|[ ]?[^\W\d_]{1,6}|.", re.DOTALL
)

Tokens = tuple[int, ...]


class Vocabulary:
    """Numbers for pieces of text, given out as they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._pieces: list[str] = []
        self.encode = lru_cache(8192)(self._encode)

    def _encode(self, text: str) -> Tokens:
        return tuple(map(self._number, _PIECE.findall(text)))

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens that this vocabulary gave out. Raises IndexError for another."""
        return "".join(self._pieces[token] for token in tokens)

    def cut(self, text: str, tokens: int) -> str:
        """The first `tokens` tokens of `text`, as text."""
        return self.decode(list(self._encode(text)[:tokens]))

    def _number(self, piece: str) -> int:
        number = self._numbers.setdefault(piece, len(self._pieces))
        if number == len(self._pieces):
            self._pieces.append(piece)
        return number


class PrefixCache:
    """Remembers the last sequences, and says how much of a new one begins like one of them."""

    def __init__(self, remembered: int = 64) -> None:
        self._sequences: deque[Tokens] = deque(maxlen=remembered)

    def hit(self, prompt: Tokens, block: int, least: int = 0) -> int:
        """The cached tokens of `prompt`: a multiple of `block`, never all of them."""
        longest = 0
        for sequence in reversed(self._sequences):
            if len(sequence) > longest:
                longest = max(longest, common(prompt, sequence))
        usable = min(longest, len(prompt) - 1) // block * block
        return usable if usable >= least else 0

    def keep(self, sequence: Tokens) -> None:
        """Remember a prompt with what was generated behind it."""
        self._sequences.append(sequence)

    def clear(self) -> None:
        """Forget everything."""
        self._sequences.clear()


def common(one: Tokens, other: Tokens) -> int:
    """The length of the common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
