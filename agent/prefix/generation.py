"""Puts together what a model generated, in the form in which its chat template writes a turn.

The form is learned from the template itself: a turn of placeholders is rendered, and each is then replaced by what the
model wrote. So it holds for calls as XML (Qwen3.6) as for calls as JSON (Hermes), and no template is known by name.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent.prefix.exchanges import Exchange
from agent.prefix.parts import Call, Habits, Parts
from agent.prefix.renderers import Message, Renderer, RendererError

_REASONING, _CONTENT, _ANSWER, _NEXT = "qzReasoningzq", "qzContentzq", "qzAnswerzq", "qzQuestionzq"
_PLACEHOLDER = re.compile(r"(qzReasoningzq|qzContentzq|qzArgument\d+x\d+zq|qzArguments\d+zq)")
_NUMBERS = re.compile(r"\d+")

PieceKind = Literal["markup", "reasoning", "content", "argument", "arguments"]


@dataclass(frozen=True)
class Piece:
    """A piece of what was generated: the template's own words, or one part of what the model said."""

    kind: PieceKind
    text: str
    call: int = 0
    """For arguments: the number of the call, and of the argument in it."""
    number: int = 0

    @property
    def call_number(self) -> int | None:
        """The call to which it belongs, if to any."""
        return self.call if self.kind in ("argument", "arguments") else None


class TurnForm:
    """Knows how a template writes turns. Remembers each form that it has asked for."""

    def __init__(self, renderer: Renderer, habits: Habits) -> None:
        self._renderer = renderer
        self._habits = habits
        self._forms: dict[str, str] = {}

    async def generated(self, exchange: Exchange, parts: Parts) -> list[Piece]:
        """What came behind the prompt of `exchange`, in pieces. Raises RendererError."""
        shape = _shape(parts)
        form = _with_keys(await self._form(exchange, shape), shape)
        pieces = [_fill(text, parts, shape) for text in _PLACEHOLDER.split(form) if text]
        pieces = _without_end(pieces) if parts.cut or _ends_in_thinking(parts) else pieces
        return [piece for piece in self._with_written_space(pieces) if piece.text]

    async def _form(self, exchange: Exchange, shape: "_Shape") -> str:
        key = json.dumps([shape.message(), exchange.flags, exchange.tools])
        if key not in self._forms:
            self._forms[key] = await self._ask(exchange, shape)
        return self._forms[key]

    async def _ask(self, exchange: Exchange, shape: "_Shape") -> str:
        system = [message for message in exchange.messages[:1] if message["role"] == "system"]
        before: list[Message] = [*system, {"role": "user", "content": _NEXT}]
        opening = await self._render(exchange, before, open_turn=True)
        plain = await self._render(exchange, [*before, {"role": "assistant", "content": _CONTENT}, _answer(0)])
        tail = plain.partition(_CONTENT)[2].partition(_ANSWER)[0]
        answers = [_answer(number) for number in range(max(1, len(shape.calls)))]
        text = await self._render(exchange, [*before, shape.message(), *answers])
        text = text.partition(_ANSWER)[0].removesuffix(tail)
        for number, call in enumerate(shape.calls):
            text = _with_whole_arguments(text, number, call)
        if text.startswith(opening) and (_REASONING in text or not shape.reasoning):
            return text.removeprefix(opening)
        return _with_hidden_thinking(text, opening, shape)

    async def _render(self, exchange: Exchange, messages: list[Message], *, open_turn: bool = False) -> str:
        try:
            return await self._renderer.render(messages, exchange.tools, exchange.flags, open_turn=open_turn)
        except RendererError:
            if messages[-1]["role"] != "tool":
                raise
            # Some templates want a tool message to follow a call.
            trimmed = [message for message in messages if message["role"] != "tool"]
            return await self._renderer.render(trimmed, exchange.tools, exchange.flags, open_turn=open_turn)

    def _with_written_space(self, pieces: list[Piece]) -> list[Piece]:
        """Between two parts stands what the model wrote, where the server shows it, and else what the template does."""
        habits = self._habits
        shown_behind = {"reasoning": habits.behind_reasoning, "content": habits.behind_content}
        kinds = [None, *(piece.kind for piece in pieces), None]
        result: list[Piece] = []
        for index, piece in enumerate(pieces):
            text = piece.text
            if piece.kind == "markup":
                text = text.lstrip() if shown_behind.get(kinds[index] or "") else text
                text = text.rstrip() if kinds[index + 2] == "content" and habits.before_content else text
            result.append(replace(piece, text=text))
        return result


