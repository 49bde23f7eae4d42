"""The proxy on real sockets: what it carries, what it refuses, and what hostile clients can do to it."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest

from runners import allowlist_proxy
from runners.allowlist import Allowlist
from runners.allowlist_proxy import AllowlistProxy, ProxyLimits, ProxyRules, open_proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RULES = ProxyRules(Allowlist.parse(["127.0.0.1"]))


class Server:
    """A server that keeps what it was sent, and answers each connection once with `answer`."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        self.received.append(head + await reader.readexactly(length))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(handle: Handler) -> AsyncGenerator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with listening(made.handle) as made.port:
        yield made


@pytest.fixture
async def proxy() -> AsyncIterator[AllowlistProxy]:
    async with running(RULES) as opened:
        yield opened


def running(rules: ProxyRules) -> AbstractAsyncContextManager[AllowlistProxy]:
    return open_proxy(rules, "127.0.0.1")


async def connect(proxy: AllowlistProxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(proxy: AllowlistProxy, request: str | bytes) -> bytes:
    """Send it, and return all that comes back."""
    reader, writer = await connect(proxy)
    writer.write(request if isinstance(request, bytes) else request.encode())
    with contextlib.closing(writer):
        return await asyncio.wait_for(reader.read(), 20)


def get(host: str, port: int, path: str = "/") -> str:
    return f"GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


async def test_an_allowed_host_is_reached(proxy: AllowlistProxy, server: Server) -> None:
    answer = await ask(proxy, get("127.0.0.1", server.port, "/x?y"))
    assert answer == server.answer
    host = f"127.0.0.1:{server.port}"
    assert server.received == [f"GET /x?y HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()]
    assert proxy.refusals == {}


async def test_a_body_is_carried_whole_and_nothing_behind_it(proxy: AllowlistProxy, server: Server) -> None:
    body = bytes(range(256)) * 4000
    head = f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = await ask(proxy, head + body + b"GET /smuggled HTTP/1.1\r\nHost: other.test\r\n\r\n")
    assert answer == server.answer
    (received,) = server.received
    assert received.endswith(body)
    assert b"smuggled" not in received


async def test_a_tunnel_carries_bytes_both_ways_until_the_server_ends(proxy: AllowlistProxy) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"bye")
        writer.close()

    data = bytes(range(256)) * 8000
    async with listening(echo) as port:
        reader, writer = await connect(proxy)
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 20) == data + b"bye"
        writer.close()


@pytest.mark.parametrize("request_line", [
    "GET http://other.test/ HTTP/1.1", "CONNECT other.test:443 HTTP/1.1", "GET http://127.0.0.2/ HTTP/1.1",
    "CONNECT 127.0.0.2:443 HTTP/1.1", "CONNECT [::1]:443 HTTP/1.1", "GET http://169.254.169.254/ HTTP/1.1",
    "GET http://localhost/ HTTP/1.1",
])  # fmt: skip
async def test_anything_else_is_refused_in_a_sentence(proxy: AllowlistProxy, request_line: str) -> None:
    answer = (await ask(proxy, f"{request_line}\r\n\r\n")).decode()
    status, _, body = answer.partition("\r\n")[0], *answer.partition("\r\n\r\n")[1:]
    assert status.startswith("HTTP/1.1 403 Forbidden: ")
    assert "is not among the hosts that can be reached from here: 127.0.0.1" in status
    assert body.strip() in status
    assert sum(proxy.refusals.values()) == 1


