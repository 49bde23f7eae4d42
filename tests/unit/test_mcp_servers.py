"""What people write about MCP servers is read, with secrets left where they are."""

import json
from typing import Any

import pytest

from tools.mcp_servers import McpError, McpServer, parse_server, read_servers


def server_file(**servers: Any) -> str:
    return json.dumps({"mcpServers": servers})


def test_a_command_line() -> None:
    server = parse_server("files = npx -y 'a server' /srv/x")
    assert (server.name, server.transport, server.command) == ("files", "stdio", ("npx", "-y", "a server", "/srv/x"))
    assert parse_server("docs=http://127.0.0.1:8000/mcp?a=b") == McpServer(
        name="docs", transport="http", url="http://127.0.0.1:8000/mcp?a=b"
    )


def test_a_file_as_other_agents_have_it() -> None:
    text = server_file(
        files={"command": "npx", "args": ["-y", "server"], "env": {"KEY": "${KEY}"}, "timeout": 5, "autoApprove": []},
        docs={"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        old={"type": "sse", "url": "http://localhost:1/sse"},
        new={"type": "streamable-http", "url": "http://localhost:1/mcp"},
        off={"command": "x", "disabled": True},
    )
    servers = {server.name: server for server in read_servers(text)}
    assert {name: server.transport for name, server in servers.items()} == {
        "files": "stdio", "docs": "http", "old": "sse", "new": "http"
    }  # fmt: skip
    assert (servers["files"].command, servers["files"].timeout) == (("npx", "-y", "server"), 5)
    assert servers["docs"].headers == {"Authorization": "Bearer ${TOKEN}"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("npx server", "say NAME=COMMAND, or NAME=http://HOST/PATH"),
        ("files=", "say NAME=COMMAND"),
        ("files='open", "the command of the MCP server 'files' cannot be read: No closing quotation"),
        ("a b=x", "the MCP server 'a b' cannot be read: name: letters, digits, _ and -, at most 32"),
        ("=x", "name: letters, digits"),
    ],
)
def test_a_command_line_that_is_none_is_explained(text: str, said: str) -> None:
    with pytest.raises(McpError) as error:
        parse_server(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON: "),
        ("[]", 'has no object "mcpServers"'),
        ('{"mcpServers": []}', 'has no object "mcpServers"'),
        (server_file(a=5), "the MCP server 'a' is no object with a command or a url"),
        (server_file(a={}), "the MCP server 'a' has no command"),
        (server_file(a={"type": "carrier pigeon"}), "has the type 'carrier pigeon'; there are: stdio, http, sse"),
        (server_file(a={"url": "ftp://x"}), "has no url that begins with http"),
        (server_file(a={"command": "x", "timeout": 0}), "timeout: Input should be greater than 0"),
        (server_file(a={"command": "x", "env": {"A": 5}}), "environment.A: "),
        (server_file(a={"command": 5}), "the MCP server 'a' cannot be read: command"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(text: str, said: str) -> None:
    with pytest.raises(McpError) as error:
        read_servers(text)
    assert said in str(error.value)


def test_variables_are_put_in_where_they_are_needed_and_only_there() -> None:
    server = McpServer(
        name="a", transport="http", url="https://${HOST:-example.org}/mcp",
        headers={"Authorization": "Bearer ${TOKEN}"}, environment={"PLAIN": "$TOKEN {TOKEN}"},
    )  # fmt: skip
    expanded = server.expanded({"TOKEN": "sk-very-secret"})
    assert expanded.url == "https://example.org/mcp"
    assert expanded.headers == {"Authorization": "Bearer sk-very-secret"}
    assert expanded.environment == {"PLAIN": "$TOKEN {TOKEN}"}
    assert {"sk-very-secret", "Bearer sk-very-secret"} <= expanded.secrets()
    with pytest.raises(McpError, match="'a' needs the variable TOKEN, which is not set"):
        server.expanded({})


def test_a_secret_is_one_wherever_it_stands_and_a_path_is_none() -> None:
    server = McpServer(
        name="a", transport="stdio", command=("serve", "--login=${LOGIN}"),
        environment={"ROOT": "/testbed/source", "MODE": "development", "PORT": "80808080", "LOGIN": "0p3n-sesame"},
    )  # fmt: skip
    assert server.expanded({"LOGIN": "hunter2-hunter2"}).secrets() == {"hunter2-hunter2", "0p3n-sesame"}
    address = "https://me:pa55word-here@example.org/mcp?api_key=abc123def456"
    assert McpServer(name="b", transport="http", url=address).secrets() == {"pa55word-here", "abc123def456"}


def test_what_is_recorded_of_a_server_holds_no_secret() -> None:
    key = "sk-very-secret"
    servers = [
        McpServer(name="a", transport="stdio", command=("npx", "--key", key), environment={"KEY": key}),
        McpServer(
            name="b", transport="http", url=f"https://me:{key}@example.org/{key}/mcp?key={key}", headers={"K": key}
        ),
    ]
    assert [server.description() for server in servers] == [
        {"name": "a", "transport": "stdio", "command": "npx"},
        {"name": "b", "transport": "http", "url": "https://example.org"},
    ]
