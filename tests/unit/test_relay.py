"""The relay on the wire: what goes on to the backend, what comes back, and who is served at all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from faulty_server import DONE, GOOD, GOOD_WHOLE, STREAM_HEAD, Deed, delta, event, faulty, http_error, unused_url, whole
from relay_desk import KEY, MODEL, message_of, relayed, user
from scripted_client import LOOK, script, served

from agent.relay.request import RelayRefusal
from results.records.events import ResponseEvent
from results.records.usage import Usage

HELLO = user()


def assert_no_key(folder: Path, *texts: str | bytes) -> None:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert files
    for data in (*files, *(text.encode() if isinstance(text, str) else text for text in texts)):
        assert KEY.encode() not in data


class TestWhatGoesOn:
    async def test_a_whole_answer_comes_back_byte_for_byte(self, tmp_path: Path) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            body = b'{ "model":"scripted",\n "messages" : [{"role":"user","content":"Gr\\u00fc\xc3\x9fe"}] }'
            answer = await desk.post(body)

        assert answer.content == GOOD_WHOLE[1]
        assert backend.requests == [body]
        assert backend.paths == ["/v1/chat/completions"]
        assert f"authorization: bearer {KEY}".encode() in backend.heads[0].lower()
        assert desk.token.encode() not in backend.heads[0]

    async def test_a_stream_comes_back_event_for_event_and_its_counts_stay_here(self, tmp_path: Path) -> None:
        async with faulty(GOOD) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.ask(HELLO, stream=True)

        assert answer.content == delta(content="Hello.") + delta("stop") + DONE
        assert answer.headers["content-type"] == "text/event-stream"
        (body,) = backend.requests
        assert json.loads(body)["stream_options"] == {"include_usage": True}
        assert body.endswith(b'"stream":true}')
        (request,) = desk.requests()
        assert (request.added, request.usage) == (["stream_options"], Usage(prompt_tokens=10, output_tokens=2))

    async def test_counts_that_the_agent_asked_for_come_back(self, tmp_path: Path) -> None:
        async with faulty(GOOD) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.ask(HELLO, stream=True, stream_options={"include_usage": True})
        assert answer.content == b"".join(piece for piece in GOOD[1:] if isinstance(piece, bytes))

    async def test_settings_of_the_run_are_added_and_those_of_the_agent_stand(self, tmp_path: Path) -> None:
        sampling = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4096}
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path, sampling=sampling) as desk:
            await desk.ask(HELLO, temperature=0, max_completion_tokens=99)

        sent = json.loads(backend.requests[0])
        assert sent == {
            "top_p": 0.95,
            "model": MODEL,
            "messages": [HELLO],
            "temperature": 0,
            "max_completion_tokens": 99,
        }
        (request,) = desk.requests()
        assert (request.added, request.overridden) == (["top_p"], ["temperature"])
        assert desk.ledger.counts["setting_overridden"] == 1

    async def test_the_sdk_of_openai_works_with_it(self, tmp_path: Path) -> None:
        async with served(script(LOOK)) as backend, relayed(f"{backend.base_url}/v1", tmp_path) as desk:
            client = openai.AsyncOpenAI(
                base_url=desk.url, api_key=desk.token, http_client=httpx2.AsyncClient(trust_env=False)
            )
            models = [model.id async for model in client.models.list()]
            stream: Any = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "x"}], stream=True
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            await client.close()

        assert models == [MODEL]
        assert text == LOOK["content"]
        assert desk.ledger.budget.usage.output_tokens


class TestWhoIsServed:
    @pytest.mark.parametrize("token", ["none", "wrong", KEY])
    async def test_a_wrong_token_is_refused(self, tmp_path: Path, token: str) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.ask(HELLO, token=token)
            models = await desk.client.get("/models", headers=desk.headers(token))

        assert (answer.status_code, models.status_code) == (401, 401)
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert not backend.requests

    async def test_a_token_ends_with_its_trial(self, tmp_path: Path) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            with desk.relay.trial(desk.ledger) as token:
                assert (await desk.ask(HELLO, token=token)).status_code == 200
            assert (await desk.ask(HELLO, token=token)).status_code == 401
        assert len(backend.requests) == 1

    @pytest.mark.parametrize("path", ["embeddings", "completions", "responses", "models/x", "../health"])
    async def test_other_paths_are_not_relayed(self, tmp_path: Path, path: str) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.client.post(path, json={}, headers=desk.headers())
        assert answer.status_code == 404
        assert not backend.requests

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"{", "no JSON"),
            (b"[]", "no JSON object"),
            (b'{"model":"scripted","messages":[]}', "messages"),
            (b'{"model":"scripted","messages":[{"role":"user","content":NaN}]}', "NaN"),
            (b'{"model":"other","messages":[{"role":"user"}],"model":"scripted"}', "stands twice"),
            (b'{"messages":' + b"[" * 100_000, "no JSON"),
            (b"\xff\xfe{\x00}\x00", "no JSON"),
        ],
    )
    async def test_what_servers_could_read_in_several_ways_goes_no_further(
        self, tmp_path: Path, body: bytes, reason: str
    ) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.post(body)
        assert answer.status_code == 400
        assert reason in answer.json()["error"]["message"]
        assert not backend.requests
        assert [request.status for request in desk.requests()] == [400]

    async def test_only_the_model_of_the_run_is_served(self, tmp_path: Path) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            answer = await desk.ask(HELLO, model="dearer")
        assert answer.status_code == 404
        assert MODEL in answer.json()["error"]["message"]
        assert not backend.requests


class TestWhatGoesWrong:
    @pytest.mark.parametrize("status", [400, 401, 429, 500])
    async def test_an_error_of_the_backend_comes_back_without_the_key(self, tmp_path: Path, status: int) -> None:
        said = {"error": {"message": f"{KEY} has no room", "code": "context_length_exceeded"}}
        async with (
            faulty(http_error(status, said, "retry-after: 7")) as backend,
            relayed(backend.url, tmp_path) as desk,
        ):
            answer = await desk.ask(HELLO)

        assert answer.status_code == status
        assert answer.headers["retry-after"] == "7"
        assert answer.json()["error"] == {"message": "[API key] has no room", "code": "context_length_exceeded"}
        assert bool(desk.ledger.backend_failure) == (status != 400)
        assert desk.ledger.budget.usage == Usage()
        assert desk.ledger.budget.steps == 0
        (request,) = desk.requests()
        assert f"answered {status}" in request.problem
        assert_no_key(tmp_path, answer.content, desk.ledger.backend_failure)

    async def test_a_backend_that_does_not_answer_is_a_502_that_does_not_say_where_it_is(self, tmp_path: Path) -> None:
        url = unused_url()
        async with relayed(url, tmp_path) as desk:
            answer = await desk.ask(HELLO)
        assert answer.status_code == 502
        assert url not in answer.text
        assert url in desk.ledger.backend_failure

    async def test_a_stream_that_breaks_off_breaks_off_here_too(self, tmp_path: Path) -> None:
        async with (
            faulty([STREAM_HEAD, delta(content="Hel"), Deed.RESET]) as backend,
            relayed(backend.url, tmp_path) as desk,
        ):
            with pytest.raises(httpx2.RemoteProtocolError):
                await desk.ask(HELLO, stream=True)
        assert "broke off" in desk.ledger.backend_failure
        assert desk.ledger.budget.usage == Usage(unreported=1)
        assert desk.ledger.budget.steps == 0

    async def test_an_answer_that_recovers_takes_the_failure_back(self, tmp_path: Path) -> None:
        async with faulty(http_error(503, "busy"), GOOD_WHOLE) as backend, relayed(backend.url, tmp_path) as desk:
            await desk.ask(HELLO)
            message_of(await desk.ask(HELLO))
        assert not desk.ledger.backend_failure
        assert desk.ledger.counts["backend_failed"] == 1
        assert [event.type for event in desk.events()] == ["start", "message", "request", "retry", "response"]

    async def test_an_error_within_a_stream_goes_on_and_is_no_turn(self, tmp_path: Path) -> None:
        broken = event({"error": {"message": f"{KEY} ran out", "code": 500}})
        async with (
            faulty([STREAM_HEAD, delta(content="Hel"), broken]) as backend,
            relayed(backend.url, tmp_path) as desk,
        ):
            answer = await desk.ask(HELLO, stream=True)
        assert b"[API key] ran out" in answer.content
        assert "ran out" in desk.ledger.backend_failure
        assert_no_key(tmp_path, answer.content, desk.ledger.backend_failure)

    async def test_an_agent_that_leaves_ends_its_request_at_the_backend(self, tmp_path: Path) -> None:
        async with (
            faulty([STREAM_HEAD, delta(content="Hel"), Deed.STALL]) as backend,
            relayed(backend.url, tmp_path) as desk,
        ):
            body = {"model": MODEL, "messages": [HELLO], "stream": True}
            async with desk.client.stream("POST", "/chat/completions", json=body, headers=desk.headers()) as response:
                await anext(response.aiter_bytes())
            await asyncio.wait_for(backend.client_left.wait(), 10)
        (request,) = desk.requests()
        assert request.problem == "the agent broke the request off"
        assert desk.ledger.budget.usage == Usage(unreported=1)
        assert not desk.ledger.backend_failure

    async def test_an_agent_that_waits_for_nothing_may_leave_too(self, tmp_path: Path) -> None:
        async with faulty([Deed.STALL]) as backend, relayed(backend.url, tmp_path) as desk:
            asking = asyncio.create_task(desk.ask(HELLO))
            await backend.was_asked.wait()
            asking.cancel()
            await asyncio.wait_for(backend.client_left.wait(), 10)
        (request,) = desk.requests()
        assert request.status is None

    async def test_what_is_still_on_its_way_at_the_end_is_broken_off(self, tmp_path: Path) -> None:
        async with faulty([Deed.STALL]) as backend, relayed(backend.url, tmp_path) as desk:
            asking = asyncio.create_task(desk.ask(HELLO))
            await backend.was_asked.wait()
            await desk.ledger.end()
            await asyncio.wait_for(backend.client_left.wait(), 10)
            await asyncio.gather(asking, return_exceptions=True)
        assert len(desk.requests()) == 1

    async def test_counts_that_the_server_does_not_tell_are_unknown(self, tmp_path: Path) -> None:
        body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
        async with faulty(whole(body)) as backend, relayed(backend.url, tmp_path) as desk:
            await desk.ask(HELLO)
        assert desk.ledger.budget.usage == Usage(unreported=1)
        assert desk.requests()[0].usage is None


class TestLimits:
    async def test_a_limit_is_an_error_and_is_remembered(self, tmp_path: Path) -> None:
        async with faulty(GOOD_WHOLE) as backend, relayed(backend.url, tmp_path, steps=1) as desk:
            message_of(await desk.ask(HELLO))
            refused = await desk.ask(HELLO)

        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "false"
        assert refused.json()["error"] == {
            "message": "the limit of 1 steps was reached",
            "type": "insufficient_quota",
            "param": None,
            "code": "limit:steps",
        }
        assert desk.ledger.limit == ("limit:steps", "the limit of 1 steps was reached")
        assert desk.ledger.limit_met.is_set()
        assert len(backend.requests) == 1

    async def test_tokens_of_streams_count_towards_theirs(self, tmp_path: Path) -> None:
        async with faulty(GOOD) as backend, relayed(backend.url, tmp_path, tokens=12) as desk:
            await desk.ask(HELLO, stream=True)
            refused = await desk.ask(HELLO, stream=True)
        assert refused.json()["error"]["code"] == "limit:tokens"

    async def test_a_limit_that_cannot_be_kept_stops_the_agent(self, tmp_path: Path) -> None:
        silent = [STREAM_HEAD, delta(content="Hello."), delta("stop"), DONE]
        async with faulty(silent) as backend, relayed(backend.url, tmp_path, tokens=1000) as desk:
            await desk.ask(HELLO, stream=True)
            refused = await desk.ask(HELLO, stream=True)
        assert refused.status_code == 403
        assert "no token counts" in desk.ledger.backend_failure


async def test_an_agent_has_only_so_many_requests_under_way(tmp_path: Path) -> None:
    async with faulty([Deed.STALL]) as backend, relayed(backend.url, tmp_path) as desk:
        asking = [asyncio.create_task(desk.ask(HELLO)) for _ in range(33)]
        (refused,), waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        await desk.ledger.end()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert refused.result().status_code == 429
    assert refused.result().json()["error"]["code"] == "too_many_at_once"
    assert "x-should-retry" not in refused.result().headers
    assert desk.ledger.limit is None


async def test_an_agent_that_does_not_give_up_fills_no_disk(tmp_path: Path) -> None:
    async with relayed(unused_url(), tmp_path) as desk:
        for _ in range(1005):
            with pytest.raises(RelayRefusal):
                desk.ledger.admit(b"[]")
    assert desk.ledger.counts["relay_refused"] == 1005
    assert len(desk.requests()) == 1000


async def test_a_token_is_that_of_one_trial(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        faulty(GOOD_WHOLE) as backend,
        relayed(backend.url, tmp_path / "one") as one,
        relayed(backend.url, tmp_path / "two") as two,
    ):
        await one.ask(HELLO)
        assert (await one.ask(HELLO, token=two.token)).status_code == 401
    assert not two.ledger.has_begun
    assert [type(event) for event in one.events()].count(ResponseEvent) == 1
