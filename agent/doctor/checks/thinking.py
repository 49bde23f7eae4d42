"""Whether thinking comes where it belongs when it is asked for, and not at all when it is not."""

from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.patient import SOMETHING_TO_THINK_OF, THINK_TAG, Patient, Reply
from results.records.doctor import NO_THINKING


async def thinking_on(patient: Patient) -> Answer:
    """Asked for, it comes in the field of the dialect."""
    patient.asked_to_think = True
    reply = await _ask(patient, thinking=True)
    turn = reply.turn
    if THINK_TAG.search(reply.text):
        return failed("inline", "the thinking stands in the content, between tags, and not in a field of its own")
    fields = patient.dialect.reasoning.received
    if (turn.reasoning or "").strip():
        if turn.reasoning_field not in fields:
            return failed("inline", f"the thinking came in {turn.reasoning_field or 'the content'}, not in {fields}")
        endless = ", and it did not come to an end" if turn.is_cut else ""
        return passed(f"in {turn.reasoning_field}", f"{len(turn.reasoning or ''):,} characters of it{endless}")
    if patient.most_hidden:
        detail = f"{patient.most_hidden:,} tokens were used that are not shown"
        return failed("hidden", detail) if fields else passed("not shown", f"this API shows none; {detail}")
    if not fields:
        return passed("not shown", "this API shows no thinking")
    if turn.is_cut:
        return unsure("the output limit was reached before anything came")
    if patient.has_thought:
        return passed("sometimes", "none came this time, but it did before")
    return failed("none", "thinking was asked for, and none came: the model has none, or the switch does not reach it")


async def thinking_off(patient: Patient) -> Answer:
    """Not wanted, it does not come."""
    if not patient.dialect.thinking.off:
        return unsure("this API has no switch for it", "no switch")
    reply = await _ask(patient, thinking=False)
    if (reply.turn.reasoning or "").strip() or THINK_TAG.search(reply.text):
        return failed("it thinks", "thinking was turned off, and came all the same")
    if reply.turn.usage.reasoning_tokens:
        return failed("it thinks", f"{reply.turn.usage.reasoning_tokens:,} tokens of thinking are reported")
    return passed(NO_THINKING)


async def _ask(patient: Patient, *, thinking: bool) -> Reply:
    conversation = patient.conversation([{"role": "user", "content": SOMETHING_TO_THINK_OF}], thinking=thinking)
    return await patient.ask(conversation, thinking=thinking)
