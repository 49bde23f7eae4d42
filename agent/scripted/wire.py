"""The OpenAI chat protocol as a server sees it: requests checked, replies in one piece or as a stream.

The order and the shape of the chunks are those of llama-server and vLLM: role, reasoning, content, calls (id and
name only in a call's first chunk), finish reason, usage with empty choices.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from agent.scripted.script import Reply, ScriptedCall

FINGERPRINT = "scripted"

_MOST_PIECES = 6
_LEAST_PIECE = 12


class RequestError(Exception):
    """A request that is answered with an HTTP error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        retry_after: int | None = None,
        **details: int,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The error as the protocol spells it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code, **self.details}}


class FunctionCall(BaseModel):
    """The function of a call, its arguments as a string of JSON."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call in the history. Its id is not read: no template renders it."""

    function: FunctionCall


class ContentPart(BaseModel):
    """A part of a message whose content is a list."""

    type: str
    text: str | None = None


class Message(BaseModel):
    """A message of the history."""

    role: str
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def text(self) -> str:
        """The content as one text, its parts joined without a separator."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class TemplateOptions(BaseModel):
    """What `chat_template_kwargs` may say to the template; a string "false" is refused, as llama-server does."""

    enable_thinking: StrictBool = True
    preserve_thinking: StrictBool = False


class StreamOptions(BaseModel):
    """What `stream_options` may say."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat completion request, as far as a scripted backend reads it."""

    model_config = ConfigDict(extra="ignore")

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    chat_template_kwargs: TemplateOptions = Field(default_factory=TemplateOptions)

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether the stream ends with a chunk that holds the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def reply_number(self) -> int:
        """The reply that is asked for, counted from 1: one more than there are assistant messages."""
        return 1 + sum(message.role == "assistant" for message in self.messages)


def parse_request(body: bytes) -> ChatRequest:
    """The request in `body`. Raises RequestError, which names the field that is wrong."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'the body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise RequestError("The request is malformed: " + "; ".join(problems[:3])) from error


@dataclass(frozen=True)
class Usage:
    """Tokens of one exchange."""

    prompt: int
    cached: int
    completion: int
    reasoning: int

    @property
    def body(self) -> dict[str, Any]:
        """The usage as the protocol spells it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class ReplyWriter:
    """Writes one reply in the protocol's two forms. `seed` makes the ids of the tool calls the same in every run."""

    def __init__(self, reply: Reply, usage: Usage, *, model: str, reasoning_field: str, seed: str) -> None:
        self._reply = reply
        self._usage = usage
        self._reasoning_field = reasoning_field
        self._seed = seed
        self._frame = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }

    @property
    def whole(self) -> dict[str, Any]:
        """The response to a request without `stream`."""
        message: dict[str, Any] = {"role": "assistant", "content": self._reply.content}
        if self._reply.reasoning:
            message[self._reasoning_field] = self._reply.reasoning
        if self._reply.tool_calls:
            message["tool_calls"] = [
                self._call(index, call, call.arguments_json) for index, call in enumerate(self._reply.tool_calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._reply.finished_by}
        return {**self._frame, "object": "chat.completion", "choices": [choice], "usage": self._usage.body}

    def chunks(self, *, with_usage: bool) -> Iterator[dict[str, Any]]:
        """The chunks of a stream, in order."""
        for delta in self._deltas():
            yield self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])
        yield self._chunk([{"index": 0, "delta": {}, "finish_reason": self._reply.finished_by}])
        if with_usage:
            yield {**self._chunk([]), "usage": self._usage.body}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._frame, "object": "chat.completion.chunk", "choices": choices}

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": None}
        for piece in pieces(self._reply.reasoning):
            yield {self._reasoning_field: piece}
        for piece in pieces(self._reply.content):
            yield {"content": piece}
        for index, call in enumerate(self._reply.tool_calls):
            first, *rest = pieces(call.arguments_json) or [""]
            yield {"tool_calls": [{"index": index, **self._call(index, call, first)}]}
            for piece in rest:
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _call(self, index: int, call: ScriptedCall, arguments: str) -> dict[str, Any]:
        digest = hashlib.sha256(f"{self._seed}/{index}".encode()).hexdigest()
        return {
            "id": f"call_{digest[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }


def pieces(text: str) -> list[str]:
    """`text` in a few pieces of equal length, none for an empty text; the same ones every time."""
    length = max(_LEAST_PIECE, -(-len(text) // _MOST_PIECES))
    return [text[start : start + length] for start in range(0, len(text), length)]


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


END_OF_STREAM = b"data: [DONE]\n\n"
