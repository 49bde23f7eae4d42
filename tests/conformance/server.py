"""The HTTP server around an engine, in a thread with an event loop of its own."""

import asyncio
import json
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from conformance.behaviour import Endpoint, ServerBehaviour, load_behaviour
from conformance.engine import Engine
from conformance.exchange import Exchange
from conformance.faults import TRANSPORT, ActiveFault, Fault, as_fault, broken
from conformance.ingress import RefusedError, filled, read_request
from conformance.prefix import Loss
from conformance.rendering import TEMPLATE
from conformance.responder import Reply
from conformance.transport import Sending

_TEXT = "text/plain; charset=utf-8"
_PATIENCE = 0.3
"""Seconds for which clients may take what they have been sent when the server closes."""


@dataclass(frozen=True)
class Inquiry:
    """A request that was no chat completion."""

    method: str
    path: str
    body: bytes
    status: int


class ConformanceServer:
    """A running server, as a test sees it."""

    def __init__(self, engine: Engine, root: str, application: "_Application") -> None:
        self._engine = engine
        self._application = application
        self.root = root
        """`http://127.0.0.1:PORT`."""
        self.url = root + engine.healthy.base_path
        """The base URL that a client is given."""
        self.behaviour: ServerBehaviour = engine.healthy
        """The family, healthy."""

    @property
    def journal(self) -> list[Exchange]:
        """Every chat completion request, refused ones too, in the order of their arrival."""
        return self._engine.journal

    @property
    def inquiries(self) -> list[Inquiry]:
        """Every other request."""
        return self._application.inquiries

    @property
    def last(self) -> Exchange:
        """The latest chat completion request. Raises IndexError when there was none."""
        return self.journal[-1]

    @property
    def losses(self) -> list[Loss]:
        """All that was lost of prefixes."""
        return [loss for exchange in self.journal if exchange.prefix for loss in exchange.prefix.losses]

    @property
    def avoidable_losses(self) -> list[Loss]:
        """What the client could have avoided."""
        return [loss for loss in self.losses if loss.cause.avoidable]

    @property
    def lost_tokens(self) -> int:
        """Tokens that had to be computed again, whatever the cause."""
        return sum(exchange.prefix.lost_tokens for exchange in self.journal if exchange.prefix)

    def set_faults(self, *faults: Fault | ActiveFault) -> None:
        """Have these faults from the next request on, and no others. `after` still counts from the first request."""
        self._engine.faults = [as_fault(active) for active in faults]

    def set_script(self, *replies: Reply) -> None:
        """Have these replies, by the number of assistant messages in a request."""
        self._engine.script = list(replies)

    def forget(self) -> None:
        """Empty the journal and the cache."""
        self._engine.journal.clear()
        self._engine.cache.clear()
        self._application.inquiries.clear()


@contextmanager
def conformance_server(
    family: str | ServerBehaviour,
    *,
    faults: Sequence[Fault | ActiveFault] = (),
    script: Sequence[Reply] = (),
    window: int | None = None,
    vision: bool | None = None,
    api_key: str | None = None,
    port: int = 0,
) -> Generator[ConformanceServer]:
    """Serve a family on a free port of this machine for the length of a `with`.

    `window` is the context window in tokens, `vision` whether the model sees images, `api_key` the one key that is
    taken. A behaviour that a test has changed (`load_behaviour("vllm").changed("reasoning", …)`) does as well as a
    name. Raises FileNotFoundError for a family without a fixture, OSError when the port cannot be had.
    """
    behaviour = load_behaviour(family) if isinstance(family, str) else family
    if window is not None:
        behaviour = behaviour.changed("context", window=window)
    if vision is not None:
        behaviour = behaviour.changed("images", vision=vision)
    engine = Engine(behaviour, [as_fault(active) for active in faults], script)
    application = _Application(engine, api_key)
    listener = socket.create_server(("127.0.0.1", port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
        ),
        application.closing,
    )
    loop = asyncio.new_event_loop()
    name = f"conformance-{behaviour.family}"
    thread = threading.Thread(target=_run, args=(loop, server, listener), name=name, daemon=True)
    thread.start()
    try:
        root = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield ConformanceServer(engine, root, application)
    finally:
        with suppress(RuntimeError):  # the loop is closed: the server had ended by itself
            loop.call_soon_threadsafe(application.closing.set)
        thread.join()


