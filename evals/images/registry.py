"""Asks registries over HTTP what an image is made of: the Registry HTTP API v2, with tokens as Docker Hub wants them.

The sources are the OCI distribution specification and distribution's "Token Authentication Specification".
Nothing is pulled here: the engine does that.
"""

import base64
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import parse_http_list

from evals.images.names import ImageName
from evals.images.patience import ImageError, Patience, seconds_to_wait
from evals.images.registry_access import Access, is_this_machine

if TYPE_CHECKING:
    import httpx2

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
MOST_BYTES = 4 * 2**20
"""Of a manifest or of an image's configuration; the specification asks registries to take manifests of that size."""

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_REASONS = {
    401: "lets only those who log in have {repository}, or has no such repository",
    403: "does not let you have {repository}",
    404: "has no {repository}:{reference}",
    429: "has been asked too often",
}


class RegistryError(ImageError):
    """A registry cannot be asked, or has no such image."""


@dataclass(frozen=True)
class Manifest:
    """A manifest as it came, and its digest."""

    body: bytes
    digest: str


@dataclass(frozen=True)
class Newest:
    """What a registry has under a name at the moment."""

    digest: str | None
    pulls_left: float | None
    """The share of pulls that the registry still grants, where it says so."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Registries:
    """Use as a context manager. Its methods raise RegistryError, and can be called from many threads."""

    access: Access = field(default_factory=Access)
    patience: Patience = field(default_factory=lambda: Patience(tries=3, longest=10.0, longest_asked=20.0))
    stop: threading.Event = field(default_factory=threading.Event)
    _clients: "dict[bool, httpx2.Client]" = field(default_factory=dict[bool, Any])
    _authorizations: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    _logins: dict[str, tuple[str, str] | None] = field(default_factory=dict[str, tuple[str, str] | None])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Registries":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def newest(self, name: ImageName) -> Newest:
        """Ask without fetching anything: Docker Hub does not count that as a pull."""
        answer = self._ask("HEAD", name, f"manifests/{name.reference}", {"Accept": ", ".join(MANIFESTS)})
        return Newest(answer.headers.get("Docker-Content-Digest"), _pulls_left(answer.headers))

    def asked_to_wait(self, name: ImageName) -> float | None:
        """The seconds that a registry wants to be left alone; None where it does not say so. Never raises."""
        access = self.access
        try:
            self._request(
                access.address(name.registry), self._login(name.registry),
                "HEAD", name, f"manifests/{name.reference}", {"Accept": ", ".join(MANIFESTS)},
            )  # fmt: skip
        except RegistryError as error:
            return error.retry_after
        return None

    def manifest(self, name: ImageName, reference: str) -> Manifest:
        """Fetch a manifest by tag or digest; what does not have the digest that was asked for is refused."""
        answer = self._ask("GET", name, f"manifests/{reference}", {"Accept": ", ".join(MANIFESTS)})
        return Manifest(answer.body, _checked(answer.body, reference if ":" in reference else None, name))

    def blob(self, name: ImageName, digest: str) -> bytes:
        """Fetch a small blob, such as an image's configuration."""
        body = self._ask("GET", name, f"blobs/{digest}").body
        _checked(body, digest, name)
        return body

    def end_of_blob(self, name: ImageName, digest: str, size: int, count: int) -> bytes | None:
        """The last bytes of a blob; None where the registry gives only the whole."""
        wanted = {"Range": f"bytes={max(0, size - count)}-{size - 1}", "Accept-Encoding": "identity"}
        answer = self._ask("GET", name, f"blobs/{digest}", wanted)
        return answer.body if answer.status == 206 else None

    def _ask(self, method: str, name: ImageName, path: str, headers: Mapping[str, str] | None = None) -> _Answer:
        for mirror in self.access.mirrors_of(name.registry):
            try:
                return self._request(mirror, None, method, name, path, headers or {})
            except RegistryError:
                continue  # as the engine does: a mirror that fails is passed over
        address, login = self.access.address(name.registry), self._login(name.registry)
        return self.patience.retrying(self.stop)(self._request, address, login, method, name, path, headers or {})

    def _request(
        self,
        address: str,
        login: tuple[str, str] | None,
        method: str,
        name: ImageName,
        path: str,
        headers: Mapping[str, str],
    ) -> _Answer:
        url = f"{address}/v2/{name.repository}/{path}"
        answer = self._send(method, url, self._authorized(address, name, headers))
        if answer.status == 401 and (challenge := parse_challenge(answer.headers.get("WWW-Authenticate", ""))):
            authorization = self._authorization(address, login, name, *challenge)
            with self._lock:
                self._authorizations[address, name.repository] = authorization
            answer = self._send(method, url, self._authorized(address, name, headers))
        if answer.status >= 400:
            raise _refusal(name, answer)
        return answer

    def _login(self, registry: str) -> tuple[str, str] | None:
        with self._lock:
            if registry not in self._logins:
                self._logins[registry] = self.access.credentials(registry)
            return self._logins[registry]

    def _authorized(self, address: str, name: ImageName, headers: Mapping[str, str]) -> dict[str, str]:
        with self._lock:
            known = self._authorizations.get((address, name.repository))
        return {**headers, "Authorization": known} if known else dict(headers)

    def _authorization(
        self,
        address: str,
        login: tuple[str, str] | None,
        name: ImageName,
        scheme: Literal["basic", "bearer"],
        told: Mapping[str, str],
    ) -> str:
        if scheme == "basic":
            if login is None:
                message = f"{name.registry} wants a name and a password: log in with `docker login {name.registry}`"
                raise RegistryError(message)
            return _basic(login)
        realm = told.get("realm", "")
        asked = {"service": told["service"]} if "service" in told else {}
        asked["scope"] = told.get("scope", f"repository:{name.repository}:pull")
        # A password goes nowhere in the clear but to where the registry itself is spoken to in the clear.
        may_have_it = realm.startswith("https://") or address.startswith("http://")
        headers = {"Authorization": _basic(login)} if login and may_have_it else {}
        answer = self._send("GET", realm, headers, asked)
        if answer.status >= 400:
            raise _refusal(name, answer)
        return f"Bearer {_token(answer.body, name)}"

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> _Answer:
        import httpx2

        host = urlsplit(url).hostname or url
        try:
            client = self._client(local=is_this_machine(host))
            with client.stream(method, url, headers=dict(headers), params=query) as answer:
                if "Range" in headers and answer.status_code == 200:
                    return _Answer(200, answer.headers, b"")  # the whole, which nobody wants
                return _Answer(answer.status_code, answer.headers, _limited(answer, host))
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            message = f"{host} cannot be asked: {error or type(error).__name__}"
            raise RegistryError(message, transient=isinstance(error, httpx2.RequestError)) from error

    def _client(self, *, local: bool) -> "httpx2.Client":
        import ssl

        import httpx2

        with self._lock:
            if local not in self._clients:
                # A proxy of the environment is for the way out, and certificates are for TLS.
                verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if local else ssl.create_default_context()
                timeout = httpx2.Timeout(30.0, connect=10.0)
                self._clients[local] = httpx2.Client(
                    follow_redirects=True, timeout=timeout, trust_env=not local, verify=verify
                )
            return self._clients[local]


