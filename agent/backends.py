"""From what a person writes after `--backend` to a backend: a name, a URL, `scripted:FILE`, or nothing at all."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from agent.backend import BackendUnreachableError
from results.records.events import BackendDescription

if TYPE_CHECKING:
    from agent.chat_backend import ChatBackend

LOCAL_SERVERS = {
    "vllm": "http://127.0.0.1:8000/v1",
    "sglang": "http://127.0.0.1:30000/v1",
    "llama.cpp": "http://127.0.0.1:8080/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
}
"""Where the servers that people run on their own machine listen unless told otherwise."""

KEY_VARIABLE = "UNBROKEN_API_KEY"
SCRIPTED = "scripted:"
_LOCAL_TIMEOUT = 5.0
_REMOTE_TIMEOUT = 30.0


class BackendChoiceError(ValueError):
    """What was asked for is no backend, or not enough to choose one."""


@dataclass(frozen=True)
class BackendOptions:
    """What a person may say about a backend beside where it is."""

    model: str | None = None
    key_variable: str = KEY_VARIABLE
    """The name of the environment variable that holds the key; never the key itself."""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    thinking: bool = True
    stall_timeout: float = 600.0


@asynccontextmanager
async def open_backend(choice: str | None, options: BackendOptions) -> "AsyncGenerator[ChatBackend]":
    """Open the backend that `choice` names; without one, the server that is found on this machine.

    Raises BackendChoiceError, or BackendUnreachableError when nobody answers.
    """
    if choice is not None and choice.startswith(SCRIPTED):
        from agent.scripted.script import load_script
        from agent.scripted.server import serve

        script = load_script(Path(choice.removeprefix(SCRIPTED)))
        async with serve(script) as url, _connected(url, options) as backend:
            yield backend
    else:
        url = find_local_server() if choice is None else _address(choice)
        async with _connected(url, options) as backend:
            yield backend


@asynccontextmanager
async def _connected(url: str, options: BackendOptions) -> "AsyncGenerator[ChatBackend]":
    from agent.chat_backend import ChatBackend

    key = os.environ.get(options.key_variable, "")
    models = list_models(url, key)
    model = _choose_model(url, models, options.model)
    sampling = {
        **options.sampling,
        # Always explicit: the defaults differ between servers, and between builds of one server.
        "chat_template_kwargs": {"enable_thinking": options.thinking, "preserve_thinking": True},
    }
    description = BackendDescription(
        base_url=url,
        model=str(model["id"]),
        dialect="generic",
        scripted=model.get("owned_by") == "scripted",
        sampling=sampling,
        context_window=_context_window(model),
    )
    backend = ChatBackend(description, key or "none", stall_timeout=options.stall_timeout)
    try:
        yield backend
    finally:
        await backend.close()


def find_local_server() -> str:
    """The base URL of the first local server that answers, in the order of LOCAL_SERVERS.

    Raises BackendUnreachableError with what to do when there is none.
    """

    def answers(url: str) -> bool:
        try:
            list_models(url)
        except (BackendUnreachableError, BackendChoiceError):
            return False
        return True

    with ThreadPoolExecutor(len(LOCAL_SERVERS)) as pool:
        for url, found in zip(LOCAL_SERVERS.values(), pool.map(answers, LOCAL_SERVERS.values()), strict=True):
            if found:
                return url
    looked = ", ".join(f"{name} ({url.split('/')[2]})" for name, url in LOCAL_SERVERS.items())
    message = (
        f"no model server answers on this machine; looked for {looked}.\n"
        "Start one, or say where yours is: --backend http://HOST:PORT/v1"
    )
    raise BackendUnreachableError(message)


def list_models(url: str, key: str = "") -> list[dict[str, Any]]:
    """The models that a server offers. Raises BackendUnreachableError or BackendChoiceError."""
    request = urllib.request.Request(f"{url}/models")  # noqa: S310 - the scheme is checked where the URL comes from
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    # A proxy of the environment is for the way out, not for a server on this machine.
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
    try:
        with opener.open(request, timeout=_LOCAL_TIMEOUT if local else _REMOTE_TIMEOUT) as response:
            answer: Any = json.load(response)
        return cast("list[dict[str, Any]]", answer["data"])
    except urllib.error.HTTPError as error:
        hint = f"; set the key in {KEY_VARIABLE}" if error.code in (401, 403) else ""
        message = f"the backend at {url} answers {error.code} to a question for its models{hint}"
        raise BackendChoiceError(message) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        message = f"the backend at {url} cannot be reached: {reason}\nIs the server running, and is the address right?"
        raise BackendUnreachableError(message) from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"what answers at {url} is no OpenAI-compatible server (its /models is {error!r})"
        raise BackendChoiceError(message) from error


def _address(choice: str) -> str:
    if choice in LOCAL_SERVERS:
        return LOCAL_SERVERS[choice]
    if choice.startswith(("http://", "https://")):
        return choice.rstrip("/")
    message = (
        f"{choice!r} is no backend: give a URL (http://HOST:PORT/v1), {SCRIPTED}FILE, "
        f"or a name for its usual local address ({', '.join(LOCAL_SERVERS)})"
    )
    raise BackendChoiceError(message)


def _choose_model(url: str, models: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    if wanted is not None:
        return next((model for model in models if model.get("id") == wanted), {"id": wanted})
    if len(models) == 1:
        return models[0]
    names = ", ".join(str(model.get("id")) for model in models) or "none"
    message = f"the backend at {url} serves several models ({names}): choose one with --model"
    raise BackendChoiceError(message)


def _context_window(model: Mapping[str, Any]) -> int | None:
    window = model.get("max_model_len")
    return window if isinstance(window, int) else None
