"""The append-only log that one backend sees.

Every message is turned into bytes once, when it is appended, and a request is a join of those bytes: what was sent
before can never change, a server's prefix cache always hits, and a request costs the same at turn 300 as at turn 3.
"""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSING = b"]}"

PIECE = 512 * 1024
"""Bytes of a body that are handed over at a time."""


class Conversation:
    """Messages under a frozen head (model, sampling, tools).

    Invariant: the body of every request begins with the body of the one before it, but for the closing brackets.
    """

    def __init__(self, head: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> None:
        opening: dict[str, Any] = dict(head)
        if tools:
            opening["tools"] = list(tools)
        self._buffer = bytearray(encode({**opening, "messages": []}).removesuffix(_CLOSING))
        self._hash = hashlib.sha256(self._buffer)
        self._length = 0
        self._streamed = bool(head.get("stream"))

    def __len__(self) -> int:
        return self._length

    @property
    def streamed(self) -> bool:
        """Whether its head asks for a stream."""
        return self._streamed

    def append(self, message: Mapping[str, Any]) -> None:
        """Add a message, for ever."""
        encoded = (b"," if self._length else b"") + encode(message)
        self._buffer += encoded
        self._hash.update(encoded)
        self._length += 1

    def request_body(self) -> bytes:
        """The body of the next request."""
        return b"".join((self._buffer, _CLOSING))

    async def request_pieces(self) -> AsyncGenerator[bytes]:
        """The body of the next request in pieces, as it is when the first of them is taken.

        A body of megabytes in one piece is copied several times over on its way into a socket, each time into memory
        that has never been touched; pieces of one size get the same memory again.
        """
        length = len(self._buffer)
        for start in range(0, length, PIECE):
            with memoryview(self._buffer)[start : min(start + PIECE, length)] as view:
                piece = bytes(view)
            yield piece
        yield _CLOSING

    @property
    def request_bytes(self) -> int:
        """The length of that body."""
        return len(self._buffer) + len(_CLOSING)

    def request_sha256(self) -> str:
        """The hash of that body, for which nothing is hashed twice."""
        digest = self._hash.copy()
        digest.update(_CLOSING)
        return digest.hexdigest()


def encode(value: Mapping[str, Any]) -> bytes:
    """The one way in which anything becomes JSON on the wire; the same value always gives the same bytes.

    Lone surrogates, which no UTF-8 can hold, stay escaped. Raises ValueError for a number that JSON cannot hold.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def sendable(text: str) -> str:
    """`text` with U+FFFD for each half of a character.

    JSON can spell a lone surrogate, but the parsers of llama.cpp and of pydantic refuse the whole request for it.
    """
    return _LONE_SURROGATE.sub("\ufffd", text)
