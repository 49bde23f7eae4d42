"""Whether a prompt that begins with an earlier one costs only what is new in it."""

from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.filler import words
from agent.doctor.patient import Patient, Reply
from results.records.events import Message

PROMPT = 4_500
"""Tokens: vLLM counts a hybrid model's cache in blocks of up to 2,096 tokens, and a shorter prompt never hits
(vLLM's issue 40696)."""

_LARGEST_BLOCK = 2_096
_PAGE = 16
_OPENING = 16
"""Tokens at the end of a prompt that open the turn, and that a template may write otherwise once it is over."""
_LEAST_SECONDS = 0.2
"""A first token that comes sooner says nothing about the cache."""
_FASTER = 3.0


async def cache(patient: Patient) -> Answer:
    """The same conversation again, continued: the counts decide, and where there are none, the time."""
    window = patient.description.context_window
    size = min(PROMPT, window // 4) if window else PROMPT
    task: Message = {"role": "user", "content": f"{words(size)}\nThat was long. Say yes."}
    conversation = patient.conversation([task], thinking=False, max_output=16)
    first = await patient.ask(conversation, thinking=False)
    _calibrate(patient, first, size)
    conversation.append(patient.sent(first.turn).message)
    conversation.append({"role": "user", "content": "Say yes again."})
    second = await patient.ask(conversation, thinking=False)
    return _by_counts(patient, first, second) or _by_time(first, second)


def _calibrate(patient: Patient, reply: Reply, size: int) -> None:
    prompt = reply.prompt_tokens
    if prompt and prompt > size // 2:
        patient.tokens_a_word = prompt / size


def _by_counts(patient: Patient, first: Reply, second: Reply) -> Answer | None:
    prompt, cached = first.prompt_tokens, second.turn.usage.cached_tokens
    if prompt is None or not cached:
        return None
    sentence = f"{min(cached, prompt):,} of the {prompt:,} tokens that were sent before came from the cache"
    if prompt - cached <= _tolerance(patient, cached) + _OPENING:
        return passed("hits", sentence)
    return failed("in part", f"{sentence}; the other {prompt - cached:,} were computed again")


def _tolerance(patient: Patient, cached: int) -> int:
    """A block. Where a family counts in blocks, their size depends on the model, and shows in the count."""
    block = patient.dialect.cache_block
    return _LARGEST_BLOCK if block >= _PAGE and cached % _PAGE == 0 else block


def _by_time(first: Reply, second: Reply) -> Answer:
    reported = second.turn.usage.cached_tokens
    counts = (
        "the server reports no cached tokens" if reported is None else f"the server reports {reported} cached tokens"
    )
    before, after = first.turn.first_token_seconds, second.turn.first_token_seconds
    if before is None or after is None or before < _LEAST_SECONDS:
        detail = f"{counts}, and the first token came too soon to tell by time"
        return unsure(detail) if reported is None else failed("misses", counts)
    sentence = f"{counts}; the first token came after {before:.2f} s, and the second time after {after:.2f} s"
    if after * _FASTER <= before:
        return passed("hits, by time", sentence)
    return failed("misses", sentence) if reported is not None or after * 1.5 > before else unsure(sentence)
