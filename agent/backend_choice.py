"""What a person writes after `--backend`, and what they may say beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agent.dialects.registry import local_addresses
from agent.request_budget import RequestBudget

KEY_VARIABLE = "UNBROKEN_API_KEY"
SCRIPTED = "scripted:"


class BackendChoiceError(ValueError):
    """What was asked for is no backend, or not enough to choose one."""


@dataclass(frozen=True)
class BackendOptions:
    """What a person may say about a backend beside where it is."""

    model: str | None = None
    key_variable: str = KEY_VARIABLE
    """The name of the environment variable that holds the key; never the key itself."""
    dialect: str | None = None
    """A name, or a FILE.toml; None: it is found out."""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """By our names for the parameters (`max_output`, `temperature` …); None: left to the server."""
    thinking: bool = True
    preserve: bool = True
    """Keep the thinking of earlier turns in the prompt."""
    context_window: int | None = None
    """In tokens, as far as the server has them: the smaller of the two holds."""
    stall_timeout: float | None = None
    """Seconds of silence after which the backend counts as stalled; None: the limits of `agent.waits`."""
    longest_step: float | None = None
    """Seconds that one response may take, with every try and the waits between them."""
    retries: int = 5
    """How often a request that failed for a reason that may pass is sent again."""
    outage: float = 0.0
    """Seconds for which a server is waited for that was there before and has gone away."""
    requests: RequestBudget | None = None
    """How many requests there may be at once; None: any number."""
    weights: str | None = None
    """This and the next are taken where the server does not tell."""
    quantisation: str | None = None
    kv_cache: str | None = None
    speculative: str | None = None
    hardware: str | None = None
    profile: str | None = None
    mode: str | None = None
    preset: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each setting comes from: `published: …`, or `ours: …`."""


def read_address(choice: str) -> str:
    """The base URL that a URL, or the name of a local server, stands for. Raises BackendChoiceError."""
    if not choice.startswith(("http://", "https://")):
        local = local_addresses()
        if choice in local:
            return local[choice]
        message = (
            f"{choice!r} is no backend: give a URL (http://HOST:PORT/v1), {SCRIPTED}FILE, "
            f"or a name for its usual local address ({', '.join(local)})"
        )
        raise BackendChoiceError(message)
    try:
        parts = urlsplit(choice)
        usable = bool(parts.hostname) and parts.port != 0 and choice.isprintable() and " " not in choice
    except ValueError:
        parts, usable = None, False
    if parts is None or not usable:
        message = f"{choice!r} is no address of a server: it looks like http://HOST:PORT/v1"
        raise BackendChoiceError(message)
    if parts.username or parts.password or parts.query or parts.fragment:
        # It is recorded and shown, so it must not hold a password or a key.
        message = f"give --backend no more than http://HOST:PORT/PATH; a key goes into the variable {KEY_VARIABLE}"
        raise BackendChoiceError(message)
    return choice.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def read_key(variable: str) -> str:
    """The key in an environment variable, "" for none. Raises BackendChoiceError for what cannot be sent."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        message = f"the key in {variable} holds characters that no HTTP header can carry"
        raise BackendChoiceError(message)
    return key
