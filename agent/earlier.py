"""A conversation that was held before the task: who works on goes on from it, and did not have it.

Its turns go to the model as a turn of its own would, thinking included, so that nothing tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.conversation import sendable
from agent.dialects.dialect import Dialect
from agent.turn import AssistantTurn, sent_turn


@dataclass(frozen=True)
class EarlierWords:
    """What a person said."""

    text: str


@dataclass(frozen=True)
class EarlierTurn:
    """What the agent said and called, and what each call came to, in the order of the calls."""

    turn: AssistantTurn
    results: tuple[str, ...] = ()


Earlier = EarlierWords | EarlierTurn


def earlier_messages(earlier: Sequence[Earlier], dialect: Dialect) -> list[dict[str, Any]]:
    """The messages that stand between the system prompt and the task."""
    messages: list[dict[str, Any]] = []
    for number, part in enumerate(earlier, 1):
        if isinstance(part, EarlierWords):
            messages.append({"role": "user", "content": sendable(part.text)})
            continue
        sent = sent_turn(part.turn, number, dialect)
        messages.append(sent.message)
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": sendable(result)}
            for call, result in zip(sent.calls, part.results, strict=True)
        ]
    return messages
