"""What the scripted backend counts and records, over real sockets: usage, cached prefixes, the journal."""

import hashlib
import json
from typing import Any

from scripted_client import LOOK, SYSTEM, TOOLS, complete, journal, message_of, script, served, tool, user


class TestPrefixCache:
    """What it reports is what tells a client that keeps its conversation from one that edits it."""

    @staticmethod
    async def usage_of_second_request(*, edit: Any = None, preserve: bool = True) -> dict[str, Any]:
        """Usage of a request that holds the first exchange and a further question, after `edit` changed it."""
        options = {"preserve_thinking": preserve}
        async with served(script(LOOK, {"content": "Done."})) as client:
            question = user("Mend slugify, please. " * 10)
            first = await complete(client, SYSTEM, question, tools=TOOLS, chat_template_kwargs=options)
            messages = [dict(SYSTEM), question, message_of(first), tool("one"), tool("two"), user("And the tests?")]
            if edit:
                edit(messages)
            second = await complete(client, *messages, tools=TOOLS, chat_template_kwargs=options)
        before, after = first.json()["usage"], second.json()["usage"]
        return {"earlier": before["total_tokens"], "earlier_prompt": before["prompt_tokens"], **after,
                "cached": after["prompt_tokens_details"]["cached_tokens"]}  # fmt: skip

    async def test_a_client_that_sends_back_what_it_got_has_the_whole_past_cached(self):
        usage = await self.usage_of_second_request()
        assert usage["cached"] == usage["earlier"] // 16 * 16

    async def test_a_client_that_loses_the_thinking_loses_the_turn(self):
        def lose(messages: list[dict[str, Any]]) -> None:
            del messages[2]["reasoning_content"]

        usage = await self.usage_of_second_request(edit=lose)
        assert usage["cached"] <= usage["earlier_prompt"]
        assert usage["earlier_prompt"] - usage["cached"] < 16

    async def test_without_preserved_thinking_a_new_question_loses_the_turn(self):
        usage = await self.usage_of_second_request(preserve=False)
        assert usage["earlier_prompt"] - 16 - 16 < usage["cached"] <= usage["earlier_prompt"]

    async def test_a_character_changed_early_loses_everything_after_it(self):
        def change(messages: list[dict[str, Any]]) -> None:
            messages[0]["content"] = SYSTEM["content"].replace("repository", "Repository")

        unchanged = await self.usage_of_second_request()
        changed = await self.usage_of_second_request(edit=change)
        assert changed["prompt_tokens"] == unchanged["prompt_tokens"]
        assert changed["cached"] < changed["earlier_prompt"] - 60

    async def test_a_reasoning_sent_back_under_the_other_name_is_still_read(self):
        def rename(messages: list[dict[str, Any]]) -> None:
            messages[2]["reasoning"] = messages[2].pop("reasoning_content")

        usage = await self.usage_of_second_request(edit=rename)
        assert usage["cached"] == usage["earlier"] // 16 * 16

    async def test_arguments_in_another_order_lose_the_turn(self):
        reply = {"tool_calls": [{"name": "edit", "arguments": {"path": "a.py", "text": "word " * 40}}]}
        async with served(script(reply, {"content": "Done."})) as client:
            first = await complete(client, user())
            message = message_of(first)
            function = message["tool_calls"][0]["function"]
            function["arguments"] = json.dumps(json.loads(function["arguments"]), sort_keys=True)
            same = (await complete(client, user(), message, tool("x"))).json()["usage"]
            function["arguments"] = json.dumps(dict(reversed(json.loads(function["arguments"]).items())))
            other = (await complete(client, user(), message, tool("x"))).json()["usage"]
        assert other["prompt_tokens"] == same["prompt_tokens"]
        assert other["prompt_tokens_details"]["cached_tokens"] < same["prompt_tokens_details"]["cached_tokens"] - 30

    async def test_totals_add_up_in_both_forms(self):
        async with served(script(LOOK)) as client:
            whole = (await complete(client, user())).json()["usage"]
            stream = await complete(client, user(), stream=True, stream_options={"include_usage": True})
        *_, last, _done, _rest = stream.text.split("\n\n")
        streamed = json.loads(last.removeprefix("data: "))["usage"]
        assert whole["total_tokens"] == whole["prompt_tokens"] + whole["completion_tokens"]
        assert 0 < whole["completion_tokens_details"]["reasoning_tokens"] < whole["completion_tokens"]
        assert {**streamed, "prompt_tokens_details": None} == {**whole, "prompt_tokens_details": None}


class TestJournal:
    async def test_every_request_is_described(self):
        body = json.dumps({"messages": [SYSTEM, user()], "stream": True}).encode()
        async with served(script(LOOK)) as client:
            await client.post("/v1/chat/completions", content=body)
            await complete(client)
            streamed, refused = await journal(client)
        assert streamed["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert (streamed["body_bytes"], streamed["messages"]) == (len(body), 2)
        assert (streamed["status"], streamed["stream"], streamed["reply_number"]) == (200, True, 1)
        assert streamed["prompt_tokens"] > 0
        times = [streamed[key] for key in ("arrived", "received", "first_byte", "last_byte")]
        assert times == sorted(times)
        assert (refused["status"], refused["prompt_tokens"]) == (400, None)
        assert refused["arrived"] >= streamed["last_byte"]

    async def test_a_request_that_its_client_gave_up_has_no_last_byte(self):
        async with served(script(LOOK, token_delay=30)) as client:
            async with client.stream(
                "POST", "/v1/chat/completions", json={"messages": [user()], "stream": True}
            ) as response:
                assert await anext(response.aiter_bytes())
            (entry,) = await journal(client)
        assert entry["first_byte"] is not None
        assert entry["last_byte"] is None
