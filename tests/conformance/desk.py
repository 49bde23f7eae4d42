"""A plain client for the conformance servers: it knows their fixtures, and nothing of our own client."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from conformance.behaviour import ServerBehaviour
from conformance.server import ConformanceServer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Use {name}.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        },
    }
    for name in ("read_file", "list_files")
]

Json = dict[str, Any]


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def result(call: Json, text: str) -> Json:
    return {"role": "tool", "tool_call_id": call.get("id", ""), "content": text}


@dataclass
class Turn:
    """What a stream was put together to."""

    chunks: list[Json]
    message: Json = field(default_factory=lambda: {"role": "assistant"})
    finish_reason: str | None = None


class Desk:
    """Asks one server."""

    def __init__(self, server: ConformanceServer, client: httpx2.Client) -> None:
        self.server = server
        self._client = client

    def post(self, messages: list[Json], timeout: float = 20, **more: Any) -> httpx2.Response:
        body = {"model": self.server.behaviour.model, "messages": messages, **more}
        return self._client.post(f"{self.server.url}/chat/completions", json=body, timeout=timeout)

    def ask(self, messages: list[Json], **more: Any) -> Json:
        """The assistant message of an answer in one piece."""
        response = self.post(messages, **more)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["message"]

    def stream(self, messages: list[Json], **more: Any) -> Turn:
        response = self.post(messages, stream=True, **more)
        assert response.status_code == 200, response.text
        return put_together(events(response.text))

    @contextmanager
    def opened(self, messages: list[Json], timeout: float = 20, **more: Any) -> Generator[httpx2.Response]:
        """The response to a streamed request, to be read piece by piece."""
        body = {"model": self.server.behaviour.model, "messages": messages, "stream": True, **more}
        url = f"{self.server.url}/chat/completions"
        with self._client.stream("POST", url, json=body, timeout=timeout) as response:
            yield response

    def get(self, path: str) -> httpx2.Response:
        return self._client.get(self.server.root + path)

    def inquire(self, path: str, body: Json) -> Json:
        return self._client.post(self.server.root + path, json=body).json()


@contextmanager
def client() -> Generator[httpx2.Client]:
    with httpx2.Client(trust_env=False, verify=False, timeout=20) as opened:
        yield opened


def events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def put_together(data: list[str]) -> Turn:
    turn = Turn([json.loads(piece) for piece in data if piece != "[DONE]"])
    calls: list[Json] = []
    for chunk in turn.chunks:
        for choice in chunk["choices"]:
            turn.finish_reason = choice["finish_reason"] or turn.finish_reason
            for key, value in choice["delta"].items():
                if key == "tool_calls":
                    for piece in value:
                        _add_call(calls, piece)
                elif isinstance(value, str) and key != "role":
                    turn.message[key] = turn.message.get(key, "") + value
                elif key == "reasoning_details":
                    turn.message.setdefault(key, []).extend(value)
    if calls:
        turn.message["tool_calls"] = calls
    return turn


def _add_call(calls: list[Json], piece: Json) -> None:
    if piece["index"] == len(calls):
        calls.append(json.loads(json.dumps(piece)))
    else:
        calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def sent_back(behaviour: ServerBehaviour, message: Json) -> Json:
    """An answer as history, with its thinking where this family reads it."""
    form = behaviour.reasoning
    kept = {key: message[key] for key in ("role", "content", "tool_calls", "reasoning_details") if key in message}
    kept.setdefault("content", None if "tool_calls" in kept else "")
    thought = message.get(form.emitted_as or "")
    if thought is None:
        return kept
    if name := next(
        (name for name in form.read_from if name.startswith("reasoning_content") or name == "reasoning"), None
    ):
        return {**kept, name: thought}
    return {**kept, "content": f"<think>\n{thought}</think>\n\n{kept['content'] or ''}"} if form.reads_inline else kept


def asking_to_preserve(behaviour: ServerBehaviour) -> Json:
    """The request fields that ask for earlier thinking to stay."""
    for switch in behaviour.preserve.switches:
        return placed(switch.path, switch.means_on[0])
    return {}


def thinking(behaviour: ServerBehaviour, *, on: bool) -> Json:
    """The request fields that turn thinking on or off; nothing where nothing can be said."""
    for switch in behaviour.thinking.switches:
        if values := switch.means_on if on else switch.means_off:
            return placed(switch.path, values[0])
    return {}


def placed(path: str, value: Any) -> Json:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def usage_of(turn: Turn) -> Json | None:
    found = [chunk["usage"] for chunk in turn.chunks if chunk.get("usage")]
    found += [choice["usage"] for chunk in turn.chunks for choice in chunk["choices"] if choice.get("usage")]
    return found[-1] if found else None
