"""Moonshot answers 400 "text content is empty" to a turn with calls whose content is "", as it sent it itself.

https://github.com/MoonshotAI/kimi-cli/issues/2621, where leaving the field out is what the service's own client does.
"""

from typing import TYPE_CHECKING, Any

from agent.dialects.behaviours.behaviour import Behaviour

if TYPE_CHECKING:
    from agent.turn import AssistantTurn


class NoEmptyContentBesideCalls(Behaviour):
    """No `content` on a turn with calls and without text."""

    name = "no_empty_content_beside_calls"

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:
        """Leave the field out where it is empty."""
        if turn.tool_calls and not message.get("content"):
            message.pop("content", None)
            if turn.content is not None:
                differences.append("empty_content_left_out")
