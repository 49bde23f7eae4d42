"""The relay's HTTP server: the few paths of the OpenAI protocol that an agent needs, and a token for each trial.

What an agent sends goes on to the backend as it came, with the key; what the backend answers comes back as it came. The
key is known to the backend's client alone: it is in nothing that the relay answers or writes down.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.backend import BackendError
from agent.http_server import abort_connections, listen, new_server
from agent.relay.answer import PassingAnswer
from agent.relay.ledger import TOO_MANY_AT_ONCE, Admitted, TrialLedger
from agent.relay.request import RelayRefusal

if TYPE_CHECKING:
    import httpx2
    import uvicorn

_MOST_BYTES = 64 * 1024 * 1024
_PASSED_HEADERS = ("content-type", "retry-after", "retry-after-ms", "x-should-retry")
_NO_RETRY = {"x-should-retry": "false"}
"""What OpenAI's SDKs heed before the status: neither a wrong token nor a spent limit gets better by asking again."""
_REASON_LENGTH = 500
_PATIENCE = 0.5


class Relay:
    """Serves the agents of one run, each under the token of its trial; see `open_relay`."""

    def __init__(self) -> None:
        self._ledgers: dict[str, TrialLedger] = {}
        self._ports: dict[str, int] = {}
        self._servers: dict[asyncio.Task[None], uvicorn.Server] = {}
        self._listening = asyncio.Lock()
        self._application = Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _http_error, RelayRefusal: _refusal},
        )

    async def listen(self, host: str) -> int:
        """Serve at this address of this machine too, and return the port there. Raises OSError."""
        async with self._listening:
            if host not in self._ports:
                self._ports[host] = await self._serve(host)
            return self._ports[host]

    @contextmanager
    def trial(self, ledger: TrialLedger) -> Generator[str]:
        """A token under which requests are those of this trial, for as long as the block lasts."""
        token = f"sk-trial-{secrets.token_hex(24)}"  # some agents want a key to look like one
        self._ledgers[token] = ledger
        try:
            yield token
        finally:
            del self._ledgers[token]

    async def close(self) -> None:
        """Serve nobody any more."""
        for server in self._servers.values():
            server.should_exit = True
            asyncio.get_running_loop().call_later(_PATIENCE, abort_connections, server)
        await asyncio.gather(*self._servers, return_exceptions=True)

    async def _serve(self, host: str) -> int:
        listener = listen(host)
        server = new_server(self._application)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self._servers[task] = server
        return listener.getsockname()[1]

    def _ledger(self, request: Request) -> TrialLedger:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.strip() not in self._ledgers:
            raise RelayRefusal("this is no token of a trial that goes on", status=401, code="invalid_api_key")
        return self._ledgers[token.strip()]

    async def _models(self, request: Request) -> Response:
        description = self._ledger(request).backend.description
        model = {
            "id": description.model,
            "object": "model",
            "created": 0,
            "owned_by": "relay",
            "max_model_len": description.context_window,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, request: Request) -> Response:
        ledger = self._ledger(request)
        try:
            with ledger.arriving():
                body = await _body(request)
        except ClientDisconnect:  # in the middle of its request; nobody sees the answer
            return Response(status_code=400)
        try:
            return _Passage(ledger, ledger.admit(body))
        except OSError as error:  # of the records
            ledger.fault = error
            return _error("the relay failed", 500, "relay_failed")


class _Passage(Response):
    """A request on its way to the backend, and the answer on its way back."""

    def __init__(self, ledger: TrialLedger, admitted: Admitted) -> None:
        super().__init__()
        self._ledger = ledger
        self._admitted = admitted
        backend = ledger.backend
        self._answer = PassingAnswer(backend.dialect, backend.hide_key, hides_usage=admitted.hides_usage)
        self._status: int | None = None
        self._problem = "the agent broke the request off"
        """Unless it comes to something else."""
        self._is_settled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passing = asyncio.create_task(self._pass_on(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        self._ledger.passing(passing)
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)
        if not passing.cancelled() and isinstance(error := passing.exception(), Exception):
            self._ledger.fault = error

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._ledger.backend.forward(self._admitted.body) as response:
                if response.is_success and "event-stream" in response.headers.get("content-type", ""):
                    await self._stream(response, send)
                else:
                    answer = await self._whole(response)
                    await answer(scope, receive, send)
        except BackendError as error:
            self._fail(str(error))
            if self._status is None:
                self._status = 502
                self._settle()
                await _error("the model's server does not answer", 502, "backend_unreachable")(scope, receive, send)
            # Otherwise the answer ends without its end, so that the agent sees that it broke off.
        finally:
            self._settle()

    async def _whole(self, response: "httpx2.Response") -> Response:
        body = await response.aread()
        self._status = response.status_code
        headers = {name: response.headers[name] for name in _PASSED_HEADERS if name in response.headers}
        if response.is_success:
            passed = self._answer.add_whole(body)
            self._judge()
            return Response(passed, self._status, headers)
        passed = self._ledger.backend.hide_key(body)
        said = passed[:_REASON_LENGTH].decode(errors="replace")
        self._problem = f"the backend answered {self._status}: {said}"
        if self._status != 400:  # which is about what the agent sent
            self._fail(self._problem)
        self._settle()
        return Response(passed, self._status, headers)

    async def _stream(self, response: "httpx2.Response", send: Send) -> None:
        self._status = response.status_code
        headers = [(b"content-type", response.headers["content-type"].encode()), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        async for piece in response.aiter_bytes():
            passed = self._answer.add_streamed(piece)
            if self._answer.is_over:
                self._judge()
            if passed:
                await send({"type": "http.response.body", "body": passed, "more_body": True})
        self._judge()
        await send({"type": "http.response.body", "body": self._answer.rest(), "more_body": False})

    def _judge(self) -> None:
        """Say what came of an answer that came to its end.

        Before the agent has the end of it: its next request may follow at once.
        """
        if self._is_settled:
            return
        if self._answer.is_complete:
            self._problem = self._ledger.backend_failure = ""
        else:
            self._fail(self._answer.problem or "the answer ended before the model's turn did")
        self._settle()

    def _fail(self, problem: str) -> None:
        if self._is_settled:  # what goes wrong behind the end of a turn takes nothing from it
            return
        self._problem = problem
        self._ledger.failed_at_backend(problem)

    def _settle(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._ledger.settle(self._admitted, self._answer, self._status, self._problem)


@asynccontextmanager
async def open_relay() -> AsyncGenerator[Relay]:
    """A relay that listens nowhere yet, for as long as the block lasts."""
    relay = Relay()
    try:
        yield relay
    finally:
        await asyncio.shield(relay.close())


async def _body(request: Request) -> bytes:
    """The body of a request. Raises ClientDisconnect, and RelayRefusal for one that is too long."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise RelayRefusal(f"a request may have {_MOST_BYTES} bytes", status=413, code="too_long")  # noqa: EM102
    return bytes(body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _error(message: str, status: int, code: str) -> Response:
    return JSONResponse(RelayRefusal(message, status=status, code=code).body, status)


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RelayRefusal)
    return JSONResponse(error.body, error.status, {} if error.code == TOO_MANY_AT_ONCE else _NO_RETRY)


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses (unknown path, wrong method), in the protocol's words."""
    assert isinstance(error, HTTPException)
    return _error(f"{request.method} {request.url.path}: {error.detail}", error.status_code, "not_found")
