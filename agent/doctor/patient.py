"""The backend under examination: sends small conversations to it, and remembers what came back."""

import asyncio
import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from agent.backend import Backend, BackendError, BackendUnreachableError, ContextExhaustedError
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.doctor.filler import mark
from agent.recovery import split_inline_thinking
from agent.request import merged, request_head
from agent.turn import AssistantTurn, SentTurn, sent_turn
from results.records.events import BackendDescription, Message

LONGEST_WAIT = 180.0
"""Seconds for one answer; ten times as much with `long`."""

SOMETHING_TO_THINK_OF = (
    "Think of two random numbers with twenty digits each, and check that they differ in every digit. Then tell me the "
    "first one only, and nothing else."
)
"""Leads to much thinking and to a short answer, so that thinking which a server keeps to itself shows in the counts."""

THINK_TAG = re.compile(r"</?think(ing)?>", re.IGNORECASE)

_MUCH_HIDDEN = 32
"""Output tokens beyond what is seen that cannot be the server's way of counting."""


@dataclass(frozen=True)
class Reply:
    """A turn, and how long it took in seconds from the request to its last byte."""

    turn: AssistantTurn
    seconds: float
    thinking: bool
    """Whether it was asked to think."""

    @property
    def prompt_tokens(self) -> int | None:
        """Those of its prompt; None where the server does not say."""
        return self.turn.answer_usage.prompt_tokens

    @property
    def text(self) -> str:
        """What is visible of it."""
        return self.turn.content or ""

    @property
    def everything(self) -> str:
        """Thinking and text."""
        return f"{self.turn.reasoning or ''}\n{self.text}"


