"""The MCP servers of a task: their programs run in its container, and those with a URL are reached as from in there."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from evals.terminal_bench.task_file import McpServerTable
from evals.terminal_bench.variables import filled
from runners.docker_sandbox import DockerSandbox
from runners.port_forward import forwarded
from tools.mcp_program import ServerProgram, StartProgram
from tools.mcp_servers import McpServer, Transport

_TRANSPORTS: Mapping[str, Transport] = {"stdio": "stdio", "sse": "sse", "http": "http", "streamable-http": "http"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HTTP_PORT = 80


@dataclass(frozen=True)
class TaskServers:
    """Servers that can be connected to, and how the programs of those are started that have one."""

    servers: tuple[McpServer, ...] = ()
    started: Mapping[str, StartProgram] = field(default_factory=dict[str, StartProgram])


def problem_of(table: McpServerTable) -> str:
    """Why an agent cannot be given a server; empty where it can."""
    if not _NAME.fullmatch(table.name):
        return f"the name {table.name!r} is none that a tool can begin with: letters, digits, _ and -, at most 32"
    if table.url and not table.url.startswith(("http://", "${")):
        return f"{table.url} is not reached: a server in the container's network has a URL that begins with http://"
    return ""


def expanded(tables: Sequence[McpServerTable], variables: Mapping[str, str]) -> tuple[McpServer, ...]:
    """A task's servers, with variables put in. Raises MissingVariableError."""
    return tuple(_server(table, variables) for table in tables)


@asynccontextmanager
async def in_container(
    tables: Sequence[McpServerTable], variables: Mapping[str, str], sandbox: DockerSandbox
) -> AsyncGenerator[TaskServers]:
    """A task's servers as they are reached while the container runs. Raises MissingVariableError."""
    servers = expanded(tables, variables)

    async def start(server: McpServer) -> ServerProgram:
        return await sandbox.open_program(server.command)

    async with AsyncExitStack() as stack:
        reached = [
            server if server.transport == "stdio" else await _forwarded(server, sandbox, stack) for server in servers
        ]
        yield TaskServers(tuple(reached), {server.name: start for server in servers if server.transport == "stdio"})


async def _forwarded(server: McpServer, sandbox: DockerSandbox, stack: AsyncExitStack) -> McpServer:
    address = urlsplit(server.url)
    opened = forwarded(sandbox, address.hostname or "localhost", address.port or _HTTP_PORT)
    place = f"127.0.0.1:{await stack.enter_async_context(opened)}"
    url = urlunsplit((address.scheme, place, address.path, address.query, ""))
    # A server may look at who was asked for (against DNS rebinding), and that is not this machine.
    headers = {"Host": address.netloc.rpartition("@")[2], **server.headers}
    return server.model_copy(update={"url": url, "headers": headers})


def _server(table: McpServerTable, variables: Mapping[str, str]) -> McpServer:
    place = f"[[environment.mcp_servers]] {table.name}"
    words = {str(number): word for number, word in enumerate([table.command or "", *table.args])}
    plain = McpServer(
        name=table.name,
        transport=_TRANSPORTS[table.transport],
        command=tuple(filled(words, variables, place).values()) if table.transport == "stdio" else (),
        url=filled({"url": table.url or ""}, variables, place)["url"],
        headers=filled(table.headers, variables, place),
    )
    return plain.model_copy(update={"put_in": _put_in(table, variables)})


def _put_in(table: McpServerTable, variables: Mapping[str, str]) -> frozenset[str]:
    """The values of variables, which may be keys."""
    texts = (table.url or "", table.command or "", *table.args, *table.headers.values())
    named = {name for text in texts for name in re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)", text)}
    return frozenset(variables[name] for name in named if name in variables)
