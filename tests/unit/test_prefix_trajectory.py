"""`agent prefix` on what an agent really recorded: its loop, a scripted server, a shell."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from loop_desk import calling, desk, work
from prefix_desk import TEMPLATE
from scripted_client import script
from typer.testing import CliRunner

from agent.loop import Instructions
from agent.prefix.audit import audit
from agent.prefix.exchanges import ExchangeError, recorded_exchanges, template_flags
from agent.prefix.renderers import LocalTemplate
from results.records.events import Event, MessageEvent, RequestEvent, ResponseEvent, StartEvent
from results.trajectory import TrajectoryWriter, read_trajectory
from unbroken.commands.prefix import prefix

LOOK = calling({"name": "bash", "arguments": {"command": "ls"}}, content="Let me look.")
RANGE = '{"command":"view","path":"/","view_range":[1,2]}'


async def events_of(directory: Path, *replies: dict[str, Any]) -> list[Event]:
    _, log = await work(directory, *replies, {"reasoning": "So.", "content": "Done."})
    return log.events


def recorded_events(directory: Path, *replies: dict[str, Any]) -> list[Event]:
    """The same, for what has a loop of its own: the command."""
    return asyncio.run(events_of(directory, *replies))


async def report_of(events: list[Event], preserve: bool | None = None):
    return await audit(recorded_exchanges(events, preserve), LocalTemplate(TEMPLATE))


async def test_what_the_loop_sends_is_unbroken_in_bytes_and_in_prompts(tmp_path: Path):
    report = await report_of(await events_of(tmp_path, LOOK, calling(LOOK["tool_calls"][0]), LOOK))
    assert (report.requests, report.checked, report.segments, report.skipped) == (4, 3, 1, 0)
    assert report.divergences == []
    assert report.bodies.status == "proved"
    assert (report.thinking_turns, report.thinking_shown) == (3, 3)


async def test_each_request_is_rebuilt_as_the_server_saw_it(tmp_path: Path):
    odd = {"reasoning": "Hm.", "tool_calls": [{"name": "bash", "arguments": '{"command": "ls'}]}
    async with desk(tmp_path, script(LOOK, odd, {"content": "Done."})) as here:
        await here.work(Instructions("Grüße.", "Mend it."))
        recorded = recorded_exchanges(here.log.events)
    assert [len(each.messages) for each in recorded.exchanges] == [2, 4, 6]
    assert recorded.exchanges[-1].messages[4]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert recorded.exchanges[0].flags == {"enable_thinking": True, "preserve_thinking": True}
    assert recorded.bodies.status == "proved"


async def test_an_array_that_the_template_respells_is_a_loss_that_no_client_can_avoid(tmp_path: Path):
    view = {"name": "str_replace_editor", "arguments": RANGE}
    report = await report_of(await events_of(tmp_path, LOOK, calling(view), LOOK))
    (divergence,) = report.divergences
    assert (divergence.cause, divergence.avoidable, divergence.step) == ("array_spacing", False, 3)
    assert divergence.lost_tokens


async def test_a_body_that_is_not_the_one_before_with_more_behind_it_is_broken(tmp_path: Path):
    events = await events_of(tmp_path, LOOK, LOOK)
    changed = [_longer(event) if isinstance(event, RequestEvent) and event.step == 3 else event for event in events]
    bodies = recorded_exchanges(changed).bodies
    assert (bodies.status, bodies.step) == ("broken", 3)
    respelled = [
        _other_hash(event) if isinstance(event, RequestEvent) and event.step == 2 else event for event in events
    ]
    assert recorded_exchanges(respelled).bodies.step == 2


async def test_bodies_with_a_head_of_another_kind_are_checked_by_their_lengths(tmp_path: Path):
    events = [
        _other_hash(event) if isinstance(event, RequestEvent) else event for event in await events_of(tmp_path, LOOK)
    ]
    assert recorded_exchanges(events).bodies.status == "lengths"


async def test_where_a_secret_was_taken_out_nothing_is_said_of_the_bodies(tmp_path: Path):
    events: list[Event] = []
    for event in await events_of(tmp_path, LOOK):
        if isinstance(event, MessageEvent) and event.sent["role"] == "user":
            event = event.model_copy(update={"sent": {"role": "user", "content": "The key is [redacted]."}})
        events.append(event)
    assert recorded_exchanges(events).bodies.status == "unknown"


async def test_a_dialect_that_is_gone_is_no_reason_to_say_nothing(tmp_path: Path):
    events = await events_of(tmp_path, LOOK)
    assert isinstance(events[0], StartEvent)
    assert events[0].backend
    gone = events[0].backend.model_copy(update={"dialect": "gone"})
    report = await report_of([events[0].model_copy(update={"backend": gone}), *events[1:]])
    assert report.divergences == []
    assert report.bodies.status == "proved"


GOLDEN = sorted((Path(__file__).parents[1] / "data").glob("*/*/trials/*/*/tries/*/trajectory.jsonl"))


@pytest.mark.parametrize("path", GOLDEN, ids=[str(path.relative_to(path.parents[8])) for path in GOLDEN])
async def test_every_golden_trajectory_is_read_or_refused_in_a_sentence(path: Path):
    try:
        report = await report_of(list(read_trajectory(path)))
    except ExchangeError:
        return
    assert report.requests
    assert not [each for each in report.divergences if each.cause == "other"]


def test_events_without_a_start_are_no_trajectory():
    with pytest.raises(ExchangeError, match="no start"):
        recorded_exchanges([])


def test_flags_reach_the_template_wherever_a_dialect_puts_them():
    assert template_flags({"temperature": 1, "enable_thinking": True, "preserve_thinking": True}) == {
        "enable_thinking": True,
        "preserve_thinking": True,
    }
    assert template_flags({"chat_template_kwargs": {"x": 1}}) == {"x": 1}
    assert template_flags({}) == {}


def _longer(event: RequestEvent) -> RequestEvent:
    return event.model_copy(update={"bytes": event.bytes + 1, "sha256": "0" * 64})


def _other_hash(event: RequestEvent) -> RequestEvent:
    return event.model_copy(update={"sha256": "0" * 64})


# The command


def run(*arguments: str):
    application = typer.Typer()
    application.command()(prefix)
    return CliRunner().invoke(application, arguments)


def record(events: list[Event], folder: Path) -> Path:
    with TrajectoryWriter(folder / "trajectory.jsonl") as writer:
        for event in events:
            writer.write(event)
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    folder.mkdir()
    return folder


def test_the_command_says_that_all_is_well(tmp_path: Path, session: Path):
    record(recorded_events(tmp_path, LOOK, LOOK), session)
    result = run(str(session), "--template", str(TEMPLATE))
    assert result.exit_code == 0, result.output
    assert "prompts    unbroken" in result.output
    assert "of 2 turns that thought, the last prompt shows 2" in result.output
    assert "every hash is as recorded" in result.output


def test_a_loss_that_nobody_can_avoid_is_shown_and_is_no_failure(tmp_path: Path, session: Path):
    view = {"name": "str_replace_editor", "arguments": RANGE}
    record(recorded_events(tmp_path, calling(view), LOOK), session)
    result = run(str(session / "trajectory.jsonl"), "--template", str(TEMPLATE))
    assert result.exit_code == 0, result.output
    assert "step 2, message 2 (assistant): array_spacing" in result.output
    assert "[1,2]" in result.output
    assert "[1, 2]" in result.output
    assert "editor-strings" in result.output


def test_a_loss_that_a_client_can_avoid_fails_and_says_what_to_do(tmp_path: Path, session: Path):
    events = recorded_events(tmp_path, LOOK, LOOK)
    position = next(index for index, event in enumerate(events) if isinstance(event, ResponseEvent))
    response = events[position]
    assert isinstance(response, ResponseEvent)
    silent: dict[str, Any] = {"role": "assistant", "content": "Let me look.", "tool_calls": []}
    events[position] = response.model_copy(update={"sent": silent})
    record(events, session)
    result = run(str(session), "--template", str(TEMPLATE))
    assert result.exit_code == 1, result.output
    assert "reasoning_dropped" in result.output
    assert "send thinking back" in result.output
    machine = run(str(session), "--template", str(TEMPLATE), "--json")
    assert machine.exit_code == 1
    report = json.loads(machine.output)
    assert report["totals"][0]["cause"] == "reasoning_dropped"
    assert report["divergences"][0]["remedy"]


def test_the_other_choice_can_be_tried_out(tmp_path: Path, session: Path):
    events = recorded_events(tmp_path, LOOK, LOOK)
    last = next(index for index in range(len(events) - 1, -1, -1) if isinstance(events[index], RequestEvent))
    question = MessageEvent(time=0, sent={"role": "user", "content": "And now?"})
    request = events[last]
    assert isinstance(request, RequestEvent)
    events[last:] = [question, request.model_copy(update={"messages": request.messages + 1})]
    record(events, session)
    kept = run(str(session), "--template", str(TEMPLATE), "--preserve", "--json")
    lost = run(str(session), "--template", str(TEMPLATE), "--no-preserve", "--json")
    assert json.loads(kept.output)["divergences"] == []
    assert [each["cause"] for each in json.loads(lost.output)["divergences"]] == ["old_thinking_dropped_by_template"]
    assert lost.exit_code == 1


def test_bad_input_is_a_usage_error_that_names_what_is_wrong(tmp_path: Path, session: Path):
    record(recorded_events(tmp_path, LOOK), session)
    (tmp_path / "other.jsonl").write_text('{"type": "what"}\n', "utf-8")
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    (tmp_path / "bad.jinja").write_text("{% if %}", "utf-8")
    wrong = {
        ("missing.jsonl", "--template", str(TEMPLATE)): "missing.jsonl",
        (str(tmp_path / "other.jsonl"), "--template", str(TEMPLATE)): "line 1",
        (str(tmp_path / "empty.jsonl"), "--template", str(TEMPLATE)): "no start event",
        (str(session), "--template", str(tmp_path / "bad.jinja")): "no chat template",
        (str(session), "--template", str(tmp_path / "none.jinja")): "cannot be read",
        (str(session),): "--template FILE",
        (str(session), "--template", str(TEMPLATE), "--backend", "vllm"): "--template FILE",
        (str(session), "--backend", "http://127.0.0.1:9"): "shows no prompt",
        (str(session), "--backend", "nothing"): "is no backend",
    }
    for arguments, words in wrong.items():
        result = run(*arguments)
        failed = result.exit_code == 2 or isinstance(result.exception, ValueError)
        assert failed, (arguments, result.output)
        said = " ".join((result.output + str(result.exception)).replace("│", " ").split())
        assert words in said, said
