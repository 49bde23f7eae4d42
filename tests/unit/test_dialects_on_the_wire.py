"""The table against servers that were built without it: what the model still reads of its thinking, turn after turn."""

from typing import Any

import pytest
from conformance.responder import Call, Reply
from conformance.server import ConformanceServer, conformance_server

from agent.backend import BackendError
from agent.backends import BackendOptions, open_backend
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.dialects.registry import load_dialect
from agent.request import request_head, wire_fields
from agent.turn import AssistantTurn, sent_turn
from results.records.events import BackendDescription

TOOLS = [{
    "type": "function",
    "function": {"name": "bash", "description": "Run a command.", "parameters": {
        "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"],
    }},
}]  # fmt: skip

LAST = 5
ANSWER = 3
"""The turn without a call, behind which the user says something more."""

SCRIPT = [
    Reply(
        reasoning=f"unique thought {number}",
        content="" if number == 1 else f"Working on {number}.",
        calls=() if number == ANSWER else (Call("bash", {"command": f"ls {number}"}),),
    )
    for number in range(LAST + 1)
]
SAMPLING = {"temperature": 0.6, "top_k": 20, "min_p": 0.0, "presence_penalty": 0.5, "max_output": 2000}

ALL = [0, 1, 2, 3, 4]
SINCE_THE_USER = [4]


async def converse(backend: ChatBackend) -> tuple[list[AssistantTurn], set[str]]:
    """Six turns, with a new message of the user before the fifth; and the differences of what was sent."""
    conversation = Conversation(request_head(backend.description), TOOLS)
    conversation.append({"role": "system", "content": "You work."})
    conversation.append({"role": "user", "content": "Go."})
    turns: list[AssistantTurn] = []
    differences: set[str] = set()
    for number in range(LAST + 1):
        turns.append(await backend.complete(conversation))
        sent = sent_turn(turns[-1], number, backend.dialect)
        differences |= set(sent.differences)
        conversation.append(sent.message)
        for call in sent.calls:
            conversation.append({"role": "tool", "tool_call_id": call.id, "content": "ok"})
        if not sent.calls:
            conversation.append({"role": "user", "content": "More."})
    return turns, differences


def still_read(server: ConformanceServer) -> list[int]:
    """The turns whose thinking stands in the last prompt."""
    return [number for number in range(LAST) if f"unique thought {number}" in server.last.prompt_text]


@pytest.mark.parametrize(
    ("family", "kept"),
    [
        ("vllm", ALL), ("sglang", ALL), ("ktransformers", ALL), ("llama.cpp", ALL), ("mlx", ALL),
        ("transformers-serve", ALL), ("dashscope", ALL), ("openrouter", ALL), ("deepseek", ALL), ("moonshot", ALL),
        ("gemini-compat", [0, 1, 2, 4]),  # over this protocol the turn without a call has no signature
        ("ollama", SINCE_THE_USER), ("lmstudio", SINCE_THE_USER), ("openai", []),
    ],
)  # fmt: skip
async def test_model_reads_its_thinking_as_far_as_the_family_lets_it(family: str, kept: list[int]):
    with conformance_server(family, script=SCRIPT) as server:
        options = BackendOptions(dialect=family, sampling=SAMPLING)
        async with open_backend(server.url, options) as backend:
            turns, _ = await converse(backend)
        assert still_read(server) == kept
        assert server.avoidable_losses == []
    assert all(turn.usage.prompt_tokens and turn.usage.output_tokens for turn in turns)
    if load_dialect(family).reasoning.received:
        thoughts = [(turn.reasoning or "").strip() for turn in turns]
        assert thoughts == [f"unique thought {number}" for number in range(LAST + 1)]


async def test_only_what_a_family_needs_is_changed_in_a_turn():
    changed: dict[str, set[str]] = {}
    for family in ("vllm", "llama.cpp", "ollama", "openrouter", "deepseek", "moonshot", "transformers-serve"):
        with conformance_server(family, script=SCRIPT) as server:
            async with open_backend(server.url, BackendOptions(dialect=family)) as backend:
                changed[family] = (await converse(backend))[1]
    assert {family: causes for family, causes in changed.items() if causes} == {
        "moonshot": {"empty_content_left_out"},
        "transformers-serve": {"reasoning_sent_inline"},
    }


async def test_thinking_is_forgotten_where_a_person_wants_that():
    with conformance_server("vllm", script=SCRIPT) as server:
        async with open_backend(server.url, BackendOptions(preserve=False)) as backend:
            await converse(backend)
        assert still_read(server) == SINCE_THE_USER


