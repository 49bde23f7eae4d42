"""A history with a secret in its thinking: two random numbers, of which the visible answer tells only the first.

A model that can tell the second one has read its earlier thinking, since it stands nowhere else (the idea is in
pi's issue 3479 and koboldcpp's issue 2147). The thinking is long, so that its tokens show in the prompt's count.
"""

import re
from dataclasses import dataclass, replace

from agent.dialects.dialect import Dialect
from agent.doctor.filler import digits
from agent.turn import IN_CONTENT, AssistantTurn, ToolCall, sent_turn
from results.records.doctor import TOOL_TURNS
from results.records.events import Message

DIGITS = 20
_CHARACTERS_A_TOKEN = 4
_SEALED_TOKENS = 64
"""That two numbers with twenty digits take at least, when a model thinks of them."""

TOOL: Message = {
    "type": "function",
    "function": {
        "name": "next_question",
        "description": "Gives the next question of the examination.",
        "parameters": {
            "type": "object",
            "properties": {"topic": {"type": "string", "description": "What the question is about."}},
            "required": ["topic"],
        },
    },
}

TASK = (
    "Think of two random numbers with twenty digits each. Tell me the first one only, and keep the second one to "
    "yourself until you are asked for it. Then call next_question, and answer the questions that it gives."
)
_QUESTION = "Which is the second number that you thought of? Answer at once, with its twenty digits and nothing else."
_SEPARATORS = re.compile(r"[\s,._'’*`-]")


@dataclass(frozen=True)
class Canary:
    """A turn with a secret in its thinking, and the same turn with hardly any thinking."""

    told: AssistantTurn
    brief: AssistantTurn
    """For a prompt to compare with. Its thinking is short, not absent, since some servers refuse that."""
    estimate: int
    """How many tokens the thinking of `told` has, roughly."""
    second: str | None = None
    """The secret; None where only the model knows it."""

    def found_in(self, text: str) -> bool:
        """Whether the second number is there, however its digits are grouped."""
        return self.second is not None and self.second in _SEPARATORS.sub("", text)


def invented(dialect: Dialect, *, inline: bool = False) -> Canary:
    """A turn that no model said, with random numbers. `inline`: its thinking came within the content."""
    first, second = digits(DIGITS), digits(DIGITS)
    thinking = _thinking(first, second)
    told = _turn(thinking, f"The first number is {first}.", _field(dialect, inline=inline), call=1)
    return Canary(told, replace(told, reasoning="Well then."), len(thinking) // _CHARACTERS_A_TOKEN, second)


def lived(turn: AssistantTurn) -> Canary:
    """A turn that the model said itself, for an API whose thinking comes and goes sealed."""
    return Canary(turn, replace(turn, reasoning=None, reasoning_field=None, extras={}), _SEALED_TOKENS)


def history(question: str, told: AssistantTurn, dialect: Dialect) -> list[Message]:
    """A history that begins with `told` and ends with the question for the second number, as the product sends it.

    `question` is `tool_turns`: a tool asks, two turns with calls after the number was thought of; or `user_message`:
    the person asks, in a new message.
    """
    sent = sent_turn(told, 1, dialect)
    field = told.reasoning_field or _field(dialect)
    messages: list[Message] = [{"role": "user", "content": TASK}, sent.message]
    ids = [call.id for call in sent.calls]
    if question == TOOL_TURNS:
        asked = sent_turn(_turn("I ask for the next one.", "I ask for the next question.", field, call=2), 2, dialect)
        return [
            *messages,
            *_results(ids, "Question 1 of 2: there is none. Ask for the next one."),
            asked.message,
            *_results([call.id for call in asked.calls], f"Question 2 of 2: {_QUESTION}"),
        ]
    done = sent_turn(_turn("That was all.", "There is no question yet.", field), 2, dialect)
    return [
        *messages,
        *_results(ids, "There is no question yet. The person will ask."),
        done.message,
        {"role": "user", "content": _QUESTION},
    ]


def _field(dialect: Dialect, *, inline: bool = False) -> str | None:
    received = dialect.reasoning.received
    return IN_CONTENT if inline else received[0] if received else None


def _turn(thinking: str, content: str, field: str | None, call: int | None = None) -> AssistantTurn:
    # Nine letters and digits: the templates of Mistral's models refuse any other id.
    calls = () if call is None else (ToolCall(f"call{call:05}", TOOL["function"]["name"], '{"topic": "the numbers"}'),)
    return AssistantTurn(
        reasoning=thinking,
        reasoning_field=field,
        content=content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "stop",
    )


def _results(ids: list[str], text: str) -> list[Message]:
    return [{"role": "tool", "tool_call_id": call_id, "content": f"exit=0\n{text}"} for call_id in ids]


def _thinking(first: str, second: str) -> str:
    return (
        f"I am asked for two random numbers of twenty digits. The first number shall be {first}. The second "
        f"number shall be {second}. I shall tell only the first of them now, and keep the second one in "
        "mind, because there will be a question about it later on, and nobody can answer that question who does "
        "not remember what was thought here. Let me make sure that both have exactly twenty digits, that they "
        "differ from each other, and that neither of them begins with a zero, since a leading zero would often "
        "get lost on the way. That looks right to me. What else was asked of me? After telling the first number "
        "I should call the tool that gives the next question, say what its topic is, and then wait for what it "
        "returns. I must not guess, and I must not think of new numbers when the question comes: the answer has "
        "to be the second number exactly as it stands above, digit by digit, without spaces and without any "
        "other punctuation between the digits. All of this seems clear, so there is no reason to think about it "
        "any longer, and I can go on with the answer, which is short: a single sentence with the first number."
    )
