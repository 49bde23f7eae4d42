"""The talk with a model, as every agent has it: what is sent and asked for, what that may cost, and what is told of it.

The conversation is append-only (see `agent.conversation`). What the model's answers mean, calls of tools or keys for
a terminal, is for the agent to know.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.backend import Backend, BackendError, ContextExhaustedError
from agent.context import ContextWindow
from agent.conversation import Conversation
from agent.endings import Ending, TaskOver
from agent.event_log import EventLog
from agent.limits import Budget
from agent.listener import Listener
from agent.recovery import looks_cut, recover_calls, split_inline_thinking
from agent.repetition import ThinkingGuard, ThinkingLimits
from agent.request import request_head
from agent.turn import IN_CONTENT, AssistantTurn, SentTurn, sent_turn
from results.records.outcome import Outcome, TimeSplit
from results.records.usage import Usage

CHARACTERS_PER_TOKEN = 4
"""Of thinking, about: a limit in tokens has to be kept while nobody has counted any yet."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Response:
    """A turn of the model, and the seconds that it took with every request that failed before it."""

    turn: AssistantTurn
    seconds: float


@dataclass(frozen=True)
class AcceptedTurn:
    """A turn that is part of the conversation."""

    whole: AssistantTurn
    """As it was meant: thinking and calls where they belong."""
    sent: SentTurn
    """As it goes back with every later request."""
    cut: bool
    """Whether the output limit broke it off."""


@dataclass
class Dialogue:
    """One agent's talk with one model, segment after segment. `tools`: the definitions that the model sees."""

    backend: Backend
    budget: Budget
    listener: Listener
    tools: list[dict[str, Any]]
    conversation: Conversation = field(init=False)
    messages: list[Message] = field(default_factory=list[Message], init=False)
    """Those of the current segment, as they were sent."""
    model_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        description = self.backend.description
        self.max_output = description.sampling.get(self.backend.dialect.output.key)
        self.log = EventLog(self.listener)
        self.window = ContextWindow(description.context_window, self.max_output, self.backend.dialect.cache_block)
        longest = self.budget.limits.thinking_tokens
        self._thinking_limits = ThinkingLimits(longest=None if longest is None else longest * CHARACTERS_PER_TOKEN)
        self.conversation = Conversation(request_head(description), self.tools)

    def begin(self, messages: Sequence[Message]) -> None:
        """Begin a segment with these messages, each of them told."""
        self.conversation = Conversation(request_head(self.backend.description), self.tools)
        self.messages = []
        self.window.begin_segment()
        for message in messages:
            self.say(message)

    def say(self, message: Message) -> None:
        """Append a message that is neither a turn nor a result, and tell of it."""
        self.append(message)
        self.log.message(message)

    def append(self, message: Message) -> None:
        """Append a message of which something else tells."""
        self.conversation.append(message)
        self.messages.append(message)
        self.window.see(message)

    def check_budget(self) -> None:
        """Raise TaskOver where another step is not allowed, BackendError where a limit could never fire."""
        if exceeded := self.budget.exceeded():
            raise TaskOver(Ending(*exceeded))
        if self.budget.is_blind:
            url = self.backend.description.base_url
            message = f"the backend at {url} reports no token counts, so the limit on tokens or cost cannot be kept"
            raise BackendError(message)

    async def check_room(self) -> None:
        """Raise ContextExhaustedError where the next prompt would leave no room for a response."""
        size = self.window.size(self.conversation)
        if self.window.is_close(size) and (counted := await self.backend.count(self.conversation)) is not None:
            size = replace(size, tokens=counted, how="counted")
        if not self.window.is_full(size):
            return
        about = "about " if size.how == "estimate" else ""
        reason = (
            f"the next prompt has {about}{size.tokens:,} tokens, which leaves no room for a response of "
            f"{self.window.reserved:,} in the context of {self.window.window:,}"
        )
        raise ContextExhaustedError(reason, prompt_tokens=size.tokens, context_window=self.window.window)

    async def step(self) -> Response:
        """Ask for the next turn, and count it as a step."""
        response = await self.ask(self.conversation)
        self.budget.count_response(response.turn.usage, response.seconds)
        self.log.step = self.budget.steps
        return response

    async def ask(self, conversation: Conversation, aside: Message | None = None) -> Response:
        """Ask for one response to any conversation; `aside` is its last message where it is sent just this once.

        Counts what a response that never came has used.
        """
        self.log.request(conversation, aside)
        used: list[Usage] = []
        guard = ThinkingGuard(self._thinking_limits)
        started = time.monotonic()
        try:
            turn = await self.backend.complete(conversation, self.listener.delta, self.log.retry, guard, used.append)
        except (BackendError, asyncio.CancelledError):
            self.budget.count_failure(sum(used, Usage()), time.monotonic() - started)
            raise
        finally:
            seconds = time.monotonic() - started
            self.model_seconds += seconds
        return Response(turn, seconds)

    def recovered(self, turn: AssistantTurn) -> tuple[AssistantTurn, tuple[str, ...]]:
        """The turn as it was meant, and a cause for each thing that was mended."""
        whole, _ = split_inline_thinking(turn)
        recovery = recover_calls(whole, self.tools)
        return recovery.turn, recovery.causes

    def accept(self, response: Response) -> AcceptedTurn:
        """Make a turn part of the conversation. Raises TaskOver for one that was stopped, and for a lost prompt.

        Where there are no tools, calls are left out of what goes back: nothing could answer them, and servers refuse
        a call without its result.
        """
        turn = response.turn
        whole, causes = self.recovered(turn)
        if whole.tool_calls and not self.tools:
            whole, causes = replace(whole, tool_calls=()), (*causes, "calls_without_tools")
        cut = looks_cut(turn, self.max_output)
        sent = sent_turn(whole, self.budget.steps, self.backend.dialect)
        if whole.reasoning_field == IN_CONTENT and "inline_thinking" not in sent.differences:
            causes += () if sent.message["content"] == turn.content else ("inline_thinking_rewritten",)
        sent = replace(sent, differences=(*causes, *sent.differences))
        self.append(sent.message)
        self.log.response(turn, response.seconds, sent)
        self._judge_usage(turn)
        if turn.stopped:
            raise TaskOver(Ending("limit:thinking", turn.stopped))
        return AcceptedTurn(whole, sent, cut)

    def _judge_usage(self, turn: AssistantTurn) -> None:
        """Tell of what the server lost: a part of the prompt, or of its cache."""
        found = self.window.note(turn.answer_usage, self.conversation)
        if found is None:
            return
        self.log.notice(found.kind, found.text, found.tokens, once=True)
        if found.kind == "truncated" and self.backend.dialect.overflow.silent:
            raise TaskOver(Ending("limit:context", found.text))

    def outcome(self, ending: Ending, *, seconds: float, tool_seconds: float) -> Outcome:
        """What the work came to, in `seconds` altogether."""
        harness = max(0.0, seconds - self.model_seconds - tool_seconds)
        return Outcome(
            exit=ending.exit,
            error=ending.error,
            detail=ending.detail,
            steps=self.budget.steps,
            usage=self.budget.usage,
            cost=self.budget.cost,
            time=TimeSplit(model=self.model_seconds, tools=tool_seconds, harness=harness),
            counts=dict(self.log.counts),
        )
