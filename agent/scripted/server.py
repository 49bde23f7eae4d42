"""The HTTP server of a scripted backend, and the ways to run it.

`serve` runs it for the length of an `async with`, in a thread with an event loop of its own, so that what it does
never waits for the caller's loop, nor the caller's loop for it.
"""

import asyncio
import hashlib
import json
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.http_server import abort_connections, listen, new_server
from agent.scripted.player import Answer, JournalEntry, Player
from agent.scripted.script import Script, load_script
from agent.scripted.wire import END_OF_STREAM, RequestError, event, parse_request

if TYPE_CHECKING:
    import uvicorn

_PATIENCE = 0.5
"""Seconds for which clients may take what they have been sent when the server closes."""


def build_application(script: Script) -> Starlette:
    """The ASGI application that plays `script`. One event loop is to serve it."""
    return _build(Player(script))


@asynccontextmanager
async def serve(script: Script, port: int = 0, host: str = "127.0.0.1") -> AsyncGenerator[str]:
    """Serve `script` and yield its base URL, `http://127.0.0.1:PORT/v1`; port 0 means a free one.

    On the way out waiting responses end with an error, and the port is free again, all within a second.
    Raises OSError when the address cannot be had.
    """
    player = Player(script)
    server = new_server(_build(player))
    listener = listen(host, port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop, server, listener), name="scripted-backend", daemon=True)
    thread.start()
    try:
        shown_host = f"[{host}]" if ":" in host else host
        yield f"http://{shown_host}:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        with suppress(RuntimeError):  # the loop is closed: the server had ended by itself
            loop.call_soon_threadsafe(player.close)
            loop.call_soon_threadsafe(loop.call_later, _PATIENCE, abort_connections, server)
        await asyncio.shield(asyncio.to_thread(thread.join))


def run_forever(script_path: str | Path, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve the script at `script_path` until SIGINT or SIGTERM; one line on stdout says where.

    Raises ScriptError for a script that cannot be played, OSError when the address cannot be had.
    """
    script = load_script(script_path)

    async def run() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        async with serve(script, port, host) as base_url:
            print(f"{script.model} (scripted: no model behind it) is served at {base_url}", flush=True)
            await stopped.wait()

    asyncio.run(run())


class _Endpoints:
    """The endpoints over one player."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._script = player.script
        self._started = int(time.time())

    async def chat_completions(self, request: Request) -> Response:
        entry = self._player.begin(arrived=time.monotonic())
        try:
            body = await request.body()
        except ClientDisconnect:  # in the middle of its request; nobody sees the answer
            return _finish(entry, Response(status_code=400))
        entry.received = time.monotonic()
        entry.body_bytes, entry.body_sha256 = len(body), hashlib.sha256(body).hexdigest()
        try:
            chat = parse_request(body)
            answer = await self._player.answer(chat, entry)
            if not chat.stream:
                return await self._whole(answer, entry)
        except RequestError as error:
            return _finish(entry, _error_response(error))
        entry.status = 200
        entry.first_byte = time.monotonic()
        kind = _CutStream if answer.broken == "cut" else StreamingResponse
        return kind(self._events(answer, entry, with_usage=chat.wants_usage_chunk), media_type="text/event-stream")

    async def models(self, _request: Request) -> Response:
        model = {
            "id": self._script.model,
            "object": "model",
            "created": self._started,
            "owned_by": "scripted",
            "max_model_len": self._script.context_window,
            "description": self._script.description,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "scripted": True})

    async def requests(self, _request: Request) -> Response:
        entries = [asdict(entry) for entry in self._player.journal]
        return JSONResponse({"clock": "monotonic", "total": self._player.requests, "requests": entries})

    async def _whole(self, answer: Answer, entry: JournalEntry) -> Response:
        """The response in one piece, after the time that the stream would have taken."""
        further_pieces = len(list(answer.writer.chunks(with_usage=False))) - 1
        await self._player.pause(self._script.first_token_delay + further_pieces * self._script.token_delay)
        content = json.dumps(answer.writer.whole, ensure_ascii=False).encode()
        if answer.broken:
            content = content[: len(content) // 2]
        return _finish(entry, Response(content, media_type="application/json"))

    async def _events(self, answer: Answer, entry: JournalEntry, *, with_usage: bool) -> AsyncIterator[bytes]:
        chunks = list(answer.writer.chunks(with_usage=with_usage))
        if answer.broken:
            chunks = chunks[: max(1, len(chunks) // 2)]
        try:
            for index, chunk in enumerate(chunks):
                await self._player.pause(self._script.token_delay if index else self._script.first_token_delay)
                yield event(chunk)
        except RequestError as error:
            yield event(error.body)
            return
        if answer.broken == "invalid_json":
            yield b'data: {"choices":[{"index":0,"delta":{"content":\n\n'
        elif answer.broken == "error_event":
            yield event(RequestError("A scripted fault in the middle of the stream.", status=500).body)
        if answer.broken:
            return
        entry.last_byte = time.monotonic()
        yield END_OF_STREAM


class _CutStream(StreamingResponse):
    """A stream whose connection ends before the response does, as when a server dies."""

    async def stream_response(self, send: Send) -> None:
        async def send_all_but_the_end(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)

        await super().stream_response(send_all_but_the_end)


class _ScriptedHeader:
    """Middleware that puts `x-scripted: true` on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-scripted", b"true")]
            await send(message)

        await self._app(scope, receive, send_marked)


def _build(player: Player) -> Starlette:
    endpoints = _Endpoints(player)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", endpoints.chat_completions, methods=["POST"]),
            Route("/v1/models", endpoints.models),
            Route("/health", endpoints.health),
            Route("/scripted/requests", endpoints.requests),
        ],
        middleware=[Middleware(_ScriptedHeader)],
        exception_handlers={HTTPException: _http_error},
    )


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses (unknown path, wrong method), in the protocol's words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return _error_response(RequestError(f"{request.method} {request.url.path}: {detail}.", status=status))


def _error_response(error: RequestError) -> Response:
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(error.body, status_code=error.status, headers=headers)


def _finish(entry: JournalEntry, response: Response) -> Response:
    entry.status = response.status_code
    entry.first_byte = entry.last_byte = time.monotonic()
    return response


def _run(loop: asyncio.AbstractEventLoop, server: "uvicorn.Server", listener: socket.socket) -> None:
    with listener, asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(server.serve(sockets=[listener]))
