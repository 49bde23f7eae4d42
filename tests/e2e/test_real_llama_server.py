"""Our loop on the real llama.cpp server: thinking stays, prefixes hold, and what goes wrong ends as it should.

The model plays back a script (tests/llama_server), so this says nothing about any model. UNBROKEN_LONG=1: at the
sizes that the issues name.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from llama_server.desk import TASK, bash, mismatches, recomputed, steps, work
from llama_server.relay import Relay, relay_to
from llama_server.replies import Reply
from llama_server.scripted_model import Architecture, write_scripted_model
from llama_server.server import LlamaServer, running

from agent.backend import BackendError
from agent.backends import BackendOptions, open_backend
from agent.conversation import Conversation
from agent.loop import Instructions

LONG = bool(os.environ.get("UNBROKEN_LONG"))
STEPS = 300 if LONG else 8
FEW = 8
SYSTEM = {"role": "system", "content": TASK.system}
QUESTION = {"role": "user", "content": TASK.task}

pytestmark = pytest.mark.timeout(1200 if LONG else 120)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A server with a model that works in FEW steps, ends, and has one more turn for a further question."""
    model = tmp_path_factory.mktemp("models") / "steps.gguf"
    more = Reply(reasoning="A further question, and I remember everything.", content="Nothing is left to do.")
    write_scripted_model(model, [*steps(FEW), more])
    with running(model) as started:
        yield started


@pytest.fixture
def relay(server: LlamaServer) -> Iterator[Relay]:
    with relay_to(server.root) as passing:
        yield passing


