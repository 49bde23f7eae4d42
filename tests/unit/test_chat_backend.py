"""A chat completions URL over real sockets: what a server may do, and what comes of it."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from backend_desk import POLICY, backend_at, complete, conversation, failure_of
from faulty_server import (
    BROKEN,
    CHUNKED_HEAD,
    DONE,
    GOOD,
    GOOD_WHOLE,
    STREAM_HEAD,
    Answer,
    Deed,
    delta,
    event,
    faulty,
    http_error,
    unused_url,
    usage,
    whole,
)

from agent.backend import BackendUnreachableError
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import Conversation
from agent.dialects.dialect import Counting, Dialect
from agent.dialects.registry import load_dialect
from agent.repetition import ThinkingGuard, ThinkingLimits
from agent.waits import Waits
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


TWICE = RetryPolicy(attempts=2, first_wait=0.001)
LONG = Waits(headers=60, whole=60, first_token=60, between_tokens=60, end=60)
HALF_ERROR = b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\n{"


class TestSilence:
    @pytest.mark.parametrize(
        ("answer", "limit", "said"),
        [
            ([Deed.STALL], "headers", "sent no headers for 0.3 seconds: is its only slot busy"),
            ([HALF_ERROR, Deed.STALL], "headers", "sent no headers for 0.3 seconds"),
            ([STREAM_HEAD, Deed.STALL], "first_token", "began to answer, but sent no token for 0.3 seconds"),
            ([STREAM_HEAD, delta(role="assistant", content=""), Deed.STALL], "first_token", "sent no token for 0.3"),
            ([STREAM_HEAD, Deed.PING], "first_token", "began to answer, but sent no token for 0.3 seconds"),
            ([STREAM_HEAD, delta(content="Hel"), Deed.STALL], "between_tokens", "stopped in the middle of its answer"),
            ([STREAM_HEAD, delta(content="Hel"), Deed.PING], "between_tokens", "sent no token for 0.3 seconds"),
            (GOOD_WHOLE[:1], "whole", "did not finish its answer, which is not streamed, within 0.3 seconds"),
        ],
        ids=["headers", "error", "first-token", "role", "ping-first", "next-token", "ping-next", "whole"],
    )
    async def test_is_given_up_at_the_limit_for_what_is_waited_for(self, answer: Answer, limit: str, said: str) -> None:
        waits = replace(LONG, **{limit: 0.3})
        async with faulty([*answer, Deed.STALL]) as server:
            failure = await failure_of(server.url, waits=waits, retry=TWICE)
            async with asyncio.timeout(10):
                await server.client_left.wait()
        assert isinstance(failure, BackendUnreachableError)
        assert said in str(failure)
        assert len(server.requests) == 2

    async def test_an_answer_that_is_not_to_be_streamed_has_one_limit_for_all_of_it(self) -> None:
        async with faulty([Deed.STALL]) as server, backend_at(server.url, waits=replace(LONG, whole=0.3)) as backend:
            with pytest.raises(BackendUnreachableError, match=r"not streamed, within 0\.3 seconds"):
                await backend.complete(conversation(stream=False))

    @pytest.mark.parametrize("deed", [Deed.STALL, Deed.PING])
    async def test_behind_the_finish_reason_it_costs_nothing_but_the_usage(self, deed: Deed) -> None:
        async with faulty([STREAM_HEAD, delta(content="Hello."), delta("stop"), deed]) as server:
            turn = await complete(server, waits=replace(LONG, end=0.1))
        assert (turn.content, turn.usage, len(server.requests)) == ("Hello.", Usage(), 1)

    async def test_a_server_that_recovers_is_worth_the_wait(self) -> None:
        async with faulty([Deed.STALL], GOOD) as server:
            turn = await complete(server, waits=Waits.of_silence(0.3))
        assert (turn.content, turn.requests) == ("Hello.", 2)

    async def test_one_limit_can_stand_for_all(self) -> None:
        assert {Waits.of_silence(7).limit(what) for what in ("headers", "whole", "first_token", "next_token")} == {7}


class TestTheTimeOfAStep:
    async def test_ends_a_request_that_takes_longer(self) -> None:
        used: list[Usage] = []
        waits = replace(LONG, total=0.3)
        async with faulty([STREAM_HEAD, delta(content="Hel"), usage(10, 1), Deed.STALL]) as server:
            failure = await failure_of(server.url, used, waits=waits)
        assert "did not finish within the 0.3 seconds that a step may take" in str(failure)
        assert sum(used, Usage()) == Usage(prompt_tokens=10, output_tokens=1)
        assert len(server.requests) == 1

    async def test_is_not_slept_away(self) -> None:
        waits = replace(LONG, total=30)
        async with faulty(http_error(429, {"error": {"message": "Slow."}}, "retry-after: 60")) as server:
            async with asyncio.timeout(10):
                failure = await failure_of(server.url, waits=waits)
        assert "429: Slow.; another try would not fit into the 30 seconds that a step may take" in str(failure)
        assert len(server.requests) == 1

    async def test_covers_all_tries_together(self) -> None:
        waits, policy = replace(LONG, total=0.5), RetryPolicy(attempts=1000, first_wait=0.05, longest_wait=0.05)
        async with faulty(http_error(503, {"error": {"message": "Busy."}})) as server:
            async with asyncio.timeout(10):
                assert "Busy." in str(await failure_of(server.url, waits=waits, retry=policy))
        assert 1 < len(server.requests) < 1000


class TestWholeAnswers:
    @pytest.mark.parametrize("answer", [GOOD, GOOD_WHOLE], ids=["streamed", "whole"])
    @pytest.mark.parametrize("asked", [True, False])
    async def test_either_kind_is_read_whatever_was_asked_for(self, answer: Answer, asked: bool) -> None:
        async with faulty(answer) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation(stream=asked))
        assert server.requests == [conversation(stream=asked).request_body()]
        assert json.loads(server.requests[0])["stream"] is asked
        assert (turn.content, turn.finish_reason) == ("Hello.", "stop")
        assert turn.usage == Usage(prompt_tokens=10, output_tokens=2)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (whole({"error": {"message": "CUDA error"}}), "sent an error in its answer: CUDA error"),
            (whole({"object": "error", "message": "CUDA error", "code": 500}), "CUDA error"),
            (whole({"choices": []}), "cannot be read: choices: there is none"),
            (whole([1]), "cannot be read"),
            (whole(b'{"choices": [{"mess'), "cannot be read"),
            (whole(b"\xff"), "cannot be read"),
            (whole(b"[" * 100_000), "cannot be read"),
            (whole({"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}), "broke off"),
            (whole(b"no gzip", "content-encoding: gzip"), "broke off"),
            ([GOOD_WHOLE[0], b"{"], "broke off"),
            ([STREAM_HEAD.replace(b"event-stream", b"html"), b"<html>Log in"], "is the address right?"),
        ],
        ids=["error", "vllm-error", "empty", "list", "half", "bytes", "deep", "abort", "gzip", "cut", "page"],
    )
    async def test_broken_ones_are_asked_for_again_and_then_given_up(self, answer: Answer, said: str) -> None:
        async with faulty(answer) as server:
            assert said in str(await failure_of(server.url))
            assert len(server.requests) == POLICY.attempts
            server.play(answer, GOOD_WHOLE)
            assert (await complete(server)).requests == 2

    async def test_the_usage_of_one_that_failed_is_counted(self) -> None:
        used: list[Usage] = []
        failed = whole({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})
        async with faulty(failed) as server:
            await failure_of(server.url, used)
            server.play(failed, GOOD_WHOLE)
            turn = await complete(server)
        assert sum(used, Usage()) == Usage(prompt_tokens=30, output_tokens=9)
        assert turn.usage == Usage(prompt_tokens=20, output_tokens=5)


class TestThinkingThatDoesNotEnd:
    @pytest.mark.parametrize("tries", [1, 2])
    async def test_is_broken_off_and_every_try_begins_with_a_fresh_guard(self, tries: int) -> None:
        # Either try alone has less thinking than the guard allows, both together have more.
        half = [delta(reasoning="thought " * 10), usage(10, 1)]
        answers = [[STREAM_HEAD, *half]] * (tries - 1) + [[STREAM_HEAD, *half, delta(reasoning="x" * 60), Deed.STALL]]
        async with faulty(*answers) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation(), guard=ThinkingGuard(ThinkingLimits(longest=120)))
            async with asyncio.timeout(10):
                await server.client_left.wait()
        assert turn.stopped == "the model thought for more than 120 characters"
        assert (turn.reasoning, turn.finish_reason) == ("thought " * 10 + "x" * 60, None)
        assert (turn.requests, turn.usage) == (tries, Usage(prompt_tokens=10 * tries, output_tokens=tries))


class TestCounting:
    DIALECT = load_dialect("llama.cpp")
    ANSWER = whole({"input_tokens": 16, "object": "response.input_tokens"})

    async def test_asks_the_dialects_endpoint_with_the_fields_that_it_wants(self) -> None:
        asking = Conversation({"model": "m", "stream": True, "temperature": 1.0}, [{"type": "function"}])
        asking.append({"role": "user", "content": "ü"})
        async with faulty(self.ANSWER) as server, backend_at(server.url, dialect=self.DIALECT) as backend:
            assert await backend.count(asking) == 16
        assert server.paths == ["/v1/chat/completions/input_tokens"]
        sent = json.loads(server.requests[0])
        assert sent == {"model": "m", "tools": [{"type": "function"}], "messages": [{"role": "user", "content": "ü"}]}

    async def test_a_path_that_begins_with_a_slash_is_the_servers(self) -> None:
        dialect = Dialect(name="own", title="one", counting=Counting(url="/tokenize", at="input_tokens"))
        async with faulty(self.ANSWER) as server, backend_at(server.url, dialect=dialect) as backend:
            assert await backend.count(conversation()) == 16
        assert server.paths == ["/tokenize"]

    @pytest.mark.parametrize(
        "answer", [http_error(404, ""), [Deed.RESET], whole(b"{"), whole({"input_tokens": "x"}), whole([])]
    )
    async def test_a_server_that_does_not_count_leaves_it_unknown(self, answer: Answer) -> None:
        async with faulty(answer) as server, backend_at(server.url, dialect=self.DIALECT) as backend:
            assert await backend.count(conversation()) is None

    async def test_without_an_endpoint_nobody_is_asked(self) -> None:
        async with faulty(self.ANSWER) as server, backend_at(server.url) as backend:
            assert await backend.count(conversation()) is None
        assert server.requests == []


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
        used: list[Usage] = []
        async with faulty(BROKEN) as server:
            await failure_of(server.url, used)
        assert sum(used, Usage()) == Usage(prompt_tokens=30, output_tokens=9)

    async def test_is_in_the_turn_that_came_after_it(self) -> None:
        async with faulty(BROKEN, http_error(503, ""), GOOD) as server:
            turn = await complete(server)
        assert (turn.usage, turn.requests) == (Usage(prompt_tokens=20, output_tokens=5), 3)
        assert turn.answer_usage == Usage(prompt_tokens=10, output_tokens=2)

    async def test_of_one_that_broke_off_before_its_counts_is_known_to_be_unknown(self) -> None:
        begun = [STREAM_HEAD, delta(content="Hel")]
        async with faulty(begun, http_error(503, ""), GOOD) as server:
            turn = await complete(server)
        assert turn.usage == Usage(prompt_tokens=10, output_tokens=2, unreported=1)

    async def test_is_told_though_nobody_waits_any_more(self) -> None:
        used: list[Usage] = []
        answers = BROKEN, [STREAM_HEAD, delta(content="Hel"), usage(10, 1), Deed.STALL]
        async with faulty(*answers) as server, backend_at(server.url) as backend:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await backend.complete(conversation(), on_usage=used.append)
        assert used == [Usage(prompt_tokens=10, output_tokens=3), Usage(prompt_tokens=10, output_tokens=1)]

    async def test_counts_before_a_failure_for_good(self) -> None:
        used: list[Usage] = []
        async with faulty(BROKEN, http_error(401, "")) as server:
            await failure_of(server.url, used)
        assert sum(used, Usage()) == Usage(prompt_tokens=10, output_tokens=3)


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
