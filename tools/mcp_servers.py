"""Which MCP servers there are, as people write them down: on a command line, or in the file that other agents read too.

A value may hold `${NAME}` or `${NAME:-otherwise}` for a variable of the environment, so that no secret has to be
written anywhere.
"""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Transport = Literal["stdio", "http", "sse"]

_TRANSPORTS: dict[str, Transport] = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamableHttp": "http",
    "sse": "sse",
}
"""How the files of different agents spell them."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")
_SHORTEST_SECRET = 8
_HARMLESS = re.compile(r"[A-Za-z]{1,19}|\d+|(?:\.{0,2}|~)/[\w./-]*|https?://[^@?]*")


class McpError(Exception):
    """A server cannot be had, or what is said about one cannot be read; the message is for the person."""


class McpServer(BaseModel):
    """How one server is reached, and how long it may take."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    transport: Transport
    command: tuple[str, ...] = ()
    """The program and its arguments, for `stdio`."""
    url: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    """What a `stdio` server has besides the environment that all commands have."""
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that a call may take."""
    start_timeout: float = Field(default=60.0, gt=0)
    """Seconds until it has said which tools it has."""
    put_in: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)
    """The values of variables that were put in."""

    def expanded(self, variables: Mapping[str, str]) -> "McpServer":
        """With variables put in. Raises McpError for one that is not set."""
        put_in: set[str] = set()

        def value(match: re.Match[str]) -> str:
            put_in.add(found := _value(match, variables, self.name))
            return found

        def expand(text: str) -> str:
            return _VARIABLE.sub(value, text)

        return self.model_copy(
            update={
                "command": tuple(map(expand, self.command)),
                "url": expand(self.url),
                "environment": {name: expand(value) for name, value in self.environment.items()},
                "headers": {name: expand(value) for name, value in self.headers.items()},
            }
        ).model_copy(update={"put_in": frozenset(put_in)})

    def secrets(self) -> frozenset[str]:
        """What of an expanded server must never be recorded or shown: all that may be a key.

        Plain words, numbers and paths are none: they stand in harmless text too.
        """
        address = urlsplit(self.url)
        written = [*self.headers.values(), *self.environment.values(), *self.put_in, address.password or ""]
        written += [value for _, value in parse_qsl(address.query)]
        parts = {part for value in written for part in (value, *value.split())}  # `Bearer …`
        return frozenset(part for part in parts if len(part) >= _SHORTEST_SECRET and not _HARMLESS.fullmatch(part))

    def description(self) -> dict[str, str]:
        """What may be recorded of it: neither arguments, headers nor paths, for people do write secrets there."""
        if self.transport == "stdio":
            return {"name": self.name, "transport": self.transport, "command": self.command[0]}
        address = urlsplit(self.url)
        plain = urlunsplit((address.scheme, address.netloc.rpartition("@")[2], "", "", ""))
        return {"name": self.name, "transport": self.transport, "url": plain}


def parse_server(text: str) -> McpServer:
    """Read `NAME=COMMAND ARGUMENTS` or `NAME=URL`. Raises McpError."""
    name, equals, place = text.partition("=")
    if not equals or not place.strip():
        message = f"{text!r} is no MCP server: say NAME=COMMAND, or NAME=http://HOST/PATH"
        raise McpError(message)
    if re.match(r"https?://", place.strip()):
        return _checked(name.strip(), {"transport": "http", "url": place.strip()})
    try:
        command = shlex.split(place)
    except ValueError as error:
        message = f"the command of the MCP server {name.strip()!r} cannot be read: {error}"
        raise McpError(message) from error
    return _checked(name.strip(), {"transport": "stdio", "command": command})


def read_servers(text: str) -> list[McpServer]:
    """Read a file of servers: `{"mcpServers": {"NAME": {"command": …, "args": […], "env": {…}}, …}}`.

    A server with a `url` is reached by streamable HTTP unless its `type` says `sse`; one that is `disabled` is left
    out. Raises McpError.
    """
    try:
        written: Any = json.loads(text)
    except ValueError as error:
        message = f"the file of MCP servers is no JSON: {error}"
        raise McpError(message) from error
    servers: Any = cast("dict[str, Any]", written).get("mcpServers") if isinstance(written, dict) else None
    if not isinstance(servers, dict):
        raise McpError('the file of MCP servers has no object "mcpServers" in it')
    named = cast("dict[str, Any]", servers)
    return [_from_file(name, entry) for name, entry in named.items() if not _is_disabled(entry)]


def _is_disabled(entry: object) -> bool:
    return isinstance(entry, dict) and bool(cast("dict[str, Any]", entry).get("disabled"))


def _from_file(name: str, entry: object) -> McpServer:
    if not isinstance(entry, dict):
        message = f"the MCP server {name!r} is no object with a command or a url"
        raise McpError(message)
    fields = cast("dict[str, Any]", entry)
    kind = fields.get("type") or fields.get("transport") or ("http" if "url" in fields else "stdio")
    if kind not in _TRANSPORTS:
        message = f"the MCP server {name!r} has the type {kind!r}; there are: stdio, http, sse"
        raise McpError(message)
    program: Any = fields.get("command") or []
    arguments: Any = fields.get("args") or []
    if isinstance(program, str):
        program = [program]
    read: dict[str, Any] = {
        "transport": _TRANSPORTS[kind],
        "command": [*program, *arguments] if isinstance(program, list) and isinstance(arguments, list) else None,
        "url": fields.get("url") or "",
        "environment": fields.get("env") or {},
        "headers": fields.get("headers") or {},
        **{key: fields[key] for key in ("timeout", "start_timeout") if key in fields},
    }
    return _checked(name, read)


def _checked(name: str, fields: Mapping[str, Any]) -> McpServer:
    try:
        server = McpServer.model_validate({"name": name, **fields})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        hint = "letters, digits, _ and -, at most 32" if where == "name" else problem["msg"]
        message = f"the MCP server {name!r} cannot be read: {where}: {hint}"
        raise McpError(message) from error
    if server.transport == "stdio" and not server.command:
        message = f"the MCP server {name!r} has no command"
        raise McpError(message)
    if server.transport != "stdio" and not re.match(r"https?://|\$\{", server.url):
        message = f"the MCP server {name!r} has no url that begins with http:// or https://"
        raise McpError(message)
    return server


def _value(match: re.Match[str], variables: Mapping[str, str], server: str) -> str:
    name, otherwise = match[1], match[2]
    if name in variables:
        return variables[name]
    if otherwise is None:
        message = f"the MCP server {server!r} needs the variable {name}, which is not set"
        raise McpError(message)
    return otherwise
