"""The closed list of named behaviours. A new one is a new module here, and a line in the table below."""

from collections.abc import Mapping

from agent.dialects.behaviours.behaviour import Behaviour
from agent.dialects.behaviours.empty_reasoning_on_tool_turns import EmptyReasoningOnToolTurns

BEHAVIOURS: Mapping[str, type[Behaviour]] = {behaviour.name: behaviour for behaviour in (EmptyReasoningOnToolTurns,)}
