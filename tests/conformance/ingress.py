"""What a server makes of a request before the template sees it: fields read, refused, or ignored in silence."""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from conformance.behaviour import ErrorForm, ServerBehaviour, Switch
from conformance.rendering import Seen, SeenCall, parameters_of

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini takes in place of a signature for calls that it did not make."""

ABSENT = object()

_IMAGE = "<|vision_start|><|image:{}|><|vision_end|>"


class RefusedError(Exception):
    """The request is answered with an error."""

    def __init__(self, form: ErrorForm, **values: Any) -> None:
        super().__init__(str(form.body))
        self.status = form.status
        self.body = filled(form.body, values)


@dataclass(frozen=True)
class Request:
    """A request as the server understands it."""

    body: dict[str, Any]
    messages: tuple[Seen, ...]
    tools: tuple[Any, ...]
    thinking: bool
    preserve: bool
    stream: bool
    wants_usage: bool
    max_tokens: int | None
    tool_choice: str
    """auto, none, required, or the name of a tool."""
    parallel: bool
    images: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """By the hash that stands in the prompt."""


def read_request(raw: bytes, behaviour: ServerBehaviour) -> Request:
    """The request in a body. Raises RefusedError."""
    body = _json(raw, behaviour)
    _refuse_fields(body, behaviour)
    thinking = _switched(body, behaviour.thinking.switches, behaviour.thinking.default, behaviour)
    tools = tuple(body.get("tools") or ())
    images: dict[str, bytes] = {}
    messages = _messages(body, behaviour, images, thinking=thinking)
    options = body.get("stream_options")
    return Request(
        body=body,
        messages=messages,
        tools=tools,
        thinking=thinking,
        preserve=_preserves(body, behaviour, with_tools=bool(tools)),
        stream=body.get("stream") is True,
        wants_usage=isinstance(options, dict) and cast("dict[str, Any]", options).get("include_usage") is True,
        max_tokens=_cap(body, behaviour),
        tool_choice=_tool_choice(body, behaviour),
        parallel=body.get("parallel_tool_calls") is not False or not behaviour.tools.parallel_flag,
        images=images,
    )


def at(body: object, path: str) -> object:
    """The value at a path with dots; ABSENT where there is none."""
    for key in path.split("."):
        if not isinstance(body, dict) or key not in body:
            return ABSENT
        body = cast("dict[str, object]", body)[key]
    return body


def filled(body: Any, values: dict[str, Any]) -> Any:
    """`body` with its `{placeholders}` filled in; one that is a whole string becomes the value itself."""
    if isinstance(body, dict):
        return {key: filled(value, values) for key, value in cast("dict[str, Any]", body).items()}
    if isinstance(body, list):
        return [filled(value, values) for value in cast("list[Any]", body)]
    if not isinstance(body, str):
        return body
    if body[1:-1] in values and body == f"{{{body[1:-1]}}}":
        return values[body[1:-1]]
    return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), body)


def carries_reasoning(message: dict[str, Any]) -> bool:
    """Whether an assistant message brings thinking along under any name that is in use."""
    content = message.get("content")
    return (
        any(message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details", "thinking"))
        or (isinstance(content, str) and "</think>" in content)
        or any(map(_signature, cast("list[dict[str, Any]]", message.get("tool_calls") or [])))
    )


def signature_of(reasoning: str) -> str:
    """Thinking sealed so that a client can only carry it."""
    return base64.b64encode(b"sealed:" + reasoning.encode()).decode()


def _json(raw: bytes, behaviour: ServerBehaviour) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RefusedError(behaviour.errors.malformed, message=str(error)) from error
    if not isinstance(body, dict) or not isinstance(cast("dict[str, Any]", body).get("messages"), list):
        raise RefusedError(behaviour.errors.malformed, message="field 'messages' is required")
    return cast("dict[str, Any]", body)


def _refuse_fields(body: dict[str, Any], behaviour: ServerBehaviour) -> None:
    for name in behaviour.output.refused:
        if name in body:
            raise RefusedError(behaviour.errors.unsupported_cap, field=name)
    unknown = [name for name in body if behaviour.known_fields is not None and name not in behaviour.known_fields]
    if unknown:
        raise RefusedError(behaviour.errors.field, field=unknown[0], fields=", ".join(map(repr, unknown)))
    if behaviour.other_models == "refused" and body.get("model", behaviour.model) != behaviour.model:
        raise RefusedError(behaviour.errors.model, model=body.get("model"))


def _switched(body: dict[str, Any], switches: tuple[Switch, ...], default: bool, behaviour: ServerBehaviour) -> bool:
    for switch in switches:
        value = at(body, switch.path)
        if value is ABSENT:
            continue
        if isinstance(value, str) and switch.refuses_strings:
            raise RefusedError(behaviour.errors.value, field=switch.path)
        if any(value == known and type(value) is type(known) for known in switch.means_on):
            return True
        if any(value == known and type(value) is type(known) for known in switch.means_off):
            return False
        if switch.otherwise is not None:
            return switch.otherwise
    return default


def _preserves(body: dict[str, Any], behaviour: ServerBehaviour, *, with_tools: bool) -> bool:
    rule = behaviour.preserve
    match rule.mode:
        case "request":
            return _switched(body, rule.switches, rule.default, behaviour)
        case "with_tools":
            return with_tools
        case mode:
            return mode == "always"


def _cap(body: dict[str, Any], behaviour: ServerBehaviour) -> int | None:
    given = next((body[key] for key in behaviour.output.keys if isinstance(body.get(key), int)), None)
    return behaviour.output.default if given is None or given < 0 else given


def _tool_choice(body: dict[str, Any], behaviour: ServerBehaviour) -> str:
    choice: Any = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = at(cast("object", choice), "function.name")
        return str(name) if "named" in behaviour.tools.tool_choice else "auto"
    if choice in ("none", "required"):
        return choice if choice in behaviour.tools.tool_choice else "auto"
    if choice != "auto":
        raise RefusedError(behaviour.errors.value, field="tool_choice", value=choice)
    return "auto"


def _messages(
    body: dict[str, Any], behaviour: ServerBehaviour, images: dict[str, bytes], *, thinking: bool
) -> tuple[Seen, ...]:
    rules, errors = behaviour.history, behaviour.errors
    seen: list[Seen] = []
    for index, message in enumerate(body["messages"]):
        role = message.get("role")
        if role == "developer" and rules.developer == "system":
            role = "system"
        if role not in ("system", "user", "assistant", "tool"):
            raise RefusedError(errors.messages, message="Unexpected message role.")
        if role == "system" and index and rules.single_system:
            raise RefusedError(errors.messages, message="System message must be at the beginning.")
        text = _text(message, role, behaviour, images)
        if role == "assistant":
            seen.append(_assistant(index, message, text, behaviour, thinking=thinking))
        else:
            seen.append(Seen(index, role, text))
    if rules.needs_user and not any(message.role == "user" for message in seen):
        raise RefusedError(errors.messages, message="No user query found in messages.")
    return tuple(seen)


def _text(message: dict[str, Any], role: str, behaviour: ServerBehaviour, images: dict[str, bytes]) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return str(content) if content is not None else ""
    parts = cast("list[dict[str, Any]]", content)
    texts = [_image(part, role, behaviour, images) if part.get("type") != "text" else part["text"] for part in parts]
    if behaviour.images.needs_text and parts and all(part.get("type") != "text" for part in parts):
        raise RefusedError(behaviour.errors.image_alone)
    return "".join(texts)


def _image(part: dict[str, Any], role: str, behaviour: ServerBehaviour, images: dict[str, bytes]) -> str:
    url = at(part, "image_url.url")
    rules = behaviour.images
    taken = rules.user if role == "user" else role == "tool" and (rules.tool or rules.unseen_in_tool)
    if part.get("type") != "image_url" or not isinstance(url, str) or not rules.vision or not taken:
        raise RefusedError(behaviour.errors.image, kind=part.get("type"), role=role)
    if role == "tool" and not rules.tool:
        return ""
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    try:
        images[digest] = base64.b64decode(url.partition("base64,")[2])
    except binascii.Error:
        images[digest] = b""
    return _IMAGE.format(digest)


def _assistant(index: int, message: dict[str, Any], text: str, behaviour: ServerBehaviour, *, thinking: bool) -> Seen:
    calls = cast("list[dict[str, Any]]", message.get("tool_calls") or [])
    if calls and thinking:
        _refuse_forgotten(index, message, calls, behaviour)
    reasoning = _reasoning(message, calls, behaviour)
    if reasoning is None and behaviour.reasoning.reads_inline and "</think>" in text:
        before, _, text = text.rpartition("</think>")
        reasoning = before.split("</think>")[0].rpartition("<think>")[2]
    return Seen(index, "assistant", text, reasoning or "", tuple(_call(call, behaviour) for call in calls))


def _refuse_forgotten(
    index: int, message: dict[str, Any], calls: list[dict[str, Any]], behaviour: ServerBehaviour
) -> None:
    given, errors = message.get("reasoning_content"), behaviour.errors
    need = behaviour.history.calls_need_reasoning
    if (need == "present" and given is None) or (need == "not_empty" and not given):
        raise RefusedError(errors.reasoning, index=index)
    # One signature stands for a step: parallel calls carry it on the first alone.
    if behaviour.history.calls_need_signature and not _signature(calls[0]):
        raise RefusedError(errors.signature, index=index, name=at(calls[0], "function.name"))


def _reasoning(message: dict[str, Any], calls: list[dict[str, Any]], behaviour: ServerBehaviour) -> str | None:
    for name in behaviour.reasoning.read_from:
        if name == "signature":
            value = _unsealed(_signature(calls[0])) if calls else None
        elif name == "reasoning_details":
            value = _from_details(message.get(name))
        else:
            value = message.get(name)
        if isinstance(value, str) and (value or not behaviour.reasoning.empty_is_absent):
            return value
    return None


def _from_details(details: Any) -> str | None:
    if not isinstance(details, list) or not details:
        return None
    return "".join(str(detail.get("text") or "") for detail in cast("list[dict[str, Any]]", details))


def _signature(call: dict[str, Any]) -> str:
    signature = at(call, "extra_content.google.thought_signature")
    return signature if isinstance(signature, str) else ""


def _unsealed(signature: str) -> str | None:
    try:
        sealed = base64.b64decode(signature, validate=True)
    except binascii.Error:
        return None
    return sealed.removeprefix(b"sealed:").decode() if sealed.startswith(b"sealed:") else None


def _call(call: dict[str, Any], behaviour: ServerBehaviour) -> SeenCall:
    function = call["function"]
    arguments: Any = function.get("arguments")
    problem = "arguments are no object"
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError as error:
        values, problem = None, str(error)
    if not isinstance(values, dict):
        if behaviour.history.bad_arguments == "refused":
            raise RefusedError(behaviour.errors.arguments, message=problem)
        values = {}
    return SeenCall(str(function["name"]), parameters_of(cast("dict[str, Any]", values)))
