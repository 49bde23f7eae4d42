"""Whether the model can ask for several things at once."""

from agent.doctor.check import Answer, passed, unsure
from agent.doctor.patient import Patient
from results.records.events import Message

TOOL: Message = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in one city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "One city."}},
            "required": ["city"],
        },
    },
}
_TASK = "What is the weather in Paris, and what is it in Oslo? Call weather for both in a single turn, at once."


async def parallel_calls(patient: Patient) -> Answer:
    """Two calls in one turn, each with an id of its own. One at a time will do."""
    reply = await patient.ask(patient.conversation([{"role": "user", "content": _TASK}], [TOOL]))
    calls = reply.turn.tool_calls
    if not calls:
        return unsure("no call came")
    if len(calls) == 1:
        return passed("one at a time", "one call came where two were asked for; the agent does with that")
    if len({call.id for call in calls}) < len(calls):
        return passed(f"{len(calls)} in a turn", "they share an id, or have none; the agent gives them some of its own")
    return passed(f"{len(calls)} in a turn")
