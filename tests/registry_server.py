"""A small image registry: the Registry HTTP API v2 over real HTTP, for pulls of the real engine and for our own asking.

It serves what is published into it, asks for tokens if told to, and fails in the ways that registries fail.
"""

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


@dataclass
class Fault:
    """What is answered instead, to the first `times` requests that fit."""

    path: str
    """A regular expression that the path contains."""
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut_after: int | None = None
    """Send this many bytes of the right answer, and break off."""
    method: str = "GET|HEAD"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Published:
    """An image in the registry."""

    name: str
    digest: str
    manifest: bytes
    layers: Sequence[bytes]
    """As they are in the registry, compressed."""


def tar_layer(**files: bytes) -> bytes:
    """A layer that holds these files, not compressed."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            members.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class RegistryServer:
    """Use `serving()`."""

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(
        default_factory=dict[tuple[str, str], tuple[str, bytes]]
    )
    faults: list[Fault] = field(default_factory=list[Fault])
    asked: list[Asked] = field(default_factory=list[Asked])
    wants_token: bool = False
    login: tuple[str, str] | None = None
    """Who alone gets a token."""
    basic: bool = False
    """Name and password with each request, instead of a token."""
    pulls: tuple[int, int] | None = None
    """Left, and granted: told in every answer about a manifest."""
    ranges: bool = True
    blobs_elsewhere: str = ""
    """Where blobs are redirected to."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Layers are sent while it is set."""
    waiting: threading.Event = field(default_factory=threading.Event)
    """Somebody stands before the gate."""

    def __post_init__(self) -> None:
        self.gate.set()

    def publish(
        self, repository: str, layers: Sequence[bytes], tag: str = "latest", media_type: str = LAYER, **config: Any
    ) -> Published:
        """Put an image of these layers (tar archives) in."""
        packed = [gzip.compress(layer, mtime=0) if media_type.endswith("gzip") else layer for layer in layers]
        system = {"architecture": "amd64", "os": "linux", **config}
        body = {**system, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}
        body |= {"history": [{"created_by": f"layer {number}"} for number in range(len(layers))]}
        configuration = json.dumps(body | {"config": {"Cmd": ["/nothing"]}}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._descriptor(configuration, CONFIG),
            "layers": [self._descriptor(layer, media_type) for layer in packed],
        }
        data = json.dumps(manifest).encode()
        self._add(repository, tag, MANIFEST, data)
        return Published(f"{self.host}/{repository}:{tag}", digest_of(data), data, packed)

    def publish_index(self, repository: str, tag: str, images: Mapping[str, Published]) -> Published:
        """Put images for several architectures under one name."""
        entries = [
            {
                "mediaType": MANIFEST, "digest": one.digest, "size": len(one.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, one in images.items()
        ]  # fmt: skip
        for one in images.values():
            self._add(repository, one.digest, MANIFEST, one.manifest)
        data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self._add(repository, tag, INDEX, data)
        return Published(f"{self.host}/{repository}:{tag}", digest_of(data), data, ())

    def paths(self, method: str = "GET") -> list[str]:
        return [one.path for one in self.asked if one.method == method]

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.method, method) and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def _add(self, repository: str, tag: str, kind: str, data: bytes) -> None:
        self.manifests[repository, tag] = self.manifests[repository, digest_of(data)] = kind, data

    def _descriptor(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "size": len(data), "digest": digest_of(data)}


@contextmanager
def serving() -> Generator[RegistryServer]:
    """A registry on a port of its own."""
    registry = RegistryServer()

    class Handler(_Handler):
        server_registry = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    registry.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        registry.gate.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_registry: RegistryServer

    def do_GET(self) -> None:
        registry = self.server_registry
        registry.asked.append(Asked(self.command, self.path, dict(self.headers)))
        fault = registry.fault(self.command, self.path)
        if fault and fault.cut_after is None:
            self._answer(fault.status, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "x"}]}', fault.headers)
        elif self.path.startswith("/token"):
            self._give_token()
        elif self._is_refused():
            scheme = 'Basic realm="x"' if registry.basic else self._bearer()
            self._answer(401, b'{"errors": []}', {"WWW-Authenticate": scheme})
        elif match := _PATH.fullmatch(self.path):
            self._give(match, fault.cut_after if fault else None)
        else:
            self._answer(200 if self.path == "/v2/" else 404, b"{}")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _is_refused(self) -> bool:
        registry, sent = self.server_registry, self.headers.get("Authorization", "")
        if registry.basic:
            return sent != self._login()
        match = _PATH.fullmatch(self.path)
        return registry.wants_token and sent != f"Bearer token-for-{match['repository'] if match else ''}"

    def _login(self) -> str:
        login = self.server_registry.login
        return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}" if login else ""

    def _bearer(self) -> str:
        match = _PATH.fullmatch(self.path)
        scope = f',scope="repository:{match["repository"]}:pull"' if match else ""
        return f'Bearer realm="http://{self.server_registry.host}/token",service="test"{scope}'

    def _give_token(self) -> None:
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [""])
        if self.server_registry.login and self.headers.get("Authorization") != self._login():
            self._answer(401, b"{}")
            return
        repository = scopes[0].removeprefix("repository:").removesuffix(":pull")
        self._answer(200, json.dumps({"token": f"token-for-{repository}"}).encode())

    def _give(self, match: re.Match[str], cut_after: int | None) -> None:
        registry = self.server_registry
        if match["kind"] == "manifests":
            kind, data = registry.manifests.get((match["repository"], match["reference"]), ("", b""))
            limits = {}
            if registry.pulls:
                left, granted = registry.pulls
                limits = {"ratelimit-limit": f"{granted};w=21600", "ratelimit-remaining": f"{left};w=21600"}
            headers = {"Content-Type": kind, "Docker-Content-Digest": digest_of(data), **limits}
            missing = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            self._answer(200 if kind else 404, data if kind else missing, headers if kind else {}, cut_after)
        elif (data := registry.blobs.get(match["reference"])) is None:
            self._answer(404, b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown"}]}')
        elif registry.blobs_elsewhere:
            self._answer(307, b"", {"Location": f"{registry.blobs_elsewhere}{self.path}"})
        else:
            self._give_blob(data, cut_after)

    def _give_blob(self, data: bytes, cut_after: int | None) -> None:
        registry = self.server_registry
        if not data.startswith(b"{") and not registry.gate.is_set():
            registry.waiting.set()
            registry.gate.wait()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted or not registry.ranges:
            self._answer(200, data, {}, cut_after)
            return
        first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
        where = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self._answer(206, data[first : last + 1], where, cut_after)

    def _answer(
        self, status: int, data: bytes, headers: Mapping[str, str] | None = None, cut_after: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if cut_after is None else data[:cut_after])
        if cut_after is not None:
            self.close_connection = True
