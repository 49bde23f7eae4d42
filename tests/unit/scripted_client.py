"""What the tests of the scripted backend share: a small script, a plain client, and ways to read what it gets."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from agent.scripted.script import Script
from agent.scripted.server import serve

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "bash",
            "description": "Run a command.",
            "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
        },
    }
]
SYSTEM = {"role": "system", "content": "You work in a repository and use the tools that you have been given."}
THOUGHTS = "The file has to be read before anything can be said about it, so that comes first, and then the edit."


def script(*replies: dict[str, Any], **settings: Any) -> Script:
    return Script.model_validate({"scripted": "test", "conversations": [{"replies": list(replies)}], **settings})


def bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "arguments": {"command": command}}


LOOK = {"reasoning": THOUGHTS, "content": "Let me read it.", "tool_calls": [bash("cat slugify.py"), bash("ls")]}


@asynccontextmanager
async def served(scripted: Script) -> AsyncGenerator[httpx2.AsyncClient]:
    """A plain HTTP client of a served script."""
    async with (
        serve(scripted) as url,
        httpx2.AsyncClient(base_url=url.removesuffix("/v1"), verify=False, timeout=30) as client,
    ):
        yield client


def user(content: str = "Mend slugify.") -> dict[str, Any]:
    return {"role": "user", "content": content}


async def complete(client: httpx2.AsyncClient, *messages: dict[str, Any], **fields: Any) -> httpx2.Response:
    return await client.post("/v1/chat/completions", json={"model": "any", "messages": messages, **fields})


async def read_stream(client: httpx2.AsyncClient, received: list[bytes]) -> None:
    """Read a stream into `received`, as far as it comes."""
    body = {"messages": [user()], "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for piece in response.aiter_bytes():
            received.append(piece)  # noqa: PERF401 - what has come is wanted even if the rest does not


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a stream that ended as it should."""
    assert response.headers["content-type"].startswith("text/event-stream")
    *data, end, rest = response.text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    return [json.loads(each.removeprefix("data: ")) for each in data]


def deltas(response: httpx2.Response) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in events(response) if chunk["choices"]]


def join(all_deltas: list[dict[str, Any]], key: str) -> str:
    return "".join(delta.get(key) or "" for delta in all_deltas)


def message_of(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]


async def until_requests_are(client: httpx2.AsyncClient, url: str, count: int) -> None:
    while (await client.get(url.removesuffix("v1") + "scripted/requests")).json()["total"] < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def tool(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "any", "content": content}


def problem(response: httpx2.Response) -> str:
    return response.json()["error"]["message"]


async def journal(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    return (await client.get("/scripted/requests")).json()["requests"]
