"""A toolset with the tools of MCP servers behind our own: opened before the work, frozen from then on, closed after it.

The list of tools is part of the prompt, so what a server says about changes to it later is not heard.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.mcp_connection import McpConnection, Offer
from tools.mcp_program import StartProgram
from tools.mcp_servers import McpError, McpServer
from tools.mcp_tool import McpTool, concerns, safe_name, unusable
from tools.tool import Tool, definition
from tools.toolset import Toolset, make_toolset, toolset_name

if TYPE_CHECKING:
    from mcp_types import Tool as OfferedTool

MANY_TOOLS = 40
"""Foreign tools above which a person is warned."""
MANY_CHARACTERS = 40_000
"""Characters of all their definitions above which a person is warned: about 10,000 tokens of every prompt."""


@dataclass(frozen=True)
class OpenToolset:
    """The tools of one agent, as long as it works."""

    name: str
    """In its one spelling; that of the part that is ours."""
    tools: Toolset
    servers: tuple[dict[str, str], ...] = ()
    """What may be recorded of the MCP servers, `version` being what each says of itself."""
    warnings: tuple[str, ...] = ()
    """What a person should know about the foreign tools; each is a sentence without a full stop."""


@asynccontextmanager
async def open_toolset(
    name: str,
    servers: Sequence[McpServer] = (),
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    started: Mapping[str, StartProgram] | None = None,
) -> AsyncGenerator[OpenToolset]:
    """Make a toolset with the tools of `servers`, whose variables are expanded already (`McpServer.expanded`).

    `environment` is what their processes see beside their own settings, `directory` where they start; `started` has,
    by the names of servers, how else the programs of some are started. Raises ValueError
    for a name that is none, and McpError for a server that cannot be had: a set without it would be another one.
    """
    ours = make_toolset(name)
    if twice := {server.name for server in servers if [other.name for other in servers].count(server.name) > 1}:
        message = f"there are several MCP servers called {min(twice)!r}"
        raise McpError(message)
    connections = [
        McpConnection(server, environment or {}, directory, (started or {}).get(server.name))
        for server in sorted(servers, key=lambda one: one.name)
    ]
    try:
        offers = await _all_offers(connections)
        foreign, warnings = _foreign_tools(list(zip(connections, offers, strict=True)), {tool.name for tool in ours})
        descriptions = tuple(
            {**connection.server.description(), "version": offer.server}
            for connection, offer in zip(connections, offers, strict=True)
        )
        yield OpenToolset(toolset_name(name), (*ours, *foreign), descriptions, tuple(warnings))
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


async def _all_offers(connections: Iterable[McpConnection]) -> list[Offer]:
    openings = [asyncio.ensure_future(connection.open()) for connection in connections]
    try:
        return await asyncio.gather(*openings)
    finally:
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)


def _foreign_tools(offers: list[tuple[McpConnection, Offer]], taken: set[str]) -> tuple[list[Tool[Any]], list[str]]:
    """The tools in the order of their names, and what is to be said about them."""
    tools: list[Tool[Any]] = []
    warnings: list[str] = []
    for connection, offer in offers:
        server = connection.server.name
        seen: set[str] = set()
        if not offer.tools:
            warnings.append(f"the MCP server {server} has no tools")
        for offered in sorted(offer.tools, key=lambda one: one.name):
            if problem := _reason_to_leave_out(offered, seen):
                warnings.append(f"the tool {offered.name!r} of the MCP server {server} is left out: {problem}")
                continue
            seen.add(offered.name)
            name = safe_name(server, offered.name, taken)
            taken.add(name)
            tools.append(McpTool(name, offered, connection))
            warnings += concerns(name, offered)
    tools.sort(key=lambda tool: tool.name)
    return tools, [*_concerns_about_all(tools), *warnings]


def _reason_to_leave_out(offered: "OfferedTool", seen: set[str]) -> str | None:
    return "there are several of this name" if offered.name in seen else unusable(offered)


def _concerns_about_all(tools: list[Tool[Any]]) -> list[str]:
    warnings: list[str] = []
    if len(tools) > MANY_TOOLS:
        warnings.append(f"the MCP servers have {len(tools)} tools, among which a model gets lost")
    length = sum(len(json.dumps(definition(tool), ensure_ascii=False)) for tool in tools)
    if length > MANY_CHARACTERS:
        warnings.append(f"the tools of the MCP servers take about {length // 4:,} tokens of every prompt")
    return warnings
