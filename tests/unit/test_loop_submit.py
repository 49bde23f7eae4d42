"""A model that hands in its work with a call: the trial ends there, and every call has an answer."""

from pathlib import Path
from typing import Any

import pytest
from loop_desk import DONE_REPLY, calling, desk, work
from scripted_client import bash, script

from agent.approval import Approval
from tools.toolset import make_toolset

NOT_RUN = "The call was not run: the work was submitted before it, in the same turn."
SUBMIT: dict[str, Any] = {"name": "submit", "arguments": {}}


async def test_the_work_ends_as_submitted(tmp_path: Path) -> None:
    replies = [calling(bash("touch done")), calling(SUBMIT), DONE_REPLY]
    outcome, log = await work(tmp_path, *replies, toolset=make_toolset("submit"))
    assert (outcome.exit, outcome.error, outcome.steps, outcome.detail) == ("submitted", None, 2, "")
    assert log.results[-1].sent["content"] == "Submitted."
    assert not log.results[-1].is_error


async def test_calls_before_it_run_and_calls_behind_it_do_not(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = [
        bash("touch before"), {"name": "submit", "arguments": {"note": "Mended."}}, bash("touch after"),
        {"name": "submit", "arguments": {}}, {"name": "nothing", "arguments": "no JSON"},
    ]  # fmt: skip
    outcome, log = await work(tmp_path, calling(*calls), DONE_REPLY, toolset=make_toolset("submit"))
    assert (outcome.exit, outcome.steps) == ("submitted", 1)
    assert (tmp_path / "before").exists()
    assert not (tmp_path / "after").exists()
    assert log.answers[2:] == [NOT_RUN] * 3
    assert [event.is_error for event in log.results] == [False, False, True, True, True]
    received = [call.id for call in log.responses[0].received.tool_calls]
    assert [event.sent["tool_call_id"] for event in log.results] == received


async def test_nobody_is_asked_about_it(tmp_path: Path) -> None:
    outcome, log = await work(tmp_path, calling(SUBMIT), toolset=make_toolset("submit"), approval=Approval("read-only"))
    assert (outcome.exit, log.results[0].denied) == ("submitted", False)


@pytest.mark.parametrize("arguments", [{"note": 5}, '{"note": "cut'])
async def test_a_call_that_cannot_be_run_submits_nothing(tmp_path: Path, arguments: Any) -> None:
    replies = [calling({"name": "submit", "arguments": arguments}), DONE_REPLY]
    outcome, log = await work(tmp_path, *replies, toolset=make_toolset("submit"))
    assert (outcome.exit, log.results[0].is_error) == ("finished", True)


async def test_one_that_the_output_limit_cut_submits_nothing(tmp_path: Path) -> None:
    replies = [calling(SUBMIT, finish_reason="length"), DONE_REPLY]
    outcome, log = await work(tmp_path, *replies, toolset=make_toolset("submit"))
    assert (outcome.exit, log.results[0].is_error) == ("finished", True)


async def test_a_turn_without_a_call_still_ends_as_finished(tmp_path: Path) -> None:
    outcome, _ = await work(tmp_path, DONE_REPLY, toolset=make_toolset("submit"))
    assert outcome.exit == "finished"


async def test_without_the_tool_there_is_nothing_to_submit_with(tmp_path: Path) -> None:
    outcome, log = await work(tmp_path, calling(SUBMIT), DONE_REPLY)
    assert outcome.exit == "finished"
    assert log.answers == ["There is no tool 'submit'. The tools are: bash, str_replace_editor."]


async def test_calls_of_many_tools_in_one_turn_run_in_their_order(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = [
        bash("echo needle > first.txt"),
        {"name": "grep", "arguments": {"pattern": "needle"}},
        {"name": "todo", "arguments": {"items": "[x] look"}},
        bash("mv first.txt second.txt"),
        {"name": "glob", "arguments": {"pattern": "*.txt"}},
    ]
    async with desk(tmp_path, script(calling(*calls), DONE_REPLY), toolset=make_toolset("search+todo")) as here:
        outcome = await here.work()
    texts = [str(event.sent["content"]) for event in here.log.results]
    assert outcome.exit == "finished"
    assert texts[1] == "1 matching line in 1 file\nfirst.txt\n1:needle"
    assert texts[2] == "1 item: 1 done\n1. [x] look"
    assert texts[4] == "1 file\nsecond.txt"
    received = [call.id for call in here.log.responses[0].received.tool_calls]
    assert [event.sent["tool_call_id"] for event in here.log.results] == received
