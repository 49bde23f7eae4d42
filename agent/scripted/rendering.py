"""Prompts: the messages of a request rendered as a model would see them, and counted in tokens.

The rules are those of Qwen3.6's chat template, for they are what a client has to live with: thinking is rendered
after the last real user message only, unless `preserve_thinking` is true; system messages other than the first,
a conversation without a user message, and arguments that are no JSON object are refused. A turn renders the same
wherever it stands, so turns are rendered and counted once and then remembered.

Token counts approximate a byte-pair encoding; they are exact for comparisons (what is equal counts equal).
"""

import json
import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, StrictUndefined

from agent.scripted.prefix_cache import TOKEN_BYTES, Tokens
from agent.scripted.script import Reply
from agent.scripted.wire import ChatRequest, Message, RequestError

_REMEMBERED_TURNS = 8192

# Control tokens come first, and no other alternative may run over the `<` that begins one.
_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|endoftext)\|>|</?(?:think|tool_call|tool_response)>"
    r"| ?[^\W\d_]{1,5}|\d|\n| ?(?:[^\w\s<]|_)(?:[^\w\s<]|_){0,2}|<|[^\S\n]+"
)
_WRAPPED_TOOL_RESPONSE = re.compile(r"<tool_response>.*</tool_response>", re.DOTALL)


class Call(NamedTuple):
    """A tool call in a turn, its arguments still a string."""

    name: str
    arguments: str


class Turn(NamedTuple):
    """What the template renders: one message, and all that its rendering depends on."""

    kind: Literal["system", "user", "assistant", "tool", "opening"]
    text: str = ""
    tools: tuple[str, ...] = ()
    reasoning: str | None = None
    calls: tuple[Call, ...] = ()
    opens: bool = True
    """For a tool message: the first of its group, the last of its group."""
    closes: bool = True


@dataclass(frozen=True)
class Prompt:
    """A rendered request, in tokens."""

    tokens: Tokens
    thinking: bool
    """Whether the model is to think before it answers."""

    @property
    def count(self) -> int:
        """The number of tokens."""
        return len(self.tokens) // TOKEN_BYTES


@dataclass(frozen=True)
class Generation:
    """What a model would have generated to say a reply."""

    tokens: Tokens
    reasoning_count: int
    """How many of them are thinking."""

    @property
    def count(self) -> int:
        """The number of tokens."""
        return len(self.tokens) // TOKEN_BYTES


