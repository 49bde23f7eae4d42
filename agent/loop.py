"""The loop: ask the model, run what it calls, append what came of it.

It ends when the model calls nothing, submits its work, or reaches a limit.

The conversation is append-only (see `agent.conversation`). No message of role `user` follows the first one, since
most templates then drop all earlier thinking: failures and refusals reach the model as results of its own calls.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.approval import Approval
from agent.backend import Backend, BackendError, ContextExhaustedError
from agent.calls import Answer, CallRunner, ToolFailedError
from agent.compaction import beginning, can_be_compacted, handover_request, new_segment
from agent.context import BYTES_PER_TOKEN, ContextWindow
from agent.conversation import Conversation, sendable
from agent.event_log import EventLog
from agent.limits import Budget
from agent.listener import Listener
from agent.pictures import PicturesRefusedError, following_message, places_for, result_content, user_content
from agent.recovery import is_empty, looks_cut, recover_calls, split_inline_thinking
from agent.repetition import RepeatGuard, ThinkingGuard, ThinkingLimits
from agent.request import request_head
from agent.turn import IN_CONTENT, AssistantTurn, SentCall, sent_turn
from results.records.outcome import ErrorSource, Exit, Outcome, TimeSplit
from results.records.usage import Usage
from tools.pictures import Picture
from tools.sandbox import Sandbox, SandboxError
from tools.tool import ToolResult
from tools.toolset import Toolset, definitions

EMPTY_TURNS = 2
"""How often a turn with neither text nor calls is asked for again: llama.cpp swallows a call that it cannot parse."""

CHARACTERS_PER_TOKEN = 4
"""Of thinking, about: a limit in tokens has to be kept while nobody has counted any yet."""

KEPT_SHARE = 0.25
"""How much of the room for a prompt the kept end of a compacted conversation may take."""

HANDOVER_SHARE = 0.7
"""How much of that room a conversation takes that was too long for its handover, and of which the end is left out."""


@dataclass(frozen=True)
class _Ending:
    exit: Exit
    detail: str = ""
    error: ErrorSource | None = None


class _TaskOver(Exception):  # noqa: N818 - an end is no error
    """Ends the loop; carries how."""

    def __init__(self, ending: _Ending) -> None:
        super().__init__(ending.detail)
        self.ending = ending


@dataclass(frozen=True)
class Instructions:
    """What the model is told: the system prompt and the first message."""

    system: str
    task: str
    pictures: tuple[Picture, ...] = ()


@dataclass
class Agent:
    """One agent at work on one task in one sandbox. Use it once."""

    backend: Backend
    toolset_name: str
    toolset: Toolset
    sandbox: Sandbox
    sandbox_name: str
    budget: Budget
    approval: Approval
    listener: Listener
    failure: Exception | None = field(default=None, init=False)
    """What made it end as an error, for who wants to know more than the outcome says."""
    _model_seconds: float = field(default=0.0, init=False)
    _tool_seconds: float = field(default=0.0, init=False)
    _segment: int = field(default=1, init=False)
    _messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], init=False)
    """Those of the current segment, as they were sent."""

    def __post_init__(self) -> None:
        description = self.backend.description
        self._max_output = description.sampling.get(self.backend.dialect.output.key)
        self._log = EventLog(self.listener)
        self._tools = definitions(self.toolset)
        self._calls = CallRunner(self.toolset, self.sandbox, self.approval, self.listener.output)
        self._repeats = RepeatGuard()
        longest = self.budget.limits.thinking_tokens
        self._thinking_limits = ThinkingLimits(longest=None if longest is None else longest * CHARACTERS_PER_TOKEN)
        self._places = places_for(self.backend)
        self._window = ContextWindow(description.context_window, self._max_output, self.backend.dialect.cache_block)

    async def run(self, instructions: Instructions) -> Outcome:
        """Work until the task is over, however it ends; never raises for what a model, a limit or a sandbox does."""
        started = time.monotonic()
        deadline = asyncio.timeout(self.budget.limits.seconds)
        try:
            async with deadline:
                await self._work(instructions)
            raise AssertionError("the loop only ends by an exception")
        except _TaskOver as over:
            ending = over.ending
        except TimeoutError:
            if not deadline.expired():
                raise
            ending = _Ending("limit:time", f"the limit of {self.budget.limits.seconds:g} seconds was reached")
        except asyncio.CancelledError:
            ending = _Ending("interrupted", "interrupted", "cancelled")
        except BackendError as failure:
            self.failure = failure
            ending = _backend_failure(failure)
        except (SandboxError, ToolFailedError, PicturesRefusedError) as failure:
            self.failure = failure
            ending = _Ending("error", str(failure), _fault_of(failure))
        return Outcome(
            exit=ending.exit,
            error=ending.error,
            detail=ending.detail,
            steps=self.budget.steps,
            usage=self.budget.usage,
            cost=self.budget.cost,
            time=self._time_split(time.monotonic() - started),
            counts=dict(self._log.counts),
        )

    async def _work(self, instructions: Instructions) -> None:
        conversation = self._open(instructions)
        task = self._messages[1]
        while True:
            self._check_budget()
            try:
                await self._check_room(conversation)
                turn, seconds = await self._next_turn(conversation)
            except ContextExhaustedError as full:
                if self.budget.limits.on_context != "compact":
                    raise
                conversation = await self._compact(conversation, task, full)
            else:
                await self._answer(conversation, turn, seconds)

    def _check_budget(self) -> None:
        if exceeded := self.budget.exceeded():
            raise _TaskOver(_Ending(*exceeded))
        if self.budget.is_blind:
            url = self.backend.description.base_url
            message = f"the backend at {url} reports no token counts, so the limit on tokens or cost cannot be kept"
            raise BackendError(message)

    # The conversation

    def _open(self, instructions: Instructions) -> Conversation:
        directory = self.sandbox.working_directory
        self._log.start(self.backend, self.toolset_name, self._tools, directory, self.sandbox_name)
        return self._begin([
            {"role": "system", "content": sendable(instructions.system)},
            {"role": "user", "content": user_content(instructions.task, instructions.pictures, self._places)},
        ])  # fmt: skip

    def _begin(self, messages: list[dict[str, Any]]) -> Conversation:
        """A conversation with these messages, each of them told."""
        conversation = Conversation(request_head(self.backend.description), self._tools)
        self._messages = []
        self._window.begin_segment()
        for message in messages:
            self._append(conversation, message)
            self._log.message(message)
        return conversation

    def _append(self, conversation: Conversation, message: dict[str, Any]) -> None:
        conversation.append(message)
        self._messages.append(message)
        self._window.see(message)

    # Room in the context

    async def _check_room(self, conversation: Conversation) -> None:
        """Raises ContextExhaustedError where the next prompt would leave no room for a response."""
        size = self._window.size(conversation)
        if self._window.is_close(size) and (counted := await self.backend.count(conversation)) is not None:
            size = replace(size, tokens=counted, how="counted")
        if not self._window.is_full(size):
            return
        about = "about " if size.how == "estimate" else ""
        reason = (
            f"the next prompt has {about}{size.tokens:,} tokens, which leaves no room for a response of "
            f"{self._window.reserved:,} in the context of {self._window.window:,}"
        )
        raise ContextExhaustedError(reason, prompt_tokens=size.tokens, context_window=self._window.window)

    async def _compact(
        self, conversation: Conversation, task: dict[str, Any], full: ContextExhaustedError
    ) -> Conversation:
        """End the segment with a handover by the model, and begin the next one with it."""
        if not can_be_compacted(self._messages):
            detail = f"{full}; and there is nothing that could be left behind"
            raise _TaskOver(_Ending("limit:context", detail))
        self._window.learn(full.context_window)
        handover, prompt_tokens = await self._handover(full)
        room = self._window.room
        most_bytes = KEPT_SHARE * (conversation.request_bytes if room is None else room * BYTES_PER_TOKEN)
        segment = new_segment(self._messages, task, handover, int(most_bytes))
        self._segment += 1
        self._log.segment(self._segment, segment, str(full), prompt_tokens)
        return self._begin(list(segment.messages))

    async def _handover(self, full: ContextExhaustedError) -> tuple[str, int | None]:
        """The model's handover and the length of the prompt that it was written for."""
        left = self._window.left_behind(full.prompt_tokens, handover_request())
        if left is not None:
            with contextlib.suppress(ContextExhaustedError):  # then the lengths are not what they were taken for
                return await self._written_handover(self._messages, left)
        room, size = self._window.room, full.prompt_tokens
        share = HANDOVER_SHARE * (room / size if room and size and size > room else 1.0)
        return await self._written_handover(beginning(self._messages, share), self._max_output)

    async def _written_handover(
        self, messages: Sequence[dict[str, Any]], max_output: int | None
    ) -> tuple[str, int | None]:
        """Ask for a handover behind these messages, again where none comes; ends the task without one."""
        head = request_head(self.backend.description)
        if self._max_output is not None:
            head[self.backend.dialect.output.key] = max_output
        asking = Conversation(head, self._tools)
        for message in [*messages, handover_request()]:
            asking.append(message)
        for _ in range(1 + EMPTY_TURNS):
            turn, seconds = await self._ask(asking, aside=handover_request())
            self.budget.count_failure(turn.usage, seconds)
            self._log.response(turn, seconds, sent=None)
            if turn.stopped:
                raise _TaskOver(_Ending("limit:thinking", turn.stopped))
            if text := (_recovered(turn, self._tools)[0].content or "").strip():
                return sendable(text), turn.answer_usage.prompt_tokens
            self._check_budget()
        raise _TaskOver(_Ending("limit:context", "the context is full, and the model wrote no handover"))

    # The model's turn

    async def _next_turn(self, conversation: Conversation) -> tuple[AssistantTurn, float]:
        """The next turn that says something. Only the last of several empty ones is returned."""
        tries_left = EMPTY_TURNS
        while True:
            turn, seconds = await self._ask(conversation)
            self.budget.count_response(turn.usage, seconds)
            self._log.step = self.budget.steps
            if turn.stopped or turn.is_cut or not is_empty(_recovered(turn, self._tools)[0]):
                return turn, seconds
            self._log.count(["empty_turn"])
            if not tries_left:
                return turn, seconds
            tries_left -= 1
            self._log.response(turn, seconds, sent=None)
            self._check_budget()

    async def _ask(
        self, conversation: Conversation, aside: dict[str, Any] | None = None
    ) -> tuple[AssistantTurn, float]:
        """One response, and the seconds that it took with every request that failed before it.

        Counts what a response that never came has used.
        """
        self._log.request(conversation, aside)
        used: list[Usage] = []
        guard = ThinkingGuard(self._thinking_limits)
        started = time.monotonic()
        try:
            turn = await self.backend.complete(conversation, self.listener.delta, self._log.retry, guard, used.append)
        except (BackendError, asyncio.CancelledError):
            self.budget.count_failure(sum(used, Usage()), time.monotonic() - started)
            raise
        finally:
            seconds = time.monotonic() - started
            self._model_seconds += seconds
        return turn, seconds

    async def _answer(self, conversation: Conversation, turn: AssistantTurn, seconds: float) -> None:
        """Append the turn, and the results of its calls; ends the task where there are none."""
        whole, causes = _recovered(turn, self._tools)
        cut = looks_cut(turn, self._max_output)
        sent = sent_turn(whole, self.budget.steps, self.backend.dialect)
        if whole.reasoning_field == IN_CONTENT and "inline_thinking" not in sent.differences:
            causes += () if sent.message["content"] == turn.content else ("inline_thinking_rewritten",)
        sent = replace(sent, differences=(*causes, *sent.differences))
        self._append(conversation, sent.message)
        self._log.response(turn, seconds, sent)
        self._judge_usage(conversation, turn)
        if turn.stopped:
            raise _TaskOver(_Ending("limit:thinking", turn.stopped))
        if not sent.calls:
            raise _TaskOver(_ending_without_calls(whole, self.backend.description.context_window, cut=cut))
        await self._run_calls(conversation, sent.calls, cut=cut)

    def _judge_usage(self, conversation: Conversation, turn: AssistantTurn) -> None:
        """Tell of what the server lost: a part of the prompt, or of its cache."""
        found = self._window.note(turn.answer_usage, conversation)
        if found is None:
            return
        self._log.notice(found.kind, found.text, found.tokens, once=True)
        if found.kind == "truncated" and self.backend.dialect.overflow.silent:
            raise _TaskOver(_Ending("limit:context", found.text))

    # Its calls

    async def _run_calls(self, conversation: Conversation, calls: tuple[SentCall, ...], *, cut: bool) -> None:
        results: list[str] = []
        pictures: list[Picture] = []
        submitted = False
        for call in calls:
            last = call is calls[-1]
            answer, seconds = await self._answered(call, cut=cut and last, submitted=submitted)
            result = answer.result
            submitted = submitted or result.submitted
            results.append(result.text)
            if last and not submitted:
                result = self._with_warning(result, calls, results)
            pictures += result.pictures
            content = result_content(result.text, result.pictures, self._places)
            message = {"role": "tool", "tool_call_id": call.id, "content": content}
            self._append(conversation, message)
            self._log.result(call.written.name, message, result, seconds, denied=not answer.decision.allowed)
            if answer.decision.final:
                reason = f"a call of {call.written.name} was denied: {answer.decision.reason}"
                raise _TaskOver(_Ending("refused", reason))
        if submitted:
            raise _TaskOver(_Ending("submitted"))
        if shown := following_message(pictures, self._places):
            self._append(conversation, shown)
            self._log.message(shown)
        if self._repeats.exceeded:
            raise _TaskOver(_Ending("limit:repeat", "the model repeats the same calls, with the same results"))

    async def _answered(self, call: SentCall, *, cut: bool, submitted: bool) -> tuple[Answer, float]:
        """The answer to one call, and the seconds that it took; behind a submission no call is run."""
        started = time.monotonic()
        try:
            answer = self._calls.not_run_after_submit() if submitted else await self._calls.run(call, cut=cut)
        finally:
            seconds = time.monotonic() - started
            self._tool_seconds += seconds
        return answer, seconds

    def _with_warning(self, result: ToolResult, calls: tuple[SentCall, ...], results: list[str]) -> ToolResult:
        """The last result of a step, with a word on it where the model goes round in circles."""
        self._repeats.add([(call.written.name, call.written.arguments) for call in calls], results)
        warning = self._repeats.warning()
        if warning is None:
            return result
        self._log.notice("repetition", warning)
        return replace(result, text=f"{result.text}\n\n{warning}")

    def _time_split(self, total: float) -> TimeSplit:
        harness = max(0.0, total - self._model_seconds - self._tool_seconds)
        return TimeSplit(model=self._model_seconds, tools=self._tool_seconds, harness=harness)


