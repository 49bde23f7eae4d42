"""Reads server-sent events (WHATWG HTML, 9.2): the data of each, whatever the pieces in which the bytes come.

The SDK's own reader takes an event without data for a chunk, and dies of it; a proxy may send one (`retry: 3000`).
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator

_LINE_END = re.compile(rb"\r\n|\r|\n")


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[str]:
    """The data of every event that has some. Comments, names, ids and an event that was cut off are passed over.

    Raises UnicodeDecodeError, which is a ValueError, for data that are no UTF-8.
    """
    data: list[str] = []
    async for line in _lines(pieces):
        if line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" ").decode())
        elif not line:
            if text := "\n".join(data):
                yield text
            data.clear()


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    begun: list[bytes] = []
    was_return = False
    async for whole in pieces:
        if not whole:
            continue
        # The line feed of a carriage return that ended the piece before.
        piece = whole.removeprefix(b"\n") if was_return else whole
        was_return = whole.endswith(b"\r")
        *ended, rest = _LINE_END.split(piece)
        for end in ended:
            begun.append(end)
            yield b"".join(begun)
            begun.clear()
        if rest:
            begun.append(rest)
