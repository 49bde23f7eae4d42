"""What the model writes: a reply as raw text behind a prompt, cut by limits, and taken apart again by the parsers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from conformance.behaviour import ServerBehaviour
from conformance.faults import ActiveFault, Fault
from conformance.ingress import Request
from conformance.rendering import CLOSE, Prompt, Segment, assistant_segments, write_call
from conformance.responder import Call, Reply
from conformance.tokens import Vocabulary


class ParsedCall(NamedTuple):
    """A call as the tool parser found it; the arguments may be cut."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Generation:
    """A turn as it was generated, and what the parsers made of it."""

    segments: tuple[Segment, ...]
    """The turn as it would have to be rendered for the prefix to hold."""
    text: str
    tokens: int
    reasoning_tokens: int
    cut: bool
    reasoning: str
    """With the whitespace that the model wrote."""
    content: str
    calls: tuple[ParsedCall, ...]
    stranded: bool = False
    """Calls were left where no parser took them."""

    @property
    def finish_reason(self) -> str:
        """What an honest server says."""
        return "length" if self.cut else "tool_calls" if self.calls else "stop"


class _Part(NamedTuple):
    kind: str
    number: int
    text: str


def generate(
    reply: Reply,
    request: Request,
    prompt: Prompt,
    room: int,
    behaviour: ServerBehaviour,
    vocabulary: Vocabulary,
    faults: Sequence[ActiveFault],
) -> Generation:
    """Write `reply` behind `prompt`, in at most `room` tokens."""
    kinds = {active.kind: active for active in faults}
    reply = _as_faulty(reply, request, kinds, vocabulary)
    parts = _parts(reply, thinking=prompt.thinking, inside=Fault.CALLS_IN_REASONING in kinds)
    limit = room if request.max_tokens is None else min(room, max(1, request.max_tokens))
    kept, cut = _limited(parts, limit, behaviour, vocabulary)
    if Fault.ENDLESS_THINKING in kinds and prompt.thinking:
        kept, cut = kept[:1], True
    text = "".join(part.text for part in kept)
    reasoning = reply.reasoning if prompt.thinking else ""
    written = next((part.text for part in kept if part.kind == "reasoning"), "")
    stranded = bool(reply.calls) and bool(
        kinds.keys() & {Fault.CALLS_IN_CONTENT, Fault.CALLS_IN_REASONING, Fault.HERMES_CALLS_IN_CONTENT}
    )
    content = "".join(part.text for part in kept if part.kind == "content")
    if Fault.CALLS_IN_CONTENT in kinds:
        content += "".join(part.text for part in kept if part.kind == "call")
    elif Fault.HERMES_CALLS_IN_CONTENT in kinds:
        content += "".join(f"\n<tool_call>\n{_hermes(call)}\n</tool_call>" for call in reply.calls)
    return Generation(
        segments=_segments(len(request.body["messages"]), kept, thinking=prompt.thinking),
        text=text,
        tokens=len(vocabulary.encode(text)),
        reasoning_tokens=min(len(vocabulary.encode(reasoning)), len(vocabulary.encode(written))) if reasoning else 0,
        cut=cut,
        reasoning=_thought(written),
        content=content,
        calls=()
        if stranded
        else tuple(_parsed(reply.calls, kept, parts, drops=behaviour.output.cut_call == "dropped")),
        stranded=stranded,
    )


def _as_faulty(reply: Reply, request: Request, kinds: dict[Fault, ActiveFault], vocabulary: Vocabulary) -> Reply:
    if Fault.EMPTY_TURN in kinds:
        return Reply()
    if Fault.ENDLESS_THINKING in kinds:
        words = "Wait, let me think again. " * (kinds[Fault.ENDLESS_THINKING].tokens // 6 + 1)
        return Reply(vocabulary.cut(words, kinds[Fault.ENDLESS_THINKING].tokens), reply.content, reply.calls)
    if Fault.PARALLEL_DROPPED in kinds or not request.parallel:
        return Reply(reply.reasoning, reply.content, reply.calls[:1])
    return reply


def _parts(reply: Reply, *, thinking: bool, inside: bool) -> list[_Part]:
    calls: list[_Part] = []
    for number, call in enumerate(reply.calls):
        lead = "\n" if number else "\n\n" if reply.content else ""
        written = None if call.raw is None else lead + call.raw
        text = written or write_call(call.name, call.parameters, first=not number, after_text=bool(reply.content))
        calls.append(_Part("call", number, text))
    parts: list[_Part] = []
    if thinking:
        stranded = "\n\n" + "".join(part.text for part in calls).strip() if inside and calls else ""
        parts.append(_Part("reasoning", 0, f"{reply.reasoning}{stranded}\n</think>\n\n"))
    if inside and thinking:
        calls = []
    return [*parts, _Part("content", 0, reply.content), *calls, _Part("close", 0, CLOSE)]


def _limited(
    parts: list[_Part], limit: int, behaviour: ServerBehaviour, vocabulary: Vocabulary
) -> tuple[list[_Part], bool]:
    kept: list[_Part] = []
    for part in parts:
        if part.kind == "reasoning" and not behaviour.output.counts_thinking:
            kept.append(part)
            continue
        tokens = len(vocabulary.encode(part.text))
        if tokens > limit:
            return [*kept, part._replace(text=vocabulary.cut(part.text, limit))] if limit else kept, True
        limit -= tokens
        kept.append(part)
    return kept, False


def _segments(index: int, parts: list[_Part], *, thinking: bool) -> tuple[Segment, ...]:
    written = next((part.text for part in parts if part.kind == "reasoning"), "")
    content = "".join(part.text for part in parts if part.kind == "content")
    calls = [part.text for part in parts if part.kind == "call"]
    segments = assistant_segments(index, "", content, calls)
    if thinking:
        segments[1] = Segment(index, "reasoning", 0, "<think>\n" + written)
    closing = [Segment(index, "close", 0, part.text) for part in parts if part.kind == "close"]
    return (*segments, *closing)


def _thought(written: str) -> str:
    """The thinking in what was written up to `</think>`, with the newline before the tag."""
    return written.removesuffix("</think>\n\n")


def _parsed(calls: Sequence[Call], kept: list[_Part], parts: list[_Part], *, drops: bool) -> list[ParsedCall]:
    whole = {part.number: len(part.text) for part in parts if part.kind == "call"}
    parsed: list[ParsedCall] = []
    for part in kept:
        if part.kind == "call":
            call = calls[part.number]
            arguments = (
                call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
            )
            if len(part.text) < whole[part.number]:
                if drops:
                    continue
                arguments = arguments[: max(1, len(arguments) * len(part.text) // whole[part.number] - 2)]
            parsed.append(ParsedCall(call.name, arguments))
    return parsed


def _hermes(call: Call) -> str:
    arguments = json.loads(call.arguments) if isinstance(call.arguments, str) else dict(call.arguments)
    return json.dumps({"name": call.name, "arguments": arguments}, ensure_ascii=False)
