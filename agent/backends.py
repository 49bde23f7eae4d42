"""From what a person writes after `--backend` to a backend: a name, a URL, `scripted:FILE`, or nothing at all."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from agent.backend import BackendError, BackendUnreachableError
from agent.background import in_background
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
_LONGEST_LIST = 4 * 1024 * 1024
_SHOWN_MODELS = 20


class BackendChoiceError(ValueError):
    """What was asked for is no backend, or not enough to choose one."""


class ServedModel(BaseModel):
    """One entry of a server's list of models."""

    id: str
    owned_by: Any = None
    max_model_len: Any = None
    """vLLM's and SGLang's context window in tokens."""


class _ModelList(BaseModel):
    data: list[ServedModel]


@dataclass(frozen=True)
class BackendOptions:
    """What a person may say about a backend beside where it is."""

    model: str | None = None
    key_variable: str = KEY_VARIABLE
    """The name of the environment variable that holds the key; never the key itself."""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    thinking: bool = True
    stall_timeout: float = 600.0
    retries: int = 5
    """How often a request that failed for a reason that may pass is sent again."""


@asynccontextmanager
async def open_backend(
    choice: str | None, options: BackendOptions, on_found: Callable[[str], None] | None = None
) -> "AsyncGenerator[ChatBackend]":
    """Open the backend that `choice` names; without one, the server on this machine that `on_found` is told of.

    Raises BackendChoiceError, ScriptError, BackendError, or BackendUnreachableError when nobody answers.
    """
    if choice is not None and choice.startswith(SCRIPTED):
        from agent.scripted.script import load_script
        from agent.scripted.server import serve

        script = load_script(Path(choice.removeprefix(SCRIPTED)))
        async with serve(script) as url, _connected(url, options) as backend:
            yield backend
        return
    if choice is None:
        name, url = await in_background(find_local_server)
        if on_found:
            on_found(f"found a model server at {url} (the port of {name})")
    else:
        url = read_address(choice)
    async with _connected(url, options) as backend:
        yield backend


@asynccontextmanager
async def _connected(url: str, options: BackendOptions) -> "AsyncGenerator[ChatBackend]":
    from agent.chat_backend import ChatBackend, RetryPolicy

    key = _read_key(options.key_variable)
    models = await in_background(list_models, url, key, options.key_variable, optional=options.model is not None)
    model = _choose_model(url, models, options.model)
    sampling = {
        **options.sampling,
        # Always explicit: the defaults differ between servers, and between builds of one server.
        "chat_template_kwargs": {"enable_thinking": options.thinking, "preserve_thinking": True},
    }
    description = BackendDescription(
        base_url=url,
        model=model.id,
        dialect="generic",
        scripted=model.owned_by == "scripted",
        sampling=sampling,
        context_window=model.max_model_len if isinstance(model.max_model_len, int) else None,
    )
    retry = RetryPolicy(attempts=options.retries + 1)
    backend = ChatBackend(description, key or "none", stall_timeout=options.stall_timeout, retry=retry)
    try:
        yield backend
    finally:
        await backend.close()


def find_local_server(servers: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The name and the base URL of the first local server that answers, in the order of LOCAL_SERVERS.

    Raises BackendUnreachableError with what to do when there is none.
    """
    servers = LOCAL_SERVERS if servers is None else servers

    def answers(url: str) -> bool:
        try:
            list_models(url)
        except (BackendError, BackendChoiceError):
            return False
        return True

    with ThreadPoolExecutor(len(servers)) as pool:
        for (name, url), found in zip(servers.items(), pool.map(answers, servers.values()), strict=True):
            if found:
                return name, url
    looked = ", ".join(f"{name} ({urlsplit(url).netloc})" for name, url in servers.items())
    message = (
        f"no model server answers on this machine; looked for {looked}.\n"
        "Start one, or say where yours is: --backend http://HOST:PORT/v1"
    )
    raise BackendUnreachableError(message)


def list_models(
    url: str, key: str = "", key_variable: str = KEY_VARIABLE, *, optional: bool = False
) -> list[ServedModel]:
    """The models that a server offers; none from a server without such a list, if `optional`.

    Raises BackendUnreachableError, BackendError for a server that fails, BackendChoiceError for what is no server
    of models.
    """
    request = urllib.request.Request(f"{url}/models")  # noqa: S310 - the scheme is checked where the URL comes from
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    # A proxy of the environment is for the way out, not for a server on this machine.
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(_NoRedirect, *([urllib.request.ProxyHandler({})] if local else []))
    try:
        with opener.open(request, timeout=_LOCAL_TIMEOUT if local else _REMOTE_TIMEOUT) as response:
            return _ModelList.model_validate_json(response.read(_LONGEST_LIST)).data
    except urllib.error.HTTPError as error:
        if optional and error.code in (404, 405, 501):
            return []
        raise _explain_status(url, error.code, key_variable) from error
    except ValidationError as error:
        message = f"what answers at {url} is no OpenAI-compatible server: its /models is no list of models"
        raise BackendChoiceError(message) from error
    except http.client.HTTPException as error:
        message = f"what answers at {url} is no HTTP server: {error!r}"
        raise BackendChoiceError(message) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        message = f"the backend at {url} cannot be reached: {reason}\nIs the server running, and is the address right?"
        raise BackendUnreachableError(message) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


def _explain_status(url: str, status: int, key_variable: str) -> Exception:
    answers = f"the backend at {url} answers {status} to a question for its models"
    if status in (401, 403):
        return BackendChoiceError(f"{answers}: it wants another key; it gets what {key_variable} holds")
    if status in (429, 502, 503, 504):
        return BackendUnreachableError(f"{answers}: it is busy, or still loads its model; try again in a while")
    if status >= 500:
        return BackendError(f"{answers}: its own log says why")
    return BackendChoiceError(
        f"{answers}: is the address right? Most end in /v1. For a server without a list of models, give --model"
    )


def read_address(choice: str) -> str:
    """The base URL that a URL or the name of a local server stands for. Raises BackendChoiceError."""
    if choice in LOCAL_SERVERS:
        return LOCAL_SERVERS[choice]
    if not choice.startswith(("http://", "https://")):
        message = (
            f"{choice!r} is no backend: give a URL (http://HOST:PORT/v1), {SCRIPTED}FILE, "
            f"or a name for its usual local address ({', '.join(LOCAL_SERVERS)})"
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


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        message = f"the key in {variable} holds characters that no HTTP header can carry"
        raise BackendChoiceError(message)
    return key


def _choose_model(url: str, models: Sequence[ServedModel], wanted: str | None) -> ServedModel:
    if wanted is not None:
        return next((model for model in models if model.id == wanted), ServedModel(id=wanted))
    if len(models) == 1:
        return models[0]
    if not models:
        message = f"the backend at {url} serves no model yet: load one there, or name one with --model"
        raise BackendChoiceError(message)
    names = ", ".join(model.id for model in models[:_SHOWN_MODELS])
    more = f" and {len(models) - _SHOWN_MODELS} more" if len(models) > _SHOWN_MODELS else ""
    message = f"the backend at {url} serves several models ({names}{more}): choose one with --model"
    raise BackendChoiceError(message)
