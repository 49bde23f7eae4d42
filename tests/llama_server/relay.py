"""Stands between a client and a server, passes everything on, and remembers what was asked and answered.

So a test sees what went over the wire, whatever the client's records say about it.
"""

import http.client
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"


@dataclass
class Exchange:
    """A request, and the bytes of its answer."""

    path: str
    body: dict[str, Any]
    status: int = 0
    answer: bytes = b""

    @property
    def usage(self) -> dict[str, Any]:
        """The usage that a stream ended with."""
        chunks = [json.loads(line[6:]) for line in self.answer.splitlines() if line.startswith(b"data: {")]
        return next(chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage"))

    @property
    def cached(self) -> int:
        """Tokens of the prompt that were not computed anew."""
        return self.usage["prompt_tokens_details"]["cached_tokens"]


@dataclass
class Relay:
    """What has passed."""

    root: str
    exchanges: list[Exchange] = field(default_factory=list[Exchange])

    @property
    def url(self) -> str:
        """The base URL that a client gets."""
        return f"{self.root}/v1"

    @property
    def chats(self) -> list[Exchange]:
        """The requests for a turn of the model."""
        return [exchange for exchange in self.exchanges if exchange.path == CHAT]


@contextmanager
def relay_to(root: str) -> Generator[Relay]:
    """Pass on to the server at `root`, which is an address without `/v1`."""
    address = urlsplit(root).netloc
    relay = Relay("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, body: bytes | None) -> None:
            exchange = Exchange(self.path, json.loads(body or b"{}"))
            relay.exchanges.append(exchange)
            connection = http.client.HTTPConnection(address, timeout=60)
            try:
                connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
                self._answer(connection.getresponse(), exchange)
            finally:
                connection.close()

        def _answer(self, response: http.client.HTTPResponse, exchange: Exchange) -> None:
            exchange.status = response.status
            self.send_response(response.status)
            self.send_header("Content-Type", response.headers.get("Content-Type", "application/json"))
            self.send_header("Connection", "close")  # which is what ends the answer
            self.end_headers()
            while piece := response.read1(65_536):
                exchange.answer += piece
                self.wfile.write(piece)

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    relay.root = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
