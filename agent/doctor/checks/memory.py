"""The two questions that matter: whether earlier thinking survives a tool turn, and a new message of the user.

Two proofs. The *canary*: the model can tell a number that stands nowhere but in its earlier thinking. The *tokens*:
a prompt is longer by about the thinking's length than the same one with hardly any thinking. What they say together:

| canary            | tokens            | answer                                                            |
|-------------------|-------------------|-------------------------------------------------------------------|
| told              | whatever          | kept                                                              |
| not told          | differ by half    | kept, by tokens: the model did not repeat it                      |
|                   | of the estimate   |                                                                   |
| not told          | equal             | lost                                                              |
| not told          | in between, or    | cannot tell                                                       |
|                   | not reported      |                                                                   |
| request refused   | whatever          | cannot tell                                                       |

Before that: an API that carries no thinking back carries none; where thinking is not asked for, there is none in this
mode. *Lost* stands only for a model that thinks: one that was asked to and never did has nothing to lose. And where a
model thinks and the server keeps that to itself, it is lost whatever the prompt would hold.

An API that seals thinking (Gemini's signatures, OpenRouter's encrypted blocks) is asked with a turn of its own. The
secret is then the model's, so that only the tokens can speak, and where they do not it cannot be told.
"""

from dataclasses import dataclass
from typing import Literal

from agent.backend import BackendError, BackendUnreachableError
from agent.doctor.canary import TASK, TOOL, Canary, history, invented, lived
from agent.doctor.check import Answer, failed, passed, unsure
from agent.doctor.patient import SOMETHING_TO_THINK_OF, Patient, Reply
from agent.turn import AssistantTurn
from results.records.doctor import CARRIES_NONE, KEPT, LOST, NO_THINKING, TOOL_TURNS, USER_MESSAGE

Tokens = Literal["differ", "equal", "between", "unknown"]
WayBack = Literal["named", "inline", "sealed"]
"""As text: under the dialect's names, or within the content, where it came and the dialect leaves it. Or as it is."""

_ROUND = 16
"""Tokens by which two counts of the same prompt may differ: another random number, a cached beginning left out."""

_LEAST_PROMPT = 64
"""Tokens. Each history has a task, a tool and a question, of more than 700 characters: less is no count of it (some
gateways report 0, or always the same)."""


async def tool_turns(patient: Patient) -> Answer:
    """Whether what was thought before a tool turn is in the prompt after it."""
    return await _question(patient, TOOL_TURNS)


async def user_message(patient: Patient) -> Answer:
    """Whether what was thought before a new message of the user is in the prompt after it."""
    return await _question(patient, USER_MESSAGE)


@dataclass(frozen=True)
class _Evidence:
    """What both proofs say."""

    told: bool
    tokens: Tokens
    sentence: str


async def _question(patient: Patient, question: str) -> Answer:
    if not patient.dialect.carries_thinking:
        return passed(CARRIES_NONE, f"{patient.dialect.title} takes no thinking back")
    if not patient.thinking:
        return passed(NO_THINKING, "thinking is turned off")
    way = _way_back(patient)
    evidence = await _examine(patient, question)
    await _make_it_think(patient)
    if _way_back(patient) != way:
        evidence = await _examine(patient, question)
    if _is_open(patient) and patient.most_hidden and not patient.has_thought:
        hidden = f"the model used {patient.most_hidden:,} tokens that the server does not show, so they cannot go back"
        return failed(LOST, f"{hidden}; {evidence.sentence}", "thinking_on", "reasoning")
    if evidence.told:
        return passed(KEPT, evidence.sentence)
    if evidence.tokens == "differ":
        return passed(KEPT, f"{evidence.sentence}; the model did not repeat what it thought")
    if evidence.tokens != "equal" or not _is_open(patient):
        return unsure(evidence.sentence)
    if not patient.has_thought:
        return passed(NO_THINKING, f"the model was asked to think, and does not; {evidence.sentence}")
    return failed(LOST, evidence.sentence + _why(patient, question))


async def _examine(patient: Patient, question: str) -> _Evidence:
    inline = _way_back(patient) == "inline"
    canary = invented(patient.dialect, inline=inline) if _is_open(patient) else await _lived(patient)
    # The short one first: a server that counts only what it has not cached then shows too small a difference, never
    # one that is not there.
    before = await _brief_prompt(patient, question, canary.brief)
    reply, after = await _ask(patient, question, canary.told)
    tokens = _compare(before, after, canary.estimate)
    told = canary.found_in(reply.everything)
    said = "told the number that stood only in its thinking" if told else "did not tell the number"
    if before is None or after is None:
        counts = "how long the prompt was is not known"
    else:
        counts = f"{after:,} prompt tokens with long earlier thinking, {before:,} with hardly any"
    return _Evidence(told, tokens, f"the model {said}; {counts}" if canary.second else counts)


def _way_back(patient: Patient) -> WayBack:
    """How thinking goes back, as far as it has been seen to come."""
    reasoning = patient.dialect.reasoning
    if patient.seals_thinking or not (reasoning.sent or reasoning.sent_inline):
        return "sealed"
    return "inline" if reasoning.inline == "keep" and patient.thinks_inline else "named"


def _is_open(patient: Patient) -> bool:
    """Whether thinking goes back as text, which we can make up, unlike what a server has sealed."""
    return _way_back(patient) != "sealed"


async def _lived(patient: Patient) -> Canary:
    reply = await patient.ask(patient.conversation([{"role": "user", "content": TASK}], [TOOL]))
    return lived(reply.turn)


async def _brief_prompt(patient: Patient, question: str, brief: AssistantTurn) -> int | None:
    try:
        _, tokens = await _ask(patient, question, brief, max_output=1)
    except BackendUnreachableError:
        raise
    except BackendError:
        return None
    return tokens


async def _ask(
    patient: Patient, question: str, told: AssistantTurn, max_output: int = 2048
) -> tuple[Reply, int | None]:
    """The reply, and the tokens of the prompt: of its usage, or else of an endpoint that counts."""
    messages = history(question, told, patient.dialect)
    conversation = patient.conversation(messages, [TOOL], max_output=max_output)
    reply = await patient.ask(conversation)
    tokens = reply.prompt_tokens
    if tokens is None or tokens < _LEAST_PROMPT:
        tokens = await patient.backend.count(conversation)
    return reply, tokens


def _compare(before: int | None, after: int | None, estimate: int) -> Tokens:
    if before is None or after is None:
        return "unknown"
    if after - before >= estimate // 2:
        return "differ"
    return "equal" if after - before <= _ROUND else "between"


async def _make_it_think(patient: Patient) -> None:
    """One more request, if neither thinking nor a trace of it has been seen yet."""
    if not patient.has_thought and not patient.most_hidden and not patient.asked_to_think:
        patient.asked_to_think = True
        task = {"role": "user", "content": SOMETHING_TO_THINK_OF}
        await patient.ask(patient.conversation([task], thinking=True), thinking=True)


def _why(patient: Patient, question: str) -> str:
    if question == USER_MESSAGE and patient.dialect.thinking.preserves == "never":
        return f"; {patient.dialect.title} drops earlier thinking at each new message of the user, whatever is asked"
    return ""