class _Application:
    """The ASGI application."""

    def __init__(self, engine: Engine, api_key: str | None) -> None:
        self._engine = engine
        self._api_key = api_key
        self.inquiries: list[Inquiry] = []
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        behaviour = self._engine.healthy
        bases = (behaviour.base_path, *behaviour.other_base_paths)
        chat = request.method == "POST" and request.url.path in [f"{base}/chat/completions" for base in bases]
        if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
            response = self._json(*self._engine.error(behaviour.errors.key))
        elif chat:
            response = await self._chat(raw, dict(request.headers))
        else:
            response = self._other(request.method, request.url.path, raw)
        await response(scope, receive, send)

    async def _chat(self, raw: bytes, headers: dict[str, str]) -> Sending:
        exchange, faults = self._engine.begin(raw, headers)
        by_kind = {active.kind: active for active in faults}
        wire = [active for active in faults if active.kind in TRANSPORT]
        if active := by_kind.get(Fault.HTML):
            page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
            exchange.status = active.status or 200
            return self._sending(exchange.status, "text/html; charset=utf-8", [page], wire)
        if active := by_kind.get(Fault.HTTP_ERROR):
            status = active.status or 503
            form = self._engine.healthy.errors.server
            body = filled(form.body, {"status": status, "message": active.text or "The server is overloaded."})
            exchange.status, exchange.response = status, body
            retry = {} if active.retry_after is None else {"retry-after": active.retry_after}
            return self._json(status, body, wire, retry)
        self._engine.answer(exchange, faults)
        if active := by_kind.get(Fault.SLOW_PREFILL):
            await self._pause(active.seconds * (exchange.prompt_tokens - exchange.cached_tokens) / 1000)
        if exchange.status == 200 and exchange.request and exchange.request.stream:
            comments = exchange.behaviour.wire.comments
            sending = self._sending(200, "text/event-stream", exchange.events, wire, streamed=True, comments=comments)
        else:
            sending = self._json(exchange.status, exchange.response, wire)
        if exchange.status == 200:
            sending.sent = lambda: setattr(exchange, "delivered", not _spoils(by_kind))
        return sending

    def _other(self, method: str, path: str, raw: bytes) -> Sending:
        engine, errors = self._engine, self._engine.healthy.errors
        endpoint = next((e for e in engine.healthy.endpoints if e.path == path and e.method == method), None)
        try:
            status, body = (
                self._inquire(endpoint, raw) if endpoint else engine.error(errors.path, method=method, path=path)
            )
        except RefusedError as refused:
            status, body = refused.status, refused.body
        self.inquiries.append(Inquiry(method, path, raw, status))
        return self._json(status, body)

    def _inquire(self, endpoint: Endpoint, raw: bytes) -> tuple[int, Any]:
        engine = self._engine
        behaviour = engine.healthy
        if endpoint.answer == "body":
            values: dict[str, Any] = {"model": behaviour.model, "window": behaviour.context.window}
            values |= {"trained_window": behaviour.context.trained_window, "template": TEMPLATE.read_text("utf-8")}
            return endpoint.status, filled(endpoint.body, values)
        asked = json.loads(raw)
        if endpoint.answer == "detokenize":
            return 200, {"prompt": engine.vocabulary.decode(asked["tokens"])}
        if endpoint.answer == "tokenize_text" or (endpoint.answer == "tokenize_chat" and "prompt" in asked):
            tokens = engine.vocabulary.encode(asked.get("content") or asked.get("prompt") or "")
        else:
            faults = engine.active(len(engine.journal), streamed=False)
            prompt = engine.prompt(read_request(raw, broken(behaviour, faults)))
            if endpoint.answer == "apply_template":
                return 200, {"prompt": prompt.text}
            tokens = engine.tokens(prompt)
        match endpoint.answer:
            case "tokenize_text":
                return 200, {"tokens": list(tokens)}
            case "input_tokens":
                return 200, {"input_tokens": len(tokens), "object": "response.input_tokens"}
            case _:
                counts = {"count": len(tokens), "max_model_len": behaviour.context.window}
                return 200, {**counts, "tokens": list(tokens), "token_strs": None}

    def _json(
        self, status: int, body: Any, faults: Sequence[ActiveFault] = (), headers: dict[str, str] | None = None
    ) -> Sending:
        if isinstance(body, str):
            return self._sending(status, _TEXT, [body.encode()], faults, headers)
        content = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
        return self._sending(status, "application/json", [content], faults, headers)

    def _sending(
        self,
        status: int,
        content_type: str,
        events: Sequence[bytes],
        faults: Sequence[ActiveFault],
        headers: dict[str, str] | None = None,
        *,
        streamed: bool = False,
        comments: bool = False,
    ) -> Sending:
        headers = {"content-type": content_type, **self._engine.healthy.headers, **(headers or {})}
        return Sending(status, headers, events, streamed, self._pause, faults, comments)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the server is open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()


def _spoils(faults: dict[Fault, ActiveFault]) -> bool:
    """Whether a client cannot have got the whole turn."""
    return bool(faults.keys() & {Fault.ERROR_EVENT, Fault.GARBAGE_EVENT, Fault.EMPTY_TURN})


class _Server(uvicorn.Server):
    """One that ends as soon as it is told to: uvicorn looks every tenth of a second, and waits one more."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        if running := list(self.server_state.tasks):
            await asyncio.wait(running, timeout=_PATIENCE)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _run(loop: asyncio.AbstractEventLoop, server: uvicorn.Server, listener: socket.socket) -> None:
    with listener, asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(server.serve(sockets=[listener]))
