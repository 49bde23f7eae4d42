"""What an address says about the way to it: whether the server runs on this machine, and how to speak to it then."""

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx2


def is_this_machine(url: str) -> bool:
    """Whether the host of `url` is this machine by one of its own names."""
    return (urlsplit(url).hostname or "").lower() in ("127.0.0.1", "localhost", "::1")


def http_client(url: str, **settings: Any) -> "httpx2.AsyncClient":
    """A client with the limits of the openai SDK that follows no redirect: one would carry what is sent to anywhere.

    `settings` are those of `httpx2.AsyncClient`.
    """
    import openai

    if urlsplit(url).scheme == "http" and is_this_machine(url):
        # A proxy of the environment is for the way out, and certificates, which take 70 ms to load, are for TLS.
        settings |= {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
    return openai.DefaultAsyncHttpxClient(follow_redirects=False, **settings)
