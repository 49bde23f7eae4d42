"""What the relay proves of any agent: whether it goes on with what it has said, and sends the model's thinking back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from relay_desk import KEY, Desk, Message, message_of, relayed, results_for, user
from scripted_client import LOOK, THOUGHTS, bash, script, served

from agent.prefix.exchanges import recorded_exchanges
from evals.atif.conversion import Origin, to_atif
from evals.audit.trace import audit_events
from results.records.events import (
    MessageEvent,
    RequestEvent,
    ResponseEvent,
    SegmentEvent,
    StartEvent,
    ToolResultEvent,
)

SYSTEM = {"role": "system", "content": "You work in a container."}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}]
DONE = {"reasoning": "It is done now.", "content": "Done."}


@asynccontextmanager
async def desk_with(folder: Path, *replies: dict[str, Any]) -> AsyncGenerator[Desk]:
    async with (
        served(script(*(replies or (LOOK, LOOK, DONE)))) as backend,
        relayed(f"{backend.base_url}/v1", folder) as desk,
    ):
        yield desk


async def turn(desk: Desk, messages: list[Message], **fields: Any) -> Message:
    return message_of(await desk.ask(*messages, tools=TOOLS, **fields))


async def test_an_agent_that_only_appends_is_proved_to(tmp_path: Path) -> None:
    messages = [SYSTEM, user()]
    async with desk_with(tmp_path) as desk:
        for _ in range(2):
            answer = await turn(desk, messages, temperature=0)
            messages += [answer, *results_for(answer)]
        await turn(desk, messages, temperature=0)

    counts = dict(+desk.ledger.counts)
    assert counts == {"conversation": 1, "prefix_kept": 2, "thinking_kept": 2}
    assert [(one.relation, one.kept, one.messages) for one in desk.requests()] == [
        ("begins", 0, 2),
        ("extends", 2, 5),
        ("extends", 5, 8),
    ]
    recorded = recorded_exchanges(desk.events())
    assert recorded.bodies.status == "proved"
    assert [len(exchange.messages) for exchange in recorded.exchanges] == [2, 5, 8]
    assert list(recorded.exchanges[-1].messages) == messages
    last = desk.events()[-1]
    assert isinstance(last, ResponseEvent)
    assert last.received.content == "Done."


async def test_the_trajectory_is_like_that_of_our_own_loop(tmp_path: Path) -> None:
    async with desk_with(tmp_path) as desk:
        answer = await turn(desk, [SYSTEM, user()], temperature=0, stream=False)
        await turn(desk, [SYSTEM, user(), answer, *results_for(answer, "seen")], temperature=0)

    events = desk.events()
    kinds = [event.type for event in events]
    assert " ".join(kinds) == "start message message request response tool_result tool_result request response"
    start = events[0]
    assert isinstance(start, StartEvent)
    assert start.agent == "command"
    assert start.tools == TOOLS
    assert start.backend
    assert start.backend.sampling == {"temperature": 0}
    response, result = events[4], events[5]
    assert isinstance(response, ResponseEvent)
    assert response.received.reasoning == THOUGHTS
    assert response.usage.output_tokens
    assert isinstance(result, ToolResultEvent)
    assert (result.name, result.sent["content"], result.step) == ("bash", "seen", 1)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"reasoning_content": None}, "reasoning_dropped"),
        ({"reasoning_content": "I will look."}, "reasoning_changed"),
        ({"content": "Let me read it. "}, "trimmed_whitespace"),
    ],
)
async def test_what_goes_back_for_a_turn_is_compared_with_it(
    tmp_path: Path, change: dict[str, Any], cause: str
) -> None:
    async with desk_with(tmp_path) as desk:
        answer = await turn(desk, [user()])
        changed = {name: value for name, value in {**answer, **change}.items() if value is not None}
        await turn(desk, [user(), changed, *results_for(answer)])

    assert desk.ledger.counts[cause] == 1
    lost = cause.startswith("reasoning")
    assert (desk.ledger.counts["thinking_lost"], desk.ledger.counts["thinking_kept"]) == (int(lost), int(not lost))
    (response, _) = [event for event in desk.events() if isinstance(event, ResponseEvent)]
    assert (response.sent, response.differences) == (changed, [cause])


async def test_thinking_that_is_dropped_later_breaks_the_prefix(tmp_path: Path) -> None:
    messages = [user()]
    async with desk_with(tmp_path) as desk:
        for _ in range(2):
            answer = await turn(desk, messages)
            messages += [answer, *results_for(answer)]
        messages[1] = {name: value for name, value in messages[1].items() if name != "reasoning_content"}
        await turn(desk, messages)

    counts = desk.ledger.counts
    assert (counts["prefix_kept"], counts["prefix_broken"], counts["reasoning_dropped"]) == (1, 1, 1)
    assert (desk.requests()[-1].relation, desk.requests()[-1].kept) == ("changes", 1)
    (segment,) = [event for event in desk.events() if isinstance(event, SegmentEvent)]
    assert (segment.number, segment.kept, segment.dropped) == (2, 1, 3)
    assert "reasoning dropped" in segment.reason
    assert recorded_exchanges(desk.events()).bodies.status == "proved"
    document = to_atif(desk.events(), Origin("run", "run/task/1/1", "0.1.0")).trajectory
    assert [step.message for step in document.steps if step.source == "agent"][-1] == "Done."
    assert audit_events(desk.events(), "owner/name").calls == 4


@pytest.mark.parametrize(
    ("opening", "tools", "cause"),
    [
        ({"role": "system", "content": "It is five past nine."}, TOOLS, "system_changed"),
        (SYSTEM, [], "tools_changed"),
    ],
)
async def test_a_changed_beginning_breaks_the_prefix(
    tmp_path: Path, opening: Message, tools: list[Any], cause: str
) -> None:
    async with desk_with(tmp_path) as desk:
        answer = await turn(desk, [SYSTEM, user()])
        await desk.ask(opening, user(), answer, *results_for(answer), tools=tools)

    assert desk.ledger.counts["prefix_broken"] == 1
    assert desk.ledger.counts[cause] == 1
    assert desk.ledger.counts["conversation"] == 1


async def test_conversations_side_by_side_are_told_apart(tmp_path: Path) -> None:
    one, other = [SYSTEM, user("Do it.")], [SYSTEM, user("Name this task.")]
    async with desk_with(tmp_path) as desk:
        for _ in range(2):
            for messages in (one, other):
                answer = await turn(desk, messages)
                messages += [answer, *results_for(answer)]

    assert dict(+desk.ledger.counts) == {"conversation": 2, "prefix_kept": 2, "thinking_kept": 2}
    assert [request.conversation for request in desk.requests()] == [1, 2, 1, 2]
    assert [event.type for event in desk.aside(2)] == [event.type for event in desk.events()]
    (_, said) = [event.sent["content"] for event in desk.aside(2) if isinstance(event, MessageEvent)]
    assert said == "Name this task."


@pytest.mark.parametrize("system", [SYSTEM, {"role": "system", "content": "You look things up."}])
async def test_conversations_may_have_a_preamble_in_common(tmp_path: Path, system: Message) -> None:
    preamble = [user("Today is Monday."), {"role": "assistant", "content": "Got it."}]
    async with desk_with(tmp_path, {"content": "unused"}, LOOK, LOOK, DONE) as desk:
        answer = await turn(desk, [SYSTEM, *preamble, user()])
        await turn(desk, [system, *preamble, user("Look it up.")])
        await turn(desk, [SYSTEM, *preamble, user(), answer, *results_for(answer)])

    assert dict(+desk.ledger.counts) == {"conversation": 2, "prefix_kept": 1, "thinking_kept": 1}


async def test_a_first_message_that_is_rewritten_breaks_the_prefix(tmp_path: Path) -> None:
    async with desk_with(tmp_path) as desk:
        one = await turn(desk, [SYSTEM, user()])
        work = [one, *results_for(one)]
        other = await turn(desk, [SYSTEM, user(), *work])
        await turn(desk, [SYSTEM, user("Do it soon."), *work, other, *results_for(other)])

    assert desk.requests()[-1].cause == "history_edited"
    assert desk.ledger.counts["conversation"] == 1


async def test_the_same_request_again_is_a_turn_that_was_not_taken(tmp_path: Path) -> None:
    async with desk_with(tmp_path) as desk:
        await turn(desk, [user()])
        answer = await turn(desk, [user()])
        await turn(desk, [user(), answer, *results_for(answer)])

    responses = [event for event in desk.events() if isinstance(event, ResponseEvent)]
    assert [response.discarded for response in responses] == [True, False, False]
    assert desk.ledger.counts["turn_left_out"] == 1
    assert desk.ledger.counts["prefix_broken"] == 0
    assert recorded_exchanges(desk.events()).bodies.status == "proved"


async def test_a_stream_is_recorded_as_what_it_comes_to(tmp_path: Path) -> None:
    async with desk_with(tmp_path) as desk:
        await desk.ask(user(), stream=True)
    last = desk.events()[-1]
    assert isinstance(last, ResponseEvent)
    assert last.received.reasoning == THOUGHTS
    assert [call.arguments for call in last.received.tool_calls] == [
        '{"command": "cat slugify.py"}',
        '{"command": "ls"}',
    ]
    assert last.first_token_seconds is not None


async def test_no_record_holds_a_secret_that_the_agent_found(tmp_path: Path) -> None:
    async with desk_with(tmp_path, {"content": f"It is {KEY}.", "tool_calls": [bash("env")]}, DONE) as desk:
        answer = await turn(desk, [user()], user=KEY)
        assert KEY not in str(answer)
        await turn(desk, [user(), answer, *results_for(answer, f"KEY={KEY}")])
        await turn(desk, [SYSTEM, user("Another."), *results_for(answer, KEY)])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert [event.type for event in desk.events() if isinstance(event, RequestEvent)]
