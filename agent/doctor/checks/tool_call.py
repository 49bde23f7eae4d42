"""One round trip through a tool, streamed and as a whole: the call comes as a call, and its result is understood."""

import json
import re
from typing import Any

from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.filler import digits
from agent.doctor.patient import Patient, Reply
from agent.turn import AssistantTurn
from results.records.events import Message

TOOL: Message = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a term up, and returns the code word for it.",
        "parameters": {
            "type": "object",
            "properties": {"term": {"type": "string", "description": "The term, exactly as it was given."}},
            "required": ["term"],
        },
    },
}
TERM = 'Grüße, "x" <y> & 7%'

STRANDED = re.compile(r"<tool_call>|<function=|\[TOOL_CALLS\]|<\|tool_call|<invoke name=", re.IGNORECASE)
"""The marks of a call that nobody parsed: of Qwen and Hermes, Mistral, and others."""


async def tool_call(patient: Patient) -> Answer:
    """Streamed, as the agent asks."""
    return await _round_trip(patient, stream=True)


async def tool_call_whole(patient: Patient) -> Answer:
    """Not streamed."""
    return await _round_trip(patient, stream=False)


async def _round_trip(patient: Patient, *, stream: bool) -> Answer:
    arguments = json.dumps({"term": TERM}, ensure_ascii=False)
    task = f"Call look_up once, with these arguments: {arguments}\nThen tell me the code word that it returns."
    messages: list[Message] = [{"role": "user", "content": task}]
    reply = await patient.ask(patient.conversation(messages, [TOOL], stream=stream))
    problem = _problem(reply.turn)
    if problem:
        return problem
    code = f"quokka-{digits(4)}"
    sent = patient.sent(reply.turn)
    messages += [sent.message, *({"role": "tool", "tool_call_id": call.id, "content": code} for call in sent.calls)]
    answer = await patient.ask(patient.conversation(messages, [TOOL], stream=stream))
    return _judge(reply.turn, answer, code)


def _problem(turn: AssistantTurn) -> Answer | None:
    """What is wrong with the call, if it is the server that got it wrong."""
    if not turn.tool_calls:
        return _no_call(turn)
    call = turn.tool_calls[0]
    if call.name != TOOL["function"]["name"]:
        return failed("wrong name", f"the call came under the name {call.name!r}")
    if not call.id:
        return failed("no id", "the call came without an id, so that its result cannot be told from another")
    arguments = _read(call.arguments)
    if arguments is None:
        return failed("broken arguments", f"the arguments are no JSON object: {call.arguments[:200]!r}")
    if not isinstance(arguments.get("term"), str):
        return failed("lost arguments", f"the argument `term` did not arrive: {call.arguments[:200]!r}")
    return None


def _no_call(turn: AssistantTurn) -> Answer:
    for place, text in (("content", turn.content), ("thinking", turn.reasoning)):
        if STRANDED.search(text or ""):
            return failed("stranded", f"the call came as text in the {place}, and not as a call")
    if turn.is_cut:
        return unsure("the output limit was reached before a call came")
    if not (turn.content or "").strip():
        return failed("no call", f"an empty turn came instead of a call (finish reason {turn.finish_reason!r})")
    return unsure("the model answered without calling the tool")


def _judge(turn: AssistantTurn, answer: Reply, code: str) -> Answer:
    arguments = _read(turn.tool_calls[0].arguments) or {}
    if arguments["term"] != TERM:
        return unsure(f"the call came, but with {arguments['term']!r} where {TERM!r} was asked for", "not exact")
    if code not in answer.everything:
        return unsure("the call came exactly; the answer does not name what the tool returned")
    return passed("works", "the call came exactly, and its result was understood")


def _read(text: str) -> dict[str, Any] | None:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]
