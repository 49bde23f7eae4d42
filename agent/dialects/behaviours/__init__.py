"""The closed list of named behaviours. A new one is a new module here, and a line in the table below."""

from collections.abc import Mapping

from agent.dialects.behaviours.behaviour import Behaviour
from agent.dialects.behaviours.echo_reasoning_details import EchoReasoningDetails
from agent.dialects.behaviours.echo_thought_signatures import EchoThoughtSignatures
from agent.dialects.behaviours.empty_reasoning_on_tool_turns import EmptyReasoningOnToolTurns
from agent.dialects.behaviours.no_empty_content_beside_calls import NoEmptyContentBesideCalls
from agent.dialects.behaviours.some_reasoning_on_every_turn import SomeReasoningOnEveryTurn
from agent.dialects.behaviours.usage_in_choice import UsageInChoice

BEHAVIOURS: Mapping[str, type[Behaviour]] = {
    behaviour.name: behaviour
    for behaviour in (
        EchoReasoningDetails,
        EchoThoughtSignatures,
        EmptyReasoningOnToolTurns,
        NoEmptyContentBesideCalls,
        SomeReasoningOnEveryTurn,
        UsageInChoice,
    )
}
