"""The loop at work: a real scripted server, a real shell on this machine, and a log of everything that was sent."""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from faulty_server import BROKEN, DONE, STREAM_HEAD, Answer, delta, faulty, usage
from pydantic import BaseModel
from scripted_client import bash, script

from agent.approval import Approval, Decision
from agent.backend import BackendUnreachableError, DeltaKind
from agent.chat_backend import ChatBackend, RetryPolicy
from agent.conversation import encode
from agent.limits import Budget
from agent.loop import Agent, Instructions
from agent.scripted.prefix_cache import BLOCK_TOKENS
from agent.scripted.script import Script
from agent.scripted.server import serve
from results.records.events import (
    BackendDescription,
    Event,
    MessageEvent,
    RequestEvent,
    ResponseEvent,
    RetryEvent,
    StartEvent,
    ToolResultEvent,
)
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.records.usage import Prices, Usage
from runners.local_sandbox import LocalSandbox
from tools.output import neutralise
from tools.tool import Access, ToolResult
from tools.toolset import make_toolset

TASK = Instructions("You work in a repository.", "Mend it.")
THINKING = {"chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True}}
DONE_REPLY = {"content": "Done."}


@dataclass
class Log:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list[Event])
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    printed: asyncio.Event = field(default_factory=asyncio.Event)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        self.spoken.set()

    def output(self, data: bytes) -> None:
        self.printed.set()

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def responses(self) -> list[ResponseEvent]:
        return [event for event in self.events if isinstance(event, ResponseEvent)]

    @property
    def results(self) -> list[ToolResultEvent]:
        return [event for event in self.events if isinstance(event, ToolResultEvent)]

    @property
    def answers(self) -> list[str]:
        """What the model was told, without the header line."""
        return [str(event.sent["content"]).partition("\n")[2] for event in self.results]


@dataclass
class Desk:
    """An agent about to work, and what will be known of its work."""

    agent: Agent
    log: Log
    url: str
    directory: Path

    async def work(self, instructions: Instructions = TASK) -> Outcome:
        return await self.agent.run(instructions)


@asynccontextmanager
async def desk_at(url: str, directory: Path, **settings: Any) -> AsyncGenerator[Desk]:
    description = BackendDescription(
        base_url=url, model="m", dialect="generic", sampling=THINKING, context_window=settings.get("window")
    )
    retry = RetryPolicy(attempts=settings.get("attempts", 2), first_wait=0.001)
    backend = ChatBackend(description, retry=retry, stall_timeout=30)
    sandbox = LocalSandbox(directory)
    log = Log()
    agent = Agent(
        backend=backend,
        toolset_name="bash+editor",
        toolset=settings.get("toolset") or make_toolset("bash+editor"),
        sandbox=sandbox,
        sandbox_name="local",
        budget=Budget(LimitsDescription(**settings.get("limits", {})), settings.get("prices")),
        approval=settings.get("approval") or Approval("all"),
        listener=log,
    )
    try:
        yield Desk(agent, log, url, directory)
    finally:
        await sandbox.close()
        await backend.close()


@asynccontextmanager
async def desk(directory: Path, scripted: Script, **settings: Any) -> AsyncGenerator[Desk]:
    async with serve(scripted) as url, desk_at(url, directory, **settings) as result:
        yield result


async def work(directory: Path, *replies: dict[str, Any], **settings: Any) -> tuple[Outcome, Log]:
    async with desk(directory, script(*replies), **settings) as here:
        return await here.work(), here.log


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"reasoning": "Hm.", "tool_calls": list(calls), **fields}


def edit(**arguments: Any) -> dict[str, Any]:
    return {"name": "str_replace_editor", "arguments": arguments}


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


class TestTheEnd:
    async def test_a_turn_without_a_call_finishes(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, calling(bash("echo done > done")), DONE_REPLY)
        assert (outcome.exit, outcome.error, outcome.detail) == ("finished", None, "")
        assert (tmp_path / "done").read_text() == "done\n"

    async def test_an_empty_turn_finishes_and_says_so(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, {"reasoning": "Nothing to say."})
        assert (outcome.exit, outcome.detail) == ("finished", "the model ended its work with an empty message")
        assert log.responses[0].differences == ["no_content"]

    async def test_a_turn_that_was_cut_before_a_call_is_at_a_limit(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, {"reasoning": "I think and", "finish_reason": "length"}, window=100_000)
        assert outcome.exit == "limit:tokens"

    async def test_a_turn_that_filled_the_context_is_at_that_limit(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, {"reasoning": "I think and", "finish_reason": "length"}, window=50)
        assert (outcome.exit, outcome.error) == ("limit:context", None)

    async def test_a_prompt_that_no_longer_fits_is_at_that_limit_too(self, tmp_path: Path) -> None:
        replies = [calling(bash("echo kept > kept; seq 3000")), DONE_REPLY]
        async with desk(tmp_path, script(*replies, context_window=4000)) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("limit:context", None, 1)
        assert here.url in outcome.detail
        assert (tmp_path / "kept").exists()

    async def test_a_backend_that_fails_for_good_ends_it_with_the_work_kept(self, tmp_path: Path) -> None:
        fault = {"fault": {"status": 400, "message": "No."}}
        async with desk(tmp_path, script(calling(bash("echo kept > kept")), fault, DONE_REPLY)) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("error", "backend", 1)
        assert outcome.detail == f"the backend at {here.url} answered 400: No."
        assert here.log.kinds[-3:] == ["response", "tool_result", "request"]
        assert (tmp_path / "kept").exists()

    async def test_a_backend_that_has_gone_is_told_apart(self, tmp_path: Path) -> None:
        async with serve(script(DONE_REPLY)) as url:
            pass
        async with desk_at(url, tmp_path) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("error", "backend", 0)
        assert isinstance(here.agent.failure, BackendUnreachableError)

    async def test_a_failure_that_passes_is_recorded(self, tmp_path: Path) -> None:
        fault = {"fault": {"status": 503, "message": "Busy."}}
        outcome, log = await work(tmp_path, fault, DONE_REPLY)
        assert outcome.exit == "finished"
        assert log.kinds[3:] == ["request", "retry", "response"]
        retry = log.events[4]
        assert isinstance(retry, RetryEvent)
        assert (retry.step, "answered 503: Busy." in retry.reason) == (1, True)
        assert log.responses[0].requests == 2

    async def test_a_sandbox_that_fails_is_an_error_of_the_sandbox(self, tmp_path: Path) -> None:
        folder = tmp_path / "gone"
        folder.mkdir()
        async with desk(folder, script(calling(bash("true")), DONE_REPLY)) as here:
            shutil.rmtree(folder)
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("error", "sandbox", 1)
        assert str(folder) in outcome.detail

    async def test_a_tool_with_a_mistake_in_it_is_an_error_of_the_harness(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, calling({"name": "odd", "arguments": {}}), toolset=[OddTool()])
        assert (outcome.exit, outcome.error) == ("error", "harness")
        assert outcome.detail == "the tool odd failed: TimeoutError('odd')"


