"""Whether the limit on the length of a response is kept, and said."""

from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.patient import Patient

CAP = 16
_SLACK = 4
_LONGEST_TOKEN = 12
"""Characters of a token of English text, at most, where the server counts none."""


async def output_cap(patient: Patient) -> Answer:
    """A long answer is asked for, and sixteen tokens of it."""
    task = {"role": "user", "content": "Count from 1 to 200, each number on a line of its own."}
    reply = await patient.ask(patient.conversation([task], thinking=False, max_output=CAP), thinking=False)
    output, finish = reply.turn.usage.output_tokens, reply.turn.finish_reason
    kept = len(reply.everything) <= CAP * _LONGEST_TOKEN if output is None else output <= CAP + _SLACK
    count = f"{len(reply.everything):,} characters" if output is None else f"{output:,} tokens"
    if not kept:
        return failed("ignored", f"{count} came where {CAP} tokens were allowed")
    if reply.turn.is_cut:
        return passed("kept", f"{count}, and the finish reason says so")
    if output is not None and output < CAP:
        return unsure(f"the answer ended by itself after {count}")
    return failed("kept, not said", f"{count}, but the finish reason is {finish!r}")
