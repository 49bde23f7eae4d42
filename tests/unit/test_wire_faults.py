"""Faults at every place of an answer: the turn is whole or asked for again; never half of one, never another error.

The stream below has all that a turn can have, in the pieces in which a server sends it.
"""

import random
from typing import Any

import pytest
from backend_desk import POLICY, backend_at, conversation
from faulty_server import CHUNKED_HEAD, DONE, STREAM_HEAD, Answer, Deed, delta, event, faulty, http_error, usage, whole

from agent.backend import BackendError
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.turn import AssistantTurn, ToolCall
from agent.waits import Waits
from results.records.usage import Usage


def call_piece(index: int, arguments: str, **begin: Any) -> bytes:
    name = {"name": begin.pop("name")} if "name" in begin else {}
    return delta(tool_calls=[{"index": index, **begin, "function": {**name, "arguments": arguments}}])


EVENTS = [
    delta(role="assistant", content=None),
    b": ping\n\n",
    delta(reasoning_content="Grün 🙂\n"),
    delta(content="Ja"),
    call_piece(0, '{"a":', id="x", name="bash"),
    call_piece(0, '"ß"}'),
    call_piece(1, "{}", id="y", name="bash"),
    delta("tool_calls"),
    usage(7, 5),
    DONE,
]
STREAM = b"".join(EVENTS)
FINISHED = len(b"".join(EVENTS[:8]))
"""From here on the model's turn has ended."""
COUNTED = len(b"".join(EVENTS[:9]))

CALLS = (ToolCall("x", "bash", '{"a":"ß"}'), ToolCall("y", "bash", "{}"))
WHOLE_TURN = ("Grün 🙂\n", "reasoning_content", "Ja", CALLS, "tool_calls")
MESSAGE = {
    "role": "assistant",
    "content": "Ja",
    "reasoning_content": "Grün 🙂\n",
    "tool_calls": [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in CALLS
    ],
}
WHOLE_ANSWER = whole({
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5},
})  # fmt: skip
GOOD: Answer = [STREAM_HEAD, STREAM]
COUNT = Usage(prompt_tokens=7, output_tokens=5)
ONCE = RetryPolicy(attempts=1)


def parts(turn: AssistantTurn) -> tuple[Any, ...]:
    return turn.reasoning, turn.reasoning_field, turn.content, turn.tool_calls, turn.finish_reason


async def ask(backend: ChatBackend) -> AssistantTurn:
    turn = await backend.complete(conversation())
    assert parts(turn) == WHOLE_TURN
    return turn


class TestADisconnectAnywhere:
    async def test_at_every_byte_of_a_stream(self) -> None:
        async with faulty() as server, backend_at(server.url, retry=ONCE) as backend:
            for cut in range(len(STREAM) + 1):
                server.play([STREAM_HEAD, STREAM[:cut]])
                if cut < FINISHED:
                    with pytest.raises(BackendError, match="broke off in the middle of its answer"):
                        await backend.complete(conversation())
                else:
                    assert (await ask(backend)).usage == (Usage() if cut < COUNTED else COUNT)

    @pytest.mark.parametrize("off", [-1, 0, 1])
    async def test_around_every_event_of_a_chunked_stream(self, off: int) -> None:
        async with faulty() as server, backend_at(server.url) as backend:
            for number in range(1, len(EVENTS)):
                sent = STREAM[: len(b"".join(EVENTS[:number])) + off]
                server.play([CHUNKED_HEAD, b"%x\r\n%b\r\n" % (len(sent), sent)], GOOD)
                turn = await ask(backend)
                assert turn.requests == len(server.requests) == (1 if len(sent) >= FINISHED else 2)
                assert turn.answer_usage == (Usage() if FINISHED <= len(sent) < COUNTED else COUNT)

    @pytest.mark.parametrize("deed", [Deed.RESET, Deed.STALL, Deed.PING])
    async def test_at_every_event_of_a_stream(self, deed: Deed) -> None:
        waits = Waits(headers=5, first_token=0.05, between_tokens=0.05, end=0.05)
        async with faulty() as server, backend_at(server.url, waits=waits) as backend:
            for number in range(len(EVENTS)):
                server.play([STREAM_HEAD, *EVENTS[:number], deed], GOOD)
                assert (await ask(backend)).requests == (1 if number >= 8 else 2), number

    async def test_all_over_an_answer_that_is_not_streamed(self) -> None:
        data = b"".join(piece for piece in WHOLE_ANSWER if isinstance(piece, bytes))
        async with faulty() as server, backend_at(server.url, retry=ONCE) as backend:
            for cut in range(0, len(data), 5):
                server.play([data[:cut]])
                with pytest.raises(BackendError):
                    await backend.complete(conversation())
            server.play(WHOLE_ANSWER)
            assert (await ask(backend)).usage == COUNT


