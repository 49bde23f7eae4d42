"""Nothing of what a command says is lost on its way from the engine, however the pieces come."""

import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import docker
import pytest
from typing_extensions import override

from runners.docker_channel import open_exec

SAID = b"all that it said"
FRAME = struct.pack(">BxxxL", 1, len(SAID)) + SAID
HEAD = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n\r\n"


def engine_that_sends(pieces: list[bytes]) -> type[BaseHTTPRequestHandler]:
    class Engine(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/start"):
                for piece in pieces:
                    self.wfile.write(piece)
                self.close_connection = True
                return
            self.send_response(201)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b'{"Id":"e"}')

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

        @override
        def address_string(self) -> str:
            return "unix"

    return Engine


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[list[bytes]], str]:
    def start(pieces: list[bytes]) -> str:
        path = str(tmp_path / "engine.sock")
        server = ThreadingUnixStreamServer(path, engine_that_sends(pieces))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"unix://{path}"

    return start


@pytest.mark.parametrize(
    "pieces",
    [[HEAD + FRAME], [HEAD, FRAME], [HEAD + FRAME[:3], FRAME[3:]], [HEAD + FRAME[:12], FRAME[12:]]],
    ids=["with-the-head", "apart", "cut-in-the-header", "cut-in-the-data"],
)
async def test_output_that_comes_with_the_engine_s_answer_is_kept(
    serve: Callable[[list[bytes]], str], pieces: list[bytes]
) -> None:
    api = docker.APIClient(base_url=serve(pieces), version="1.41")
    channel = await open_exec(api, "c", ["true"])
    said = b""
    while piece := (await channel.receive())[1]:
        said += piece
    assert said == SAID
    await channel.close()
    api.close()
