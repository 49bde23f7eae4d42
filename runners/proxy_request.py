"""Reads the one request of a connection to the proxy, strictly: what can be understood in two ways is refused.

RFC 9112 (HTTP/1.1), section 3.2 for the forms of a target, 6.3 for the length of a body, 11.2 on smuggling; RFC 9110,
7.6.1 for the headers that end at the proxy, 9.3.6 for CONNECT.
"""

import re
from dataclasses import dataclass

from runners.allowlist import Address, AllowlistError, host_of

HEAD_LIMIT = 32 * 1024
"""Bytes of a request's head."""

Headers = tuple[tuple[str, str], ...]


class BadRequestError(Exception):
    """A request that is not passed on, with the status that says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ProxyRequest:
    """A request that was understood."""

    method: str
    host: str | Address
    port: int
    path: str
    """With the query; empty for a tunnel."""
    headers: Headers
    """Those that go on to the server."""
    body_length: int
    version: str = "HTTP/1.1"

    @property
    def is_tunnel(self) -> bool:
        """Whether the client wants a connection of its own to the server (CONNECT)."""
        return self.method == "CONNECT"

    @property
    def authority(self) -> str:
        """The host as an address spells it."""
        return f"[{self.host}]" if ":" in str(self.host) else str(self.host)

    def head(self) -> bytes:
        """What is sent to the server: the target's own host and no other, one request a connection."""
        host = self.authority if self.port == _HTTP_PORT else f"{self.authority}:{self.port}"
        headers = (("Host", host), *self.headers, ("Connection", "close"))
        lines = [f"{self.method} {self.path} {self.version}", *(f"{name}: {value}" for name, value in headers)]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def parse_request(head: bytes) -> ProxyRequest:
    """Read a head, from its first byte to the empty line. Raises BadRequestError."""
    if len(head) > HEAD_LIMIT:
        raise BadRequestError("the request's head is too long", 431)
    if not head.endswith(b"\r\n\r\n"):
        raise BadRequestError("the request's head does not end")
    first, *rest = head[:-4].decode("latin-1").split("\r\n")
    method, target, version = _request_line(first)
    headers = tuple(_header(line) for line in rest)
    if method == "CONNECT":
        host, port = _authority(target, None)
        return ProxyRequest(method, host, port, "", (), 0)
    host, port, path = _absolute(target)
    return ProxyRequest(method, host, port, path, _passed_on(headers), _body_length(headers), version)


_HTTP_PORT = 80
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) (HTTP/1\.[01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\]+)(?::(\d{1,5}))?")
_OF_THE_CONNECTION = frozenset(
    ("connection", "proxy-connection", "keep-alive", "proxy-authorization", "te", "trailer", "upgrade", "host")
)
"""Headers that end here. `Host` as well: the target says which host is meant, and a client could say another."""


def _request_line(line: str) -> tuple[str, str, str]:
    if not (found := _LINE.fullmatch(line)):
        raise BadRequestError("this is no HTTP/1.1 request")
    return found[1], found[2], found[3]


def _header(line: str) -> tuple[str, str]:
    if not (found := _HEADER.fullmatch(line)):
        raise BadRequestError("a header of the request is malformed")
    return found[1], found[2].rstrip(" \t")


def _absolute(target: str) -> tuple[str | Address, int, str]:
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() != "http":
        raise BadRequestError("this is a proxy: it takes http:// addresses, and CONNECT for everything else")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _authority(authority, _HTTP_PORT)
    path = rest[len(authority) :].partition("#")[0]
    return host, port, path if path.startswith("/") else f"/{path}"


def _authority(text: str, default_port: int | None) -> tuple[str | Address, int]:
    found = _AUTHORITY.fullmatch(text)
    port = int(found[2]) if found and found[2] else default_port
    if not found or port is None or not 0 < port < 1 << 16:
        raise BadRequestError("the request's address has no host and port that could be understood")
    try:
        return host_of(found[1]), port
    except AllowlistError as error:
        raise BadRequestError(str(error)) from error


def _passed_on(headers: Headers) -> Headers:
    of_the_connection = set(_OF_THE_CONNECTION)
    for name, value in headers:
        if name.lower() == "connection":
            of_the_connection |= {each.strip().lower() for each in value.split(",")} - {"content-length"}
    return tuple((name, value) for name, value in headers if name.lower() not in of_the_connection)


def _body_length(headers: Headers) -> int:
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        raise BadRequestError("send the body with a Content-Length, not in chunks", 411)
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0]):
        raise BadRequestError("the request's Content-Length is malformed")
    return int(lengths[0])
