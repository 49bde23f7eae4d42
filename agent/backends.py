"""From what a person writes after `--backend` to a backend: a name, a URL, `scripted:FILE`, or nothing at all."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.backend_choice import KEY_VARIABLE, SCRIPTED, BackendChoiceError, BackendOptions, read_address, read_key
from agent.background import in_background
from agent.dialects.asking import Server
from agent.dialects.detection import Detected, detect
from agent.dialects.dialect import Dialect
from agent.dialects.registry import GENERIC, load_dialect
from agent.dialects.served import Facts, ask_served
from agent.local_servers import find_local_server
from agent.request import wire_fields
from agent.served_models import ServedModel, choose_model, list_models, read_models
from results.records.events import BackendDescription

if TYPE_CHECKING:
    from agent.chat_backend import ChatBackend

__all__ = [
    "KEY_VARIABLE",
    "BackendChoiceError",
    "BackendOptions",
    "ServedModel",
    "find_local_server",
    "list_models",
    "open_backend",
    "read_address",
]

_OWNER = "scripted"
"""Whose a scripted server's model is, as its list says."""


@asynccontextmanager
async def open_backend(
    choice: str | None, options: BackendOptions, on_found: Callable[[str], None] | None = None
) -> "AsyncGenerator[ChatBackend]":
    """Open the backend that `choice` names; without one, a server on this machine.

    `on_found` is told what was found out: the server, and its dialect where nobody stated one. Raises
    BackendChoiceError, DialectError, ScriptError, BackendError, or BackendUnreachableError when nobody answers.
    """
    if choice is not None and choice.startswith(SCRIPTED):
        from agent.scripted.script import load_script
        from agent.scripted.server import serve

        script = load_script(Path(choice.removeprefix(SCRIPTED)))
        async with serve(script) as url, _connected(url, options, on_found) as backend:
            yield backend
        return
    if choice is None:
        name, url = await in_background(find_local_server)
        if on_found:
            on_found(f"found a model server at {url} (the port of {name})")
    else:
        url = read_address(choice)
    async with _connected(url, options, on_found) as backend:
        yield backend


@asynccontextmanager
async def _connected(
    url: str, options: BackendOptions, on_found: Callable[[str], None] | None
) -> "AsyncGenerator[ChatBackend]":
    from agent.chat_backend import ChatBackend, RetryPolicy
    from agent.waits import Waits

    key = read_key(options.key_variable)
    description, dialect = await in_background(describe, Server(url, key), options)
    if on_found and options.dialect is None and not description.scripted:
        on_found(f"it speaks {dialect.name}: {description.stated['dialect']}")
    retry = RetryPolicy(attempts=options.retries + 1, outage=options.outage)
    silence = options.stall_timeout
    waits = replace(Waits() if silence is None else Waits.of_silence(silence), total=options.longest_step)
    backend = ChatBackend(
        description, key or "none", waits=waits, retry=retry, dialect=dialect, requests=options.requests
    )
    try:
        yield backend
    finally:
        await backend.close()


def describe(server: Server, options: BackendOptions) -> tuple[BackendDescription, Dialect]:
    """Ask a server all that is recorded of it. Blocks while it answers; raises what `open_backend` does."""
    stated = None if options.dialect is None else load_dialect(options.dialect)
    models = read_models(server, options.key_variable, optional=options.model is not None)
    model = choose_model(server.url, models, options.model)
    scripted = any(served.owned_by == _OWNER for served in models)
    found = _found(server, stated, scripted=scripted)
    dialect = stated or load_dialect(found.name)
    return _description(
        server.url, model, found, dialect, ask_served(server, dialect, model), options, scripted
    ), dialect


def _found(server: Server, stated: Dialect | None, *, scripted: bool) -> Detected:
    if stated is not None:
        return Detected(stated.name, "stated")
    return Detected(GENERIC, "a scripted server") if scripted else detect(server)


def _description(
    url: str, model: str, found: Detected, dialect: Dialect, facts: Facts, options: BackendOptions, scripted: bool
) -> BackendDescription:
    sampling, unsent = wire_fields(dialect, options.sampling, thinking=options.thinking, preserve=options.preserve)
    return BackendDescription(
        base_url=url,
        model=model,
        dialect=dialect.name,
        dialect_sha256=dialect.sha256(),
        scripted=scripted,
        sampling=sampling,
        unsent=unsent,
        context_window=_smaller(options.context_window, facts.context_window),
        profile=options.profile,
        mode=options.mode,
        preset=options.preset,
        stated={**options.provenance, "dialect": found.how},
        server=facts.version,
        weights=facts.weights or options.weights,
        quantisation=facts.quantisation or options.quantisation,
        kv_cache=facts.kv_cache or options.kv_cache,
        speculative=facts.speculative or options.speculative,
        hardware=options.hardware,
        vision=facts.vision,
    )


def _smaller(asked: int | None, served: int | None) -> int | None:
    """The window that can be worked with: what is asked for, as far as it is served."""
    return min((window for window in (asked, served) if window is not None), default=None)
