"""Puts a response together: chunks of the OpenAI protocol in, or a whole message; one turn out.

Where thinking and token counts stand is the dialect's to say. What is done about the rest (missing indexes and ids,
repeated names, objects for strings) is the same for all, since gateways mix the habits of the servers behind them.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.backend import DeltaKind, DeltaListener, ThinkingWatch
from agent.conversation import sendable
from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.dialect import Dialect
from agent.turn import AssistantTurn, ToolCall
from agent.usage_reading import read_counts
from results.records.usage import Usage

_BROKEN = ("abort", "error")
"""Finish reasons that mean that the server gave up (SGLang, vLLM; OpenRouter), not the model."""

_OPENING, _CLOSING = "<think>", "</think>"

_Read = TypeVar("_Read", bound=BaseModel)


class _Function(BaseModel):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallPiece(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(BaseModel):
    content: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _Choice(BaseModel):
    delta: dict[str, Any] | None = None
    message: Any = None
    finish_reason: str | None = None


class _Response(BaseModel):
    choices: list[dict[str, Any]] | None = None
    usage: Any = None


@dataclass
class _CallParts:
    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])
    came_whole: bool = False
    """As an object, to which nothing can be added."""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are JSON that nothing can be added to."""
        if not (self.arguments and self.arguments[-1].rstrip().endswith("}")):
            return False
        try:
            json.loads("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


class TurnAssembler:
    """Takes the chunks of one response, or the whole of it.

    `guard` hears the thinking as it streams in, also where it begins the content as `<think>`; what it raises comes
    out of `add`, and the turn so far stands.
    """

    def __init__(
        self, dialect: Dialect, on_delta: DeltaListener | None = None, guard: ThinkingWatch | None = None
    ) -> None:
        self._dialect = dialect
        self._behaviours = [BEHAVIOURS[name]() for name in dialect.behaviours]
        self._on_delta = on_delta
        self._guard = guard
        self._inline = _InlineThinking()
        self._started = time.monotonic()
        self._first_token: float | None = None
        self._reasoning: list[str] = []
        self._reasoning_field: str | None = None
        self._content: list[str] | None = None
        self._calls: list[_CallParts] = []
        self._counts: dict[str, int] = {}
        self._extras: dict[str, Any] = {}
        self._is_whole = False
        self.finish_reason: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything came that the model said."""
        return self._first_token is not None

    @property
    def first_token_seconds(self) -> float | None:
        """How long it took until anything came that the model said; None where nothing has, or all of it at once."""
        return None if self._is_whole else self._first_token

    @property
    def is_complete(self) -> bool:
        """Whether the model has ended its turn; what may still come is its usage."""
        if self.finish_reason is None:
            return self._is_whole
        return self.finish_reason not in _BROKEN

    @property
    def usage(self) -> Usage:
        """What the server has counted so far."""
        return Usage(**self._counts)

    def add(self, chunk: object) -> None:
        """Take the next chunk of a stream. Raises ValueError for one that does not fit the protocol."""
        response = _read(_Response, chunk, "the chunk")
        self._count(response.usage)
        for raw in (response.choices or [])[:1]:
            choice = self._take_choice(raw)
            if choice.delta:
                self._take_part(choice.delta)

    def add_whole(self, response: object) -> None:
        """Take a response that is not streamed. Raises ValueError for one that does not fit the protocol."""
        self._guard = None  # it is there, whatever it says
        read = _read(_Response, response, "the response")
        self._count(read.usage)
        if not read.choices:
            raise ValueError("choices: there is none")
        choice = self._take_choice(read.choices[0])
        if choice.message is None:
            raise ValueError("choices.0.message: there is none")
        self._is_whole = True
        self._take_part(choice.message)

    def turn(self) -> AssistantTurn:
        """The turn, as far as it has come."""
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
            first_token_seconds=self.first_token_seconds,
            extras=self._extras,
        )

    def _count(self, usage: object) -> None:
        """Take a usage object. The last that says a count wins: some come with every chunk, some twice, some empty."""
        if usage:
            self._counts |= read_counts(usage, self._dialect.usage)

    def _take_choice(self, raw: dict[str, Any]) -> _Choice:
        choice = _read(_Choice, raw, "the choice")
        for behaviour in self._behaviours:
            self._count(behaviour.usage(raw))
        # Ollama once sent "" with every chunk, and some send null behind the reason.
        self.finish_reason = choice.finish_reason or self.finish_reason
        return choice

    def _take_part(self, raw: Any) -> None:
        part = _read(_Part, raw, "the message")
        for behaviour in self._behaviours:
            behaviour.collect(raw, self._extras)
        self._add_reasoning(raw)
        if part.content is not None:
            self._content = self._content or []
            self._content.append(part.content)
            self._tell("content", part.content)
            if self._guard and (thought := self._inline.part_of(part.content)):
                self._guard.add(thought)
        for position, piece in enumerate(part.tool_calls or []):
            if self._is_whole:
                piece.index = position  # every one is a call, whatever it says
            self._add_call(piece, piece.function or _Function())

    def _add_reasoning(self, raw: Mapping[str, Any]) -> None:
        found = _reasoning_of(raw, self._dialect.reasoning.received)
        if found is None:
            return
        name, text = found
        if not any(self._reasoning):
            self._reasoning_field = name
        self._reasoning.append(text)
        self._tell("reasoning", text)
        if self._guard and text:
            self._guard.add(text)

    def _add_call(self, piece: _CallPiece, function: _Function) -> None:
        parts = self._begun_call(piece, function)
        if parts is None:
            parts = _CallParts(len(self._calls) if piece.index is None else piece.index)
            self._calls.append(parts)
        parts.id = parts.id or piece.id or ""
        if function.name and not parts.arguments:
            parts.name = _joined_name(parts.name, function.name)
            self._note_first_token()
        arguments = function.arguments
        if isinstance(arguments, dict):  # Ollama's own form, which is the whole of them: nothing can follow
            parts.arguments[:] = [json.dumps(arguments, ensure_ascii=False)]
            parts.came_whole = True
            self._tell("tool_call", parts.arguments[0])
        elif arguments and not parts.came_whole:
            parts.arguments.append(arguments)
            self._tell("tool_call", arguments)

    def _begun_call(self, piece: _CallPiece, function: _Function) -> _CallParts | None:
        """The call that `piece` goes on with; None where it begins one.

        An index tells them apart, or else an id, or else the order. Some servers send index 0 for every call, or one
        id: then a name begins a call if it comes under another id, or is another one, or comes behind arguments that
        are whole. A new id alone does not, since vLLM once sent a new one with each piece.
        """
        if piece.index is not None:
            begun = [parts for parts in self._calls if parts.index == piece.index]
        elif piece.id:
            begun = [parts for parts in self._calls if parts.id == piece.id]
        else:
            begun = self._calls
        if not begun:
            return None
        last = begun[-1]
        if not function.name:
            return last
        if piece.id and last.id:
            if piece.id != last.id:
                return None
            if piece.index is not None:
                return last
        has_place = piece.index is not None or bool(piece.id)
        is_another = function.name != last.name and (bool(last.arguments) or not has_place)
        return None if is_another or (function.arguments and last.is_whole) else last

    def _tell(self, kind: DeltaKind, text: str) -> None:
        if text:
            self._note_first_token()
        if self._on_delta:
            self._on_delta(kind, sendable(text))

    def _note_first_token(self) -> None:
        if self._first_token is None:
            self._first_token = time.monotonic() - self._started


@dataclass
class _InlineThinking:
    """Tells what of a content that streams in is thinking: from a `<think>` at its beginning to the end tag."""

    _begun: str = ""
    """The end of what came: as much as shows a tag that comes in pieces."""
    _is_open: bool | None = None
    """None: what came could still become the tag."""

    def part_of(self, text: str) -> str:
        """The part of the next piece, or of the first ones together, that is thinking."""
        if self._is_open is False:
            return ""
        seen = self._begun + text
        if self._is_open is None:
            seen = seen.lstrip()
            self._is_open = True if seen.startswith(_OPENING) else None if _OPENING.startswith(seen) else False
            text = seen
        if self._is_open and _CLOSING in seen:
            self._is_open = False
        self._begun = seen[-len(_CLOSING) :]
        return text if self._is_open else ""


def _reasoning_of(raw: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, str] | None:
    """The field that holds thinking, and what it holds.

    A server in transition sends the same text under two names, so only one of them is taken; an empty one hides no
    thinking.
    """
    present: list[tuple[str, str]] = []
    for name in names:
        text = raw.get(name)
        if isinstance(text, str):
            present.append((name, text))
        elif text is not None:
            message = f"{name}: Input should be a valid string"
            raise ValueError(message)
    return next((field for field in present if field[1]), present[0] if present else None)


def _joined_name(name: str, piece: str) -> str:
    """A name that is sent again with every piece (MiniMax; hermes issue 8259), or in parts (Gemini; continue 5849)."""
    return name if piece == name else name + piece


def _read(model: type[_Read], value: object, what: str) -> _Read:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or what
        message = f"{place}: {problem['msg']}"
        raise ValueError(message) from error


def _join(parts: list[str]) -> str:
    """The pieces as one text. A server that counts in UTF-16 may cut a character in two: its halves meet here."""
    return "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