class OddParameters(BaseModel):
    pass


class OddTool:
    """A tool that breaks its contract."""

    name = "odd"
    description = "Odd."
    parameters = OddParameters

    def access(self, arguments: OddParameters) -> Access:
        return "read"

    async def __call__(self, arguments: OddParameters, sandbox: Any, on_output: Any = None) -> ToolResult:
        raise TimeoutError("odd")


FOREVER = "echo $BASHPID > pids; sleep 1000 & echo $! >> pids; seq 100; wait"


def assert_all_have_ended(directory: Path) -> None:
    pids = [int(line) for line in (directory / "pids").read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline, "a command outlived its task"
        time.sleep(0.02)


class TestLimits:
    STEP = calling(bash("echo x >> steps"))

    @pytest.mark.parametrize(
        ("limits", "reached", "steps"),
        [
            ({"steps": 2}, "limit:steps", 2),
            ({"steps": 0}, "limit:steps", 0),
            ({"tokens": 1}, "limit:tokens", 1),
            ({"cost": 1e-9}, "limit:cost", 1),
            ({"seconds": 0}, "limit:time", 0),
        ],
    )
    async def test_end_it_between_two_steps(
        self, tmp_path: Path, limits: dict[str, float], reached: str, steps: int
    ) -> None:
        (tmp_path / "steps").touch()
        prices = Prices(prompt=1.0, output=1.0)
        outcome, log = await work(tmp_path, *[self.STEP] * 5, DONE_REPLY, limits=limits, prices=prices)
        assert (outcome.exit, outcome.error, outcome.steps) == (reached, None, steps)
        assert outcome.detail.startswith("the limit of ")
        assert (tmp_path / "steps").read_text() == "x\n" * steps
        assert len(log.results) == steps

    async def test_time_runs_out_for_a_command_too(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, calling(bash(FOREVER)), DONE_REPLY, limits={"seconds": 1.0})
        assert (outcome.exit, outcome.error, outcome.steps) == ("limit:time", None, 1)
        assert log.kinds[-1] == "response"
        assert outcome.time.tools > 0
        assert_all_have_ended(tmp_path)

    async def test_time_runs_out_for_a_model_too(self, tmp_path: Path) -> None:
        async with desk(tmp_path, script(DONE_REPLY, first_token_delay=600), limits={"seconds": 0.3}) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("limit:time", None, 0)

    async def test_a_limit_on_tokens_that_nobody_counts_is_an_error(self, tmp_path: Path) -> None:
        call = {"index": 0, "id": "a", "function": {"name": "bash", "arguments": '{"command": "true"}'}}
        answer: Answer = [STREAM_HEAD, delta("tool_calls", tool_calls=[call]), DONE]
        async with faulty(answer) as server, desk_at(server.url, tmp_path, limits={"tokens": 9}) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.error, outcome.steps) == ("error", "backend", 1)
        assert "reports no token counts" in outcome.detail


class TestInterruption:
    async def test_of_a_command(self, tmp_path: Path) -> None:
        async with desk(tmp_path, script(calling(bash(FOREVER)), DONE_REPLY)) as here:
            task = asyncio.create_task(here.work())
            async with asyncio.timeout(20):
                await here.log.printed.wait()
                task.cancel()
                outcome = await task
        assert (outcome.exit, outcome.error, outcome.steps) == ("interrupted", "cancelled", 1)
        assert_all_have_ended(tmp_path)

    async def test_of_a_model(self, tmp_path: Path) -> None:
        scripted = script({"reasoning": "word " * 50, "content": "word " * 50}, token_delay=0.1)
        async with desk(tmp_path, scripted) as here:
            task = asyncio.create_task(here.work())
            async with asyncio.timeout(20):
                await here.log.spoken.wait()
                task.cancel()
                outcome = await task
        assert (outcome.exit, outcome.error, outcome.steps) == ("interrupted", "cancelled", 0)
        assert here.log.kinds == ["start", "message", "message", "request"]


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
