"""The proxy through which a sandbox reaches the hosts of an allowlist, and nothing else.

It speaks plain HTTP/1.1 with absolute addresses, and CONNECT. It needs no root: it is a socket of the harness's own
process, with a thread and an event loop to itself, so that a client that floods it does not stop the harness.

What it promises: it resolves names itself, connects to the very address that it has checked, and carries one request a
connection. What it cannot see: which name a client asks for inside TLS. Whoever may be reached at an allowed name's
address can be reached.
"""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from runners.allowlist import PORTS_OF_NAMES, Address, Allowlist, Block
from runners.proxy_request import HEAD_LIMIT, BadRequestError, ProxyRequest, parse_request


@dataclass(frozen=True)
class ProxyLimits:
    """What clients may take. Seconds, and connections at the same time."""

    head: float = 20.0
    """For the whole head of a request, however slowly it drips."""
    connecting: float = 15.0
    """For each address of a host."""
    idle: float = 300.0
    """Without a byte in either direction."""
    connections: int = 256
    connections_of_one: int = 64
    """Of one client address."""


@dataclass(frozen=True)
class ProxyRules:
    """Whom the proxy serves, and where it connects to."""

    allowlist: Allowlist
    clients: Block | None = None
    """The addresses that it serves, and to which it never connects: sandboxes do not see one another. None: any."""
    limits: ProxyLimits = ProxyLimits()


class AllowlistProxy:
    """A proxy that runs; see `open_proxy`."""

    def __init__(self, rules: ProxyRules, address: tuple[str, int]) -> None:
        self._rules = rules
        self._address = address
        self._clients: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where it listens, as proxy variables have it."""
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._address[1]

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often each host was asked for and refused; beyond a thousand of them, under `others`."""
        return dict(self._refusals)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, whatever comes."""
        client = str(writer.get_extra_info("peername", ("",))[0])
        self._clients[client] += 1
        try:
            await self._answer(client, reader, writer)
        except (OSError, TimeoutError, EOFError):
            writer.transport.abort()  # the client, the server or the wire; there is nobody left to tell
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            await self._close(writer)
            self._clients[client] -= 1
            self._clients += Counter()  # drops those that have none

    async def _answer(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._check_client(client)
            request = await self._request(reader)
            server = await self._connect(request)
        except BadRequestError as error:
            await _refuse(reader, writer, error)
            return
        try:
            if request.is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server[1].write(request.head())
            await self._relay((reader, writer), server, None if request.is_tunnel else request.body_length)
        finally:
            server[1].transport.abort()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close a connection once its client has taken what was sent; one that does not take it still counts."""
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._rules.limits.idle):
                await writer.wait_closed()
        writer.transport.abort()

    def _check_client(self, client: str) -> None:
        limits, clients = self._rules.limits, self._rules.clients
        if clients is not None and ip_address(client) not in clients:
            raise BadRequestError("this proxy is not for you", 403)
        if self._clients[client] > limits.connections_of_one or self._clients.total() > limits.connections:
            raise BadRequestError("there are too many connections through this proxy at the same time", 503)

    async def _request(self, reader: asyncio.StreamReader) -> ProxyRequest:
        try:
            async with asyncio.timeout(self._rules.limits.head):
                return parse_request(await reader.readuntil(b"\r\n\r\n"))
        except TimeoutError as error:
            raise BadRequestError("the request's head took too long", 408) from error
        except asyncio.LimitOverrunError as error:
            raise BadRequestError("the request's head is too long", 431) from error

    async def _connect(self, request: ProxyRequest) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._addresses(request)
        for address in addresses:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._rules.limits.connecting):
                    return await asyncio.open_connection(str(address), request.port)
        message = f"{request.host} does not answer on port {request.port}"
        raise BadRequestError(message, 502)

    async def _addresses(self, request: ProxyRequest) -> list[Address]:
        """Where a host may be connected to, once it has been judged. Raises BadRequestError."""
        host, allowlist = request.host, self._rules.allowlist
        if not isinstance(host, str):
            if not allowlist.names_address(host) or self._is_client(host):
                raise self._refusal(host, f"{host} is not among {self._reachable()}")
            return [host]
        if not allowlist.allows_name(host):
            raise self._refusal(host, f"{host} is not among {self._reachable()}")
        if request.port not in PORTS_OF_NAMES:
            place, ports = f"{host}:{request.port}", " and ".join(map(str, PORTS_OF_NAMES))
            raise self._refusal(place, f"{host} may be reached on the ports {ports} only")
        found = await _resolve(host, request.port)
        allowed = [each for each in found if allowlist.allows_resolved(each) and not self._is_client(each)]
        if not allowed:
            raise self._refusal(host, f"{host} leads to {found[0]}, which is inside a private network")
        return allowed[:_ADDRESSES_TRIED]

    def _is_client(self, address: Address) -> bool:
        return self._rules.clients is not None and address in self._rules.clients

    def _reachable(self) -> str:
        hosts = self._rules.allowlist.hosts
        more = f" and {len(hosts) - _HOSTS_NAMED} more" if len(hosts) > _HOSTS_NAMED else ""
        return f"the hosts that can be reached from here: {', '.join(hosts[:_HOSTS_NAMED])}{more}"

    def _refusal(self, host: str | Address, message: str) -> BadRequestError:
        name = str(host)
        self._refusals[name if name in self._refusals or len(self._refusals) < _HOSTS_COUNTED else "others"] += 1
        return BadRequestError(message, 403)

    async def _relay(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        body_length: int | None,
    ) -> None:
        """Carry bytes until the server has sent all; from the client `body_length` of them, or all (None)."""
        async with asyncio.timeout(self._rules.limits.idle) as idle:

            def moved() -> None:
                idle.reschedule(asyncio.get_running_loop().time() + self._rules.limits.idle)

            async def send() -> None:
                left = body_length
                while left != 0 and (data := await client[0].read(min(left or _PIECE, _PIECE))):
                    moved()
                    server[1].write(data)
                    await server[1].drain()
                    left = None if left is None else left - len(data)
                if body_length is None and server[1].can_write_eof():
                    server[1].write_eof()

            sending = asyncio.create_task(send())
            try:
                while data := await server[0].read(_PIECE):
                    moved()
                    client[1].write(data)
                    await client[1].drain()
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        await client[1].drain()