@pytest.mark.parametrize(
    "family", ["vllm", "sglang", "llama.cpp", "dashscope", "ollama", "deepseek", "moonshot", "openai"]
)
async def test_no_thinking_is_no_thinking(family: str):
    with conformance_server(family, script=SCRIPT) as server:
        async with open_backend(server.url, BackendOptions(dialect=family, thinking=False)) as backend:
            turns, _ = await converse(backend)
        assert all(exchange.reasoning_tokens == 0 for exchange in server.journal)
    assert not any(turn.reasoning for turn in turns)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("vllm", "cached_tokens", 384), ("llama.cpp", "cached_tokens", 466), ("deepseek", "cached_tokens", 448),
        ("moonshot", "cached_tokens", 256), ("openai", "reasoning_tokens", 5), ("sglang", "reasoning_tokens", 5),
    ],
)  # fmt: skip
async def test_counts_are_read_where_the_family_has_them(family: str, key: str, value: int):
    with conformance_server(family, script=SCRIPT) as server:
        async with open_backend(server.url, BackendOptions(dialect=family)) as backend:
            turns, _ = await converse(backend)
        told = server.last.cached_tokens if key == "cached_tokens" else server.last.reasoning_tokens
    assert getattr(turns[-1].usage, key) == told > 0


# -- a wrong cell shows


def changed(family: str, table: str, **cells: Any) -> Dialect:
    dialect = load_dialect(family)
    return dialect.model_copy(update={table: getattr(dialect, table).model_copy(update=cells)})


async def with_dialect(server: ConformanceServer, dialect: Dialect) -> list[int]:
    sampling, _ = wire_fields(dialect, SAMPLING, thinking=True)
    description = BackendDescription(
        base_url=server.url, model=server.behaviour.model, dialect=dialect.name, sampling=sampling
    )
    backend = ChatBackend(description, dialect=dialect, retry=RetryPolicy(attempts=1))
    try:
        await converse(backend)
    finally:
        await backend.close()
    return still_read(server)


@pytest.mark.parametrize(
    ("family", "table", "cells"),
    [
        ("vllm", "reasoning", {"sent": ("reasoning_content",)}),
        ("llama.cpp", "reasoning", {"sent": ("reasoning",)}),
        ("ollama", "reasoning", {"sent": ("reasoning_content",)}),
        ("transformers-serve", "reasoning", {"sent_inline": False, "sent": ("reasoning", "reasoning_content")}),
        ("vllm", "reasoning", {"received": ("reasoning_content",)}),
        ("vllm", "thinking", {"preserve": {"preserve_thinking": True}}),
        ("dashscope", "thinking", {"preserve": {"chat_template_kwargs": {"preserve_thinking": True}}}),
    ],
)
async def test_wrong_cell_loses_thinking(family: str, table: str, cells: dict[str, Any]):
    with conformance_server(family, script=SCRIPT) as server:
        right = await with_dialect(server, load_dialect(family))
    with conformance_server(family, script=SCRIPT) as server:
        assert set(await with_dialect(server, changed(family, table, **cells))) < set(right)


@pytest.mark.parametrize(
    "dialect",
    [
        changed("transformers-serve", "sampling", refused=()),
        changed("openai", "output", key="max_tokens"),
        changed("gemini-compat", "sampling", refused=()),
        load_dialect("gemini-compat").model_copy(update={"behaviours": ()}),
    ],
    ids=lambda dialect: dialect.name,
)
async def test_wrong_cell_is_refused_by_the_server(dialect: Dialect):
    with conformance_server(dialect.name, script=SCRIPT) as server, pytest.raises(BackendError, match="answered 4"):
        await with_dialect(server, dialect)


@pytest.mark.parametrize("family", ["deepseek", "moonshot"])
@pytest.mark.parametrize("right", [True, False])
async def test_turn_without_thinking_is_accepted_with_the_familys_behaviour_alone(family: str, right: bool):
    script = [Reply(content="x", calls=(Call("bash", {"command": "ls"}),)), *SCRIPT[1:]]
    dialect = load_dialect(family)
    with conformance_server(family, script=script) as server:
        if right:
            assert 0 not in await with_dialect(server, dialect)
        else:
            with pytest.raises(BackendError, match="reasoning_content"):
                await with_dialect(server, dialect.model_copy(update={"behaviours": ("usage_in_choice",)}))
