"""What servers answer instead of a turn, in the words that they were seen to use, and what each means."""

from typing import Any

import pytest
from backend_desk import KEY, POLICY, backend_at, complete, conversation, failure_of
from faulty_server import (
    DONE,
    GOOD,
    STREAM_HEAD,
    Answer,
    delta,
    event,
    faulty,
    http_error,
    usage,
    whole,
)

from agent.backend import BackendUnreachableError, ContextExhaustedError
from agent.chat_backend import RetryPolicy
from agent.dialects.dialect import Dialect, Failures, Overflow
from results.records.usage import Usage


class TestHttpErrors:
    @pytest.mark.parametrize("status", [500, 502, 503, 529, 429, 408])
    async def test_what_may_pass_is_tried_again(self, status: int) -> None:
        heard: list[tuple[str, float]] = []
        loading = http_error(status, {"error": {"message": "Loading model"}})
        async with faulty(loading, GOOD) as server, backend_at(server.url) as backend:
            turn = await backend.complete(conversation(), on_retry=lambda why, wait: heard.append((why, wait)))
        assert (turn.content, turn.requests) == ("Hello.", 2)
        assert server.requests == [conversation().request_body()] * 2
        assert [why for why, _ in heard] == [f"the backend at {server.url} answered {status}: Loading model"]

    @pytest.mark.parametrize(("status", "requests"), [(400, 1), (503, POLICY.attempts)])
    async def test_an_error_that_breaks_off_is_still_that_error(self, status: int, requests: int) -> None:
        head = f"HTTP/1.1 {status} Oops\r\ncontent-length: 500\r\nconnection: close\r\n\r\n".encode()
        async with faulty([head + b'{"error": {"mess']) as server:
            failure = await failure_of(server.url)
        assert str(failure) == f"the backend at {server.url} answered {status}, and broke off before it said why"
        assert not isinstance(failure, BackendUnreachableError)
        assert len(server.requests) == requests

    async def test_a_server_that_never_recovers_is_given_up(self) -> None:
        async with faulty(http_error(500, "Internal Server Error")) as server:
            failure = await failure_of(server.url)
        assert str(failure) == f"the backend at {server.url} answered 500: Internal Server Error"
        assert not isinstance(failure, BackendUnreachableError)
        assert len(server.requests) == POLICY.attempts

    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            (["retry-after: 0.03"], 0.03),
            (["retry-after: 0"], 0.0),
            (["retry-after-ms: 30", "retry-after: 1"], 0.03),
            (["retry-after-ms: soon", "retry-after: 0.02"], 0.02),
            (["retry-after: 3600"], 0.05),
            # The server's clock is not ours: what counts is how much later than its own now it is.
            (["retry-after: Wed, 21 Oct 2026 07:28:30 GMT", "date: Wed, 21 Oct 2026 07:28:30 GMT"], 0.0),
            (["retry-after: Wed, 21 Oct 2026 07:28:30 GMT", "date: Wed, 21 Oct 2026 07:28:00 GMT"], 0.05),
            (["retry-after: Wed, 21 Oct 3026 07:28:00 GMT"], 0.05),
            (["retry-after: Wed, 21 Oct 3026 07:28:00 -0000"], 0.05),
        ],
    )
    async def test_the_wait_that_a_server_asks_for_is_kept_within_reason(self, headers: list[str], wait: float) -> None:
        policy = RetryPolicy(attempts=2, first_wait=0.001, longest_stated_wait=0.05)
        heard: list[float] = []
        busy = http_error(429, {"error": {"message": "Slow."}}, *headers)
        async with faulty(busy, GOOD) as server, backend_at(server.url, retry=policy) as backend:
            await backend.complete(conversation(), on_retry=lambda _, seconds: heard.append(seconds))
        assert len(heard) == 1
        assert wait <= heard[0] <= wait + policy.first_wait

    ENDLESS = "Wed, 21 Oct 2026 07:28:00 +" + "9" * 30

    @pytest.mark.parametrize(
        "header", ["soon", "-1", "nan", "inf", "Wed, 21 Oct 2020 07:28:00 GMT", "Wed, 99 Oct", ENDLESS]
    )
    async def test_a_wait_that_is_none_is_passed_over(self, header: str) -> None:
        heard: list[float] = []
        busy = http_error(429, "", f"retry-after: {header}")
        async with faulty(busy, GOOD) as server, backend_at(server.url) as backend:
            await backend.complete(conversation(), on_retry=lambda _, seconds: heard.append(seconds))
        assert len(heard) == 1
        assert 0 < heard[0] <= POLICY.longest_wait

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (400, {"error": {"message": "Unknown field.", "code": 400}}, "Unknown field."),
            (401, {"error": {"message": "Invalid API Key", "type": "authentication_error"}}, "Invalid API Key"),
            (401, {"error": {"message": "No auth credentials found"}}, "UNBROKEN_API_KEY"),
            (401, {"error": {"message": f"Incorrect key {KEY} given"}}, "Incorrect key [API key] given"),
            (403, "", "403"),
            (404, {"detail": "Not Found"}, "Not Found"),
            (422, {"detail": [{"loc": ["body"]}]}, "loc"),
            (404, {"object": "error", "message": "No such model.", "code": 404}, "No such model."),
            (400, "<html>\n<h1>Bad\nRequest</h1>", "Bad"),
            (400, "\x1b[2J" + "x" * 5000, "xxx"),
            (400, [1], "[1]"),
        ],
    )
    async def test_what_is_wrong_for_good_is_not_tried_again(self, status: int, body: object, said: str) -> None:
        async with faulty(http_error(status, body)) as server:
            failure = await failure_of(server.url)
        assert str(failure).startswith(f"the backend at {server.url} answered {status}: ")
        assert said in str(failure)
        assert len(str(failure)) < 700
        assert "\x1b" not in str(failure)
        assert len(server.requests) == 1

    async def test_a_redirect_is_not_followed(self) -> None:
        async with faulty(GOOD) as elsewhere:
            redirect = http_error(307, "", f"location: {elsewhere.url}/chat/completions")
            async with faulty(redirect) as server:
                failure = await failure_of(server.url)
        assert "answered 307" in str(failure)
        assert (len(server.requests), elsewhere.requests) == (1, [])

    @pytest.mark.parametrize(
        "message",
        [
            "While executing CallExpression at line 85 in source:\n... Jinja Exception: System message must be first.",
            "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at line 1",
            "Failed to parse messages: Unsupported content part type",
            "Unknown (built-in) filter 'items' for type Array",
            "tools param requires --jinja flag",
            "[json.exception.type_error.302] type must be string, but is null",
        ],
    )
    async def test_what_llama_server_calls_500_and_means_400(self, message: str) -> None:
        async with faulty(
            http_error(500, {"error": {"code": 500, "message": message, "type": "server_error"}})
        ) as server:
            failure = await failure_of(server.url)
        assert message.split("\n")[0] in str(failure)
        assert len(server.requests) == 1

    async def test_an_error_that_is_cut_short(self) -> None:
        async with faulty([b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\n{"], GOOD) as server:
            assert (await complete(server)).requests == 2


OVERFLOWS: dict[str, dict[str, Any]] = {
    "llama.cpp": {
        "code": 400,
        "message": "request (36014 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 36014,
        "n_ctx": 8192,
    },
    "vllm": {
        "message": "This model's maximum context length is 16384 tokens. However, your prompt contains at least "
        "16385 input tokens. (parameter=input_tokens, value=16385)",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    },
    "vllm-output": {
        "message": "You passed 9000 input tokens and requested 1024 output tokens. However, the model's context "
        "length is only 9216 tokens, resulting in a maximum input length of 8192 tokens.",
        "code": 400,
    },
    "sglang": {
        "message": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "code": 400,
    },
    "sglang-output": {"message": "Requested token count exceeds the model's maximum context length of 8192 tokens."},
    "openai": {"message": "Your input exceeds the limit.", "code": "context_length_exceeded"},
    "ollama": {"message": "the input length exceeds the context length"},
    "lm-studio": {
        "message": "The number of tokens to keep from the initial prompt is greater than the context length."
    },
    "moonshot": {"message": "Your request exceeded model token limit: 262144 (requested: 262200)"},
    "gemini": {"message": "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."},
    "anthropic": {"message": "prompt is too long: 200001 tokens > 200000 maximum"},
    "openai-classic": {
        "message": "This model's maximum context length is 4097 tokens. However, you requested 4927 tokens (3927 in "
        "the messages, 1000 in the completion). Please reduce the length of the messages or completion."
    },
    "openrouter": {
        "message": "This endpoint's maximum context length is 262,144 tokens. However, you requested about 300,000 "
        "tokens (290,000 of text input, 10,000 in the output)."
    },
    "openrouter-upstream": {
        "message": "Provider returned error",
        "code": 400,
        "metadata": {"raw": "The input (9000 tokens) is longer than the model's context length (8192 tokens)."},
    },
    "dashscope": {"message": "Range of input length should be [1, 129024]", "type": "InvalidParameter"},
}
SIZES: dict[str, tuple[int | None, int | None]] = {
    "llama.cpp": (36014, 8192),
    "vllm": (None, 16384),  # "at least" is no length
    "vllm-output": (9000, 9216),
    "sglang": (9000, 8192),
    "sglang-output": (None, 8192),
    "openai": (None, None),
    "ollama": (None, None),
    "lm-studio": (None, None),
    "moonshot": (262200, 262144),
    "gemini": (1048577, 1048576),
    "anthropic": (200001, 200000),
    "openai-classic": (3927, 4097),
    "openrouter": (290000, 262144),
    "openrouter-upstream": (9000, 8192),
    "dashscope": (None, 129024),
}


class TestContextOverflow:
    @pytest.mark.parametrize("server_name", OVERFLOWS)
    @pytest.mark.parametrize("form", ["wrapped", "bare", "stream", "bare-in-stream", "in-mid-stream", "whole"])
    async def test_is_told_apart_wherever_it_stands_with_the_sizes_that_the_server_tells(
        self, server_name: str, form: str
    ) -> None:
        error = OVERFLOWS[server_name]
        answers: dict[str, Answer] = {
            "wrapped": http_error(400, {"error": error}),
            "bare": http_error(400, {"object": "error", **error}),
            "stream": [STREAM_HEAD, event({"error": error}), DONE],
            "bare-in-stream": [STREAM_HEAD, event({"object": "error", **error}), DONE],
            "in-mid-stream": [STREAM_HEAD, delta(content="Hel"), usage(10, 1), event({"error": error})],
            "whole": whole({"error": error}),
        }
        used: list[Usage] = []
        async with faulty(answers[form]) as server:
            failure = await failure_of(server.url, used)
        assert isinstance(failure, ContextExhaustedError)
        assert str(error["message"]) in str(failure)
        assert (failure.prompt_tokens, failure.context_window) == SIZES[server_name]
        assert sum(used, Usage()) == (Usage(prompt_tokens=10, output_tokens=1) if form == "in-mid-stream" else Usage())
        assert len(server.requests) == 1

    async def test_a_number_that_is_none_takes_nothing_from_it(self) -> None:
        message = f"maximum context length: input token count ({'9' * 5_000})"
        dialect = Dialect(name="own", title="one", overflow=Overflow(patterns=("maximum context",)))
        async with faulty(http_error(400, {"error": {"message": message}})) as server:
            failure = await failure_of(server.url, dialect=dialect)
        assert isinstance(failure, ContextExhaustedError)
        assert failure.prompt_tokens is None

    async def test_what_it_says_is_the_dialects_to_know(self) -> None:
        dialect = Dialect(name="own", title="one", overflow=Overflow(patterns=("no room at the inn",)))
        async with faulty(http_error(400, {"error": {"message": "No ROOM at the inn."}})) as server:
            assert isinstance(await failure_of(server.url, dialect=dialect), ContextExhaustedError)
            assert not isinstance(await failure_of(server.url), ContextExhaustedError)

    async def test_words_of_the_conversation_that_an_error_quotes_mean_nothing(self) -> None:
        error = {"message": "1 validation error", "input": "context_length_exceeded"}
        async with faulty(http_error(422, {"error": error})) as server:
            assert not isinstance(await failure_of(server.url), ContextExhaustedError)


class TestWhatMayPass:
    DIALECT = Dialect(name="own", title="one", failures=Failures(passing=(418,), hopeless=("for ever",)))

    @pytest.mark.parametrize(
        ("status", "message", "tries"),
        [(418, "Later.", 3), (418, "Gone For Ever.", 1), (503, "Later.", 1), (501, "Later.", 1)],
    )
    async def test_is_the_dialects_to_know(self, status: int, message: str, tries: int) -> None:
        async with faulty(http_error(status, {"error": {"message": message}})) as server:
            await failure_of(server.url, dialect=self.DIALECT)
        assert len(server.requests) == tries

    async def test_counts_within_a_stream_as_well(self) -> None:
        hopeless = event({"error": {"message": "Gone for ever."}})
        async with faulty([STREAM_HEAD, delta(content="Hel"), hopeless]) as server:
            await failure_of(server.url, dialect=self.DIALECT)
        assert len(server.requests) == 1

    async def test_a_code_that_is_no_http_status_says_nothing(self) -> None:
        async with faulty([STREAM_HEAD, event({"error": {"message": "Odd.", "code": 20015}})], GOOD) as server:
            assert (await complete(server)).requests == 2
