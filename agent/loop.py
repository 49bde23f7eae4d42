"""The loop: ask the model, run what it calls, append what came of it; until it calls nothing, or a limit is reached.

The conversation is append-only (see `agent.conversation`). No message of role `user` follows the first one, since
most templates then drop all earlier thinking: failures and refusals reach the model as results of its own calls.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from agent.approval import Approval, Decision
from agent.backend import Backend, BackendError, ContextExhaustedError
from agent.conversation import Conversation, sendable
from agent.limits import Budget
from agent.listener import Listener
from agent.request import request_head
from agent.turn import AssistantTurn, SentCall, sent_turn
from results.records.events import (
    MessageEvent,
    RequestEvent,
    ResponseEvent,
    RetryEvent,
    StartEvent,
    ToolResultEvent,
)
from results.records.outcome import ErrorSource, Exit, Outcome, TimeSplit
from tools.output import header, neutralise
from tools.sandbox import Sandbox, SandboxError
from tools.tool import ToolResult, definition, explain_invalid_arguments
from tools.toolset import Toolset

_ECHO_LENGTH = 200


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
            self.budget.usage += failure.usage
            ending = _backend_failure(failure)
        except SandboxError as failure:
            self.failure = failure
            ending = _Ending("error", str(failure), "sandbox")
        return Outcome(
            exit=ending.exit,
            error=ending.error,
            detail=ending.detail,
            steps=self.budget.steps,
            usage=self.budget.usage,
            cost=self.budget.cost,
            time=self._time_split(time.monotonic() - started),
        )

    async def _work(self, instructions: Instructions) -> None:
        conversation = self._open(instructions)
        while True:
            self._check_budget()
            turn, seconds = await self._ask(conversation)
            await self._answer(conversation, turn, seconds)

    def _check_budget(self) -> None:
        if exceeded := self.budget.exceeded():
            raise _TaskOver(_Ending(*exceeded))
        if self.budget.is_blind:
            url = self.backend.description.base_url
            message = f"the backend at {url} reports no token counts, so the limit on tokens or cost cannot be kept"
            raise BackendError(message)

    def _open(self, instructions: Instructions) -> Conversation:
        description = self.backend.description
        tools = [definition(tool) for tool in self.toolset]
        self.listener.event(
            StartEvent(
                time=time.time(),
                agent="default",
                backend=description,
                toolset=self.toolset_name,
                tools=tools,
                directory=self.sandbox.working_directory,
                sandbox=self.sandbox_name,
            )
        )
        conversation = Conversation(request_head(description), tools)
        for role, text in (("system", instructions.system), ("user", instructions.task)):
            self._append(conversation, {"role": role, "content": sendable(text)})
        return conversation

    def _append(self, conversation: Conversation, message: dict[str, Any]) -> None:
        conversation.append(message)
        self.listener.event(MessageEvent(time=time.time(), sent=message))

    async def _ask(self, conversation: Conversation) -> tuple[AssistantTurn, float]:
        """The next turn, and the seconds that it took with every request that failed before it."""
        self.listener.event(
            RequestEvent(
                time=time.time(),
                step=self.budget.steps + 1,
                messages=len(conversation),
                bytes=conversation.request_bytes,
                sha256=conversation.request_sha256(),
            )
        )
        started = time.monotonic()
        try:
            turn = await self.backend.complete(conversation, self.listener.delta, self._tell_retry)
        finally:
            seconds = time.monotonic() - started
            self._model_seconds += seconds
        self.budget.steps += 1
        self.budget.usage += turn.usage
        return turn, seconds

    def _tell_retry(self, reason: str, wait: float) -> None:
        event = RetryEvent(time=time.time(), step=self.budget.steps + 1, reason=reason, wait_seconds=wait)
        self.listener.event(event)

    async def _answer(self, conversation: Conversation, turn: AssistantTurn, seconds: float) -> None:
        sent = sent_turn(turn, self.budget.steps, self.backend.dialect)
        conversation.append(sent.message)
        self.listener.event(
            ResponseEvent(
                time=time.time(),
                step=self.budget.steps,
                received=turn.received(),
                sent=sent.message if sent.differences else None,
                differences=list(sent.differences),
                usage=turn.usage,
                seconds=seconds,
                first_token_seconds=turn.first_token_seconds,
                requests=turn.requests,
            )
        )
        if not sent.calls:
            raise _TaskOver(_ending_without_calls(turn, self.backend.description.context_window))
        for call in sent.calls:
            await self._run_call(conversation, call, cut=turn.is_cut and call is sent.calls[-1])

    async def _run_call(self, conversation: Conversation, call: SentCall, *, cut: bool) -> None:
        started = time.monotonic()
        decision = Decision(allowed=True)
        try:
            if cut:
                result = _refusal(_explain_cut(call))
            else:
                result, decision = await self._perform(call)
        finally:
            seconds = time.monotonic() - started
            self._tool_seconds += seconds
        message = {"role": "tool", "tool_call_id": call.id, "content": sendable(result.text)}
        conversation.append(message)
        self.listener.event(
            ToolResultEvent(
                time=time.time(),
                step=self.budget.steps,
                name=call.written.name,
                sent=message,
                exit_code=result.exit_code,
                is_error=result.is_error,
                denied=not decision.allowed,
                seconds=seconds,
            )
        )
        if decision.final:
            raise _TaskOver(_Ending("refused", f"a call of {call.written.name} was denied: {decision.reason}"))

    async def _perform(self, call: SentCall) -> tuple[ToolResult, Decision]:
        allowed = Decision(allowed=True)
        name, written = call.written.name, call.written.arguments
        tool = next((tool for tool in self.toolset if tool.name == name), None)
        if tool is None:
            names = ", ".join(tool.name for tool in self.toolset)
            return _refusal(f"There is no tool {name[:_ECHO_LENGTH]!r}. The tools are: {names}."), allowed
        if call.problem is not None:
            return _refusal(_explain_unreadable(written, call.problem)), allowed
        try:
            arguments = tool.parameters.model_validate(call.arguments)
        except ValidationError as error:
            return _refusal(explain_invalid_arguments(tool, error)), allowed
        decision = await self.approval.decide(name, written, tool.access(arguments))
        if not decision.allowed:
            return _refusal(decision.reason), decision
        try:
            return await tool(arguments, self.sandbox, self.listener.output), decision
        except SandboxError:
            raise
        except Exception as failure:  # the boundary of a tool: a mistake in one ends its task, and no other
            self.failure = failure
            raise _TaskOver(_Ending("error", f"the tool {name} failed: {failure!r}", "harness")) from failure

    def _time_split(self, total: float) -> TimeSplit:
        harness = max(0.0, total - self._model_seconds - self._tool_seconds)
        return TimeSplit(model=self._model_seconds, tools=self._tool_seconds, harness=harness)


def _refusal(sentence: str) -> ToolResult:
    return ToolResult(f"{header(None, 0)}\n{neutralise(sentence)}", is_error=True)


def _explain_cut(call: SentCall) -> str:
    sentence = "The call was cut off by the output limit and was not run. Make it shorter."
    return sentence if call.problem is None else f"{sentence} {_quote(call.written.arguments)}"


def _explain_unreadable(written: str, problem: str) -> str:
    return f"The arguments are no JSON object ({problem}), so the call was not run. {_quote(written)}"


def _quote(arguments: str) -> str:
    if len(arguments) <= _ECHO_LENGTH:
        return f"Its arguments were: {arguments}"
    return f"Its arguments began: {arguments[:_ECHO_LENGTH]}"


def _ending_without_calls(turn: AssistantTurn, context_window: int | None) -> _Ending:
    if turn.is_cut and context_window is not None and turn.usage.total_tokens >= context_window:
        return _Ending("limit:context", f"the model's turn filled its context of {context_window} tokens")
    if turn.is_cut:
        return _Ending("limit:tokens", "the output limit cut the model's turn off before it called a tool or finished")
    if not (turn.content or "").strip():
        return _Ending("finished", "the model ended its work with an empty message")
    return _Ending("finished")


def _backend_failure(failure: BackendError) -> _Ending:
    if isinstance(failure, ContextExhaustedError):
        return _Ending("limit:context", str(failure))
    return _Ending("error", str(failure), "backend")
