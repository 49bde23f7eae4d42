"""Moonshot streams its usage within the choice, beside the finish reason, not beside the choices."""

from collections.abc import Mapping
from typing import Any

from agent.dialects.behaviours.behaviour import Behaviour


class UsageInChoice(Behaviour):
    """Reads it there (https://platform.moonshot.ai/docs/api/chat, the streamed response)."""

    name = "usage_in_choice"

    def usage(self, choice: Mapping[str, Any]) -> object:
        """The usage object of the choice."""
        return choice.get("usage")
