"""The scripted backend over real sockets: what an OpenAI client gets from it, and how it starts and stops."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest
from openai import AsyncOpenAI
from scripted_client import (
    LOOK,
    THOUGHTS,
    TOOLS,
    bash,
    complete,
    deltas,
    events,
    join,
    message_of,
    problem,
    script,
    served,
    tool,
    until_requests_are,
    user,
)

from agent.scripted.script import Script, load_script
from agent.scripted.server import serve


class TestProtocol:
    async def test_a_stream_has_the_order_of_llama_server(self):
        async with served(script(LOOK)) as client:
            response = await complete(client, user(), stream=True, stream_options={"include_usage": True})
        *chunks, finish, usage = events(response)
        kinds = [next(iter(chunk["choices"][0]["delta"])) for chunk in chunks]
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
        assert list(dict.fromkeys(kinds)) == ["role", "reasoning_content", "content", "tool_calls"]
        assert kinds == sorted(kinds, key=["role", "reasoning_content", "content", "tool_calls"].index)
        assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
        assert usage["choices"] == []
        assert usage["usage"]["completion_tokens_details"]["reasoning_tokens"] > 10
        assert len({chunk["id"] for chunk in [*chunks, finish, usage]}) == 1

    async def test_a_client_that_leaves_in_the_middle_of_a_request_is_no_error(self, caplog: pytest.LogCaptureFixture):
        async with served(script(LOOK)) as client:
            host, port = client.base_url.host, client.base_url.port
            assert port
            _, writer = await asyncio.open_connection(host, port)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            await until_requests_are(client, f"http://{host}:{port}/v1", 1)
            writer.close()
            await writer.wait_closed()
            assert (await complete(client, user())).status_code == 200
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []

    async def test_the_pieces_of_a_stream_are_the_texts_of_the_script(self):
        text = "Größe: 名前 🙂\n" * 40
        command = 'printf "%s\\n" "ä" | sed \'s/x/y/\'' * 10
        async with served(script({"reasoning": text, "content": text, "tool_calls": [bash(command)]})) as client:
            response = await complete(client, user(), stream=True)
        received = deltas(response)
        assert join(received, "reasoning_content") == text
        assert join(received, "content") == text
        calls = [call for delta in received for call in delta.get("tool_calls", [])]
        assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"command": command}
        assert 2 < len(received) < 40

    async def test_id_and_name_of_a_call_come_with_its_first_piece_only(self):
        long_call = bash("echo " + "a" * 200)
        async with served(script({"tool_calls": [long_call, bash("ls")]})) as client:
            received = deltas(await complete(client, user(), stream=True))
        calls = [call for delta in received for call in delta.get("tool_calls", [])]
        assert [call["index"] for call in calls] == sorted(call["index"] for call in calls)
        named = [call for call in calls if "id" in call]
        assert [(call["index"], call["type"], call["function"]["name"]) for call in named] == [
            (0, "function", "bash"),
            (1, "function", "bash"),
        ]
        assert named[0]["id"] != named[1]["id"]
        assert all(set(call) == {"index", "function"} for call in calls if call not in named)

    async def test_usage_comes_only_when_it_is_asked_for(self):
        async with served(script(LOOK)) as client:
            response = await complete(client, user(), stream=True)
        assert all("usage" not in chunk and chunk["choices"] for chunk in events(response))

    async def test_one_piece_says_the_same_as_the_stream(self):
        async with served(script(LOOK)) as client:
            streamed = deltas(await complete(client, user(), stream=True))
            response = await complete(client, user())
        message = message_of(response)
        assert message["reasoning_content"] == join(streamed, "reasoning_content") == THOUGHTS
        assert message["content"] == join(streamed, "content") == "Let me read it."
        ids = [call["id"] for delta in streamed for call in delta.get("tool_calls", []) if "id" in call]
        assert [call["id"] for call in message["tool_calls"]] == ids
        assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
            '{"command": "cat slugify.py"}',
            '{"command": "ls"}',
        ]
        assert response.json()["choices"][0]["finish_reason"] == "tool_calls"

    async def test_the_reasoning_field_is_the_one_of_the_script(self):
        async with served(script(LOOK, reasoning_field="reasoning")) as client:
            message = message_of(await complete(client, user()))
            streamed = deltas(await complete(client, user(), stream=True))
        assert message["reasoning"] == join(streamed, "reasoning") == THOUGHTS
        assert "reasoning_content" not in message
        assert not any("reasoning_content" in delta for delta in streamed)

    async def test_thinking_switched_off_leaves_the_reasoning_out(self):
        async with served(script(LOOK)) as client:
            response = await complete(client, user(), chat_template_kwargs={"enable_thinking": False})
        assert "reasoning_content" not in message_of(response)
        assert response.json()["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0

    async def test_malformed_arguments_and_a_finish_reason_go_out_as_written(self):
        reply = {"tool_calls": [{"name": "bash", "arguments": '{"command": "ls'}], "finish_reason": "length"}
        async with served(script(reply)) as client:
            response = await complete(client, user())
        assert message_of(response)["tool_calls"][0]["function"]["arguments"] == '{"command": "ls'
        assert response.json()["choices"][0]["finish_reason"] == "length"

    async def test_it_says_everywhere_that_it_is_scripted(self):
        async with served(script(LOOK, context_window=4096)) as client:
            whole = await complete(client, user())
            streamed = await complete(client, user(), stream=True)
            models = await client.get("/v1/models")
            others = [await client.get(path) for path in ("/health", "/scripted/requests", "/nowhere")]
            refused = await complete(client)
        for chunk in [whole.json(), *events(streamed)]:
            assert (chunk["model"], chunk["system_fingerprint"]) == ("scripted/test", "scripted")
        (model,) = models.json()["data"]
        assert (model["id"], model["owned_by"], model["max_model_len"]) == ("scripted/test", "scripted", 4096)
        for response in [whole, streamed, models, *others, refused]:
            assert response.headers["x-scripted"] == "true"

    async def test_the_openai_sdk_reads_it(self):
        async with serve(script(LOOK)) as url, AsyncOpenAI(base_url=url, api_key="none") as client:
            stream = await client.chat.completions.create(
                model="scripted/test",
                messages=[{"role": "user", "content": "Mend slugify."}],
                tools=TOOLS,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            models = [model.id async for model in client.models.list()]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens_details is not None
        assert chunks[-2].choices[0].finish_reason == "tool_calls"
        assert models == ["scripted/test"]


class TestScript:
    async def test_the_reply_is_chosen_by_the_number_of_assistant_messages(self):
        async with served(script(LOOK, {"content": "Two."}, {"content": "Three."})) as client:
            one = message_of(await complete(client, user()))
            three = message_of(await complete(client, user(), one, tool("a"), {"role": "assistant", "content": "Two."}))
            two = message_of(await complete(client, user(), one, tool("a"), tool("b")))
        assert [message["content"] for message in (one, two, three)] == ["Let me read it.", "Two.", "Three."]

    async def test_conversations_run_side_by_side(self):
        conversations = [
            {"when": f"task {n}.", "replies": [{"content": f"{n}a"}, {"content": f"{n}b"}]} for n in range(8)
        ]
        scripted = Script.model_validate({"scripted": "many", "token_delay": 0.01, "conversations": conversations})

        async def run(client: httpx2.AsyncClient, number: int) -> str:
            question = user(f"This is task {number}.")
            first = message_of(await complete(client, question))
            second = message_of(await complete(client, question, first, user("Go on.")))
            return first["content"] + second["content"]

        async with served(scripted) as client:
            answers = await asyncio.gather(*(run(client, number) for number in range(8)))
        assert answers == [f"{n}a{n}b" for n in range(8)]

    async def test_running_past_the_end_is_a_sentence(self):
        async with served(script({"content": "One."})) as client:
            response = await complete(client, user(), {"role": "assistant", "content": "One."})
        assert response.status_code == 400
        assert problem(response) == "The script 'test' has no reply number 2 for the fallback conversation."

    async def test_repeat_last_answers_for_ever_with_new_call_ids(self):
        looping = {"replies": [{"tool_calls": [bash("true")]}], "repeat_last": True}
        messages, ids = [user()], set[str]()
        async with served(Script.model_validate({"scripted": "loop", "conversations": [looping]})) as client:
            for _ in range(5):
                message = message_of(await complete(client, *messages))
                ids.add(message["tool_calls"][0]["id"])
                messages += [message, tool("")]
        assert len(ids) == 5

    async def test_a_first_message_that_nothing_matches_is_a_sentence(self):
        scripted = Script.model_validate(
            {"scripted": "test", "conversations": [{"when": "slugify", "replies": [{"content": "Yes."}]}]}
        )
        async with served(scripted) as client:
            response = await complete(client, user("Something else"), user("slugify"))
        assert response.status_code == 400
        assert "no conversation for the first user message, which begins 'Something else'" in problem(response)


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"{", "The request is malformed: the body: "),
            (b"\xff", "The request is malformed: the body: "),
            (b"{}", "malformed: messages: Field required"),
            (b'{"messages": [{"role": "user", "content": 7}]}', "messages.0.content"),
            (b'{"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"enable_thinking": "false"}}',
             "chat_template_kwargs.enable_thinking: Input should be a valid boolean"),
            (b'{"messages": []}', "No user query found"),
            (b'{"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}',
             "messages[1]: the system message must be at the beginning"),
        ],
    )  # fmt: skip
    async def test_a_bad_request_is_400_with_a_sentence(self, body: bytes, expected: str):
        async with served(script(LOOK)) as client:
            response = await client.post("/v1/chat/completions", content=body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert expected in problem(response)

    async def test_unknown_paths_and_methods_are_errors_in_json(self):
        async with served(script(LOOK)) as client:
            unknown, method = await client.get("/v1/embeddings"), await client.get("/v1/chat/completions")
        assert (unknown.status_code, problem(unknown)) == (404, "GET /v1/embeddings: Not Found.")
        assert (method.status_code, problem(method)) == (405, "GET /v1/chat/completions: Method Not Allowed.")

    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_prompt_longer_than_the_window_is_refused_with_both_numbers(self, stream: bool):
        async with served(script(LOOK, context_window=100)) as client:
            assert (await complete(client, user())).status_code == 200
            response = await complete(client, user("word " * 200), stream=stream)
        error = response.json()["error"]
        assert response.status_code == 400
        assert error["code"] == "context_length_exceeded"
        assert (error["n_ctx"], error["n_prompt_tokens"] > 200) == (100, True)
        assert "100 tokens" in error["message"]
        assert f"{error['n_prompt_tokens']} input tokens" in error["message"]


class TestServing:
    async def test_open_streams_and_stalled_requests_end_when_it_closes(self):
        scripted = Script.model_validate(
            {
                "scripted": "slow",
                "token_delay": 600,
                "conversations": [
                    {"when": "stall", "replies": [{"fault": {"stall": 600}}, LOOK]},
                    {"replies": [LOOK]},
                ],
            }
        )
        async with httpx2.AsyncClient(timeout=60) as client:
            async with serve(scripted) as url:
                stalled = asyncio.create_task(
                    client.post(f"{url}/chat/completions", json={"messages": [user("stall")]})
                )
                request = client.build_request(
                    "POST", f"{url}/chat/completions", json={"messages": [user()], "stream": True}
                )
                response = await client.send(request, stream=True)
                pieces = response.aiter_text()
                assert "assistant" in await anext(pieces)
                async with asyncio.timeout(30):
                    await until_requests_are(client, url, 2)
            rest = "".join([piece async for piece in pieces])
            assert "shutting down" in rest
            assert (await stalled).status_code == 503
            with pytest.raises(httpx2.ConnectError):
                await client.get(url)

    async def test_a_port_can_be_chosen_and_used_again_at_once(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for _ in range(2):
            async with serve(script(LOOK), port=port) as url, httpx2.AsyncClient() as client:
                assert url == f"http://127.0.0.1:{port}/v1"
                assert (await client.get(f"{url}/models")).status_code == 200

    async def test_a_port_that_is_taken_is_an_error(self):
        async with serve(script(LOOK)) as url:
            with pytest.raises(OSError, match="in use"):
                async with serve(script(LOOK), port=int(url.split(":")[2].removesuffix("/v1"))):
                    pass

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_run_forever_says_where_it_is_and_ends_at_a_signal(self, tmp_path: Path, number: int):
        file = tmp_path / "hello.yaml"
        file.write_text("scripted: hello\nconversations: [{replies: [{content: Hello.}]}]\n", encoding="utf-8")
        assert load_script(file).model == "scripted/hello"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"from agent.scripted.server import run_forever; run_forever({str(file)!r})",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        url = line.split()[-1]
        assert line.startswith("scripted/hello (scripted")
        async with httpx2.AsyncClient() as client:
            assert (
                message_of(await client.post(f"{url}/chat/completions", json={"messages": [user()]}))["content"]
                == "Hello."
            )
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, errors) == (0, b"")
