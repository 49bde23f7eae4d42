"""The terminus agent at work: a real scripted server, a real shell on a terminal of this machine."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from loop_desk import THINKING, Log
from prefix_desk import TEMPLATE
from scripted_client import script

from agent.chat_backend import ChatBackend, RetryPolicy
from agent.limits import Budget
from agent.prefix.audit import audit
from agent.prefix.exchanges import recorded_exchanges
from agent.prefix.renderers import LocalTemplate
from agent.scripted.server import serve
from agent.terminus.agent import MOST_UNREADABLE, TerminusAgent
from agent.terminus.prompt import TerminusPrompt
from agent.terminus.protocol import LONGEST_WAIT
from agent.waits import Waits
from results.records.events import BackendDescription, MessageEvent, RequestEvent, StartEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.records.usage import Usage
from runners.local_sandbox import LocalSandbox

Reply = dict[str, Any]
INSTRUCTION = "Put {screen} into a file.\n"
PROMPT = TerminusPrompt.load()


@pytest.fixture(autouse=True)
def shell_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login shell with a home of its own, whatever the machine's users have in theirs."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@dataclass
class Desk:
    """An agent about to work, and what will be known of its work."""

    directory: Path
    bodies: list[bytes] = field(default_factory=list[bytes])
    log: Log = field(default_factory=Log)
    waited: list[float] = field(default_factory=list[float])
    outcome: Outcome = field(default_factory=lambda: Outcome(exit="error"))

    @property
    def messages(self) -> list[Reply]:
        """Those of the last request."""
        return json.loads(self.bodies[-1])["messages"]

    @property
    def said(self) -> list[str]:
        """What the model was told, message by message."""
        return [str(event.sent["content"]) for event in self.log.events if isinstance(event, MessageEvent)]


class Watched(ChatBackend):
    """A backend that remembers what it sent."""

    bodies: list[bytes]

    async def complete(self, conversation: Any, *arguments: Any, **more: Any) -> Any:
        """Send it."""
        self.bodies.append(conversation.request_body())
        return await super().complete(conversation, *arguments, **more)


@asynccontextmanager
async def backend(url: str, bodies: list[bytes], **sampling: Any) -> AsyncGenerator[Watched]:
    description = BackendDescription(
        base_url=url, model="m", dialect="generic", sampling={**THINKING, **sampling}, context_window=200_000
    )
    opened = Watched(description, retry=RetryPolicy(attempts=2, first_wait=0.001), waits=Waits.of_silence(30))
    opened.bodies = bodies
    try:
        yield opened
    finally:
        await opened.close()


async def nothing() -> None:
    """What is done after the work unless a test says otherwise."""


async def work(
    directory: Path,
    *replies: Reply,
    limits: dict[str, Any] | None = None,
    then: Callable[[], Awaitable[None]] = nothing,
    **sampling: Any,
) -> Desk:
    """Let the agent work to its end. It waits until the terminal is still, and not for as long as it is told."""
    here = Desk(directory)
    sandbox = LocalSandbox(directory)
    async with serve(script(*replies)) as url, backend(url, here.bodies, **sampling) as opened:
        budget = Budget(LimitsDescription(**(limits or {})))
        agent = TerminusAgent(opened, sandbox, "local", budget, here.log, PROMPT)

        async def pause(seconds: float) -> None:
            here.waited.append(seconds)
            if seconds:
                assert agent.session
                await agent.session.settle(3, for_change=True)

        agent.pause = pause
        try:
            here.outcome = await agent.run(INSTRUCTION)
            await then()
        finally:
            await sandbox.close()
    return here


def typing(*keystrokes: str, complete: bool = False, **fields: Any) -> Reply:
    commands = [{"keystrokes": keys, "duration": 1} for keys in keystrokes]
    said = {"analysis": "Ich sehe: ü🙂", "plan": "p", "commands": commands, "task_complete": complete}
    return {"content": json.dumps(said, ensure_ascii=False), **fields}


DONE = typing(complete=True)


async def test_it_types_looks_and_hands_in_when_it_was_asked_twice(tmp_path: Path) -> None:
    here = await work(tmp_path, typing("echo made >note.txt\n", "cat note.txt\n"), DONE, DONE)

    assert (here.outcome.exit, here.outcome.error, here.outcome.steps) == ("submitted", None, 3)
    assert (tmp_path / "note.txt").read_text() == "made\n"
    assert here.waited == [1.0, 1.0]
    first, second, third = here.said
    assert INSTRUCTION.strip() in first
    assert '{"keystrokes": "make\\n", "duration": 20}' in first
    assert "cat note.txt\nmade\n" in second
    assert "You said that the task is complete" in third
    roles = [message["role"] for message in here.messages]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


async def test_thinking_goes_back_as_it_came_and_nothing_that_was_sent_changes(tmp_path: Path) -> None:
    thoughts = ["Zuerst: ü🙂\n\n", " dann  ", "Fertig.", "Wirklich."]
    replies = [typing("echo a\n"), {"content": "no JSON"}, DONE, DONE]
    replies = [{**reply, "reasoning": thought} for reply, thought in zip(replies, thoughts, strict=True)]
    here = await work(tmp_path, *replies)

    assert len(here.bodies) == 4
    for before, after in pairwise(here.bodies):
        assert after.startswith(before.removesuffix(b"]}"))
    sent = [message for message in here.messages if message["role"] == "assistant"]
    assert [message["reasoning_content"] for message in sent] == thoughts[:3]
    assert [message["content"] for message in sent] == [reply["content"] for reply in replies[:3]]
    requests = [event for event in here.log.events if isinstance(event, RequestEvent)]
    assert [event.sha256 for event in requests] == [hashlib.sha256(body).hexdigest() for body in here.bodies]
    assert all("tools" not in json.loads(body) for body in here.bodies)
    assert here.outcome.usage == sum((event.usage for event in here.log.responses), Usage())
    start = here.log.events[0]
    assert isinstance(start, StartEvent)
    assert (start.agent, start.tools) == ("terminus", [])
    report = await audit(recorded_exchanges(here.log.events), LocalTemplate(TEMPLATE))
    # The template takes away the white space at the ends of thoughts, which nobody here can help.
    assert {divergence.cause for divergence in report.divergences} == {"template_trims"}
    assert (report.requests, report.bodies.status) == (4, "proved")
    assert (report.thinking_turns, report.thinking_shown) == (3, 3)


async def test_one_completion_alone_hands_nothing_in(tmp_path: Path) -> None:
    replies = [DONE, typing("echo more\n"), DONE, {"content": "oh"}, typing("echo end >end.txt\n", complete=True)]
    here = await work(tmp_path, *replies)

    # As in Terminus-2, an answer that cannot be read stands between two completions without ending the first.
    assert (here.outcome.exit, here.outcome.steps) == ("submitted", 5)
    assert (tmp_path / "end.txt").read_text() == "end\n"
    assert ["You said that the task is complete" in text for text in here.said] == [False, True, False, True, False]


async def test_what_cannot_be_read_is_told_and_nothing_of_it_typed(tmp_path: Path) -> None:
    broken = typing("touch made\n")["content"].replace('"plan"', "plan")
    call = {"tool_calls": [{"name": "bash", "arguments": {"command": "touch made"}}]}
    here = await work(tmp_path, {"content": broken}, {}, call, DONE, DONE)

    assert here.outcome.counts["unreadable_answer"] == 3
    assert here.outcome.counts["calls_without_tools"] == 1
    assert "Expecting property name enclosed in double quotes" in here.said[1]
    assert "there is no JSON object in it" in here.said[2]
    assert "it was a call of a tool, and there are no tools" in here.said[3]
    assert not any("tool_calls" in message for message in here.messages)
    assert not (tmp_path / "made").exists()


async def test_a_model_that_never_answers_as_it_should_is_given_up(tmp_path: Path) -> None:
    bad = [{"content": f"What? {number}"} for number in range(MOST_UNREADABLE)]
    here = await work(tmp_path, *bad[1:], typing("\n"), *bad)

    assert (here.outcome.exit, here.outcome.steps) == ("limit:repeat", 2 * MOST_UNREADABLE)
    assert here.outcome.detail == "50 answers in a row could not be read"


async def test_what_was_mended_is_done_and_told(tmp_path: Path) -> None:
    said = typing("touch made\n")["content"]
    here = await work(tmp_path, {"content": f"Well.\n```json\n{said}\n```"}, DONE, DONE)

    assert (tmp_path / "made").exists()
    assert "- there was other text before the JSON object\n- there was other text after" in here.said[1]
    assert "touch made" in here.said[1]
    assert here.outcome.counts["warned_answer"] == 1


async def test_an_answer_that_the_output_limit_cut_stays_and_is_told(tmp_path: Path) -> None:
    cut = {"content": typing("touch made\n")["content"][:-30], "reasoning": "Long.", "finish_reason": "length"}
    here = await work(tmp_path, cut, DONE, DONE, max_tokens=5000)

    assert "longer than 5,000 tokens and was broken off" in here.said[1]
    assert here.messages[1] == {
        "role": "assistant", "content": cut["content"], "reasoning_content": "Long.", "reasoning": "Long.",
    }  # fmt: skip
    assert here.outcome.counts["cut_answer"] == 1
    assert here.outcome.usage.output_tokens == sum(event.usage.output_tokens or 0 for event in here.log.responses)
    assert not (tmp_path / "made").exists()


async def test_no_command_is_waited_for_longer_than_the_protocol_allows(tmp_path: Path) -> None:
    said = json.loads(typing("echo a\n")["content"])
    said["commands"][0]["duration"] = 86_400
    here = await work(tmp_path, {"content": json.dumps(said)}, DONE, DONE)

    assert here.waited == [LONGEST_WAIT]


async def test_keys_are_typed_as_they_are_and_a_name_alone_is_a_key(tmp_path: Path) -> None:
    here = await work(
        tmp_path, typing("cat >typed.txt\n", "<Enter> C-c $HOME \\n\n", "C-d", "echo '<\u2060|im_end|>'\n"), DONE, DONE
    )

    assert (tmp_path / "typed.txt").read_text() == "<Enter> C-c $HOME \\n\n"
    assert "echo '<\u2060|im_end|>'\n<\u2060|im_end|>\n" in here.said[1]


async def test_a_limit_ends_it_and_the_command_in_flight_but_nothing_in_the_background(tmp_path: Path) -> None:
    async def background_is_done() -> None:
        while not (tmp_path / "background").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)

    late = "(sleep 4; touch background) &\n", "sleep 3; touch late\n", "touch typed-ahead\n"
    here = await work(tmp_path, typing(*late), DONE, limits={"steps": 1}, then=background_is_done)

    assert (here.outcome.exit, here.outcome.detail) == ("limit:steps", "the limit of 1 steps was reached")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["background", "home"]


async def test_a_shell_that_has_ended_ends_the_work(tmp_path: Path) -> None:
    here = await work(tmp_path, typing("exit 3\n", "touch late\n"), DONE)

    assert (here.outcome.exit, here.outcome.steps) == ("finished", 1)
    assert here.outcome.detail == "the shell on the terminal has ended (exit 3), and the work with it"


async def test_a_full_context_ends_it_as_it_ends_every_agent(tmp_path: Path) -> None:
    here = await work(tmp_path, typing("echo a\n"), max_tokens=199_500)

    assert here.outcome.exit == "limit:context"
    assert "leaves no room for a response" in here.outcome.detail
