"""How a task ends: done, at a limit, interrupted, or through the fault of a part that is named."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from faulty_server import DONE, STREAM_HEAD, Answer, Deed, delta, faulty, usage
from loop_desk import DONE_REPLY, calling, desk, desk_at, work
from pydantic import BaseModel
from scripted_client import bash, script

from agent.backend import BackendUnreachableError
from agent.scripted.server import serve
from results.records.events import (
    RetryEvent,
)
from results.records.usage import HardwareCost, Prices
from tools.tool import Access, ToolResult


class TestTheEnd:
    async def test_a_turn_without_a_call_finishes(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, calling(bash("echo done > done")), DONE_REPLY)
        assert (outcome.exit, outcome.error, outcome.detail) == ("finished", None, "")
        assert (tmp_path / "done").read_text() == "done\n"

    async def test_an_empty_turn_finishes_and_says_so(self, tmp_path: Path) -> None:
        outcome, log = await work(tmp_path, {"reasoning": "Nothing to say."})
        assert (outcome.exit, outcome.detail) == ("finished", "the model ended its work with an empty message")
        assert [response.discarded for response in log.responses] == [True, True, False]
        assert log.responses[-1].differences == ["no_content"]

    async def test_a_turn_that_was_cut_before_a_call_is_at_a_limit(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, {"reasoning": "I think and", "finish_reason": "length"}, window=100_000)
        assert outcome.exit == "limit:tokens"

    async def test_a_turn_that_filled_the_context_is_at_that_limit(self, tmp_path: Path) -> None:
        outcome, _ = await work(tmp_path, {"reasoning": "I think and", "finish_reason": "length"}, window=50)
        assert (outcome.exit, outcome.error) == ("limit:context", None)

    async def test_a_turn_that_had_to_be_sent_again_does_not_count_twice_for_its_length(self, tmp_path: Path) -> None:
        broken = [STREAM_HEAD, delta(content="Hel"), usage(12_000, 10)]
        cut = [STREAM_HEAD, delta(content="Hel"), delta("length"), usage(12_000, 10), DONE]
        async with faulty(broken, cut) as server, desk_at(server.url, tmp_path, window=20_000) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.usage.prompt_tokens) == ("limit:tokens", 24_000)

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

    async def test_what_was_used_until_then_is_counted(self, tmp_path: Path) -> None:
        broken = [STREAM_HEAD, delta(content="Hel"), usage(600, 10)]
        stalled = [STREAM_HEAD, delta(content="Hel"), Deed.STALL]
        prices = Prices(hardware=HardwareCost(hour_price=3600.0))
        settings: dict[str, Any] = {"limits": {"seconds": 0.5}, "prices": prices}
        async with faulty(broken, stalled) as server, desk_at(server.url, tmp_path, **settings) as here:
            outcome = await here.work()
        assert (outcome.exit, outcome.usage.prompt_tokens, outcome.usage.unreported) == ("limit:time", 600, 1)
        assert outcome.cost == pytest.approx(outcome.time.model, rel=0.05)

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
