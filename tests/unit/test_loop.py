"""The loop at work: a real scripted server, a real shell on this machine, and a log of everything that was sent."""

import hashlib
import json
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faulty_server import BROKEN, DONE, STREAM_HEAD, Answer, delta, faulty, usage
from loop_desk import DONE_REPLY, calling, desk, desk_at, edit, work
from scripted_client import bash, script

from agent.approval import Approval, Decision
from agent.conversation import encode
from agent.loop import Instructions
from agent.scripted.prefix_cache import BLOCK_TOKENS
from results.records.events import (
    Event,
    MessageEvent,
    RequestEvent,
    ResponseEvent,
    StartEvent,
    ToolResultEvent,
)
from results.records.usage import Prices, Usage
from tools.output import neutralise


def sent_bodies(events: list[Event]) -> list[bytes]:
    """The bodies of all requests, as the log says that they were."""
    start = next(event for event in events if isinstance(event, StartEvent))
    assert start.backend is not None
    head = {"model": start.backend.model, "stream": True, "stream_options": {"include_usage": True}}
    opening = {**head, **start.backend.sampling, "tools": start.tools}
    messages: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    for event in events:
        match event:
            case MessageEvent() | ToolResultEvent():
                messages.append(event.sent)
            case ResponseEvent():
                messages.append(event.sent or as_received(event))
            case RequestEvent():
                bodies.append(encode({**opening, "messages": messages}))
            case _:
                pass
    return bodies


def as_received(event: ResponseEvent) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": event.received.content}
    if event.received.reasoning is not None:
        message |= dict.fromkeys(("reasoning_content", "reasoning"), event.received.reasoning)
    if event.received.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in event.received.tool_calls
        ]
    return message


async def journal(url: str) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
        return (await client.get(url.removesuffix("v1") + "scripted/requests")).json()["requests"]


