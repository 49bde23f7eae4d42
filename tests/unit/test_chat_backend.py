"""A chat completions URL over real sockets: what a server may do, and what comes of it."""

import asyncio
import re
from typing import Any

import pytest
from backend_desk import POLICY, backend_at, complete, conversation, failure_of
from faulty_server import (
    BROKEN,
    CHUNKED_HEAD,
    DONE,
    GOOD,
    STREAM_HEAD,
    Answer,
    Deed,
    delta,
    event,
    faulty,
    http_error,
    unused_url,
    usage,
)

from agent.backend import BackendUnreachableError
from agent.chat_backend import ChatBackend, RetryPolicy
from results.records.events import BackendDescription
from results.records.usage import Usage


class TestATurnThatArrives:
    async def test_the_body_is_sent_as_the_conversation_holds_it(self) -> None:
        async with faulty(GOOD) as server:
            turn = await complete(server)
        assert server.requests == [conversation().request_body()]
        assert (turn.content, turn.finish_reason, turn.requests) == ("Hello.", "stop", 1)
        assert turn.usage == Usage(prompt_tokens=10, output_tokens=2)

    async def test_byte_by_byte(self) -> None:
        stream = b"".join([delta(reasoning="grün"), delta(content="🙂 \u2028"), delta("stop"), usage(1, 2), DONE])
        async with faulty([STREAM_HEAD, *(stream[i : i + 1] for i in range(len(stream)))]) as server:
            turn = await complete(server)
        assert (turn.reasoning, turn.content, turn.usage.output_tokens) == ("grün", "🙂 \u2028", 2)

    async def test_a_giant_chunk(self) -> None:
        async with faulty([STREAM_HEAD, delta(content="ü" * 2_000_000), delta("stop"), DONE]) as server:
            assert (await complete(server)).content == "ü" * 2_000_000

    @pytest.mark.parametrize(
        "behind",
        [
            [],
            [DONE],
            [DONE, b"data: {garbage\n\n"],
            [DONE, Deed.STALL],
            [b"data: {garbage\n\n"],
            [b"data: 7\n\n"],
            [Deed.RESET],
            [event({"error": {"message": "Too late."}})],
        ],
        ids=["no-done", "done", "garbage-after-done", "stays-open", "garbage", "number", "reset", "error"],
    )
    async def test_nothing_behind_the_finish_reason_takes_the_turn_away(self, behind: list[Any]) -> None:
        async with faulty([STREAM_HEAD, delta(content="Hello."), usage(1, 2), delta("stop"), *behind]) as server:
            turn = await complete(server)
        assert (turn.content, turn.usage.output_tokens, len(server.requests)) == ("Hello.", 2, 1)

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    async def test_pings_and_unknown_fields_are_passed_over(self, line_end: bytes) -> None:
        odd: Any = {
            "choices": [{"index": 0, "delta": {"content": "b", "unheard": [1]}, "logprobs": None}],
            "timings": {},
        }
        pieces = [
            b": ping\n\n",
            b"\n\n",
            b"event: message\n",
            delta(content="a"),
            b":\n\n",
            event(odd),
            delta("stop"),
            DONE,
        ]
        async with faulty([STREAM_HEAD, b"".join(pieces).replace(b"\n", line_end)]) as server:
            assert (await complete(server)).content == "ab"

    async def test_a_proxy_of_the_environment_is_not_asked_for_a_server_on_this_machine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, unused_url())
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with faulty(GOOD) as server:
            assert (await complete(server)).content == "Hello."


class TestNobodyThere:
    async def test_a_refused_connection(self) -> None:
        failure = await failure_of(unused_url())
        assert isinstance(failure, BackendUnreachableError)
        assert re.search(r"cannot be reached: .*(refused|Connect)", str(failure))

    async def test_a_connection_that_is_reset_before_the_answer(self) -> None:
        async with faulty([Deed.RESET]) as server:
            failure = await failure_of(server.url)
        assert isinstance(failure, BackendUnreachableError)
        assert len(server.requests) == POLICY.attempts

    async def test_what_answers_speaks_no_http(self) -> None:
        async with faulty([b"SSH-2.0-OpenSSH_9.2\r\n"]) as server:
            failure = await failure_of(server.url)
        assert isinstance(failure, BackendUnreachableError)


