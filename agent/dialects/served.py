"""What a server says about what it serves: window, quantisation, weights, version. What it does not say is None."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from agent.dialects.asking import Asked, Server
from agent.dialects.dialect import Dialect, Question
from agent.dialects.patterns import matches_any, values_at

T = TypeVar("T")

_LONGEST_TEXT = 500


@dataclass(frozen=True)
class Facts:
    """About one model on one server. None: it does not tell."""

    context_window: int | None = None
    """In tokens, as served."""
    quantisation: str | None = None
    version: str | None = None
    """Of the server."""
    weights: str | None = None
    kv_cache: str | None = None
    speculative: str | None = None
    """`none` where it says that it does not."""
    vision: bool | None = None


def ask_served(server: Server, dialect: Dialect, model: str) -> Facts:
    """Ask the dialect's questions about `model`, all at the same time. A question without an answer is no error."""
    served = dialect.served
    questions = (
        served.context, served.quantisation, served.version, served.weights, served.kv_cache, served.speculative,
        served.vision,
    )  # fmt: skip
    server.ask_all(_asked(question, model) for alternatives in questions for question in alternatives)

    def first(alternatives: Sequence[Question], read: Callable[[object], T | None]) -> T | None:
        return next(_answers(server, alternatives, model, read), None)

    return Facts(
        context_window=min(_answers(server, served.context, model, _tokens), default=None),
        quantisation=first(served.quantisation, _text),
        version=first(served.version, _text),
        weights=first(served.weights, _text),
        kv_cache=first(served.kv_cache, _text),
        speculative=first(served.speculative, _text),
        vision=next(
            (_yes(server, question, model) for question in served.vision if _said(server, question, model)), None
        ),
    )


def _asked(question: Question, model: str) -> Asked:
    body = None if question.body is None else json.dumps(_filled(question.body, model))
    return Asked(question.url, body)


def _filled(value: Any, model: str) -> Any:
    match value:
        case str():
            return value.replace("{model}", model)
        case dict():
            return {key: _filled(inner, model) for key, inner in cast("dict[str, Any]", value).items()}
        case list():
            return [_filled(inner, model) for inner in cast("list[Any]", value)]
        case _:
            return value


def _answers(
    server: Server, alternatives: Sequence[Question], model: str, read: Callable[[object], T | None]
) -> Iterator[T]:
    for question in alternatives:
        for value in _said(server, question, model):
            if (answer := read(value)) is not None:
                yield answer


def _said(server: Server, question: Question, model: str) -> list[Any]:
    reply = server.said(_asked(question, model))
    return list(values_at(reply.json, question.at, model)) if reply and reply.is_good else []


def _yes(server: Server, question: Question, model: str) -> bool:
    values = _said(server, question, model)
    if question.says is None:
        return any(value is True for value in values)
    return any(matches_any((question.says,), str(value)) for value in values)


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "none"
    if isinstance(value, str | int | float) and str(value).strip():
        return str(value).strip()[:_LONGEST_TEXT]
    return None
