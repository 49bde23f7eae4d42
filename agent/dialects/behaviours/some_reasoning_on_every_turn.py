"""Moonshot, asked to keep thinking, answers 400 to an assistant message without thinking.

"preserved thinking (thinking.keep=all) requires reasoning_content on every assistant message"
(https://github.com/MoonshotAI/kimi-cli/pull/2498), and without `keep` the same for turns with calls. Reports differ
on whether an empty text will do (nanobot pull 2598: yes; others found it taken for a missing one), so it is a space.
"""

from typing import TYPE_CHECKING, Any

from agent.dialects.behaviours.behaviour import Behaviour

if TYPE_CHECKING:
    from agent.turn import AssistantTurn

PLACEHOLDER = " "


class SomeReasoningOnEveryTurn(Behaviour):
    """A space for `reasoning_content` on each turn without thinking."""

    name = "some_reasoning_on_every_turn"

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:  # noqa: ARG002
        """Add the field where it is missing or empty."""
        if not message.get("reasoning_content"):
            message["reasoning_content"] = PLACEHOLDER
            differences.append("placeholder_reasoning_added")
