"""What a request says beside its messages and tools, spelled as the dialect wants it."""

from collections.abc import Mapping
from typing import Any, cast

from agent.dialects.dialect import Dialect
from results.records.events import BackendDescription

MAX_OUTPUT = "max_output"
"""Our name for the limit on one response, thinking included, in tokens."""

_MAX_OUTPUT_KEYS = ("max_tokens", "max_completion_tokens")
"""What servers call it; whichever a person says, the server gets its own."""


def wire_fields(
    dialect: Dialect, sampling: Mapping[str, Any], *, thinking: bool, preserve: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """The fields for these settings, and the names of those that this server family refuses or ignores.

    Whether the model thinks, and whether it keeps what it thought, is always said: the defaults differ between
    servers, and between builds of one server. How much it thinks is the switch's own default, unless `sampling` says
    it (`reasoning_effort`). A setting that is None is left to the server.
    """
    spelled = dict.fromkeys((MAX_OUTPUT, *_MAX_OUTPUT_KEYS), dialect.output.key) | dialect.sampling.names
    refused = {*dialect.sampling.refused, *(dialect.sampling.refused_thinking if thinking else ())}
    given = {name: value for name, value in sampling.items() if value is not None}
    fields = {spelled.get(name, name): value for name, value in given.items() if name not in refused}
    switches = dialect.thinking
    fields = merged(switches.on, fields) if thinking else merged(fields, switches.off)
    fields = merged(fields, switches.preserve if preserve else switches.forget)
    return fields, [name for name in given if name in refused]


def request_head(description: BackendDescription, *, stream: bool = True) -> dict[str, Any]:
    """The head of every request of one conversation."""
    streaming: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": description.model, **(streaming or {"stream": False}), **description.sampling}


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, `over` on top, objects within objects merged as well."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = merged(cast("dict[str, Any]", below), cast("dict[str, Any]", value))
        result[key] = value
    return result
