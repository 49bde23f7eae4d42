"""A chat server that costs nothing: any request is answered at once with a fixed stream, `/N/v1` in N pieces.

Run as a process of its own (`python -m benchmarks.stream_server`), so that what is measured is the client alone. It
prints its address.
"""

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from benchmarks.measurement import BenchmarkError

THINKING = "The test names a case that the parser skips, so the loop ends one element early. " * 16
COMMAND = '{"command":"sed -n 10,40p src/parser.py"}'

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PATH = re.compile(rb"POST /(\d+)/")


@contextmanager
def serve_streams() -> Generator[str]:
    """The root of such a server while the `with` lasts. Raises BenchmarkError."""
    command = [sys.executable, "-m", "benchmarks.stream_server"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise BenchmarkError("the server of streams did not start")
            yield line.strip()
        finally:
            process.terminate()


def response(pieces: int) -> bytes:
    """A turn with thinking and a call, the thinking in so many pieces, as an HTTP response."""
    width = math.ceil(len(THINKING) / pieces)
    function = {"name": "bash", "arguments": COMMAND}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        *({"reasoning_content": THINKING[start : start + width]} for start in range(0, len(THINKING), width)),
        {"content": "Let me look."},
        {"tool_calls": [call]},
    ]
    usage = {"prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300}
    chunks = [_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    chunks += [_chunk([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]), _chunk([], usage=usage)]
    body = b"".join([*chunks, b"data: [DONE]\n\n"])
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _chunk(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "benchmark"}
    return b"data: " + json.dumps({**chunk, "choices": choices, **fields}).encode() + b"\n\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length, pieces = _LENGTH.search(head), _PATH.match(head)
            if length is None or pieces is None:
                break
            await reader.readexactly(int(length[1]))
            writer.write(response(int(pieces[1])))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve() -> None:
    async with await asyncio.start_server(_answer, "127.0.0.1", 0, limit=1 << 24) as server:
        host, port = server.sockets[0].getsockname()
        print(f"http://{host}:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
