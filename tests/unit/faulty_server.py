"""A server that writes exactly the bytes that a test gives it, over a real socket, and then does its worst."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any


class Deed(Enum):
    """What is not writing."""

    STALL = "say nothing more until the client has gone"
    PING = "write a comment every few milliseconds until the client has gone"
    RESET = "end the connection as a crashed machine does"


Answer = Sequence[bytes | Deed]
"""Written in order, each piece in a packet of its own; the connection is closed behind the last."""


class FaultyServer:
    """Answers request n with answer n; the last answer repeats."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self.requests: list[bytes] = []
        """The bodies that came."""
        self.heads: list[bytes] = []
        """What stood before them."""
        self.paths: list[str] = []
        """Where they went."""
        self.was_asked = asyncio.Event()
        self.client_left = asyncio.Event()
        self.url = ""

    def play(self, *answers: Answer) -> None:
        """Begin anew, with other answers."""
        self._answers = answers
        self.requests.clear()
        self.heads.clear()
        self.paths.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.paths.append(head.split(b" ")[1].decode())
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.requests.append(await reader.readexactly(int(length.split(b":")[1])))
        self.was_asked.set()
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        try:
            await self._play(answer, reader, writer)
        except ConnectionError:
            self.client_left.set()
        finally:
            writer.close()

    async def _play(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in answer:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            elif piece is Deed.STALL:
                await reader.read()
                self.client_left.set()
            elif piece is Deed.PING:
                while not reader.at_eof():
                    writer.write(b": ping\n\n")
                    await writer.drain()
                    await asyncio.sleep(0.005)
                self.client_left.set()
            else:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def faulty(*answers: Answer) -> AsyncGenerator[FaultyServer]:
    """Run one on a free port of this machine."""
    server = FaultyServer(answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def unused_url() -> str:
    """The address of a server that has gone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: str | None = None, **fields: Any) -> bytes:
    """An event with a piece of a turn."""
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def usage(prompt: int, output: int) -> bytes:
    """The event that a stream ends with."""
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}})


def whole(body: object, *headers: str) -> Answer:
    """An answer that is not streamed."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    lines = ["HTTP/1.1 200 OK", "content-type: application/json", f"content-length: {len(content)}", *headers]
    return ["\r\n".join([*lines, "connection: close", "", ""]).encode(), content]


def http_error(status: int, body: object, *headers: str) -> Answer:
    """An answer that is an HTTP error; a body that is no text becomes JSON."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} Oops", f"content-length: {len(content)}", "connection: close", *headers]
    return ["\r\n".join([*lines, "", ""]).encode() + content]


BROKEN: Answer = [STREAM_HEAD, delta(content="Hel"), usage(10, 3), b"data: {\n\n"]
"""A chunk that is none, behind the usage."""

GOOD: Answer = [STREAM_HEAD, delta(content="Hello."), delta("stop"), usage(10, 2), DONE]

GOOD_WHOLE: Answer = whole({
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
})  # fmt: skip
