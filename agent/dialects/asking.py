"""Asks a server questions outside of its chat endpoint: its models, its version, what gives it away.

Promises: nothing is asked twice; a redirect is not followed, so that the key goes nowhere else; a proxy of the
environment is not used for this machine; an answer is cut at 4 MiB.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from agent.addresses import is_this_machine

_LOCAL_TIMEOUT = 5.0
_REMOTE_TIMEOUT = 30.0
_AT_ONCE = 4
"""Small servers have room for five who wait; a sixth tries again after a second."""
_LONGEST = 4 * 1024 * 1024


@dataclass(frozen=True)
class Asked:
    """A GET of `place`, or a POST of `body`. A place begins with `/` for the server's root."""

    place: str
    body: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    content: bytes

    @property
    def is_good(self) -> bool:
        """Whether the server has answered the question."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body, leniently decoded."""
        return self.content.decode("utf-8", "replace")

    @cached_property
    def json(self) -> object:
        """The body as JSON; None for what is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


@dataclass
class Server:
    """One server, and what it has said so far."""

    url: str
    """The base URL, without a slash at its end."""
    key: str = field(default="", repr=False)
    _replies: dict[Asked, Reply | Exception] = field(default_factory=dict[Asked, Reply | Exception], init=False)

    @property
    def host(self) -> str:
        """Its name, in lower case."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""
        return is_this_machine(self.url)

    def ask(self, place: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Ask, or repeat what was said. Raises OSError or http.client.HTTPException where there is no answer."""
        asked = Asked(place, None if body is None else json.dumps(body))
        if asked not in self._replies:
            self._replies[asked] = self._answer(asked)
        reply = self._replies[asked]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def ask_all(self, questions: Iterable[Asked]) -> list[Asked]:
        """Ask them at the same time, so that `ask` knows what each says; those without an answer come back."""
        missing = [asked for asked in dict.fromkeys(questions) if asked not in self._replies]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._replies |= zip(missing, pool.map(self._answer, missing), strict=True)
        return [asked for asked in missing if isinstance(self._replies[asked], Exception)]

    def said(self, asked: Asked) -> Reply | None:
        """What was answered to that; None for no answer."""
        reply = self._replies.get(asked)
        return reply if isinstance(reply, Reply) else None

    def _answer(self, asked: Asked) -> Reply | Exception:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        data = None if asked.body is None else asked.body.encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        # The scheme is checked where the URL comes from, and a place cannot change it.
        request = urllib.request.Request(address_of(asked.place, self.url), data, headers)  # noqa: S310
        try:
            with self._opener().open(request, timeout=_LOCAL_TIMEOUT if self.is_local else _REMOTE_TIMEOUT) as response:
                return _read(response.status, response.headers, response)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error.code, error.headers, error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return error

    def _opener(self) -> urllib.request.OpenerDirector:
        # A proxy of the environment is for the way out, not for a server on this machine.
        proxies = [urllib.request.ProxyHandler({})] if self.is_local else []
        return urllib.request.build_opener(_NoRedirect, *proxies)


def address_of(place: str, base_url: str) -> str:
    """Where a place of a dialect's cells is: under the base URL, or with a `/` under the base URL without its `/v1`."""
    if place.startswith("/"):
        return base_url.removesuffix("/v1") + place
    return f"{base_url}/{place}"


def _read(status: int, headers: Any, response: Any) -> Reply | Exception:
    try:
        content = response.read(_LONGEST)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return error
    return Reply(status, {str(name).lower(): str(value) for name, value in headers.items()}, content)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None