def open_proxy(rules: ProxyRules, address: str) -> AbstractAsyncContextManager[AllowlistProxy]:
    """Run a proxy on a free port of `address`, for as long as the block lasts. The call itself raises OSError."""
    return _running(rules, socket.create_server((address, 0)))


@asynccontextmanager
async def _running(rules: ProxyRules, listener: socket.socket) -> AsyncGenerator[AllowlistProxy]:
    proxy = AllowlistProxy(rules, listener.getsockname()[:2])
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=_run, args=(loop, proxy, listener, over), name="proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it had ended by itself
            loop.call_soon_threadsafe(over.set)
        await asyncio.shield(asyncio.to_thread(thread.join))


_PIECE = 256 * 1024
_LINGER = 2.0
_ADDRESSES_TRIED = 4
_HOSTS_NAMED = 20
_REASON_LIMIT = 300
_HOSTS_COUNTED = 1000
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    411: "Length Required",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def _run(loop: asyncio.AbstractEventLoop, proxy: AllowlistProxy, listener: socket.socket, over: asyncio.Event) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(proxy.serve, sock=listener, limit=HEAD_LIMIT)
        try:
            await over.wait()
        finally:
            server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serve())
    finally:
        loop.close()


async def _resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, in the order in which to try them. Raises BadRequestError."""
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"{host} cannot be resolved"
        raise BadRequestError(message, 502) from error
    return list(dict.fromkeys(ip_address(answer[4][0]) for answer in answers))


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: BadRequestError) -> None:
    """Say why, also in the status line, since that is all that clients tell of a tunnel they did not get."""
    body = f"{error}\n".encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {error.status} {_REASONS[error.status]}: {str(error)[:_REASON_LIMIT]}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii", "replace") + body)
    await writer.drain()
    writer.write_eof()
    # A connection that is closed with something unread is reset, and the answer lost with it.
    async with asyncio.timeout(_LINGER):
        while await reader.read(_PIECE):
            pass