class Renderer:
    """Renders and counts. Remembers the turns that it has seen, within bounds."""

    def __init__(self) -> None:
        environment = Environment(undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False)  # noqa: S701 - prompts are no HTML
        source = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
        self._template = environment.from_string(source, globals={"parameters_of": _parameters})
        self._tokens_of = lru_cache(_REMEMBERED_TURNS)(self._tokenize)

    def prompt(self, request: ChatRequest) -> Prompt:
        """The prompt of `request`. Raises RequestError where the template would refuse."""
        thinking = request.chat_template_kwargs.enable_thinking
        tokens = b"".join(map(self._tokens_of, [*turns(request), _opening(thinking)]))
        return Prompt(tokens, thinking)

    def generation(self, reply: Reply, prompt: Prompt) -> Generation:
        """`reply` as generated after `prompt`, in the form in which the template renders it back."""
        reasoning = reply.reasoning.strip() if prompt.thinking else ""
        calls = tuple(Call(call.name, _readable(call.arguments_json)) for call in reply.tool_calls)
        turn = Turn("assistant", reply.content.strip(), reasoning=reasoning, calls=calls)
        # The turn begins with the opening, which is the prompt's, and ends with a newline, which is the template's.
        begin = len(self._tokens_of(_opening(prompt.thinking)))
        tokens = self._tokens_of(turn)[begin:-TOKEN_BYTES]
        return Generation(tokens, reasoning_count=len(tokenize(reasoning)) // TOKEN_BYTES)

    def text(self, request: ChatRequest) -> str:
        """The prompt of `request` as text, for a person."""
        opening = _opening(request.chat_template_kwargs.enable_thinking)
        return "".join(self._render(turn) for turn in [*turns(request), opening])

    def _tokenize(self, turn: Turn) -> Tokens:
        return tokenize(self._render(turn))

    def _render(self, turn: Turn) -> str:
        return self._template.render(turn=turn)


def tokenize(text: str) -> Tokens:
    """`text` as tokens: control tokens, digits, and short pieces of words, punctuation and space.

    A token is a 64-bit hash of its text, which is the same within one process only.
    """
    return array("q", map(hash, _TOKEN.findall(text))).tobytes()


def turns(request: ChatRequest) -> list[Turn]:
    """The turns of `request`, the opening left out. Raises RequestError where the template would refuse."""
    messages = request.messages
    last_question = _last_question(messages)
    tools = tuple(json.dumps(tool, ensure_ascii=False) for tool in request.tools or [])
    begins_with_system = messages[0].role == "system"
    result = [Turn("system", tools=tools)] if tools and not begins_with_system else []
    keeps_all = request.chat_template_kwargs.preserve_thinking
    roles = [None, *(message.role for message in messages), None]
    for index, message in enumerate(messages):
        _refuse_unreadable(index, message)
        match message.role:
            case "system":
                result.append(Turn("system", message.text.strip(), tools=tools))
            case "user":
                result.append(Turn("user", message.text.strip()))
            case "tool":
                opens, closes = roles[index] != "tool", roles[index + 2] != "tool"
                result.append(Turn("tool", message.text.strip(), opens=opens, closes=closes))
            case _:
                result.append(_assistant_turn(message, keeps_thinking=keeps_all or index > last_question))
    return result


def _refuse_unreadable(index: int, message: Message) -> None:
    where = f"messages[{index}]"
    if message.role not in ("system", "user", "assistant", "tool"):
        problem = f"{where}: unexpected message role {message.role!r}."
        raise RequestError(problem)
    if message.role == "system" and index > 0:
        problem = f"{where}: the system message must be at the beginning, and there can be one only."
        raise RequestError(problem)
    if isinstance(message.content, list):
        for part in message.content:
            if part.type != "text":
                problem = f"{where}: a scripted backend reads text only, not {part.type!r}."
                raise RequestError(problem)
    for number, call in enumerate(message.tool_calls or []):
        try:
            _parameters(Call(call.function.name, call.function.arguments))
        except (ValueError, RecursionError) as error:
            problem = (
                f"{where}.tool_calls[{number}].function.arguments: "
                f"cannot be parsed as a JSON object ({error}): {call.function.arguments[:200]!r}."
            )
            raise RequestError(problem) from error


def _last_question(messages: list[Message]) -> int:
    """The index of the last user message that is a person's: not one wrapped as the answer of a tool."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user" and not _WRAPPED_TOOL_RESPONSE.fullmatch(messages[index].text.strip()):
            return index
    raise RequestError("No user query found in the messages: there has to be at least one message of role user.")


def _assistant_turn(message: Message, *, keeps_thinking: bool) -> Turn:
    reasoning = message.reasoning_content if message.reasoning_content is not None else message.reasoning
    content = message.text
    if reasoning is None:
        before, closed, after = content.rpartition("</think>")
        reasoning = before.split("</think>")[0].rpartition("<think>")[2] if closed else ""
        content = after
    return Turn(
        "assistant",
        content.strip(),
        reasoning=reasoning.strip() if keeps_thinking else None,
        calls=tuple(Call(call.function.name, call.function.arguments) for call in message.tool_calls or []),
    )


def _opening(thinking: bool) -> Turn:
    return Turn("opening", reasoning=None if thinking else "")


def _parameters(call: Call) -> tuple[tuple[str, str], ...]:
    """The parameters of a call as the template writes them: strings raw, all else as JSON."""
    values: dict[str, Any] = json.loads(call.arguments)
    if type(values) is not dict:
        raise ValueError("it is no object")
    return tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in values.items()
    )


def _readable(arguments: str) -> str:
    """`arguments`, or something to count in place of what cannot be rendered."""
    try:
        _parameters(Call("", arguments))
    except (ValueError, RecursionError):
        return json.dumps({"arguments": arguments}, ensure_ascii=False)
    return arguments
