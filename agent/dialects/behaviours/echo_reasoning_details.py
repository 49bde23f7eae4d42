"""OpenRouter's `reasoning_details`: what its models thought, in blocks that have to come back as they were.

A block streams in fragments with the same `type` and `index`: pieces of its text, and at the end a signature over
all of it, which is refused when the fragments come back one by one
(https://github.com/agno-agi/agno/issues/8794, https://openrouter.ai/docs/use-cases/reasoning-tokens).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agent.dialects.behaviours.behaviour import Behaviour

if TYPE_CHECKING:
    from agent.turn import AssistantTurn

DETAILS = "reasoning_details"

_GROWING = ("text", "summary", "data")
"""The parts of a block that come in pieces."""

_PLAIN = ("reasoning", "reasoning_content")


class EchoReasoningDetails(Behaviour):
    """Puts the blocks together, and sends them back in the place of the plain text, which says the same again."""

    name = "echo_reasoning_details"

    def collect(self, part: Mapping[str, Any], extras: dict[str, Any]) -> None:
        """Add the fragments of a delta to their blocks."""
        fragments = part.get(DETAILS)
        if not isinstance(fragments, list):
            return
        for fragment in cast("list[Any]", fragments):
            if isinstance(fragment, dict):
                _add(extras.setdefault(DETAILS, []), cast("dict[str, Any]", fragment))

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:  # noqa: ARG002
        """Send the blocks back; the plain text only where there is none."""
        if details := turn.extras.get(DETAILS):
            message[DETAILS] = details
            for name in _PLAIN:
                message.pop(name, None)


def _add(blocks: list[dict[str, Any]], fragment: dict[str, Any]) -> None:
    block = next((block for block in blocks if _continues(block, fragment)), None)
    if block is None:
        blocks.append(dict(fragment))
        return
    for key, value in fragment.items():
        before = block.get(key)
        if key in _GROWING and isinstance(before, str) and isinstance(value, str):
            block[key] = before + value
        elif value is not None or key not in block:
            block[key] = value


def _continues(block: Mapping[str, Any], fragment: Mapping[str, Any]) -> bool:
    """Whether a fragment belongs to a block. Those without an index are whole; a second id begins a second block."""
    if not isinstance(fragment.get("index"), int) or block.get("index") != fragment.get("index"):
        return False
    both_named = block.get("id") is not None and fragment.get("id") is not None
    return block.get("type") == fragment.get("type") and not (both_named and block["id"] != fragment["id"])
