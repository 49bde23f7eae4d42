"""DeepSeek answers 400 to a history in which a turn with tool calls has no reasoning field, be it an empty one."""

from typing import TYPE_CHECKING, Any

from agent.dialects.behaviours.behaviour import Behaviour

if TYPE_CHECKING:
    from agent.turn import AssistantTurn


class EmptyReasoningOnToolTurns(Behaviour):
    """An empty `reasoning_content` on each turn with calls and without thinking (opencode issues 24083 and 24722)."""

    name = "empty_reasoning_on_tool_turns"

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:
        """Add the field where it is missing."""
        if turn.tool_calls and "reasoning_content" not in message:
            message["reasoning_content"] = ""
            differences.append("empty_reasoning_added")
