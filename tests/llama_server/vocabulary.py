"""The tokens of a scripted model: every byte, common words, the chat format's markup, and the pieces of its replies.

Bytes and words are a byte-level BPE as GPT-2 has it, so that prompts have about as many tokens as they would have for
a small real model. Markup and pieces are found in a text before any of those (llama.cpp: "user defined" tokens).
"""

import re
from collections import Counter
from collections.abc import Iterable

from llama_server.gguf_file import Value

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_WORD = re.compile(r" ?[A-Za-z]{2,}")
_WORDS = 500


class Vocabulary:
    """Tokens with their numbers. `corpus` shows which words are common."""

    def __init__(self, corpus: str) -> None:
        self._texts = [_visible(bytes([byte])) for byte in range(256)]
        self._merges: list[str] = []
        for word, _ in Counter(_WORD.findall(corpus)).most_common(_WORDS):
            self._learn(_visible(word.encode()))
        self._kinds = [_NORMAL] * len(self._texts)
        self._numbers = {text: number for number, text in enumerate(self._texts)}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Iterable[str], *, control: bool = False) -> None:
        """Add markup or pieces. One that is there as a word already takes its place: a model has each text once."""
        for text in texts:
            kind = _CONTROL if control else _USER_DEFINED
            if text in self._numbers:
                self._kinds[self._numbers[text]] = kind
                continue
            self._numbers[text] = len(self._texts)
            self._texts.append(text)
            self._kinds.append(kind)

    def number(self, text: str) -> int:
        """The number of markup, of a piece, or of a single byte. Raises KeyError."""
        return self._numbers.get(text, -1) if text in self._numbers else self._numbers[_visible(text.encode())]

    def metadata(self) -> dict[str, Value]:
        """What a GGUF file says about it."""
        return {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.tokens": self._texts,
            "tokenizer.ggml.token_type": self._kinds,
            "tokenizer.ggml.merges": self._merges,
            "tokenizer.ggml.add_bos_token": False,
        }

    def _learn(self, word: str) -> None:
        """A word is put together from the left, so its beginnings are tokens as well."""
        known = set(self._texts)
        for end in range(2, len(word) + 1):
            if word[:end] not in known:
                self._texts.append(word[:end])
                self._merges.append(f"{word[: end - 1]} {word[end - 1]}")


def _visible(data: bytes) -> str:
    """Bytes in GPT-2's spelling, where each has a visible character: space is `Ġ`, the line end `Ċ`."""
    return "".join(_SPELLING[byte] for byte in data)


def _spelling() -> dict[int, str]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = (byte for byte in range(256) if byte not in visible)
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


_SPELLING = _spelling()