@dataclass
class Patient:
    """A backend, and what has been seen of it so far."""

    backend: Backend
    long: bool = False
    """Take as long as it takes, and pay for it."""
    replies: list[Reply] = field(default_factory=list[Reply], init=False)
    figures: dict[str, float] = field(default_factory=dict[str, float], init=False)
    tokens_a_word: float = field(default=1.0, init=False)
    """Of `filler.words`, as measured; 1 before that."""
    answered: bool = field(default=False, init=False)
    """Whether there was an answer to anything, be it an error."""
    timeouts: int = field(default=0, init=False)
    overflows: list[str] = field(default_factory=list[str], init=False)
    """What was said of requests that were too long."""
    asked_to_think: bool = field(default=False, init=False)
    """Whether there was a request that leads to much thinking."""

    @property
    def description(self) -> BackendDescription:
        """What it is."""
        return self.backend.description

    @property
    def dialect(self) -> Dialect:
        """How it speaks."""
        return self.backend.dialect

    @property
    def thinking(self) -> bool:
        """Whether the product's own requests to it ask for thinking."""
        off = self.dialect.thinking.off
        return not off or not _holds(self.description.sampling, off)

    @property
    def hosted(self) -> bool:
        """Whether it is somebody's service, where tokens cost money."""
        host = urlsplit(self.description.base_url).hostname or ""
        if any(re.search(pattern, host, re.IGNORECASE) for pattern in self.dialect.detection.hosts):
            return True
        return urlsplit(self.description.base_url).scheme == "https" and not _is_private(host)

    @property
    def has_thought(self) -> bool:
        """Whether thinking has been seen in any reply that was asked for it."""
        return any(_shows_thinking(reply) for reply in self.replies if reply.thinking)

    @property
    def thinks_inline(self) -> bool:
        """Whether thinking has come within the content, and not in a field of its own."""
        turns = [reply.turn for reply in self.replies if reply.thinking]
        return any(split_inline_thinking(turn)[1] for turn in turns) and not any(turn.reasoning for turn in turns)

    @property
    def seals_thinking(self) -> bool:
        """Whether thinking came that nobody can read, to be sent back as it is."""
        return any(reply.turn.extras and not _shows_thinking(reply) for reply in self.replies if reply.thinking)

    @property
    def most_hidden(self) -> int:
        """The most output tokens of a reply that was asked to think and shows no thinking, beyond what is visible."""
        return max((hidden_tokens(reply) for reply in self.replies if reply.thinking), default=0)

    def head(self, *, thinking: bool | None, stream: bool, max_output: int) -> dict[str, Any]:
        """The head of a request, the product's own but for what is said here."""
        sampling = self._switched(self.thinking if thinking is None else thinking)
        for key in (self.dialect.output.key, "max_tokens", "max_completion_tokens"):
            sampling.pop(key, None)
        sampling[self.dialect.output.key] = max_output
        return request_head(self.description.model_copy(update={"sampling": sampling}), stream=stream)

    def conversation(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        thinking: bool | None = None,
        stream: bool = True,
        max_output: int = 2048,
    ) -> Conversation:
        """One that holds `messages`, and that no server has in its cache: tools and system message are marked."""
        window = self.description.context_window
        limit = max_output if window is None else max(1, min(max_output, window // 4))
        conversation = Conversation(self.head(thinking=thinking, stream=stream, max_output=limit), _marked(tools))
        conversation.append({"role": "system", "content": f"Examination {mark()}. Do exactly as you are asked."})
        for message in messages:
            conversation.append(message)
        return conversation

    async def ask(self, conversation: Conversation, *, thinking: bool | None = None) -> Reply:
        """Send it. Raises BackendError, also where no answer comes in time (BackendUnreachableError: the first one)."""
        limit = LONGEST_WAIT * (10 if self.long else 1)
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                turn = await self.backend.complete(conversation)
        except TimeoutError as error:
            self.timeouts += 1
            message = f"the backend at {self.description.base_url} did not answer within {limit:.0f} s"
            raise (BackendError if self.answered else BackendUnreachableError)(message) from error
        except BackendUnreachableError:
            raise
        except BackendError as error:
            self.answered = True
            if isinstance(error, ContextExhaustedError):
                self.overflows.append(str(error))
            raise
        self.answered = True
        reply = Reply(turn, time.monotonic() - started, self.thinking if thinking is None else thinking)
        self.replies.append(reply)
        return reply

    def sent(self, turn: AssistantTurn) -> SentTurn:
        """What goes back for a first turn, as the agent's loop sends it."""
        return sent_turn(split_inline_thinking(turn)[0], 1, self.dialect)

    def _switched(self, thinking: bool) -> dict[str, Any]:
        """The product's sampling with thinking turned on or off. How much it thinks stays as it is."""
        sampling, switches = self.description.sampling, self.dialect.thinking
        if thinking:
            return merged(switches.on, sampling if self.thinking else _without(sampling, switches.off))
        return merged(_without(sampling, switches.on), switches.off)


def hidden_tokens(reply: Reply) -> int:
    """Output tokens beyond those of what can be seen; 0 where thinking can be seen."""
    turn = reply.turn
    if turn.usage.output_tokens is None or _shows_thinking(reply):
        return 0
    if turn.usage.reasoning_tokens:
        return turn.usage.reasoning_tokens
    seen = reply.text + "".join(call.name + call.arguments for call in turn.tool_calls)
    # No token is shorter than a byte of text, and a call comes with about 30 tokens of markup.
    beyond = turn.usage.output_tokens - len(seen.encode("utf-8", "replace")) - 30 * len(turn.tool_calls)
    return beyond if beyond > _MUCH_HIDDEN else 0


def _marked(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """`tools` with a mark in the first one, since most templates put them before the system message."""
    marked = list(tools)
    for tool in marked[:1]:
        function = {**tool["function"], "description": f"{tool['function']['description']} ({mark()})"}
        marked[0] = {**tool, "function": function}
    return marked


def _holds(value: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether all that `part` says is said by `value`."""
    return all(
        _holds(cast("dict[str, Any]", value.get(key)), cast("dict[str, Any]", wanted))
        if isinstance(wanted, dict) and isinstance(value.get(key), dict)
        else value.get(key) == wanted
        for key, wanted in part.items()
    )


def _without(value: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """`value` without the keys of `part`, within objects as well."""
    left: dict[str, Any] = {}
    for key, inner in value.items():
        if key not in part:
            left[key] = inner
        elif isinstance(inner, dict) and isinstance(part[key], dict):
            left[key] = _without(cast("dict[str, Any]", inner), cast("dict[str, Any]", part[key]))
    return left


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".home.arpa"))
    return not address.is_global


def _shows_thinking(reply: Reply) -> bool:
    return bool((reply.turn.reasoning or "").strip() or THINK_TAG.search(reply.text))
