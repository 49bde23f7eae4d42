"""What a scripted backend does wrong on demand, so that clients can be seen to cope."""

import json

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from scripted_client import (
    LOOK,
    THOUGHTS,
    complete,
    deltas,
    join,
    journal,
    message_of,
    problem,
    read_stream,
    script,
    served,
    tool,
    user,
)

from agent.scripted.server import serve


async def test_an_http_error_is_answered_so_many_times_for_each_task():
    fault = {"fault": {"status": 503, "message": "Overloaded.", "retry_after": 1}, "times": 2}
    async with served(script(LOOK, fault, {"content": "Two."})) as client:
        first = message_of(await complete(client, user()))
        answers = [await complete(client, user(), first, tool("a"), tool("b")) for _ in range(3)]
        other_task = await complete(client, user("Another task."), first, tool("a"), tool("b"))
    assert [answer.status_code for answer in [*answers, other_task]] == [503, 503, 200, 503]
    assert (problem(answers[0]), answers[0].headers["retry-after"]) == ("Overloaded.", "1")


async def test_a_stalled_request_gets_nothing_until_the_reply_comes():
    async with served(script({"fault": {"stall": 30}}, LOOK)) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post("/v1/chat/completions", json={"messages": [user()]}, timeout=0.3)
        message = message_of(await complete(client, user()))
    assert message["content"] == "Let me read it."


async def test_after_a_stall_the_next_entry_is_played():
    faults = [{"fault": {"stall": 0.01}}, {"fault": {"status": 500}}]
    async with served(script(*faults, LOOK)) as client:
        answers = [(await complete(client, user())).status_code for _ in range(2)]
    assert answers == [500, 200]


async def test_a_cut_stream_ends_with_the_connection():
    async with served(script({"fault": {"break_stream": "cut"}}, LOOK)) as client:
        received: list[bytes] = []
        with pytest.raises(httpx2.RemoteProtocolError):
            await read_stream(client, received)
        again = await complete(client, user(), stream=True)
        first, second = await journal(client)
    assert THOUGHTS[:10].encode() in b"".join(received)
    assert b'finish_reason":"' not in b"".join(received)
    assert join(deltas(again), "content") == "Let me read it."
    assert first["last_byte"] is None
    assert second["last_byte"] is not None


async def test_a_chunk_that_is_no_json_and_no_end_after_it():
    async with served(script({"fault": {"break_stream": "invalid_json"}}, LOOK)) as client:
        response = await complete(client, user(), stream=True)
    *good, bad, rest = response.text.split("\n\n")
    assert rest == ""
    assert all(json.loads(each.removeprefix("data: ")) for each in good)
    with pytest.raises(json.JSONDecodeError):
        json.loads(bad.removeprefix("data: "))


async def test_an_error_event_in_the_middle_of_a_stream():
    scripted = script({"fault": {"break_stream": "error_event"}}, LOOK)
    async with serve(scripted) as url, AsyncOpenAI(base_url=url, api_key="none") as client:
        stream = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="in the middle of the stream"):
            _ = [chunk async for chunk in stream]


async def test_without_a_stream_half_a_body_comes():
    async with served(script({"fault": {"break_stream": "cut"}}, LOOK)) as client:
        response = await complete(client, user())
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
