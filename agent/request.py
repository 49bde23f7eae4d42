"""What a request says beside its messages and tools, spelled as the dialect wants it."""

from collections.abc import Mapping
from typing import Any, cast

from agent.dialects.dialect import Dialect
from results.records.events import BackendDescription

MAX_OUTPUT = "max_output"
"""Our name for the limit on one response, thinking included, in tokens."""


def wire_fields(
    dialect: Dialect, sampling: Mapping[str, Any], *, thinking: bool, preserve: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """The fields for these settings, and the names of those that this server family refuses.

    Whether the model thinks, and whether it keeps what it thought, is always said: the defaults differ between
    servers, and between builds of one server. A setting that is None is left to the server.
    """
    spelled = {MAX_OUTPUT: dialect.output.key, **dialect.sampling.names}
    given = {name: value for name, value in sampling.items() if value is not None}
    fields = {spelled.get(name, name): value for name, value in given.items() if name not in dialect.sampling.refused}
    switches = dialect.thinking
    for switch in (switches.on if thinking else switches.off, switches.preserve if preserve else switches.forget):
        fields = merged(fields, switch)
    return fields, [name for name in given if name in dialect.sampling.refused]


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