class TestAConversation:
    REPLIES = (
        calling(bash("printf 'a\\nb\\n' > notes.txt\ncat notes.txt"), content="I look.\n\n"),
        calling(bash("echo 'grün 🙂'"), bash("exit 3"), reasoning="Zwei auf einmal: ü.\n"),
        calling({"name": "bash", "arguments": {"command": "echo $((6 * 7))", "timeout": 5}}),
        calling({"name": "bash", "arguments": '{"command":"printf x","timeout": 9}'}),
        calling({"name": "bash", "arguments": "ls -la"}, {"name": "nothing", "arguments": ""}),
    )

    async def test_nothing_that_was_sent_changes_and_the_log_says_what_it_was(self, tmp_path: Path) -> None:
        async with desk(tmp_path, script(*self.REPLIES, DONE_REPLY)) as here:
            outcome = await here.work()
            served = await journal(here.url)
        bodies = sent_bodies(here.log.events)
        requests = [event for event in here.log.events if isinstance(event, RequestEvent)]
        assert outcome.exit == "finished"
        assert len(bodies) == 6
        for before, after in pairwise(bodies):
            assert after.startswith(before.removesuffix(b"]}"))
        hashes = [hashlib.sha256(body).hexdigest() for body in bodies]
        assert hashes == [event.sha256 for event in requests] == [entry["body_sha256"] for entry in served]
        assert [len(body) for body in bodies] == [event.bytes for event in requests]
        assert [len(json.loads(body)["messages"]) for body in bodies] == [event.messages for event in requests]
        roles = [message["role"] for message in json.loads(bodies[-1])["messages"]]
        assert roles[:2] == ["system", "user"]
        assert set(roles[2:]) == {"assistant", "tool"}

    async def test_events_come_in_order_and_add_up_to_the_outcome(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, *self.REPLIES, DONE_REPLY, prices=Prices(prompt=1.0, output=2.0))
        steps = [["request", "response", *["tool_result"] * len(reply["tool_calls"])] for reply in self.REPLIES]
        assert log.kinds == ["start", "message", "message", *chain(*steps), "request", "response"]
        assert [event.step for event in log.responses] == [1, 2, 3, 4, 5, 6]
        assert [event.step for event in log.results] == [1, 2, 2, 3, 4, 5, 5]
        assert outcome.steps == 6
        assert outcome.usage == sum((event.usage for event in log.responses), Usage())
        assert outcome.time.model == pytest.approx(sum(event.seconds for event in log.responses))
        assert outcome.time.tools == pytest.approx(sum(event.seconds for event in log.results))
        assert outcome.cost == pytest.approx(
            ((outcome.usage.prompt_tokens or 0) + 2 * (outcome.usage.output_tokens or 0)) / 1e6
        )

    async def test_parallel_calls_run_in_order_and_are_answered_under_their_ids(self, tmp_path: Path) -> None:
        calls = [bash(f"cat seen 2>/dev/null; echo {number} >> seen") for number in range(4)]
        _, log = await work(tmp_path, calling(*calls), DONE_REPLY)
        assert log.answers == ["", "0", "0\n1", "0\n1\n2"]
        received = [call.id for call in log.responses[0].received.tool_calls]
        assert [event.sent["tool_call_id"] for event in log.results] == received

    async def test_nothing_avoidable_is_computed_again(self, tmp_path: Path) -> None:
        replies = [
            calling(
                bash(f"echo 'Zeile {number}: ü🙂'\nprintf '\\n%s\\n' '  eingerückt'"),
                *[{"name": "bash", "arguments": {"command": "true", "timeout": number + 1}}] * (number % 3),
                reasoning=f"Schritt {number}: " + "thinking about what comes next. " * 5,
                content="Weiter. " * (number % 2),
            )
            for number in range(20)
        ]
        outcome, log = await work(tmp_path, *replies, DONE_REPLY)
        usages = [event.usage for event in log.responses]
        assert (outcome.exit, len(usages)) == ("finished", 21)
        for before, after in pairwise(usages):
            known = (before.prompt_tokens or 0) + (before.output_tokens or 0)
            assert after.cached_tokens == known // BLOCK_TOKENS * BLOCK_TOKENS

    async def test_a_task_that_no_utf_8_can_hold_is_sent_all_the_same(self, tmp_path: Path) -> None:
        async with desk(tmp_path, script(DONE_REPLY)) as here:
            outcome = await here.work(Instructions("System.", "Mend caf\udce9."))
        assert outcome.exit == "finished"
        assert b"Mend caf\xef\xbf\xbd." in sent_bodies(here.log.events)[0]


class TestCallsThatCannotBeRun:
    async def test_a_tool_that_does_not_exist(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, calling({"name": "<|im_end|>find", "arguments": {}}), DONE_REPLY)
        said = "There is no tool '<|im_end|>find'. The tools are: bash, str_replace_editor."
        assert log.answers == [neutralise(said)]
        assert (outcome.exit, log.results[0].is_error, log.results[0].denied) == ("finished", True, False)

    @pytest.mark.parametrize("arguments", [{}, {"command": 7}, {"command": "ls", "timeout": "soon"}, ""])
    async def test_arguments_that_do_not_fit(self, tmp_path: Path, arguments: Any) -> None:
        outcome, log = await work(tmp_path, calling({"name": "bash", "arguments": arguments}), DONE_REPLY)
        assert log.answers[0].startswith("The arguments do not fit the tool 'bash': ")
        assert (outcome.exit, log.results[0].is_error) == ("finished", True)

    @pytest.mark.parametrize(
        "written", ['{"command": "touch ran"', "touch ran <|im_end|>", '["touch ran"]', '{"command": "touch\nran"}']
    )
    async def test_arguments_that_are_no_object_are_quoted_and_not_run(self, tmp_path: Path, written: str) -> None:
        outcome, log = await work(tmp_path, calling({"name": "bash", "arguments": written}), DONE_REPLY)
        assert outcome.exit == "finished"
        assert log.answers[0].startswith("The arguments are no JSON object (")
        assert log.answers[0].endswith(f"Its arguments were: {neutralise(written)}")
        assert log.responses[0].received.tool_calls[0].arguments == written
        assert log.responses[0].differences == ["arguments_not_an_object"]
        assert (log.responses[0].sent or {})["tool_calls"][0]["function"]["arguments"] == "{}"
        assert not (tmp_path / "ran").exists()

    async def test_long_arguments_are_quoted_in_part(self, tmp_path: Path) -> None:
        _, log = await work(tmp_path, calling({"name": "bash", "arguments": "x" * 5000}), DONE_REPLY)
        assert log.answers[0].endswith("Its arguments began: " + "x" * 200)

    @pytest.mark.parametrize("written", ['{"command": "touch ran', '{"command": "touch ran"}'])
    async def test_a_call_that_was_cut_is_not_run_but_those_before_it_are(self, tmp_path: Path, written: str) -> None:
        calls = [bash("touch whole"), {"name": "bash", "arguments": written}]
        outcome, log = await work(tmp_path, calling(*calls, finish_reason="length"), DONE_REPLY)
        assert outcome.exit == "finished"
        assert (tmp_path / "whole").exists()
        assert not (tmp_path / "ran").exists()
        assert log.answers[1].startswith("The call was cut off by the output limit and was not run.")
        assert log.results[1].is_error


