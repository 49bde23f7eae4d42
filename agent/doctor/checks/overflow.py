"""What happens to a prompt that is longer than the context."""

from agent.backend import BackendError, BackendUnreachableError, ContextExhaustedError
from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.filler import words
from agent.doctor.patient import Patient, Reply
from results.records.events import Message

LARGEST = 300_000
"""Tokens of a context that is filled without being asked to."""
_BEYOND = 1.05
_MESSAGES = 8
_PATIENCE = 30.0
"""Seconds of computing that a server may be put to which takes the prompt instead of refusing it."""


async def overflow(patient: Patient) -> Answer:
    """A prompt five hundredths longer than the context: to be refused, with an error that we recognise."""
    window = patient.description.context_window
    if window is None:
        return unsure("the served context is not known: state it with --context")
    if patient.overflows:
        detail = (
            f"{window:,} tokens are said to be served, but a prompt of far less was refused: {patient.overflows[0]}"
        )
        return failed("smaller than stated", detail, "context")
    if not patient.long and (reason := _too_dear(patient, window)):
        return unsure(f"not tried, since {reason}; --long tries it", "not tried")
    conversation = patient.conversation(_talk(patient, window), thinking=False, max_output=16)
    try:
        reply = await patient.ask(conversation, thinking=False)
    except ContextExhaustedError as error:
        return _refused(error, window)
    except BackendUnreachableError:
        raise
    except BackendError as error:
        if not patient.replies:
            return unsure(str(error))
        return failed("not recognised", f"the error is not known as that of a full context: {error}")
    return _accepted(reply, window)


def _refused(error: ContextExhaustedError, window: int) -> Answer:
    said = error.context_window
    if said is not None and said < window:
        return failed("smaller than stated", f"{said:,} tokens are served, and not {window:,}: {error}", "context")
    return passed("recognised", str(error))


def _talk(patient: Patient, window: int) -> list[Message]:
    """Many messages: a server that drops the oldest drops some of them."""
    text = words(int(window * _BEYOND / patient.tokens_a_word / _MESSAGES))
    said = {"role": "assistant", "content": "Yes."}
    messages: list[Message] = []
    for _ in range(_MESSAGES):
        messages += [{"role": "user", "content": f"{text}\nSay yes."}, said]
    return messages[:-1]


def _too_dear(patient: Patient, window: int) -> str:
    if patient.hosted:
        return f"{window:,} tokens may be charged for"
    if window > LARGEST:
        return f"the context is longer than {LARGEST:,} tokens"
    speed = patient.figures.get("prefill_32k") or patient.figures.get("prefill_1k")
    if patient.dialect.overflow.silent and (speed is None or window / speed > _PATIENCE):
        return "this server family is known to take such a prompt, and would compute for long"
    return ""


def _accepted(reply: Reply, window: int) -> Answer:
    prompt = reply.prompt_tokens
    sent = int(window * _BEYOND)
    if prompt is None:
        return failed("accepted", f"about {sent:,} tokens were taken where {window:,} fit, and none are reported")
    if prompt <= window:
        detail = f"of about {sent:,} tokens the server used {prompt:,} and dropped the rest without a word"
        return failed("silently truncated", detail)
    return failed("accepted", f"{prompt:,} tokens were taken although the context is said to be {window:,}")
