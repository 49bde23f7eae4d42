"""The model behind the servers: deterministic, and it knows nothing but the rendered prompt.

So what a client loses on the way shows in what it says: asked for a number that it thought of earlier, it finds it
in the thinking that is still in the prompt, or makes another one up.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from conformance.ingress import Request
from conformance.rendering import Prompt, parameters_of

LONGEST_COUNT = 20_000

_THINKING = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_NUMBER = re.compile(r"(?<!\d)\d{20}(?!\d)")
_CALLING = re.compile(r"\b(call|use|invoke|run|execute)\b", re.IGNORECASE)
_TWICE = re.compile(r"\b(two|both|twice|parallel|2)\b", re.IGNORECASE)
_CHOOSING = re.compile(r"\b(choose|pick|think of|invent|generate|make up)\b.*\bnumbers\b", re.IGNORECASE | re.DOTALL)
_SECOND = re.compile(r"\bsecond\b(?: \S+)? number\b|\bthe second\b", re.IGNORECASE)
_COUNT = re.compile(r"\bcount\b.*?\bto (\d+)", re.IGNORECASE | re.DOTALL)
_SAY = re.compile(
    r"\b(?:say|reply with|answer with|respond with)\b(?: only| just| exactly)?:? [\"'`]?(.+?)[\"'`.]*$", re.IGNORECASE
)
_SEEING = re.compile(r"\b(image|picture|screenshot|photo)\b", re.IGNORECASE)
_IMAGE = re.compile(r"<\|image:([0-9a-f]+)\|>")
_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
}


@dataclass(frozen=True)
class Call:
    """A call. `raw` is what the model writes where that is not what the template would."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    raw: str | None = None

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """The arguments as they are written into a prompt."""
        values = json.loads(self.arguments) if isinstance(self.arguments, str) else self.arguments
        return parameters_of(values)


@dataclass(frozen=True)
class Reply:
    """An assistant turn. Whitespace around the texts is generated as it stands."""

    reasoning: str = ""
    content: str = ""
    calls: Sequence[Call] = ()


def respond(request: Request, prompt: Prompt) -> Reply:
    """What the model says to a prompt."""
    secret = _digest(prompt.text)
    reply = _calls(request) or Reply(content=_answer(request, prompt, secret))
    if not prompt.thinking:
        return reply
    thought = f"Thought {secret[:8]}: I go step by step."
    if _CHOOSING.search(_last(request, "user")) and not _answered(request):
        thought = f"First number: {_number(secret, 1)}, second number: {_number(secret, 2)}. {thought}"
    return Reply(thought, reply.content, reply.calls)


def _calls(request: Request) -> Reply | None:
    """The calls that the last user message asks for, once."""
    if not request.tools or request.tool_choice == "none" or _answered(request):
        return None
    asked = _last(request, "user")
    tools = {str(tool["function"]["name"]): tool["function"] for tool in request.tools}
    named = [name for name in tools if re.search(rf"\b{re.escape(name)}\b", asked)] if _CALLING.search(asked) else []
    named.sort(key=asked.index)
    if request.tool_choice in tools:
        named = [request.tool_choice]
    elif request.tool_choice == "required" and not named:
        named = list(tools)[:1]
    if not named:
        return None
    if len(named) == 1 and _TWICE.search(asked):
        named *= 2
    objects = [found for found in map(_object, re.findall(r"\{[^{}]*\}", asked)) if found is not None]
    calls = [
        Call(name, objects[number] if number < len(objects) else _arguments(tools[name], asked, number))
        for number, name in enumerate(named)
    ]
    return Reply(content="I call it.", calls=calls)


def _answer(request: Request, prompt: Prompt, secret: str) -> str:
    last = request.messages[-1]
    asked = _last(request, "user") + (f"\n{last.text}" if last.role == "tool" else "")
    if _CHOOSING.search(asked) and not _answered(request):
        return f"The first number is {_number(secret, 1)}."
    if _SECOND.search(asked):
        known = [number for thought in _THINKING.findall(prompt.text) for number in _NUMBER.findall(thought)]
        return f"The second number is {known[-1] if known else _number(secret, 3)}."
    if counting := _COUNT.search(asked):
        return " ".join(map(str, range(1, min(int(counting[1]), LONGEST_COUNT) + 1)))
    if _SEEING.search(asked):
        return _describe(request, prompt)
    if last.role == "tool":
        return f"The tool says: {last.text.strip()[:200]}"
    if saying := _SAY.search(asked.strip()):
        return saying[1]
    return f"Answer {secret[:8]} to: {asked.strip()[:60]}"


def _describe(request: Request, prompt: Prompt) -> str:
    seen = _IMAGE.findall(prompt.text)
    if not seen:
        return "I see no image."
    colour = _colour(request.images.get(seen[-1], b""))
    return f"I see an image. {f'It is {colour}.' if colour else 'I cannot make out its colours.'}"


def _last(request: Request, role: str) -> str:
    return next((message.text for message in reversed(request.messages) if message.role == role), "")


def _answered(request: Request) -> bool:
    """Whether calls were made since the last user message."""
    for message in reversed(request.messages):
        if message.role == "user":
            return False
        if message.calls:
            return True
    return False


def _arguments(function: Mapping[str, Any], asked: str, number: int) -> dict[str, Any]:
    parameters = cast("dict[str, Any]", function.get("parameters") or {})
    schemas = cast("dict[str, dict[str, Any]]", parameters.get("properties") or {})
    needed = cast("list[str]", parameters.get("required") or list(schemas))
    return {name: _value(name, schemas.get(name, {}), asked, number) for name in needed}


def _value(name: str, schema: Mapping[str, Any], asked: str, number: int) -> Any:
    found = re.findall(
        rf"\b{re.escape(name)}\b[`\"']?\s*(?:=|:|is|set to)?\s*(?:\"([^\"]*)\"|'([^']*)'|`([^`]*)`|([\w./-]+\w))", asked
    )
    texts = ["".join(groups) for groups in found]
    text = texts[min(number, len(texts) - 1)] if texts else f"{name}-{number}"
    match schema.get("type"):
        case "integer" | "number":
            return int(text) if text.isdigit() else number + 1
        case "boolean":
            return text != "false"
        case "array":
            return [text]
        case "object":
            return {}
        case _:
            return schema["enum"][0] if schema.get("enum") and text not in schema["enum"] else text


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _number(secret: str, which: int) -> str:
    """A number of 20 digits."""
    return str(int(_digest(f"{secret}/{which}"), 16))[:20]


def _colour(png: bytes) -> str | None:
    """The colour of the first pixel of a PNG with 8 bits a channel; None for another file."""
    start = png.find(b"IDAT")
    if not png.startswith(b"\x89PNG") or start < 0 or png[24] != 8 or png[25] not in (2, 6):
        return None
    try:
        pixel = tuple(zlib.decompressobj().decompress(png[start + 4 :], 64)[1:4])
    except zlib.error:
        return None
    return min(_COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(_COLOURS[name], pixel, strict=False)))
