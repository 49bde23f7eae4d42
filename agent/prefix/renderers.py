"""Shows the prompt that a chat template makes of a request: here, from a `chat_template.jinja` on this machine.

`agent.prefix.servers` asks a server instead, which is surer: it shows what the server does before its template, too.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = Mapping[str, Any]

REASONING_NAMES = ("reasoning_content", "reasoning")
"""Every name under which servers read earlier thinking."""


class RendererError(Exception):
    """A prompt cannot be shown; the message says why, for what, and what to do."""


class Renderer(Protocol):
    """Shows prompts."""

    @property
    def name(self) -> str:
        """What it shows them with, for a person: a file, or the address of a server."""
        ...

    async def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        template_flags: Mapping[str, Any],
        *,
        open_turn: bool,
    ) -> str:
        """The prompt, with the beginning of the model's next turn behind it if `open_turn`. Raises RendererError."""
        ...


class LocalTemplate:
    """A chat template in a file, rendered as Transformers renders it (`apply_chat_template`).

    Before that it does what servers do: arguments are read into objects, and thinking becomes `reasoning_content`,
    whichever of `reasoning_names` it was sent under (the first that is there wins; the others are not seen).
    """

    def __init__(self, path: Path, reasoning_names: Sequence[str] = REASONING_NAMES) -> None:
        """Raises RendererError for a file that is no template."""
        self._path = path
        self._reasoning_names = tuple(reasoning_names)
        try:
            self._template = _environment().from_string(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            message = f"the template {path} cannot be read: {error}"
            raise RendererError(message) from error
        except TemplateError as error:
            message = f"{path} is no chat template: {error}; it has to be the model's chat_template.jinja"
            raise RendererError(message) from error

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    async def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        template_flags: Mapping[str, Any],
        *,
        open_turn: bool,
    ) -> str:
        """The prompt. Raises RendererError where the template refuses the messages, or arguments cannot be read."""
        seen = [_as_seen(index, message, self._reasoning_names) for index, message in enumerate(messages)]
        variables = {**template_flags, "messages": seen, "tools": list(tools) or None}
        try:
            return self._template.render(**variables, add_generation_prompt=open_turn)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            message = f"the template {self._path} refuses the {len(seen)} messages: {error}"
            raise RendererError(message) from error


class _Generation(Extension):
    """`{% generation %}`, by which some templates mark what a model wrote; it changes nothing in what is rendered."""

    tags = {"generation"}  # noqa: RUF012 - so it is declared by jinja2

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Take the marks away."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse  # pyright: ignore[reportArgumentType]
    environment.globals["strftime_now"] = _now  # pyright: ignore[reportArgumentType]
    return environment


def _to_json(
    value: Any, indent: int | None = None, separators: tuple[str, str] | None = None, sort_keys: bool = False
) -> str:
    """JSON as a model was trained on it: jinja2's own filter would escape `<`, `>` and `&` for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _as_seen(index: int, message: Message, reasoning_names: Sequence[str]) -> dict[str, Any]:
    seen = {key: value for key, value in message.items() if key not in REASONING_NAMES}
    thinking = next((message[name] for name in reasoning_names if isinstance(message.get(name), str)), None)
    if thinking is not None:
        seen["reasoning_content"] = thinking
    if calls := message.get("tool_calls"):
        seen["tool_calls"] = [_with_object(f"messages[{index}].tool_calls[{n}]", call) for n, call in enumerate(calls)]
    return seen


def _with_object(where: str, call: Mapping[str, Any]) -> dict[str, Any]:
    function = cast("Mapping[str, Any]", call.get("function", {}))
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return dict(call)
    try:
        return {**call, "function": {**function, "arguments": json.loads(arguments)}}
    except (ValueError, RecursionError) as error:
        message = f"{where}: the arguments are no JSON, which servers refuse or drop: {arguments[:200]!r}"
        raise RendererError(message) from error