class TestSilence:
    @pytest.mark.parametrize(
        "answer",
        [
            [Deed.STALL],
            [STREAM_HEAD, Deed.STALL],
            [STREAM_HEAD, delta(content="Hel"), Deed.STALL],
            [b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\n{", Deed.STALL],
        ],
        ids=["before-headers", "behind-headers", "in-the-stream", "in-an-error"],
    )
    async def test_is_given_up_after_the_stall_timeout(self, answer: Answer) -> None:
        async with faulty(answer) as server:
            failure = await failure_of(server.url, stall_timeout=0.3, retry=RetryPolicy(attempts=2, first_wait=0.001))
        assert isinstance(failure, BackendUnreachableError)
        assert str(failure) == f"the backend at {server.url} sent nothing for 0.3 seconds"
        assert len(server.requests) == 2

    async def test_a_server_that_recovers_is_worth_the_wait(self) -> None:
        async with faulty([Deed.STALL], GOOD) as server:
            turn = await complete(server, stall_timeout=0.3)
        assert (turn.content, turn.requests) == ("Hello.", 2)


class TestBrokenStreams:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            pytest.param([delta(content="Hel")], "broke off", id="cut"),
            pytest.param([delta(content="Hel"), DONE], "broke off", id="done-without-finish"),
            pytest.param([], "broke off", id="nothing"),
            pytest.param([delta(content="Hel"), Deed.RESET], "broke off", id="reset"),
            pytest.param([delta("abort", content="Hel"), DONE], "broke off", id="abort"),
            pytest.param([b'data: {"choices":[{"index":0,"delta":{"content":\n\n'], "cannot be read", id="half-json"),
            pytest.param([b'data: {"choices": 7}\n\n'], "cannot be read: choices: Input should be", id="no-chunk"),
            pytest.param([b"data: \xff\n\n"], "cannot be read", id="no-utf-8"),
            pytest.param([b"data: " + b"[" * 100_000 + b"\n\n"], "cannot be read", id="deep"),
            pytest.param([event({"error": {"code": 500, "message": "type_error.316"}})], "type_error.316", id="error"),
            pytest.param([event({"error": "CUDA error"})], "sent an error in its answer: CUDA error", id="bare-error"),
        ],
    )
    async def test_are_asked_for_again_and_then_given_up(self, answer: Answer, said: str) -> None:
        broken = [STREAM_HEAD, *answer]
        async with faulty(broken) as server:
            failure = await failure_of(server.url)
        assert said in str(failure)
        assert not isinstance(failure, BackendUnreachableError)
        assert len(server.requests) == POLICY.attempts
        async with faulty(broken, GOOD) as server:
            turn = await complete(server)
        assert (turn.content, turn.requests) == ("Hello.", 2)

    async def test_a_body_that_ends_before_its_length_is_one_too(self) -> None:
        async with faulty([CHUNKED_HEAD, b"5\r\ndata:"]) as server:
            failure = await failure_of(server.url)
        assert str(failure) == f"the backend at {server.url} broke off in the middle of its answer"

    async def test_an_error_in_the_stream_that_names_a_4xx_is_not_tried_again(self) -> None:
        async with faulty([STREAM_HEAD, event({"error": {"code": 400, "message": "Bad schema."}})]) as server:
            assert "Bad schema." in str(await failure_of(server.url))
        assert len(server.requests) == 1


class TestUsageOfFailedRequests:
    async def test_is_in_the_failure(self) -> None:
        async with faulty(BROKEN) as server:
            failure = await failure_of(server.url)
        assert failure.usage == Usage(prompt_tokens=30, output_tokens=9)

    async def test_is_in_the_turn_that_came_after_it(self) -> None:
        async with faulty(BROKEN, http_error(503, ""), GOOD) as server:
            turn = await complete(server)
        assert (turn.usage, turn.requests) == (Usage(prompt_tokens=20, output_tokens=5), 3)

    async def test_counts_before_a_failure_for_good(self) -> None:
        async with faulty(BROKEN, http_error(401, "")) as server:
            failure = await failure_of(server.url)
        assert failure.usage == Usage(prompt_tokens=10, output_tokens=3)


class TestCancellation:
    @pytest.mark.parametrize(
        "answer", [[STREAM_HEAD, delta(content="Hel"), Deed.STALL], [Deed.STALL]], ids=["stream", "headers"]
    )
    async def test_closes_the_connection(self, answer: Answer) -> None:
        async with faulty(answer) as server, backend_at(server.url) as backend:
            task = asyncio.create_task(backend.complete(conversation()))
            async with asyncio.timeout(10):
                await server.was_asked.wait()
                task.cancel()
                await server.client_left.wait()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert len(server.requests) == 1

    async def test_ends_the_wait_for_another_try(self) -> None:
        waiting = asyncio.Event()
        async with faulty(http_error(503, "", "retry-after: 60")) as server, backend_at(server.url) as backend:
            task = asyncio.create_task(backend.complete(conversation(), on_retry=lambda _why, _wait: waiting.set()))
            async with asyncio.timeout(10):
                await waiting.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-sécret"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the API key holds a character") as caught:
        ChatBackend(BackendDescription(base_url="http://127.0.0.1:1/v1", model="m", dialect="generic"), key)
    assert "cret" not in str(caught.value)
