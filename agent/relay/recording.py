"""Writes a relayed conversation down as a trajectory, with the same events as our own loop's.

What an agent sends back for a turn is only known with its next request, so a turn is written down then, with what it
became; the last one at the end.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.conversation import Conversation, encode
from agent.dialects.dialect import Dialect
from agent.listener import Listener
from agent.prefix.causes import client_change
from agent.prefix.parts import message_parts, received_parts
from agent.relay.relation import Continuation, Said
from agent.request import request_head
from agent.turn import AssistantTurn, sent_turn
from results.records.events import (
    BackendDescription,
    Message,
    MessageEvent,
    RequestEvent,
    ResponseEvent,
    RetryEvent,
    SegmentEvent,
    StartEvent,
    ToolResultEvent,
)

THINKING_KEPT = "thinking_kept"
THINKING_LOST = "thinking_lost"
TURN_LEFT_OUT = "turn_left_out"
_UNSENT = ("model", "stream", "stream_options")
"""Of the fields of a request those that the head of a conversation has anyhow."""


@dataclass(frozen=True)
class Setting:
    """Who asks whom, and from where."""

    agent: str
    backend: BackendDescription
    dialect: Dialect
    directory: str
    sandbox: str

    def start(self, said: Said, settings: Mapping[str, Any]) -> StartEvent:
        """The first event of a conversation, whose requests have these settings."""
        sampling = {name: value for name, value in settings.items() if name not in _UNSENT}
        return StartEvent(
            time=time.time(),
            agent=self.agent,
            backend=self.backend.model_copy(update={"sampling": sampling}),
            toolset="",
            tools=[dict(tool) for tool in said.tools],
            directory=self.directory,
            sandbox=self.sandbox,
        )


@dataclass
class _Pending:
    """A turn of which nobody knows yet what goes back for it."""

    turn: AssistantTurn
    seconds: float
    ended: float
    """On the monotonic clock."""


@dataclass
class RecordedConversation:
    """One conversation of an agent, while it goes on."""

    setting: Setting
    listener: Listener
    said: Said
    counts: Counter[str]
    """How often each finding came up, for all conversations of a trial."""
    first: int = field(init=False)
    """How many messages its first request had."""
    _start: StartEvent = field(init=False)
    _body: Conversation = field(init=False)
    _step: int = 0
    _segment: int = 1
    _pending: _Pending | None = None
    _failed: str = ""
    """Why the last request was not answered."""

    def __post_init__(self) -> None:
        self.first = len(self.said.messages)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """The first request, with these settings."""
        self._start = self.setting.start(self.said, settings)
        self.listener.event(self._start)
        self._begin_segment(self.said)
        self._request()

    def go_on(self, said: Said, how: Continuation) -> None:
        """The next request."""
        arrived = time.monotonic()
        before, self.said = self.said, said
        match how.relation:
            case "repeats":
                self._repeat()
                return
            case "extends":
                self._append(said.messages[how.kept :], arrived)
            case _:
                self._write_turn(None)
                self._segment += 1
                self._tell_segment(before, how)
                self._begin_segment(said)
        self._request()

    def answered(self, turn: AssistantTurn, seconds: float, said: Said) -> None:
        """The model's turn came, for a request that said `said`."""
        self._failed = ""
        if self._pending or said is not self.said:  # several requests at once: this one was overtaken
            self._step += 1
            self._tell_response(_Pending(turn, seconds, time.monotonic()), None, (), discarded=True)
            return
        self._pending = _Pending(turn, seconds, time.monotonic())

    def failed(self, reason: str) -> None:
        """The request was not answered."""
        self._failed = reason

    def close(self) -> None:
        """There are no more requests."""
        self._write_turn(None)

    def _append(self, messages: Sequence[Message], arrived: float) -> None:
        """Write down what is new, the turn that was pending first."""
        pending = self._pending
        results = [message for message in messages if message["role"] == "tool"]
        names = {} if pending is None else {call.id: call.name for call in pending.turn.tool_calls}
        seconds = 0.0 if pending is None else (arrived - pending.ended) / max(1, len(results))
        if pending is not None and messages[0]["role"] == "assistant":
            self._write_turn(messages[0])
            self._body.append(messages[0])
            messages = messages[1:]
        elif pending is not None:
            self._write_turn(None, left_out=True)
        for message in messages:
            self._body.append(message)
            if message["role"] == "tool":
                name = names.get(str(message.get("tool_call_id")), str(message.get("name") or ""))
                self._tell_result(message, name, seconds)
            else:
                self.listener.event(MessageEvent(time=time.time(), sent=message))

    def _begin_segment(self, said: Said) -> None:
        self._body = Conversation(request_head(self._start.backend or self.setting.backend), said.tools)
        for message in said.messages:
            self._body.append(message)
            self.listener.event(MessageEvent(time=time.time(), sent=dict(message)))

    def _request(self) -> None:
        self.listener.event(
            RequestEvent(
                time=time.time(),
                step=self._step + 1,
                messages=len(self._body),
                bytes=self._body.request_bytes,
                sha256=self._body.request_sha256(),
            )
        )

    def _repeat(self) -> None:
        """The same again: after a failure, or for another turn in the place of the one that came."""
        if self._failed:
            event = RetryEvent(time=time.time(), step=self._step + 1, reason=self._failed, wait_seconds=0)
            self.listener.event(event)
            self._failed = ""
            return
        self._write_turn(None, left_out=True)
        self._request()

    def _write_turn(self, message: Message | None, *, left_out: bool = False) -> None:
        """Write down the pending turn, and `message`, which went back for it. `left_out`: nothing did."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._step += 1
        if message is None:
            self.counts[TURN_LEFT_OUT] += left_out
            self._tell_response(pending, None, (), discarded=left_out)
            return
        expected = sent_turn(pending.turn, self._step, self.setting.dialect).message
        differences = self._differences(pending.turn, message)
        is_as_expected = encode(message) == encode(expected)  # the order of keys included
        self._tell_response(pending, None if is_as_expected else message, differences, discarded=False)

    def _differences(self, turn: AssistantTurn, message: Message) -> tuple[str, ...]:
        """Why what goes back for a turn is not what came; counts what became of its thinking."""
        written, sent = received_parts(turn.received()), message_parts(message)
        has_details = bool(message.get("reasoning_details"))
        if has_details and not sent.reasoning:  # the same thoughts in another form, which the server asks for
            sent = type(sent)(written.reasoning, sent.content, sent.calls)
        change = client_change(written, sent)
        if written.reasoning.strip():
            kept = change is None or change[0].part != "reasoning"
            self.counts[THINKING_KEPT if kept else THINKING_LOST] += 1
        if change is None:
            return ()
        self.counts[change[1].cause] += 1
        return (change[1].cause,)

    def _tell_response(
        self, pending: _Pending, sent: Message | None, differences: tuple[str, ...], *, discarded: bool
    ) -> None:
        self.listener.event(
            ResponseEvent(
                time=time.time(),
                step=self._step,
                received=pending.turn.received(),
                sent=sent,
                differences=list(differences),
                usage=pending.turn.usage,
                seconds=pending.seconds,
                first_token_seconds=pending.turn.first_token_seconds,
                discarded=discarded,
            )
        )

    def _tell_result(self, message: Message, name: str, seconds: float) -> None:
        self.listener.event(
            ToolResultEvent(time=time.time(), step=self._step, name=name, sent=message, seconds=seconds)
        )

    def _tell_segment(self, before: Said, how: Continuation) -> None:
        self.listener.event(
            SegmentEvent(
                time=time.time(),
                step=self._step,
                number=self._segment,
                reason=f"the agent changed what it had sent before: {how.cause.replace('_', ' ')}",
                dropped=len(before.messages) - how.kept,
                kept=how.kept,
            )
        )
