"""Puts a streamed response together: chunks of the OpenAI protocol in, one turn out.

The field names come from what servers were seen to send: `reasoning_content` (llama.cpp, SGLang, DashScope) or
`reasoning` (vLLM, Ollama, OpenRouter), usage in a last chunk without choices, in the finish chunk, or in the choice.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from agent.backend import DeltaKind, DeltaListener
from agent.conversation import sendable
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage

REASONING_FIELDS = ("reasoning_content", "reasoning")

_BROKEN = ("abort", "error")
"""Finish reasons that mean that the server gave up (SGLang, vLLM; OpenRouter), not the model."""

_USAGE_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "prompt_tokens": (("prompt_tokens",),),
    "cached_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cached_tokens",),  # Moonshot
    ),
    "output_tokens": (("completion_tokens",),),
    "reasoning_tokens": (("completion_tokens_details", "reasoning_tokens"), ("reasoning_tokens",)),  # then SGLang
}


class _Function(BaseModel):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallPiece(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(BaseModel):
    reasoning_content: str | None = None
    reasoning: str | None = None
    content: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _Choice(BaseModel):
    delta: _Delta | None = None
    finish_reason: str | None = None
    usage: Any = None


class _Chunk(BaseModel):
    choices: list[_Choice] | None = None
    usage: Any = None


@dataclass
class _CallParts:
    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class TurnAssembler:
    """Takes the chunks of one response."""

    def __init__(self, on_delta: DeltaListener | None = None) -> None:
        self._on_delta = on_delta
        self._started = time.monotonic()
        self._first_token: float | None = None
        self._reasoning: list[str] = []
        self._reasoning_field: str | None = None
        self._content: list[str] | None = None
        self._calls: list[_CallParts] = []
        self.finish_reason: str | None = None
        self.usage = Usage()

    @property
    def is_complete(self) -> bool:
        """Whether the model has ended its turn; what may still come is its usage."""
        return self.finish_reason is not None and self.finish_reason not in _BROKEN

    def add(self, chunk: object) -> None:
        """Take the next chunk. Raises ValueError for one that does not fit the protocol."""
        read = _read_chunk(chunk)
        self._count(read.usage)
        for choice in (read.choices or [])[:1]:
            self._count(choice.usage)
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.delta:
                self._add_delta(choice.delta)

    def turn(self) -> AssistantTurn:
        """The finished turn."""
        return AssistantTurn(
            reasoning=_join(self._reasoning) if self._reasoning_field else None,
            reasoning_field=self._reasoning_field,
            content=None if self._content is None else _join(self._content),
            tool_calls=tuple(
                ToolCall(parts.id, parts.name, _join(parts.arguments))
                for parts in sorted(self._calls, key=lambda parts: parts.index)
            ),
            finish_reason=self.finish_reason,
            usage=self.usage,
            first_token_seconds=self._first_token,
        )

    def _count(self, usage: object) -> None:
        if usage:
            self.usage = read_usage(usage)

    def _add_delta(self, delta: _Delta) -> None:
        # A server in transition sends the same text under both names, so only one of them is taken.
        name = next((name for name in REASONING_FIELDS if getattr(delta, name)), None)
        name = name or next((name for name in REASONING_FIELDS if getattr(delta, name) is not None), None)
        if name:
            text: str = getattr(delta, name)
            if not any(self._reasoning):
                self._reasoning_field = name
            self._reasoning.append(text)
            self._tell("reasoning", text)
        if delta.content is not None:
            self._content = self._content or []
            self._content.append(delta.content)
            self._tell("content", delta.content)
        for piece in delta.tool_calls or []:
            self._add_call(piece, piece.function or _Function())

    def _add_call(self, piece: _CallPiece, function: _Function) -> None:
        parts = self._begun_call(piece, function)
        if parts is None:
            parts = _CallParts(len(self._calls) if piece.index is None else piece.index)
            self._calls.append(parts)
        parts.id = parts.id or piece.id or ""
        parts.name = parts.name or function.name or ""
        arguments = function.arguments
        if isinstance(arguments, dict):  # Ollama's own form
            arguments = json.dumps(arguments, ensure_ascii=False)
        if arguments:
            parts.arguments.append(arguments)
            self._tell("tool_call", arguments)

    def _begun_call(self, piece: _CallPiece, function: _Function) -> _CallParts | None:
        """The call that `piece` goes on with; None where it begins one.

        Some servers leave the index out, or send 0 for every call: then a name under another id begins a call. A
        new id alone does not, since vLLM once sent a new one with each piece.
        """
        if piece.index is not None:
            begun = [parts for parts in self._calls if parts.index == piece.index]
        elif piece.id:
            begun = [parts for parts in self._calls if parts.id == piece.id]
        else:
            begun = [] if function.name else self._calls
        if not begun or (function.name and piece.id and begun[-1].id and piece.id != begun[-1].id):
            return None
        return begun[-1]

    def _tell(self, kind: DeltaKind, text: str) -> None:
        if text and self._first_token is None:
            self._first_token = time.monotonic() - self._started
        if self._on_delta:
            self._on_delta(kind, sendable(text))


def _read_chunk(chunk: object) -> _Chunk:
    try:
        return _Chunk.model_validate(chunk)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the chunk"
        message = f"{place}: {problem['msg']}"
        raise ValueError(message) from error


def read_usage(usage: object) -> Usage:
    """Read a usage object; what the server does not say, or not as a number, stays unknown."""
    return Usage(**{
        name: next((count for place in places if (count := _count_at(usage, place)) is not None), None)
        for name, places in _USAGE_PLACES.items()
    })  # fmt: skip


def _count_at(value: object, place: tuple[str, ...]) -> int | None:
    for key in place:
        value = cast("Mapping[str, object]", value).get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else None


def _join(parts: list[str]) -> str:
    """The pieces as one text. A server that counts in UTF-16 may cut a character in two: its halves meet here."""
    return "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