async def test_tool_conversation_keeps_all_thinking_and_every_prefix(tmp_path: Path):
    script = steps(STEPS)
    model = tmp_path / "steps.gguf"
    write_scripted_model(model, script)

    with running(model, context=131_072) as server, relay_to(server.root) as relay:
        outcome, log = await work(relay.url, tmp_path)

        assert (outcome.exit, outcome.steps) == ("finished", STEPS + 1)
        assert mismatches(log.received, script) == []
        assert recomputed(relay) == [0] * STEPS
        for number, chat in enumerate(relay.chats):
            turns = [message for message in chat.body["messages"] if message["role"] == "assistant"]
            assert [turn["reasoning_content"].strip() for turn in turns] == [
                reply.reasoning for reply in script[:number]
            ]
        # Rendering 300 messages takes the server half a second, so of a long conversation some requests have to do.
        prompts = [server.prompt(chat.body) for chat in relay.chats[STEPS % 8 :: STEPS // 8]]
        assert all(longer.startswith(shorter) for shorter, longer in pairwise(prompts))
        assert all(f"<think>\n{reply.reasoning}\n</think>\n\n" in prompts[-1] for reply in script[:STEPS])


async def test_next_question_finds_the_prefix_of_a_conversation_with_preserved_thinking(
    server: LlamaServer, relay: Relay, tmp_path: Path
):
    await work(relay.url, tmp_path)
    known = relay.chats[-1].usage["total_tokens"] - 1

    answer = server.post("/v1/chat/completions", _next_question(relay.chats[-1].body, preserve=True))

    assert answer["choices"][0]["message"]["content"] == "Nothing is left to do."
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == known


async def test_next_question_without_preserved_thinking_loses_the_prefix_at_the_first_turn(
    relay: Relay, server: LlamaServer, tmp_path: Path
):
    await work(relay.url, tmp_path)
    body = _next_question(relay.chats[-1].body, preserve=False)
    prompt = server.prompt(body)
    opening = "<|im_start|>assistant\n"  # behind it the one has thinking, and the other text
    first_turn = server.count(prompt[: prompt.index(opening) + len(opening)])

    answer = server.post("/v1/chat/completions", body)

    assert steps(FEW)[0].reasoning not in prompt
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == first_turn
    assert answer["usage"]["prompt_tokens"] > first_turn + 20 * FEW


def _next_question(last_request: dict[str, Any], *, preserve: bool) -> dict[str, Any]:
    """The request of a client that goes on after the last answer of `steps`."""
    last = steps(FEW)[-1]
    answer = {"role": "assistant", "content": last.content, "reasoning_content": f"{last.reasoning}\n"}
    question = {"role": "user", "content": "Is anything left to do?"}
    return {
        **last_request,
        "messages": [*last_request["messages"], answer, question],
        "chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": preserve},
        "stream": False,
        "stream_options": None,
    }


@pytest.mark.parametrize("task", ["Do it.", "Do it. " + "All of it. " * 4000], ids=["after some steps", "at once"])
async def test_full_context_ends_the_work(tmp_path: Path, task: str):
    shout = [
        Reply(reasoning=f"Part {n} will be long.", calls=(bash(f"seq {n}000 {n}400"),)) for n in range(1, 9)
    ]  # fmt: skip
    model = tmp_path / "shouts.gguf"
    write_scripted_model(model, shout)

    with running(model, context=4096) as server, relay_to(server.root) as relay:
        outcome, _ = await work(relay.url, tmp_path, Instructions("You shout.", task), max_steps=8)

        assert outcome.exit == "limit:context", outcome.detail
        assert outcome.error is None
        assert len([chat for chat in relay.chats if chat.status != 200]) <= 1


async def test_call_that_the_output_limit_cuts_is_not_run(tmp_path: Path):
    words = " ".join(f"word{number}" for number in range(100))
    script = [
        Reply(reasoning="A long call.", calls=(bash(f"touch was-run; echo {words}"),)),
        Reply(reasoning="It was cut off.", content="I stop here."),
    ]
    model = tmp_path / "cut.gguf"
    write_scripted_model(model, script, piece_length=8)

    with running(model) as server, relay_to(server.root) as relay:
        outcome, log = await work(relay.url, tmp_path, sampling={"max_tokens": 20}, max_steps=4)

        assert log.received[0].finish_reason == "length"
        assert "touch was-run" in log.received[0].tool_calls[0].arguments
        assert [(result.is_error, result.exit_code) for result in log.results] == [(True, None)]
        assert not (tmp_path / "was-run").exists()
        assert outcome.exit == "finished"
        assert mismatches(log.received[1:], script[1:]) == []
        assert recomputed(relay)[0] < 20  # the cut call itself, which cannot go back as it was written


BAD_CALL = {"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"command'}}
BAD_HISTORIES = {
    "a second system message": [{"role": "system", "content": "Another one."}],
    "arguments that are no JSON": [
        {"role": "assistant", "content": "", "tool_calls": [BAD_CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "exit=0 0.1s"},
    ],
}


@pytest.mark.parametrize("history", BAD_HISTORIES.values(), ids=BAD_HISTORIES.keys())
async def test_history_that_the_server_refuses_with_500_is_sent_once(relay: Relay, history: list[dict[str, Any]]):
    async with open_backend(relay.url, BackendOptions(retries=3)) as backend:
        conversation = Conversation({"model": "scripted", "stream": True}, [])
        for message in (SYSTEM, QUESTION, *history):
            conversation.append(message)

        with pytest.raises(BackendError):
            await backend.complete(conversation)

    assert [chat.status for chat in relay.chats] == [500]


async def test_changed_first_tool_costs_a_hybrid_everything(tmp_path: Path):
    """A dense model keeps what stands in front of the change; the state of a hybrid goes back to a checkpoint only."""
    cached: dict[Architecture, int] = {}
    for architecture in get_args(Architecture):
        model = tmp_path / f"{architecture}.gguf"
        write_scripted_model(model, steps(FEW), architecture=architecture)
        with running(model) as server, relay_to(server.root) as relay:
            outcome, log = await work(relay.url, tmp_path)
            assert (outcome.exit, mismatches(log.received, steps(FEW)), recomputed(relay)) == (
                "finished",
                [],
                [0] * FEW,
            )
            body = relay.chats[-1].body
            tool = body["tools"][0]["function"]
            tool["description"] = f"New: {tool['description']}"
            answer = server.post("/v1/chat/completions", {**body, "stream": False, "stream_options": None})
            cached[architecture] = answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert cached["qwen35"] == 0
    assert cached["qwen3"] > 20
