"""Goes on with a conversation that has no room left: a handover by the model, and the end of the log as it was.

A compaction breaks the prefix by design, so it is rare and thorough: what is kept goes over byte for byte, with its
thinking, and everything stays in the trajectory. There is still one user message only, the first: it holds the task
and the handover, so no template drops the thinking that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from agent.conversation import encode

Message = dict[str, Any]

HANDOVER_HEADING = "# What was done so far\n\nThe conversation had to be cut short; this is your own handover:"
_HEAD = 2
"""The system prompt and the task."""


@dataclass(frozen=True)
class Segment:
    """The messages that a new segment begins with."""

    messages: tuple[Message, ...]
    dropped: int
    kept: int


def can_be_compacted(messages: Sequence[Message]) -> bool:
    """Whether there is anything that could be left behind."""
    return len(messages) > _HEAD


def handover_request() -> Message:
    """The message that asks the model for its handover. It is sent once, and is no part of any later prompt."""
    text = resources.files("agent").joinpath("prompts/compaction.md").read_text("utf-8").strip()
    return {"role": "user", "content": text}


def new_segment(messages: Sequence[Message], task: Message, handover: str, most_bytes: int) -> Segment:
    """The next segment: system prompt, task and handover, and the last steps in at most `most_bytes`.

    `task` is the first user message as it was at the very beginning, without an earlier handover.
    """
    start = _tail_start(messages, most_bytes)
    tail = messages[start:]
    head = (messages[0], _with_text(task, f"{HANDOVER_HEADING}\n\n{handover.strip()}"))
    return Segment((*head, *tail), dropped=start - _HEAD, kept=len(tail))


def beginning(messages: Sequence[Message], share: float) -> Sequence[Message]:
    """About a share of a conversation that is already too long, cut at a step, for a handover to be made of."""
    most_bytes = share * sum(len(encode(message)) for message in messages)
    size, end = 0, _HEAD
    for index, message in enumerate(messages):
        if index >= _HEAD and message["role"] == "assistant":
            end = index
        size += len(encode(message))
        if size > most_bytes:
            return messages[:end]
    return messages


def _tail_start(messages: Sequence[Message], most_bytes: int) -> int:
    """Where the kept end begins: always at a model's turn, since a result without its call is refused.

    The first step is never kept, or nothing might be left behind.
    """
    size, start = 0, len(messages)
    for index in range(len(messages) - 1, _HEAD, -1):
        size += len(encode(messages[index]))
        if size > most_bytes:
            break
        if messages[index]["role"] == "assistant":
            start = index
    return start


def _with_text(message: Mapping[str, Any], text: str) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{text}"}
    parts = cast("list[dict[str, Any]]", content)
    return {**message, "content": [*parts, {"type": "text", "text": text}]}
