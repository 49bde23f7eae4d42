"""What an agent tells of its work: every event with its time and step, and how often each oddity came up."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.backend import Backend
from agent.compaction import Segment
from agent.conversation import Conversation
from agent.listener import Listener
from agent.turn import AssistantTurn, SentTurn
from results.records.events import (
    MessageEvent,
    NoticeEvent,
    NoticeKind,
    RequestEvent,
    ResponseEvent,
    RetryEvent,
    SegmentEvent,
    StartEvent,
    ToolResultEvent,
)
from tools.tool import ToolResult


@dataclass
class EventLog:
    """Tells a listener, and counts."""

    listener: Listener
    step: int = 0
    """The number of the last turn."""
    counts: Counter[str] = field(default_factory=Counter[str])

    def start(
        self, agent: str, backend: Backend, toolset: str, tools: list[dict[str, Any]], directory: str, sandbox: str
    ) -> None:
        """The work of the agent of that name begins."""
        self.listener.event(
            StartEvent(
                time=time.time(),
                agent=agent,
                backend=backend.description,
                toolset=toolset,
                tools=tools,
                directory=directory,
                sandbox=sandbox,
            )
        )

    def message(self, message: dict[str, Any]) -> None:
        """A message was appended that is neither a turn nor a result, or carried over into a new segment."""
        self.listener.event(MessageEvent(time=time.time(), sent=message))

    def request(self, conversation: Conversation, aside: dict[str, Any] | None = None) -> None:
        """The conversation is sent; `aside` is its last message where it is sent just this once."""
        self.listener.event(
            RequestEvent(
                time=time.time(),
                step=self.step + 1,
                messages=len(conversation),
                bytes=conversation.request_bytes,
                sha256=conversation.request_sha256(),
                aside=aside,
            )
        )

    def retry(self, reason: str, wait: float) -> None:
        """A request failed and is sent again after `wait` seconds."""
        self.counts["retry"] += 1
        self.listener.event(RetryEvent(time=time.time(), step=self.step + 1, reason=reason, wait_seconds=wait))

    def response(self, turn: AssistantTurn, seconds: float, sent: SentTurn | None) -> None:
        """A turn came; without `sent` it is no part of the conversation."""
        self.count(sent.differences if sent else ())
        self.listener.event(
            ResponseEvent(
                time=time.time(),
                step=self.step,
                received=turn.received(),
                sent=sent.message if sent and sent.differences else None,
                differences=list(sent.differences) if sent else [],
                usage=turn.usage,
                seconds=seconds,
                first_token_seconds=turn.first_token_seconds,
                requests=turn.requests,
                discarded=sent is None,
            )
        )

    def result(self, name: str, message: dict[str, Any], result: ToolResult, seconds: float, *, denied: bool) -> None:
        """A call of the tool `name` was answered."""
        self.listener.event(
            ToolResultEvent(
                time=time.time(),
                step=self.step,
                name=name,
                sent=message,
                exit_code=result.exit_code,
                is_error=result.is_error,
                denied=denied,
                seconds=seconds,
            )
        )

    def segment(self, number: int, segment: Segment, reason: str, prompt_tokens: int | None) -> None:
        """The conversation begins anew."""
        self.counts["compaction"] += 1
        self.listener.event(
            SegmentEvent(
                time=time.time(),
                step=self.step,
                number=number,
                reason=reason,
                prompt_tokens=prompt_tokens,
                dropped=segment.dropped,
                kept=segment.kept,
            )
        )

    def notice(self, kind: NoticeKind, text: str, tokens: int | None = None, *, once: bool = False) -> None:
        """Something that a person should know; one that comes up at every step is told `once`, and always counted."""
        if not (once and self.counts[kind]):
            self.listener.event(NoticeEvent(time=time.time(), step=self.step, kind=kind, text=text, tokens=tokens))
        self.counts[kind] += 1
        if tokens is not None:
            self.counts[f"{kind}_tokens"] += tokens

    def count(self, names: Iterable[str]) -> None:
        """Count differences, recoveries and the like by their names."""
        self.counts.update(names)