@dataclass(frozen=True)
class _Shape:
    """Which parts a turn has: all that its form depends on."""

    reasoning: bool
    content: bool
    calls: tuple[Call, ...]

    def message(self) -> dict[str, Any]:
        """A message of this shape, of placeholders."""
        message: dict[str, Any] = {"role": "assistant", "content": _CONTENT if self.content else ""}
        if self.reasoning:
            message |= {"reasoning_content": _REASONING, "reasoning": _REASONING}
        if self.calls:
            message["tool_calls"] = [_placeholder_call(number, call) for number, call in enumerate(self.calls)]
        return message


def _shape(parts: Parts) -> _Shape:
    """The shape, up to and with the first call whose arguments cannot be read: what follows has no known form."""
    calls: list[Call] = []
    for call in parts.calls:
        calls.append(call)
        if call.arguments is None:
            break
    return _Shape(bool(parts.reasoning.strip()), bool(parts.content.strip()), tuple(calls))


def _with_hidden_thinking(text: str, opening: str, shape: _Shape) -> str:
    """The form of a turn whose thinking the template leaves out: the model wrote it all the same."""
    rest = text.removeprefix(opening) if text.startswith(opening) else text.partition(_NEXT)[2]
    _, closed, behind = rest.rpartition("</think>")
    first = _PLACEHOLDER.search(rest)
    rest = behind.lstrip() if closed else rest[first.start() :] if first else rest
    return f"{_REASONING}\n</think>\n\n{rest}" if shape.reasoning and _REASONING not in rest else rest


def _placeholder_call(number: int, call: Call) -> dict[str, Any]:
    # Keys are placeholders too, and sort as they stand, so that a template that sorts them does not hide it here.
    values = {_key(number, index): f"qzArgument{number}x{index}zq" for index in range(len(call.keys))}
    function = {"name": call.name, "arguments": json.dumps(values, ensure_ascii=False)}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _answer(number: int) -> Mapping[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": _ANSWER}


def _with_whole_arguments(form: str, number: int, call: Call) -> str:
    """The form with one placeholder for all arguments, where the template writes them as one JSON object.

    Of arguments that cannot be read nothing is known but that they follow the name.
    """
    whole = f"qzArguments{number}zq"
    if call.arguments is None:
        end = form.rfind(call.name) + len(call.name)
        return form[:end] + whole
    members = [rf"\"{_key(number, index)}\"\s*:\s*\"qzArgument{number}x{index}zq\"" for index in range(len(call.keys))]
    return re.sub(r"\{\s*" + r"\s*,\s*".join(members) + r"\s*\}", whole, form) if members else form


def _with_keys(form: str, shape: _Shape) -> str:
    for number, call in enumerate(shape.calls):
        for index, key in enumerate(call.keys):
            form = form.replace(_key(number, index), key)
    return form


def _key(call: int, number: int) -> str:
    return f"qzkey{call:03}x{number:03}zq"


def _fill(text: str, parts: Parts, shape: _Shape) -> Piece:
    if text == _REASONING:
        return Piece("reasoning", parts.reasoning)
    if text == _CONTENT:
        return Piece("content", parts.content)
    if not _PLACEHOLDER.fullmatch(text):
        return Piece("markup", text)
    numbers = [int(number) for number in _NUMBERS.findall(text)]
    call = shape.calls[numbers[0]]
    if len(numbers) == 1 or call.arguments is None:
        return Piece("arguments", call.text, numbers[0])
    return Piece("argument", call.arguments[numbers[1]].text, numbers[0], numbers[1])


def _ends_in_thinking(parts: Parts) -> bool:
    return not parts.content.strip() and not parts.calls


def _without_end(pieces: list[Piece]) -> list[Piece]:
    """The pieces up to the last one that the model wrote: it stopped there, so the template's end is not its own."""
    last = max((index for index, piece in enumerate(pieces) if piece.kind != "markup"), default=-1)
    return pieces[: last + 1]
