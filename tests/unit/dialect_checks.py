"""What a dialect promises of a server family, one check for each part: AssertionError where it does not hold.

What is expected comes from the server's fixture and from its journal, never from the dialect that is checked.
"""

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from conformance.behaviour import ServerBehaviour
from conformance.desk import events, put_together
from conformance.exchange import Exchange
from conformance.prefix import Cause
from conformance.server import ConformanceServer
from dialect_desk import SCRIPT, Asked, Played, turns

from agent.context import ContextWindow
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect


async def check_conversation(server: ConformanceServer, dialect: Dialect, asked: Asked) -> None:
    """Five turns: each received as it was sent, and each in every later prompt as it was generated."""
    check_preserves(server.behaviour, dialect)
    played: list[Played] = []
    async with aclosing(turns(server, dialect, asked)) as coming:
        async for one in coming:
            played.append(one)
            check_turn(len(played) - 1, one)
            check_usage(one)
            check_switches(one.exchange, asked)
            check_thinking_is_there(played, asked)
            check_details_went_back(one.exchange, played[:-1])
            check_losses(server, asked)
    assert len(played) == len(SCRIPT)
    check_no_loss_is_told(dialect, played)


def check_turn(number: int, one: Played) -> None:
    """The turn is what stood on the wire, and what the script says."""
    assert one.exchange.status == 200
    turn, wire, form = one.turn, message_on_the_wire(one.exchange), one.exchange.behaviour.reasoning
    reply, generation = SCRIPT[number], one.exchange.generation
    assert generation is not None
    thought = reply.reasoning if generation.reasoning else ""
    assert (turn.reasoning or "").strip() == (thought if shows_thinking(one.exchange) else "")
    if form.emitted_as:
        assert (turn.reasoning, turn.reasoning_field if thought else None) == (
            wire.get(form.emitted_as),
            form.emitted_as if thought else None,
        )
    assert (turn.content or "").strip() == reply.content
    if not form.inline:
        assert turn.content == wire.get("content")
    calls = [(call.id, call.name, call.arguments) for call in turn.tool_calls]
    emitted = [(call["id"], call["function"]) for call in wire.get("tool_calls", [])]
    assert calls == [(call_id, function["name"], function["arguments"]) for call_id, function in emitted]
    assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [
        (call.name, call.arguments) for call in reply.calls
    ]
    assert turn.finish_reason == generation.finish_reason


def check_usage(one: Played) -> None:
    """Every count that the family reports is received, and none that it does not."""
    exchange, usage = one.exchange, one.turn.usage
    form = exchange.behaviour.usage
    told = set(form.fields.values()) - (
        {"cached"} if form.cached_absent_at_zero and not exchange.cached_tokens else set()
    )
    written = exchange.prompt_tokens - exchange.cached_tokens if "cache_write" in told else None
    if any("created_cache_tokens" in path for path in form.fields):
        written = 0  # vLLM has a place for it, and nothing in it
    assert usage.prompt_tokens == exchange.prompt_tokens
    assert usage.output_tokens == exchange.completion_tokens
    assert usage.cached_tokens == (exchange.cached_tokens if "cached" in told else None)
    assert usage.reasoning_tokens == (exchange.reasoning_tokens if "reasoning" in told else None)
    assert usage.cache_write_tokens == written


def check_switches(exchange: Exchange, asked: Asked) -> None:
    """The server does with thinking what it was asked to."""
    behaviour, request = exchange.behaviour, exchange.request
    assert request is not None
    assert request.thinking == (asked.thinking if behaviour.thinking.switches else behaviour.thinking.default)
    if behaviour.preserve.mode == "request":
        assert request.preserve == asked.preserve
    assert request.stream == asked.stream


def check_thinking_is_there(played: Sequence[Played], asked: Asked) -> None:
    """Everything that was thought, and can be carried, is in the latest prompt."""
    exchange = played[-1].exchange
    request, behaviour = exchange.request, exchange.behaviour
    assert request is not None
    roles = [message["role"] for message in exchange.body["messages"]]
    last_question = len(roles) - 1 - roles[::-1].index("user")
    for earlier, reply in zip(played[:-1], SCRIPT, strict=False):
        message = len(earlier.exchange.body["messages"])
        kept = request.preserve or message > last_question
        if reply.reasoning and request.thinking and comes_out(earlier.exchange):
            assert (reply.reasoning in exchange.prompt_text) == kept, reply.reasoning
    if asked.preserve and behaviour.preserve.mode != "never":
        assert request.preserve


def check_details_went_back(exchange: Exchange, earlier: Sequence[Played]) -> None:
    """OpenRouter's blocks go back as they came: some of them hold what nobody can read."""
    if not exchange.behaviour.reasoning.details:
        return
    turns = [message for message in exchange.body["messages"] if message["role"] == "assistant"]
    for message, one in zip(turns, earlier, strict=True):
        came = message_on_the_wire(one.exchange).get("reasoning_details", [])
        went = message.get("reasoning_details", [])
        assert [_without_text(block) for block in went] == [_without_text(block) for block in came[:1]]
        assert "".join(block["text"] for block in went) == "".join(block["text"] for block in came)


UP_TO_OTHERS = ("generic", "lmstudio", "openrouter")
"""Dialects behind which somebody else decides: nobody knows who; a setting of the model; the provider."""

PRESERVES = {"request": "asked", "with_tools": "always", "always": "always", "never": "never"}
"""By the fixture's words: DeepSeek keeps thinking where there are tools, and ours always have some."""


def check_preserves(behaviour: ServerBehaviour, dialect: Dialect) -> None:
    """What the dialect says about thinking across a user message is so."""
    assert dialect.thinking.preserves == (
        "unknown" if dialect.name in UP_TO_OTHERS else PRESERVES[behaviour.preserve.mode]
    )


def check_losses(server: ConformanceServer, asked: Asked) -> None:
    """Prompt N and what was generated are the beginning of prompt N + 1."""
    asked_for = set[Cause]() if asked.preserve else {Cause.REASONING_NOT_PRESERVED}
    assert {loss.cause for loss in server.avoidable_losses} <= asked_for, server.avoidable_losses


def check_no_loss_is_told(dialect: Dialect, played: Sequence[Played]) -> None:
    """The product does not take the server's blocks for a lost cache, where the prefix holds."""
    window = ContextWindow(None, cache_block=dialect.cache_block)
    for one in played:
        finding = window.note(one.turn.usage, Conversation({}, []))
        if one.exchange.prefix is None or not one.exchange.prefix.lost_tokens:
            assert finding is None, finding


def message_on_the_wire(exchange: Exchange) -> dict[str, Any]:
    """The assistant message that was sent, put together by a plain client."""
    if exchange.request and exchange.request.stream:
        return put_together(events(b"".join(exchange.events).decode())).message
    return exchange.response["choices"][0]["message"]


def shows_thinking(exchange: Exchange) -> bool:
    """Whether the family shows what was thought."""
    form = exchange.behaviour.reasoning
    return bool(form.emitted_as or form.inline)


def comes_out(exchange: Exchange) -> bool:
    """Whether a client can send back what was thought in that turn."""
    form = exchange.behaviour.reasoning
    signed = form.signatures and bool(exchange.generation and exchange.generation.calls)
    return form.carries and (shows_thinking(exchange) or form.details or signed)


def _without_text(block: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "text"}
