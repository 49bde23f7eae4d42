"""Puts a streamed response together: chunks of the OpenAI protocol in, one turn out.

The field names come from what servers were seen to send: `reasoning_content` (llama.cpp, SGLang, DashScope) or
`reasoning` (vLLM, Ollama, OpenRouter), usage in a last chunk without choices, in the finish chunk, or in the choice.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agent.backend import DeltaListener
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage

REASONING_FIELDS = ("reasoning_content", "reasoning")

_Json = Mapping[str, Any]


@dataclass
class _CallParts:
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
        self._calls: dict[int, _CallParts] = {}
        self.finish_reason: str | None = None
        self.usage = Usage()

    def add(self, chunk: _Json) -> None:
        """Take the next chunk."""
        if usage := chunk.get("usage"):
            self.usage = read_usage(usage)
        for choice in cast("list[_Json]", chunk.get("choices") or [])[:1]:
            if usage := choice.get("usage"):
                self.usage = read_usage(usage)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self._add_delta(choice.get("delta") or {})

    def turn(self, requests: int) -> AssistantTurn:
        """The finished turn."""
        return AssistantTurn(
            reasoning="".join(self._reasoning) if self._reasoning_field else None,
            reasoning_field=self._reasoning_field,
            content=None if self._content is None else "".join(self._content),
            tool_calls=tuple(
                ToolCall(parts.id, parts.name, "".join(parts.arguments)) for _, parts in sorted(self._calls.items())
            ),
            finish_reason=self.finish_reason,
            usage=self.usage,
            seconds=time.monotonic() - self._started,
            first_token_seconds=self._first_token,
            requests=requests,
        )

    def _add_delta(self, delta: _Json) -> None:
        for name in REASONING_FIELDS:
            if isinstance(text := delta.get(name), str):
                # A server in transition sends the same text under both names.
                self._reasoning_field = self._reasoning_field or name
                if name == self._reasoning_field:
                    self._reasoning.append(text)
                    self._tell("reasoning", text)
        if isinstance(text := delta.get("content"), str):
            self._content = self._content or []
            self._content.append(text)
            self._tell("content", text)
        for call in cast("list[_Json]", delta.get("tool_calls") or []):
            self._add_call(call)

    def _add_call(self, call: _Json) -> None:
        index = call.get("index")
        parts = self._calls.setdefault(index if isinstance(index, int) else len(self._calls), _CallParts())
        function: _Json = call.get("function") or {}
        parts.id = parts.id or call.get("id") or ""
        parts.name = parts.name or function.get("name") or ""
        if arguments := function.get("arguments"):
            parts.arguments.append(arguments)
            self._tell("tool_call", arguments)

    def _tell(self, kind: Any, text: str) -> None:
        if text and self._first_token is None:
            self._first_token = time.monotonic() - self._started
        if self._on_delta:
            self._on_delta(kind, text)


def read_usage(usage: _Json) -> Usage:
    """Read a usage object; what the server does not say stays unknown."""
    prompt_details: _Json = usage.get("prompt_tokens_details") or {}
    completion_details: _Json = usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens"),
        cached_tokens=prompt_details.get("cached_tokens"),
        output_tokens=usage.get("completion_tokens"),
        reasoning_tokens=completion_details.get("reasoning_tokens"),
    )