async def test_a_refusal_is_heard_by_a_client_that_sends_a_body(proxy: AllowlistProxy) -> None:
    body = b"x" * 3_000_000
    head = f"POST http://other.test/ HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert b"is not among" in await ask(proxy, head + body)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """What every name resolves to: the one thing that a test cannot have for real."""

    def resolved(*_arguments: object, **_named: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


async def test_an_allowed_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1")
    async with running(ProxyRules(Allowlist.parse(["rebound.test"]))) as proxy:
        answer = await ask(proxy, "CONNECT rebound.test:443 HTTP/1.1\r\n\r\n")
        assert b"403 Forbidden: rebound.test leads to 127.0.0.1, which is inside a private network" in answer
        assert proxy.refusals == {"rebound.test": 1}


async def test_a_name_is_reached_at_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    resolving(monkeypatch, "10.255.255.1", "127.0.0.1")
    monkeypatch.setattr(allowlist_proxy, "PORTS_OF_NAMES", (server.port,))
    async with running(ProxyRules(Allowlist.parse(["inside.test", "127.0.0.1"]))) as proxy:
        assert await ask(proxy, get("inside.test", server.port)) == server.answer
    assert f"Host: inside.test:{server.port}\r\n".encode() in server.received[0]


async def test_names_have_the_ports_of_the_web_alone() -> None:
    async with running(ProxyRules(Allowlist.parse(["*.test"]))) as proxy:
        answer = await ask(proxy, "CONNECT mail.test:25 HTTP/1.1\r\n\r\n")
        assert b"403 Forbidden: mail.test may be reached on the ports 80 and 443 only" in answer
        assert proxy.refusals == {"mail.test:25": 1}


async def test_a_name_that_does_not_resolve_and_a_port_that_is_closed_are_told(proxy: AllowlistProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert f"502 Bad Gateway: 127.0.0.1 does not answer on port {port}".encode() in await ask(
        proxy, get("127.0.0.1", port)
    )
    async with running(ProxyRules(Allowlist.parse(["*.invalid"]))) as other:
        assert b"502 Bad Gateway: no.invalid cannot be resolved" in await ask(other, get("no.invalid", 80))


async def test_only_its_own_clients_are_served_and_they_do_not_reach_one_another(server: Server) -> None:
    strangers = replace(RULES, clients=ip_network("10.0.0.0/8"))
    async with running(strangers) as proxy:
        assert b"403 Forbidden: this proxy is not for you" in await ask(proxy, get("127.0.0.1", server.port))
    async with running(replace(RULES, clients=ip_network("127.0.0.0/8"))) as proxy:
        assert b"is not among" in await ask(proxy, get("127.0.0.1", server.port))
    assert server.received == []


async def test_a_head_that_never_ends_is_cut_off() -> None:
    async with running(replace(RULES, limits=ProxyLimits(head=0.3))) as proxy:
        assert b"408 Request Timeout" in await ask(proxy, "GET http://127.0.0.1/ HTTP/1.1\r\nA: ")
        assert b"431 Request Header" in await ask(proxy, b"GET " + b"x" * 100_000)
        reader, writer = await connect(proxy)
        writer.close()
        assert await reader.read() == b""
        assert b"400 Bad Request" in await ask(proxy, "hello\r\n\r\n")  # and it still answers


async def test_a_server_that_falls_silent_is_left() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the proxy leaves
        writer.close()

    async with listening(hang) as port, running(replace(RULES, limits=ProxyLimits(idle=0.3))) as proxy:
        assert await ask(proxy, get("127.0.0.1", port)) == b""


async def test_connections_are_limited_and_given_back(server: Server) -> None:
    async with running(replace(RULES, limits=ProxyLimits(head=60, connections_of_one=3))) as proxy:
        waiting = [await connect(proxy) for _ in range(3)]
        request = get("127.0.0.1", server.port)
        await until(lambda: ask(proxy, request), lambda answer: b"503 Service Unavailable" in answer)
        for _, writer in waiting:
            writer.close()
        await until(lambda: ask(proxy, request), lambda answer: answer == server.answer)


async def until(make: Callable[[], Awaitable[bytes]], is_so: Callable[[bytes], bool]) -> None:
    async with asyncio.timeout(20):
        for pause in itertools.repeat(0.02):
            if is_so(await make()):
                return
            await asyncio.sleep(pause)


async def test_closing_ends_what_is_under_way_and_frees_the_port() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()

    async with listening(flood) as upstream, running(RULES) as proxy:
        reader, writer = await connect(proxy)  # asks for more than it ever reads
        writer.write(get("127.0.0.1", upstream).encode())
        await reader.readexactly(10_000_000)
        port = proxy.port
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1 << 20), 20):
            pass
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
