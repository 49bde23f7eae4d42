"""An ATIF document as the conversation that an agent goes on from (`trajectory.json` of a task in Harbor's format).

What its system said is left out, since every agent has instructions of its own; and so is what its tools were, since
the calls are history. Whatever else a message cannot hold is an error, and not dropped.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from agent.earlier import Earlier, EarlierTurn, EarlierWords
from agent.turn import AssistantTurn, ToolCall
from evals.atif.content import Content
from evals.atif.records import Step, Trajectory

_NO_RESULT = "There is no record of what this call came to."


class EarlierConversationError(ValueError):
    """A document that is none, or that holds what cannot be handed on; the message names the step."""


def read_earlier(path: Path) -> list[Earlier]:
    """The conversation in a file. Raises EarlierConversationError, OSError."""
    try:
        document = Trajectory.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        message = f"it is no trajectory in ATIF: {f'{place}: ' if place else ''}{problem['msg']}"
        raise EarlierConversationError(message) from error
    if document.continued_trajectory_ref is not None:
        raise EarlierConversationError("it goes on in another document (continued_trajectory_ref), which is not read")
    return [part for step in document.steps for part in _parts(step)]


def _parts(step: Step) -> list[Earlier]:
    if step.source == "system":
        return []
    text = _text(step.message, step)
    seen = [_text(result.content, step) for result in step.results if result.source_call_id is None and result.content]
    if step.source == "user":
        return [EarlierWords(words) for words in (text, *seen)]
    calls = step.tool_calls or []
    turn = AssistantTurn(
        reasoning=step.reasoning_content,
        reasoning_field=None if step.reasoning_content is None else "reasoning_content",
        content=text if text or not calls else None,
        tool_calls=tuple(
            ToolCall(call.tool_call_id, call.function_name, json.dumps(call.arguments, ensure_ascii=False))
            for call in calls
        ),
    )
    results = tuple(_result(step, call.tool_call_id) for call in calls)
    return [EarlierTurn(turn, results), *map(EarlierWords, seen)]


def _result(step: Step, call_id: str) -> str:
    texts = [_text(result.content, step) for result in step.results if result.source_call_id == call_id]
    return "\n".join(texts) if texts else _NO_RESULT


def _text(content: Content | None, step: Step) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in content:
        if part.type != "text":
            kind = "picture" if part.type == "image" else "sound"
            message = f"step {step.step_id} holds a {kind}, and only text can be handed on"
            raise EarlierConversationError(message)
        texts.append(part.text)
    return "\n".join(texts)
