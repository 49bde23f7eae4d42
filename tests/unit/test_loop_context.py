"""What the loop does when the context is full, when a server loses a part of it, and when a model goes in circles."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from conformance import Call, Reply, conformance_server, load_behaviour
from faulty_server import DONE, STREAM_HEAD, Answer, delta, event, faulty, http_error
from loop_desk import DONE_REPLY, Log, calling, desk_at, work
from PIL import Image
from scripted_client import bash

from agent.dialects.registry import load_dialect
from agent.loop import Instructions
from results.records.events import MessageEvent, NoticeEvent, RequestEvent, SegmentEvent
from results.records.outcome import Outcome
from results.steps import shown_entries
from tools.pictures import read_picture

COMPACT = {"on_context": "compact"}


def answer(prompt: int, output: int = 10, cached: int | None = None, **message: Any) -> Answer:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    usage = {"prompt_tokens": prompt, "completion_tokens": output, **details}
    return [STREAM_HEAD, delta(**message), delta("stop"), event({"choices": [], "usage": usage}), DONE]


def running(command: str, prompt: int, **more: Any) -> Answer:
    call = {"index": 0, "id": "c1", "function": {"name": "bash", "arguments": json.dumps({"command": command})}}
    return answer(prompt, reasoning_content=f"I run {command}.", tool_calls=[call], **more)


async def worked(directory: Path, *answers: Answer, **settings: Any) -> tuple[Outcome, Log, list[Any]]:
    async with faulty(*answers) as server, desk_at(server.url, directory, **settings) as here:
        outcome = await here.work()
    return outcome, here.log, [json.loads(body) for body in server.requests]


def notices(log: Log) -> list[NoticeEvent]:
    return [event for event in log.events if isinstance(event, NoticeEvent)]


COMPACTED = (
    running("echo " + "x" * 9_000, 3_000),
    running("echo b", 9_000),
    answer(9_100, content="Half is done."),
    answer(2_000, content="All done."),
)
"""Two steps fill the context, a handover, and the end."""


class TestAFullContext:
    async def test_stop_is_the_default(self, tmp_path: Path) -> None:
        outcome, _, requests = await worked(tmp_path, running("echo a > a", 9_000), answer(1), window=10_000)
        assert (outcome.exit, outcome.error, len(requests)) == ("limit:context", None, 1)
        assert "9,0" in outcome.detail
        assert (tmp_path / "a").exists()

    async def test_compact_goes_on_with_a_handover_and_the_end_of_the_conversation(self, tmp_path: Path) -> None:
        outcome, _, requests = await worked(tmp_path, *COMPACTED, window=10_000, limits=COMPACT)
        assert (outcome.exit, outcome.steps, outcome.counts["compaction"]) == ("finished", 3, 1)
        handover, next_one = requests[2]["messages"], requests[3]["messages"]
        assert handover[:-1] == [*requests[1]["messages"], *handover[4:6]]
        assert handover[-1]["role"] == "user"
        assert [message["role"] for message in next_one] == ["system", "user", "assistant", "tool"]
        assert next_one[1]["content"].startswith("Mend it.")
        assert "Half is done." in next_one[1]["content"]
        assert next_one[2:] == handover[4:6]
        assert next_one[2]["reasoning_content"] == "I run echo b."

    async def test_everything_stays_in_the_trajectory(self, tmp_path: Path) -> None:
        _, log, requests = await worked(tmp_path, *COMPACTED, window=10_000, limits=COMPACT)
        [segment] = [event for event in log.events if isinstance(event, SegmentEvent)]
        assert (segment.number, segment.dropped, segment.kept, segment.prompt_tokens) == (2, 2, 2, 9_100)
        behind = log.events[log.events.index(segment) + 1 :]
        assert [event.sent for event in behind if isinstance(event, MessageEvent)] == requests[3]["messages"]
        assert [response.discarded for response in log.responses] == [False, False, True, False]
        assert {"segment"} <= {entry.kind for entry in shown_entries(log.events, 10_000)}

    async def test_the_usage_of_the_handover_is_counted(self, tmp_path: Path) -> None:
        outcome, _, _ = await worked(tmp_path, *COMPACTED, window=10_000, limits=COMPACT)
        assert outcome.usage.prompt_tokens == 3_000 + 9_000 + 9_100 + 2_000

    async def test_an_overflow_that_nobody_foresaw_is_compacted_too(self, tmp_path: Path) -> None:
        overflow = http_error(400, {"error": {"message": "exceeds the available context size", "code": 400}})
        outcome, _, requests = await worked(
            tmp_path,
            running("echo a", 3_000),
            running("echo b", 3_200),
            overflow,
            answer(2_500, content="Half is done."),
            answer(2_000, content="All done."),
            limits=COMPACT,
        )
        assert (outcome.exit, outcome.counts, outcome.detail) == ("finished", {"compaction": 1}, "")
        assert len(requests[3]["messages"]) < len(requests[2]["messages"]) + 1

    async def test_the_response_to_a_handover_has_room_where_both_are_checked_together(self, tmp_path: Path) -> None:
        behaviour = load_behaviour("vllm").changed("context", window=9_000)
        counting = [Call("bash", {"command": f"seq {n}000 {n}200"}) for n in range(1, 7)]
        replies = [*(Reply("I count.", "", [call]) for call in counting), Reply("Hm.", "Six steps are done.")]
        settings: dict[str, Any] = {"dialect": "vllm", "model": behaviour.model, "window": 9_000}
        limits = {**COMPACT, "steps": 7}
        with conformance_server(behaviour, script=replies) as server:
            async with desk_at(server.url, tmp_path, limits=limits, sampling={"max_tokens": 2_000}, **settings) as here:
                outcome = await here.work()
            assert [exchange.status for exchange in server.journal] == [200] * 8
        assert (outcome.exit, outcome.counts) == ("limit:steps", {"compaction": 1})

    async def test_a_window_that_a_refusal_names_is_kept_from_then_on(self, tmp_path: Path) -> None:
        said = "request (6100 tokens) exceeds the available context size (6000 tokens)"
        outcome, log, requests = await worked(
            tmp_path,
            running("echo a", 3_000),
            running("echo b", 5_900),
            http_error(400, {"error": {"message": said, "code": 400}}),
            answer(2_500, content="Half is done."),
            running("echo c", 2_600),
            running("echo d", 5_500),
            answer(5_600, content="More is done."),
            answer(2_000, content="All done."),
            limits=COMPACT,
        )
        assert (outcome.exit, outcome.counts["compaction"], len(requests)) == ("finished", 2, 8)
        reasons = [event.reason for event in log.events if isinstance(event, SegmentEvent)]
        assert "in the context of 6,000" in reasons[1]

    async def test_a_handover_that_does_not_fit_is_made_of_the_beginning(self, tmp_path: Path) -> None:
        overflow = http_error(400, {"error": {"message": "exceeds the available context size", "code": 400}})
        outcome, _, requests = await worked(
            tmp_path,
            running("echo " + "x" * 9_000, 3_000),
            running("echo b", 9_000),
            overflow,
            answer(3_100, content="Half is done."),
            answer(2_000, content="All done."),
            window=10_000,
            limits=COMPACT,
        )
        assert (outcome.exit, outcome.counts) == ("finished", {"compaction": 1})
        assert requests[3]["messages"][:-1] == requests[2]["messages"][: len(requests[3]["messages"]) - 1]
        assert len(requests[3]["messages"]) < len(requests[2]["messages"])

    async def test_a_handover_is_what_the_model_says_and_not_what_it_thinks(self, tmp_path: Path) -> None:
        stranded = "<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>"
        _, _, requests = await worked(
            tmp_path,
            running("echo a", 3_000),
            running("echo b", 9_000),
            answer(9_100, content=f"<think>\nHm.\n</think>\n\nHalf is done.{stranded}"),
            answer(2_000, content="All done."),
            window=10_000,
            limits=COMPACT,
        )
        assert requests[3]["messages"][1]["content"].endswith("handover:\n\nHalf is done.")

    async def test_a_handover_that_is_empty_is_asked_for_again(self, tmp_path: Path) -> None:
        outcome, log, requests = await worked(
            tmp_path,
            running("echo a", 3_000),
            running("echo b", 9_000),
            answer(9_100, reasoning_content="Hm."),
            answer(9_100, content="Half is done."),
            answer(2_000, content="All done."),
            window=10_000,
            limits=COMPACT,
        )
        assert (outcome.exit, outcome.steps) == ("finished", 3)
        assert requests[2] == requests[3]
        assert sum(response.usage.prompt_tokens or 0 for response in log.responses) == outcome.usage.prompt_tokens

    async def test_what_asks_for_a_handover_is_in_the_trajectory(self, tmp_path: Path) -> None:
        answers = running("echo a", 3_000), running("echo b", 9_000), answer(9_100, content="h"), answer(9, content="k")
        _, log, requests = await worked(tmp_path, *answers, window=10_000, limits=COMPACT)
        asides = [event.aside for event in log.events if isinstance(event, RequestEvent)]
        assert asides == [None, None, requests[2]["messages"][-1], None]

    async def test_a_limit_that_the_handover_reaches_ends_it(self, tmp_path: Path) -> None:
        answers = running("echo a", 3_000), running("echo b", 9_000), answer(9_100, content="h"), answer(9, content="k")
        limits = {**COMPACT, "tokens": 21_000}
        outcome, _, requests = await worked(tmp_path, *answers, window=10_000, limits=limits)
        assert (outcome.exit, len(requests)) == ("limit:tokens", 3)

    async def test_a_model_that_writes_no_handover_ends_at_the_limit(self, tmp_path: Path) -> None:
        answers = running("echo a", 3_000), running("echo b", 9_000), answer(9_100, reasoning_content="Hm.")
        outcome, _, _ = await worked(tmp_path, *answers, window=10_000, limits=COMPACT)
        assert (outcome.exit, outcome.error) == ("limit:context", None)

    async def test_what_cannot_become_shorter_ends_at_the_limit(self, tmp_path: Path) -> None:
        async with (
            faulty(answer(9_000, content="Never asked.")) as server,
            desk_at(server.url, tmp_path, window=10_000, limits=COMPACT) as here,
        ):
            outcome = await here.work(Instructions("s", "x" * 60_000))
        assert (outcome.exit, server.requests) == ("limit:context", [])


class TestWhatAServerLoses:
    async def test_a_prefix_that_is_computed_again_is_told_once_and_counted_always(self, tmp_path: Path) -> None:
        outcome, log, _ = await worked(
            tmp_path,
            running("echo a", 1_000, cached=0),
            running("echo b", 1_100, cached=0),
            running("echo c", 1_200, cached=600),
            answer(1_300, cached=1_200, content="Done."),
        )
        assert [notice.kind for notice in notices(log)] == ["prefix_lost"]
        assert outcome.counts["prefix_lost"] == 2
        assert outcome.counts["prefix_lost_tokens"] == 1_000 + 500

    async def test_a_prompt_that_shrinks_was_truncated(self, tmp_path: Path) -> None:
        answers = running("echo a", 4_000), running("echo b", 3_900), answer(4_000, content="Done.")
        outcome, log, _ = await worked(tmp_path, *answers)
        assert [notice.kind for notice in notices(log)] == ["truncated"]
        assert outcome.counts["truncated_tokens"] == 100


class TestATurnThatIsNotWhatItSeems:
    async def test_a_call_in_the_thinking_is_carried_out_and_counted(self, tmp_path: Path) -> None:
        stranded = "I write it.\n<tool_call>\n<function=bash>\n<parameter=command>\necho a > a\n</parameter>\n"
        stranded += "</function>\n</tool_call>"
        outcome, log, requests = await worked(
            tmp_path, answer(10, reasoning_content=stranded), answer(20, content="Done.")
        )
        assert (tmp_path / "a").read_text() == "a\n"
        assert outcome.counts["call_in_reasoning"] == 1
        turn = requests[1]["messages"][2]
        assert "<tool_call>" not in turn["reasoning_content"]
        assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == {"command": "echo a > a"}
        assert log.responses[0].received.reasoning == stranded

    async def test_a_call_that_broke_off_is_not_carried_out_and_the_model_learns_why(self, tmp_path: Path) -> None:
        stranded = "I write it.\n<tool_call>\n<function=bash>\n<parameter=command>\necho a > a"
        outcome, log, _ = await worked(tmp_path, answer(10, content=stranded), answer(20, content="Done."))
        assert not (tmp_path / "a").exists()
        assert "incomplete" in log.answers[0]
        assert outcome.counts["cut_call"] == 1

    async def test_an_empty_turn_is_asked_for_again_and_is_no_part_of_the_conversation(self, tmp_path: Path) -> None:
        outcome, log, requests = await worked(tmp_path, answer(10), answer(10, content="Done."))
        assert (outcome.exit, outcome.counts["empty_turn"], outcome.usage.prompt_tokens) == ("finished", 1, 20)
        assert requests[0] == requests[1]
        assert [response.discarded for response in log.responses] == [True, False]

    @pytest.mark.parametrize(("dialect", "splits"), [("vllm", True), ("generic", False)])
    async def test_inline_thinking_goes_back_where_it_is_read(self, tmp_path: Path, dialect: str, splits: bool) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "bash", "arguments": '{"command": "true"}'}}
        inline = answer(10, content="<think>\nHm.\n</think>\n\nI look.", tool_calls=[call])
        outcome, _, requests = await worked(tmp_path, inline, answer(20, content="Done."), dialect=dialect)
        turn = requests[1]["messages"][2]
        assert turn["content"] == ("I look." if splits else "<think>\nHm.\n</think>\n\nI look.")
        assert turn.get("reasoning") == ("Hm." if splits else None)
        assert outcome.counts.get("inline_thinking") == (1 if splits else None)

    async def test_thinking_that_stays_in_the_content_is_no_answer(self, tmp_path: Path) -> None:
        empty = answer(10, content="<think>\nHm.\n</think>\n\n")
        outcome, _, _ = await worked(tmp_path, empty, answer(20, content="Done."))
        assert outcome.counts["empty_turn"] == 1


class TestAModelThatGoesInCircles:
    async def test_it_is_warned_in_a_result_and_then_stopped(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, *[calling(bash("echo same"))] * 9, DONE_REPLY)
        assert (outcome.exit, outcome.error) == ("limit:repeat", None)
        assert outcome.steps == 5
        assert "same" in log.answers[2]
        assert [len(text.splitlines()) > 1 for text in log.answers] == [False, False, True, True, True]
        assert [notice.kind for notice in notices(log)][:1] == ["repetition"]

    async def test_other_results_are_no_circle(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, *[calling(bash("echo x >> log; wc -l log"))] * 7, DONE_REPLY)
        assert outcome.exit == "finished"

    async def test_thinking_without_end_is_broken_off(self, tmp_path: Path) -> None:
        endless = [
            STREAM_HEAD,
            *(delta(reasoning_content="Wait, I have to look at that again. ") for _ in range(4_000)),
        ]
        outcome, log, _ = await worked(tmp_path, endless)
        assert (outcome.exit, outcome.error) == ("limit:thinking", None)
        assert log.responses[0].received.reasoning

    @pytest.mark.parametrize("field", ["reasoning_content", "content"])
    async def test_a_limit_on_thinking_is_kept(self, tmp_path: Path, field: str) -> None:
        begun = [STREAM_HEAD] if field == "reasoning_content" else [STREAM_HEAD, delta(content="<think>\n")]
        thoughts = [*begun, *(delta(**{field: f"Thought {n} leads to {n * 7919}. "}) for n in range(4_000))]
        outcome, _, _ = await worked(tmp_path, thoughts, limits={"thinking_tokens": 500})
        assert outcome.exit == "limit:thinking"


class TestPictures:
    @staticmethod
    def picture(directory: Path) -> bytes:
        target = io.BytesIO()
        Image.new("RGB", (64, 64), (10, 200, 10)).save(target, "PNG")
        (directory / "green.png").write_bytes(target.getvalue())
        return target.getvalue()

    async def test_a_person_can_show_one(self, tmp_path: Path) -> None:
        shown = read_picture(self.picture(tmp_path))
        async with faulty(answer(10, content="Green.")) as server, desk_at(server.url, tmp_path) as here:
            await here.work(Instructions("s", "What is it?", (shown,)))
        content = json.loads(server.requests[0])["messages"][1]["content"]
        assert content == [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": shown.url}},
        ]

    async def test_one_from_a_person_is_refused_where_the_model_sees_none(self, tmp_path: Path) -> None:
        shown = read_picture(self.picture(tmp_path))
        async with faulty(answer(10)) as server, desk_at(server.url, tmp_path, vision=False) as here:
            outcome = await here.work(Instructions("s", "What is it?", (shown,)))
        assert (outcome.exit, outcome.error, server.requests) == ("error", "backend", [])
        assert "takes no pictures" in outcome.detail

    async def test_none_goes_into_a_user_message_where_thinking_is_not_kept(self, tmp_path: Path) -> None:
        self.picture(tmp_path)
        arguments = json.dumps({"command": "view", "path": str(tmp_path / "green.png")})
        call = {"index": 0, "id": "c", "function": {"name": "str_replace_editor", "arguments": arguments}}
        forgetting = load_dialect("dashscope").thinking.forget
        _, _, requests = await worked(
            tmp_path, answer(10, tool_calls=[call]), answer(20, content="k"), dialect="dashscope", sampling=forgetting
        )
        assert [message["role"] for message in requests[1]["messages"]] == ["system", "user", "assistant", "tool"]
        assert "cannot be shown" in requests[1]["messages"][-1]["content"]

    @pytest.mark.parametrize(("dialect", "place"), [("llama.cpp", "tool"), ("dashscope", "user"), ("generic", None)])
    async def test_one_from_a_tool_goes_where_it_costs_no_thinking(
        self, tmp_path: Path, dialect: str, place: str | None
    ) -> None:
        self.picture(tmp_path)
        arguments = json.dumps({"command": "view", "path": str(tmp_path / "green.png")})
        call = {"index": 0, "id": "c", "function": {"name": "str_replace_editor", "arguments": arguments}}
        answers = answer(10, tool_calls=[call]), answer(20, content="Green.")
        async with faulty(*answers) as server, desk_at(server.url, tmp_path, dialect=dialect) as here:
            await here.work()
        messages = json.loads(server.requests[1])["messages"]
        pictures = [message["role"] for message in messages if isinstance(message["content"], list)]
        assert pictures == ([place] if place else [])
        if place is None:
            assert "cannot be shown" in messages[-1]["content"]
