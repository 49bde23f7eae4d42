"""The loop: ask the model, run what it calls, append what came of it.

It ends when the model calls nothing, submits its work, or reaches a limit.

No message of role `user` follows the first one, since most templates then drop all earlier thinking: failures and
refusals reach the model as results of its own calls.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Never

from agent.approval import Approval
from agent.backend import Backend, ContextExhaustedError
from agent.calls import Answer, CallRunner
from agent.compaction import beginning, can_be_compacted, handover_request, new_segment
from agent.context import BYTES_PER_TOKEN
from agent.conversation import Conversation, sendable
from agent.dialogue import Dialogue, Message, Response
from agent.earlier import Earlier, earlier_messages
from agent.endings import Ending, TaskOver, ending_of
from agent.limits import Budget
from agent.listener import Listener
from agent.pictures import following_message, places_for, result_content, user_content
from agent.recovery import is_empty
from agent.repetition import RepeatGuard
from agent.request import request_head
from agent.turn import AssistantTurn, SentCall
from results.records.outcome import Outcome
from tools.pictures import Picture
from tools.sandbox import Sandbox
from tools.tool import ToolResult
from tools.toolset import Toolset, definitions

EMPTY_TURNS = 2
"""How often a turn with neither text nor calls is asked for again: llama.cpp swallows a call that it cannot parse."""

KEPT_SHARE = 0.25
"""How much of the room for a prompt the kept end of a compacted conversation may take."""

HANDOVER_SHARE = 0.7
"""How much of that room a conversation takes that was too long for its handover, and of which the end is left out."""


@dataclass(frozen=True)
class Instructions:
    """What the model is told: the system prompt and the first message."""

    system: str
    task: str
    pictures: tuple[Picture, ...] = ()
    earlier: tuple[Earlier, ...] = ()
    """What was said before the task, where there is anything to go on from."""


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
    _tool_seconds: float = field(default=0.0, init=False)
    _segment: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        self._dialogue = Dialogue(self.backend, self.budget, self.listener, definitions(self.toolset))
        self._log = self._dialogue.log
        self._calls = CallRunner(self.toolset, self.sandbox, self.approval, self.listener.output)
        self._repeats = RepeatGuard()
        self._places = places_for(self.backend)

    async def run(self, instructions: Instructions) -> Outcome:
        """Work until the task is over, however it ends; never raises for what a model, a limit or a sandbox does."""
        started = time.monotonic()
        ending = await ending_of(self._work(instructions), self.budget.limits.seconds)
        self.failure = ending.failure
        return self._dialogue.outcome(ending, seconds=time.monotonic() - started, tool_seconds=self._tool_seconds)

    async def _work(self, instructions: Instructions) -> Never:
        task = self._open(instructions)
        while True:
            self._dialogue.check_budget()
            try:
                await self._dialogue.check_room()
                response = await self._next_turn()
            except ContextExhaustedError as full:
                if self.budget.limits.on_context != "compact":
                    raise
                await self._compact(task, full)
            else:
                await self._answer(response)

    def _open(self, instructions: Instructions) -> Message:
        """Begin the conversation. Returns the message with the task."""
        directory = self.sandbox.working_directory
        tools = self._dialogue.tools
        self._log.start("default", self.backend, self.toolset_name, tools, directory, self.sandbox_name)
        task = {"role": "user", "content": user_content(instructions.task, instructions.pictures, self._places)}
        earlier = earlier_messages(instructions.earlier, self.backend.dialect)
        self._dialogue.begin([{"role": "system", "content": sendable(instructions.system)}, *earlier, task])
        return task

    # Room in the context

    async def _compact(self, task: Message, full: ContextExhaustedError) -> None:
        """End the segment with a handover by the model, and begin the next one with it."""
        messages, window = self._dialogue.messages, self._dialogue.window
        if not can_be_compacted(messages):
            detail = f"{full}; and there is nothing that could be left behind"
            raise TaskOver(Ending("limit:context", detail))
        window.learn(full.context_window)
        handover, prompt_tokens = await self._handover(full)
        room = window.room
        most_bytes = KEPT_SHARE * (
            self._dialogue.conversation.request_bytes if room is None else room * BYTES_PER_TOKEN
        )
        segment = new_segment(messages, task, handover, int(most_bytes))
        self._segment += 1
        self._log.segment(self._segment, segment, str(full), prompt_tokens)
        self._dialogue.begin(segment.messages)

    async def _handover(self, full: ContextExhaustedError) -> tuple[str, int | None]:
        """The model's handover and the length of the prompt that it was written for."""
        messages, window = self._dialogue.messages, self._dialogue.window
        left = window.left_behind(full.prompt_tokens, handover_request())
        if left is not None:
            with contextlib.suppress(ContextExhaustedError):  # then the lengths are not what they were taken for
                return await self._written_handover(messages, left)
        room, size = window.room, full.prompt_tokens
        share = HANDOVER_SHARE * (room / size if room and size and size > room else 1.0)
        return await self._written_handover(beginning(messages, share), self._dialogue.max_output)

    async def _written_handover(self, messages: Sequence[Message], max_output: int | None) -> tuple[str, int | None]:
        """Ask for a handover behind these messages, again where none comes; ends the task without one."""
        head = request_head(self.backend.description)
        if self._dialogue.max_output is not None:
            head[self.backend.dialect.output.key] = max_output
        asking = Conversation(head, self._dialogue.tools)
        for message in [*messages, handover_request()]:
            asking.append(message)
        for _ in range(1 + EMPTY_TURNS):
            response = await self._dialogue.ask(asking, aside=handover_request())
            turn = response.turn
            self.budget.count_failure(turn.usage, response.seconds)
            self._log.response(turn, response.seconds, sent=None)
            if turn.stopped:
                raise TaskOver(Ending("limit:thinking", turn.stopped))
            if text := (self._dialogue.recovered(turn)[0].content or "").strip():
                return sendable(text), turn.answer_usage.prompt_tokens
            self._dialogue.check_budget()
        raise TaskOver(Ending("limit:context", "the context is full, and the model wrote no handover"))

    # The model's turn

    async def _next_turn(self) -> Response:
        """The next turn that says something. Only the last of several empty ones is returned."""
        tries_left = EMPTY_TURNS
        while True:
            response = await self._dialogue.step()
            turn = response.turn
            if turn.stopped or turn.is_cut or not is_empty(self._dialogue.recovered(turn)[0]):
                return response
            self._log.count(["empty_turn"])
            if not tries_left:
                return response
            tries_left -= 1
            self._log.response(turn, response.seconds, sent=None)
            self._dialogue.check_budget()

    async def _answer(self, response: Response) -> None:
        """Append the turn, and the results of its calls; ends the task where there are none."""
        turn = self._dialogue.accept(response)
        if not turn.sent.calls:
            raise TaskOver(_ending_without_calls(turn.whole, self.backend.description.context_window, cut=turn.cut))
        await self._run_calls(turn.sent.calls, cut=turn.cut)

    # Its calls

    async def _run_calls(self, calls: tuple[SentCall, ...], *, cut: bool) -> None:
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
            self._dialogue.append(message)
            self._log.result(call.written.name, message, result, seconds, denied=not answer.decision.allowed)
            if answer.decision.final:
                reason = f"a call of {call.written.name} was denied: {answer.decision.reason}"
                raise TaskOver(Ending("refused", reason))
        if submitted:
            raise TaskOver(Ending("submitted"))
        if shown := following_message(pictures, self._places):
            self._dialogue.say(shown)
        if self._repeats.exceeded:
            raise TaskOver(Ending("limit:repeat", "the model repeats the same calls, with the same results"))

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


def _ending_without_calls(turn: AssistantTurn, context_window: int | None, *, cut: bool) -> Ending:
    if cut and context_window is not None and turn.answer_usage.total_tokens >= context_window:
        return Ending("limit:context", f"the model's turn filled its context of {context_window} tokens")
    if cut:
        return Ending("limit:tokens", "the output limit cut the model's turn off before it called a tool or finished")
    if not (turn.content or "").strip():
        return Ending("finished", "the model ended its work with an empty message")
    return Ending("finished")
