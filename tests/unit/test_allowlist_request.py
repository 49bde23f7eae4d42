"""Requests to the proxy: understood in one way, or not passed on."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runners.proxy_request import BadRequestError, ProxyRequest, parse_request

TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def test_a_request_goes_on_to_the_host_of_its_target_and_to_no_other():
    request = parse_request(
        head(
            "GET http://Example.org:8080/a/b?c=d#e HTTP/1.1", "Host: other.test", "Accept: */*",
            "Connection: X-Hop, close", "X-Hop: 1", "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive",
            "Upgrade: h2c", "TE: trailers", "X-Kept: ä",
        )
    )  # fmt: skip
    assert (request.host, request.port, request.path) == ("example.org", 8080, "/a/b?c=d")
    assert request.head() == head(
        *("GET /a/b?c=d HTTP/1.1", "Host: example.org:8080", "Accept: */*", "X-Kept: ä", "Connection: close")
    )


@pytest.mark.parametrize(("target", "host", "port", "path"), [
    ("http://a.test", "a.test", 80, "/"),
    ("HTTP://a.test?q", "a.test", 80, "/?q"),
    ("http://a.test//b.test/c", "a.test", 80, "//b.test/c"),
    ("http://[::1]:81/", ip_address("::1"), 81, "/"),
    ("http://127.0.0.1/x", ip_address("127.0.0.1"), 80, "/x"),
])  # fmt: skip
def test_targets(target: str, host: object, port: int, path: str):
    request = parse_request(head(f"GET {target} HTTP/1.0"))
    assert (request.host, request.port, request.path, request.version) == (host, port, path, "HTTP/1.0")


def test_a_tunnel_has_a_host_and_a_port():
    request = parse_request(head("CONNECT pypi.org:443 HTTP/1.1", "Host: pypi.org:443"))
    assert (request.is_tunnel, request.host, request.port) == (True, "pypi.org", 443)


REFUSED = [
    (["GET / HTTP/1.1", "Host: a.test"], 400),
    (["GET https://a.test/ HTTP/1.1"], 400),
    (["GET ftp://a.test/ HTTP/1.1"], 400),
    (["GET http://user@a.test/ HTTP/1.1"], 400),
    (["GET http://a.test:0/ HTTP/1.1"], 400),
    (["GET http://a.test:99999/ HTTP/1.1"], 400),
    (["GET http://a.test:80:80/ HTTP/1.1"], 400),
    (["GET http:///x HTTP/1.1"], 400),
    (["GET http://a.test\\@b.test/ HTTP/1.1"], 400),
    (["GET http://0x7f.1/ HTTP/1.1"], 400),
    (["GET http://a.test/ HTTP/2.0"], 400),
    (["GET http://a.test/"], 400),
    (["GET  http://a.test/ HTTP/1.1"], 400),
    (["GET\thttp://a.test/ HTTP/1.1"], 400),
    (["GET http://a.test/\x7f HTTP/1.1"], 400),
    (["CONNECT a.test HTTP/1.1"], 400),
    (["CONNECT http://a.test:443 HTTP/1.1"], 400),
    (["GET http://a.test/ HTTP/1.1", " folded: 1"], 400),
    (["GET http://a.test/ HTTP/1.1", "A: 1", "\tmore"], 400),
    (["GET http://a.test/ HTTP/1.1", "A : 1"], 400),
    (["GET http://a.test/ HTTP/1.1", "A: 1\nB: 2"], 400),
    (["GET http://a.test/ HTTP/1.1", "A: 1\rB: 2"], 400),
    (["GET http://a.test/ HTTP/1.1", "A: \x00"], 400),
    (["GET http://a.test/ HTTP/1.1", "no colon"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: 1", "Content-Length: 2"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: 1", "content-length: 1"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: 1, 1"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: +1"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: -1"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: ²"], 400),
    (["POST http://a.test/ HTTP/1.1", "Content-Length: 0x10"], 400),
    (["POST http://a.test/ HTTP/1.1", "Transfer-Encoding: chunked"], 411),
    (["POST http://a.test/ HTTP/1.1", "Transfer-Encoding: identity", "Content-Length: 1"], 411),
    (["GET http://a.test/ HTTP/1.1", f"A: {'x' * 40_000}"], 431),
]


@pytest.mark.parametrize(("lines", "status"), REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(lines: list[str], status: int):
    with pytest.raises(BadRequestError) as refused:
        parse_request(head(*lines))
    assert refused.value.status == status


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=8), st.integers(0, 10**9))
def test_what_goes_on_is_one_request_that_reads_as_the_one_that_came(headers: list[tuple[str, str]], length: int):
    special = {"host", "connection", "transfer-encoding", "content-length", "proxy-connection", "keep-alive", "te"}
    headers = [
        pair for pair in headers if pair[0].lower() not in {*special, "trailer", "upgrade", "proxy-authorization"}
    ]
    lines = [f"{name}: {value}" for name, value in headers]
    request = parse_request(head("PUT http://a.test/x HTTP/1.1", f"Content-Length: {length}", *lines))
    assert request.body_length == length
    sent = request.head()
    assert sent.count(b"\r\n\r\n") == 1
    again = parse_request(sent.replace(b"PUT /x ", b"PUT http://a.test/x ", 1))
    assert again == request


@given(st.binary(max_size=300))
@example(b"GET http://a.test/ HTTP/1.1\r\n\r\nGET http://b.test/ HTTP/1.1\r\n\r\n")
@example(b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n")
def test_any_bytes_are_a_request_or_refused(data: bytes):
    try:
        request = parse_request(data + b"\r\n\r\n")
    except BadRequestError:
        return
    assert isinstance(request, ProxyRequest)
    assert request.head().count(b"\r\n\r\n") == 1


@given(st.data())
def test_a_request_with_a_byte_changed_never_goes_to_another_host_unseen(data: st.DataObject):
    whole = bytearray(head("GET http://allowed.test/path HTTP/1.1", "Host: allowed.test", "Accept: text/plain"))
    position = data.draw(st.integers(0, len(whole) - 5))
    whole[position] = data.draw(st.integers(0, 255))
    try:
        request = parse_request(bytes(whole))
    except BadRequestError:
        return
    hosts = [line for line in request.head().split(b"\r\n") if line.lower().startswith(b"host:")]
    shown = request.authority if request.port == 80 else f"{request.authority}:{request.port}"
    assert hosts == [f"Host: {shown}".encode()]
