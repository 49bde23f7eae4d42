"""Writes an exchange's response in the family's form: one JSON body, or the chunks of a stream."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from conformance.exchange import Exchange
from conformance.faults import ActiveFault, Fault
from conformance.generation import Generation, ParsedCall
from conformance.ingress import signature_of

DONE = b"data: [DONE]\n\n"

_CREATED = 1_780_000_000
_MOST_PIECES = 6
_LEAST_PIECE = 8


class ResponseWriter:
    """Writes the response to one exchange that was answered."""

    def __init__(self, exchange: Exchange, faults: list[ActiveFault]) -> None:
        assert exchange.generation is not None
        self._exchange = exchange
        self._behaviour = exchange.behaviour
        self._wire = exchange.behaviour.wire
        self._generation: Generation = exchange.generation
        self._faults = {active.kind: active for active in faults}
        self._seed = hashlib.sha256(exchange.raw).hexdigest()
        self._frame = {
            "id": f"chatcmpl-{self._seed[:24]}",
            "created": _CREATED,
            "model": exchange.behaviour.model,
            **exchange.behaviour.wire.frame,
        }

    def whole(self) -> dict[str, Any]:
        """The response to a request without `stream`."""
        generation, wire = self._generation, self._wire
        reasoning, content = self._texts(wire.whole_whitespace)
        calls = [self._call(number, call, self._whole_arguments(call)) for number, call in enumerate(generation.calls)]
        message: dict[str, Any] = {"role": "assistant", **wire.message}
        if content or wire.empty_content != "absent":
            message["content"] = content or (None if wire.empty_content == "null" else "")
        self._add_reasoning(message, reasoning, whole=True)
        if calls:
            message["tool_calls"] = calls
        finish = self._finish(emptied=generation.cut and wire_emptied(self._exchange) and bool(calls))
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish, **wire.finish}
        response: dict[str, Any] = {**self._frame, "object": "chat.completion", "choices": [choice]}
        return {**response, **self._usage(), **self._timings()}

    def events(self) -> list[bytes]:
        """The events of the stream, each with its blank line."""
        request = self._exchange.request
        assert request is not None
        chunks = [self._chunk(delta) for delta in self._deltas()]
        last = self._chunk({} if self._wire.role == "first" else {"role": "assistant", "content": ""})
        last["choices"][0].update({"finish_reason": self._finish(), **self._wire.finish})
        chunks.append(last)
        usage, asked = self._usage(), request.wants_usage or self._wire.usage_unasked
        if usage and asked:
            place = self._wire.usage_place
            if place == "choice":
                last["choices"][0].update(usage)
            if place in ("finish_chunk", "finish_and_last"):
                last.update(usage)
            if place in ("last_chunk", "finish_and_last"):
                chunks.append({**self._chunk(None), **usage, **self._timings()})
            if Fault.DUPLICATED_USAGE in self._faults:
                chunks.append(chunks[-1])
        if not (usage and request.wants_usage):
            last.update(self._timings())
        events = [event(chunk) for chunk in chunks]
        return [*events, DONE] if self._wire.done else events

    def _deltas(self) -> Iterator[dict[str, Any]]:
        wire, generation = self._wire, self._generation
        reasoning, content = self._texts(wire.streamed_whitespace)
        if wire.role == "first":
            first = {"null": {"content": None}, "empty": {"content": ""}, "absent": {}}[wire.first_content]
            yield {"role": "assistant", **first}
        every: dict[str, Any] = {} if wire.role == "first" else {"role": "assistant"}
        form = self._behaviour.reasoning
        if form.emitted_as or form.details:
            for piece in pieces(reasoning):
                delta = dict(every)
                self._add_reasoning(delta, piece, whole=False)
                yield delta
        for piece in pieces(content):
            yield {**every, "content": piece}
        if generation.calls:
            for delta in self._call_deltas():
                yield {**every, **delta}

    def _call_deltas(self) -> Iterator[dict[str, Any]]:
        for number, call in enumerate(self._generation.calls):
            arguments = self._arguments(call)
            parts = [arguments] if self._wire.streamed_arguments == "whole" else pieces(arguments) or [""]
            if Fault.ARGUMENTS_MISSING_IN_STREAM in self._faults:
                parts = [""]
            for place, part in enumerate(parts):
                whole = self._call(number, call, part)
                bare = {"function": {"arguments": part}}
                entry = whole if place == 0 or Fault.NAME_REPEATED in self._faults else bare
                index = {} if Fault.MISSING_INDEX in self._faults else {"index": number}
                yield {"tool_calls": [{**index, **entry}]}

    def _chunk(self, delta: dict[str, Any] | None) -> dict[str, Any]:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
        return {**self._frame, "object": "chat.completion.chunk", "choices": choices}

    def _texts(self, whitespace: str) -> tuple[str, str]:
        """Reasoning and content as they come out."""
        generation, form = self._generation, self._behaviour.reasoning
        reasoning, content = generation.reasoning, generation.content
        if generation.calls and content:
            content += "\n\n"
        if form.inline and reasoning:
            opening = "<think>\n" if form.opening_tag else ""
            closing = "" if generation.cut and not generation.content else "</think>\n\n"
            return "", f"{opening}{reasoning}{closing}{content}"
        if whitespace == "stripped":
            return reasoning.strip(), content.strip()
        return reasoning, f"\n\n{content}" if whitespace == "kept_with_lead" and reasoning else content

    def _add_reasoning(self, target: dict[str, Any], reasoning: str, *, whole: bool) -> None:
        form = self._behaviour.reasoning
        if not reasoning:
            return
        if form.emitted_as:
            target[form.emitted_as] = reasoning
        if form.details:
            detail = {"type": "reasoning.text", "text": reasoning, "format": "unknown", "index": 0}
            target["reasoning_details"] = [{**detail, "signature": self._seed[:16]} if whole else detail]

    def _call(self, number: int, call: ParsedCall, arguments: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": self._id(number, call)}
        if self._wire.call_ids == "none":
            entry = {}
        shown: Any = arguments
        if Fault.OBJECT_ARGUMENTS in self._faults:
            shown = json.loads(call.arguments)
        entry |= {"type": "function", "function": {"name": call.name, "arguments": shown}}
        if self._behaviour.reasoning.signatures and number == 0:
            entry["extra_content"] = {"google": {"thought_signature": signature_of(self._generation.reasoning.strip())}}
        return entry

    def _id(self, number: int, call: ParsedCall) -> str:
        if Fault.REPEATED_IDS in self._faults:
            return "call_0"
        digest = hashlib.sha256(f"{self._seed}/{number}".encode()).hexdigest()
        match self._wire.call_ids:
            case "random":
                return digest[:32]
            case "vllm":
                return f"chatcmpl-tool-{digest[:16]}"
            case "kimi":
                return f"{call.name}:{number}"
            case _:
                return f"call_{digest[:24]}"

    def _arguments(self, call: ParsedCall) -> str:
        if Fault.EMPTY_ARGUMENTS in self._faults:
            return "{}"
        try:
            values = json.loads(call.arguments)
        except ValueError:
            return call.arguments
        if self._wire.argument_spaces:
            return json.dumps(values, ensure_ascii=False)
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    def _whole_arguments(self, call: ParsedCall) -> str:
        last = call is self._generation.calls[-1]
        emptied = self._generation.cut and last and wire_emptied(self._exchange)
        return "{}" if emptied else self._arguments(call)

    def _finish(self, *, emptied: bool = False) -> str:
        if lie := self._faults.get(Fault.FINISH_REASON_LIES):
            return lie.text or "stop"
        request, rule = self._exchange.request, self._behaviour.tools
        if rule.named_finish and request and request.tool_choice not in ("auto", "none", "required"):
            return rule.named_finish
        return "tool_calls" if emptied else self._generation.finish_reason

    def _usage(self) -> dict[str, Any]:
        if Fault.NO_USAGE in self._faults:
            return {}
        usage = self._placed(self._behaviour.usage.fields)
        self._exchange.usage = usage
        return {"usage": usage}

    def _timings(self) -> dict[str, Any]:
        places = self._behaviour.usage.timings
        return {"timings": self._placed(places)} if places and Fault.NO_USAGE not in self._faults else {}

    def _placed(self, places: dict[str, str]) -> dict[str, Any]:
        exchange = self._exchange
        cached = 0 if Fault.USAGE_LIES in self._faults else exchange.cached_tokens
        counts = {
            "prompt": exchange.prompt_tokens,
            "completion": exchange.completion_tokens,
            "total": exchange.prompt_tokens + exchange.completion_tokens,
            "cached": cached,
            "missed": exchange.prompt_tokens - cached,
            "reasoning": exchange.reasoning_tokens,
            "text": exchange.completion_tokens - exchange.reasoning_tokens,
            "cache_write": exchange.prompt_tokens - cached,
            "zero": 0,
        }
        found: dict[str, Any] = {}
        for path, name in places.items():
            if name == "cached" and not cached and self._behaviour.usage.cached_absent_at_zero:
                continue
            *outer, key = path.split(".")
            target = found
            for step in outer:
                target = target.setdefault(step, {})
            target[key] = counts[name]
        return found


def wire_emptied(exchange: Exchange) -> bool:
    """Whether a call that is cut is shown with empty arguments."""
    return exchange.behaviour.output.cut_call == "emptied_whole"


def pieces(text: str) -> list[str]:
    """`text` in a few pieces of equal length, none for an empty text."""
    length = max(_LEAST_PIECE, -(-len(text) // _MOST_PIECES))
    return [text[start : start + length] for start in range(0, len(text), length)]


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
