"""Our real loop at work on the real server: what the end-to-end tests share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.approval import Approval
from agent.backend import DeltaKind
from agent.backends import BackendOptions, open_backend
from agent.limits import Budget
from agent.loop import Agent, Instructions
from llama_server.relay import Relay
from llama_server.replies import Call, Reply
from results.records.events import Event, Received, ResponseEvent, ToolResultEvent
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from runners.local_sandbox import LocalSandbox
from tools.toolset import make_toolset

TASK = Instructions("You work in a folder.", "Do what has to be done.")


def bash(command: str) -> Call:
    """A call of the tool `bash`."""
    return Call("bash", {"command": command})


def steps(count: int) -> list[Reply]:
    """A script of `count` steps with one call each (every fifth has two, every third no text), and an end."""
    script: list[Reply] = []
    for step in range(1, count + 1):
        commands = [f"echo part {step} is done"] + ([f"echo and a second call in {step}"] if step % 5 == 0 else [])
        script.append(
            Reply(
                reasoning=f"Step {step} of the work.\nPart {step} comes now; I think of number {step * 7919 % 1000}.",
                content=f"I work on part {step}." if step % 3 else "",
                calls=tuple(map(bash, commands)),
            )
        )
    return [*script, Reply(reasoning="That were all the parts.", content="Everything is finished.")]


@dataclass
class Log:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list[Event])

    def event(self, event: Event) -> None:
        self.events.append(event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        return

    def output(self, data: bytes) -> None:
        return

    @property
    def received(self) -> list[Received]:
        return [event.received for event in self.events if isinstance(event, ResponseEvent)]

    @property
    def results(self) -> list[ToolResultEvent]:
        return [event for event in self.events if isinstance(event, ToolResultEvent)]


async def work(
    url: str, directory: Path, task: Instructions = TASK, *, max_steps: int | None = None, **options: Any
) -> tuple[Outcome, Log]:
    """Let the agent work on `task` in `directory`, with the model at `url` and these BackendOptions."""
    sandbox = LocalSandbox(directory)
    log = Log()
    try:
        async with open_backend(url, BackendOptions(**options)) as backend:
            agent = Agent(
                backend=backend,
                toolset_name="bash",
                toolset=make_toolset("bash"),
                sandbox=sandbox,
                sandbox_name="local",
                budget=Budget(LimitsDescription(steps=max_steps)),
                approval=Approval("all"),
                listener=log,
            )
            return await agent.run(task), log
    finally:
        await sandbox.close()


def mismatches(received: Sequence[Received], script: Sequence[Reply]) -> list[int]:
    """The numbers of the replies that did not come as the script has them, but for white space at the ends."""
    told = [
        (
            (turn.reasoning or "").strip(),
            (turn.content or "").strip(),
            [(call.name, json.loads(call.arguments)) for call in turn.tool_calls],
        )
        for turn in received
    ]
    scripted = [
        (reply.reasoning, reply.content, [(call.name, dict(call.arguments)) for call in reply.calls])
        for reply in script
    ]  # fmt: skip
    missing = range(min(len(told), len(scripted)), max(len(told), len(scripted)))
    return [number for number, (one, other) in enumerate(zip(told, scripted, strict=False)) if one != other] + [
        *missing
    ]


def recomputed(relay: Relay) -> list[int]:
    """For each request after the first: the tokens that were computed anew although the server had computed them.

    What it has when an answer is complete is the prompt and all that was generated but its last token, the one that
    ends the turn: that one is sampled and never read.
    """
    known = [chat.usage["total_tokens"] - 1 for chat in relay.chats]
    return [before - chat.cached for before, chat in zip(known, relay.chats[1:], strict=False)]