class TestPieces:
    async def test_of_any_size_make_the_same_turn(self) -> None:
        async with faulty() as server, backend_at(server.url) as backend:
            for size in (1, 2, 3, 5, 64, 1000):
                server.play([STREAM_HEAD, *(STREAM[i : i + size] for i in range(0, len(STREAM), size))])
                assert (await ask(backend)).requests == 1

    async def test_of_which_one_is_giant(self) -> None:
        text = "🙂ü" * 1_000_000
        stream = [delta(reasoning=text), call_piece(0, '{"a":"' + text + '"}', id="x", name="bash"), delta("stop")]
        async with faulty([STREAM_HEAD, b"".join(stream)]) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation())
        assert (turn.reasoning, turn.tool_calls[0].arguments) == (text, '{"a":"' + text + '"}')

    @pytest.mark.parametrize(
        "odd",
        [
            event({"choices": []}),
            event({"choices": None, "usage": None}),
            event({}),
            event({"choices": [{"index": 0, "delta": {}}]}),
            event({"choices": [{"index": 0, "delta": None, "finish_reason": ""}]}),
            usage(7, 5) * 2,
            b": comment\n\n",
            b"event: message\nid: 7\nretry: 10\n\n",
            b"\n\n\n",
            b"unknown: field\n\n",
        ],
    )
    async def test_that_say_nothing_may_stand_anywhere(self, odd: bytes) -> None:
        async with faulty() as server, backend_at(server.url) as backend:
            for place in range(len(EVENTS)):
                server.play([STREAM_HEAD, *EVENTS[:place], odd, *EVENTS[place:]])
                turn = await ask(backend)
                assert (turn.requests, turn.usage) == (1, COUNT)


class TestGarbage:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"data: {\n\n",
            b"data: 7\n\n",
            b"data: \xff\xfe\n\n",
            b"data: " + b"[" * 50_000 + b"\n\n",
            event({"choices": "none"}),
            event({"error": {"message": "CUDA error"}}),
            event({"error": "CUDA error"}),
            event({"object": "error", "message": "CUDA error", "code": 500}),
            delta("error"),
        ],
        ids=["half", "number", "bytes", "deep", "choices", "error", "bare-error", "vllm-error", "gave-up"],
    )
    async def test_before_the_end_costs_a_try_and_behind_it_nothing(self, garbage: bytes) -> None:
        gave_up = garbage == delta("error")
        async with faulty() as server, backend_at(server.url) as backend:
            for place in range(len(EVENTS) - 1 if not gave_up else 7):
                server.play([STREAM_HEAD, *EVENTS[:place], garbage], GOOD)
                turn = await ask(backend)
                assert turn.requests == (1 if place >= 8 else 2), place

    async def test_of_any_kind_is_a_failure_of_the_backend_and_nothing_else(self) -> None:
        chance = random.Random(20261122)
        starts = [b"", STREAM_HEAD, CHUNKED_HEAD, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 Oops\r\n\r\n"]
        starts += [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n"]
        async with faulty() as server, backend_at(server.url) as backend:
            for _ in range(60):
                noise = chance.randbytes(chance.randrange(200)) + chance.choice([b"", b"\r\n", b"\n\n"])
                server.play([chance.choice(starts) + chance.choice([b"", b"data: "]) + noise])
                with pytest.raises(BackendError):
                    await backend.complete(conversation())
                assert len(server.requests) == POLICY.attempts

    async def test_a_byte_that_changed_makes_another_turn_or_a_failure_and_nothing_else(self) -> None:
        chance = random.Random(20261122)
        async with faulty() as server, backend_at(server.url) as backend:
            for _ in range(100):
                place = chance.randrange(len(STREAM))
                broken = STREAM[:place] + chance.randbytes(1) + STREAM[place + 1 :]
                server.play([STREAM_HEAD, broken], GOOD)
                turn = await backend.complete(conversation())
                assert turn.finish_reason


class TestUsageIsCountedWhateverComes:
    FAULTS: tuple[tuple[str, Answer], ...] = (
        ("cut", []),
        ("reset", [Deed.RESET]),
        ("half", [b"data: {\n\n"]),
        ("error", [event({"error": {"message": "CUDA error"}})]),
        ("gave-up", [delta("abort")]),
        ("stall", [Deed.STALL]),
        ("ping", [Deed.PING]),
        ("refused", [event({"error": {"code": 400, "message": "Bad schema."}})]),
        ("overflow", [event({"error": {"code": 400, "message": "context_length_exceeded"}})]),
    )

    @pytest.mark.parametrize("fault", [fault for _, fault in FAULTS], ids=[name for name, _ in FAULTS])
    async def test_before_anything_is_raised(self, fault: Answer) -> None:
        answer = [STREAM_HEAD, delta(content="Hel"), usage(7, 5), *fault]
        waits = Waits(headers=5, first_token=0.1, between_tokens=0.1)
        used: list[Usage] = []
        async with faulty(answer) as server, backend_at(server.url, waits=waits) as backend:
            with pytest.raises(BackendError):
                await backend.complete(conversation(), on_usage=used.append)
        tries = len(server.requests)
        assert sum(used, Usage()) == Usage(prompt_tokens=7 * tries, output_tokens=5 * tries)

    async def test_of_a_turn_that_was_cut(self) -> None:
        cut = [STREAM_HEAD, delta("length", content="Hel"), usage(7, 5)]
        async with faulty(cut) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation())
        assert (turn.is_cut, turn.usage) == (True, COUNT)


class TestStatuses:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
    @pytest.mark.parametrize("headers", [[], ["retry-after: 0.01"], ["retry-after-ms: 5"]])
    async def test_that_may_pass_cost_a_try_each(self, status: int, headers: list[str]) -> None:
        busy = http_error(status, {"error": {"message": "Busy."}}, *headers)
        waits: list[float] = []
        async with faulty(busy, busy, GOOD) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation(), on_retry=lambda _, wait: waits.append(wait))
        assert parts(turn) == WHOLE_TURN
        assert (turn.requests, len(waits)) == (3, 2)
        if headers:
            assert all(wait >= 0.005 for wait in waits)