def parse_challenge(header: str) -> tuple[Literal["basic", "bearer"], dict[str, str]] | None:
    """Read a `WWW-Authenticate` (RFC 9110, 11.6.1); None where it names no scheme that registries use."""
    word, _, rest = header.strip().partition(" ")
    parts = [part.partition("=") for part in parse_http_list(rest)]
    told = {key.strip().lower(): value.strip().removeprefix('"').removesuffix('"') for key, _, value in parts}
    match word.lower():
        case "basic":
            return "basic", told
        case "bearer" if told.get("realm"):
            return "bearer", told
        case _:
            return None


def _limited(answer: "httpx2.Response", host: str) -> bytes:
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > MOST_BYTES:
            message = f"{host} answers with more than {MOST_BYTES} bytes where a description is expected"
            raise RegistryError(message)
    return bytes(body)


def _refusal(name: ImageName, answer: _Answer) -> RegistryError:
    reason = _REASONS.get(answer.status, f"answers with status {answer.status}")
    waits = seconds_to_wait(answer.headers.get("Retry-After"))
    wait = "" if waits is None else f", and asks to wait {waits:.0f} s"
    message = f"{name.registry} {reason.format(repository=name.repository, reference=name.reference)}{wait}"
    return RegistryError(message, transient=answer.status in _BUSY, retry_after=waits)


def _token(body: bytes, name: ImageName) -> str:
    import json

    try:
        told: Any = json.loads(body)
        token: Any = told.get("token") or told.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        message = f"{name.registry} gives no token for {name.repository}"
        raise RegistryError(message)
    return token


def _basic(login: tuple[str, str]) -> str:
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"


def _pulls_left(headers: Mapping[str, str]) -> float | None:
    try:
        limit, remaining = (float(headers[f"ratelimit-{word}"].partition(";")[0]) for word in ("limit", "remaining"))
        return remaining / limit
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def _checked(body: bytes, digest: str | None, name: ImageName) -> str:
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if digest and digest.startswith("sha256:") and found != digest:
        message = f"{name.registry} gives something else for {digest} of {name.repository}"
        raise RegistryError(message, transient=True)
    return digest or found