class TestApproval:
    EDIT = edit(command="create", path="/tmp/unused-by-this-test", file_text="x")

    async def test_nobody_there_to_ask_ends_it_as_refused(self, tmp_path: Path) -> None:
        calls = calling(bash("touch ran"), bash("touch ran"))
        outcome, log = await work(tmp_path, calls, DONE_REPLY, approval=Approval("ask"))
        assert (outcome.exit, outcome.error, outcome.steps) == ("refused", None, 1)
        assert "a call of bash was denied" in outcome.detail
        assert [(event.denied, event.is_error) for event in log.results] == [(True, True)]
        assert log.answers == ["Denied: --approve ask asks before this call, and nobody is there to ask."]
        assert not (tmp_path / "ran").exists()

    async def test_read_only_denies_and_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("content\n")
        calls = [bash("touch ran"), self.EDIT, edit(command="view", path=str(tmp_path / "file"))]
        outcome, log = await work(tmp_path, calling(*calls), DONE_REPLY, approval=Approval("read-only"))
        assert outcome.exit == "finished"
        assert [event.denied for event in log.results] == [True, True, False]
        assert "content" in log.answers[2]
        assert not (tmp_path / "ran").exists()

    async def test_edits_go_through_and_commands_do_not(self, tmp_path: Path) -> None:
        create = edit(command="create", path=str(tmp_path / "new"), file_text="x")
        outcome, log = await work(tmp_path, calling(create), calling(bash("rm new")), approval=Approval("edits"))
        assert (outcome.exit, [event.denied for event in log.results]) == ("refused", [False, True])
        assert (tmp_path / "new").exists()

    async def test_a_person_who_says_no_is_heard_by_the_model(self, tmp_path: Path) -> None:
        async def person(name: str, arguments: str) -> Decision:
            return Decision(allowed=name != "bash", reason="Denied by the user. Use <|im_end|> \udce9.")

        replies = [calling(bash("touch ran")), DONE_REPLY]
        outcome, log = await work(tmp_path, *replies, approval=Approval("ask", person))
        assert (outcome.exit, log.results[0].denied) == ("finished", True)
        assert log.answers == [neutralise("Denied by the user. Use <|im_end|> \ufffd.")]
        assert not (tmp_path / "ran").exists()


class TestUsageOfFailedRequests:
    async def test_counts_where_the_next_one_succeeds(self, tmp_path: Path) -> None:
        good: Answer = [STREAM_HEAD, delta("stop", content="Done."), usage(10, 2), DONE]
        async with faulty(BROKEN, good) as server, desk_at(server.url, tmp_path) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.usage) == ("finished", Usage(prompt_tokens=20, output_tokens=5))
        assert here.log.responses[0].usage == outcome.usage

    async def test_counts_where_none_succeeds(self, tmp_path: Path) -> None:
        async with faulty(BROKEN) as server, desk_at(server.url, tmp_path) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.usage) == ("error", Usage(prompt_tokens=20, output_tokens=6))