def _recovered(turn: AssistantTurn, tools: list[dict[str, Any]]) -> tuple[AssistantTurn, tuple[str, ...]]:
    """The turn as it was meant: thinking and calls where they belong, and a cause for each thing that was mended."""
    whole, _ = split_inline_thinking(turn)
    recovery = recover_calls(whole, tools)
    return recovery.turn, recovery.causes


def _ending_without_calls(turn: AssistantTurn, context_window: int | None, *, cut: bool) -> _Ending:
    if cut and context_window is not None and turn.answer_usage.total_tokens >= context_window:
        return _Ending("limit:context", f"the model's turn filled its context of {context_window} tokens")
    if cut:
        return _Ending("limit:tokens", "the output limit cut the model's turn off before it called a tool or finished")
    if not (turn.content or "").strip():
        return _Ending("finished", "the model ended its work with an empty message")
    return _Ending("finished")


def _fault_of(failure: Exception) -> ErrorSource:
    match failure:
        case SandboxError():
            return "sandbox"
        case PicturesRefusedError():
            return "backend"
        case _:
            return "harness"


def _backend_failure(failure: BackendError) -> _Ending:
    if isinstance(failure, ContextExhaustedError):
        return _Ending("limit:context", str(failure))
    return _Ending("error", str(failure), "backend")
