"""Small conversations for the tests of `agent.prefix`: what a model said, what came back for it, what followed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.prefix.audit import audit_exchanges
from agent.prefix.exchanges import Exchange
from agent.prefix.renderers import LocalTemplate, Renderer
from agent.prefix.report import Divergence, PrefixReport
from results.records.events import Received, ToolCallRecord

TEMPLATE = Path(__file__).parents[1] / "llama_server" / "chat_template.jinja"
"""Qwen3.6's rules in our own words."""

Message = dict[str, Any]
SYSTEM: Message = {"role": "system", "content": "Be brief."}
TASK: Message = {"role": "user", "content": "Mend the greeting."}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": {"type": "object"}}}
    for name in ("bash", "view")
]
PRESERVE = {"enable_thinking": True, "preserve_thinking": True}
FORGET = {"enable_thinking": True, "preserve_thinking": False}


def said(reasoning: str | None = None, content: str | None = None, *arguments: str, finish: str = "stop") -> Received:
    """A response; each of `arguments` is a call of `bash`."""
    calls = [ToolCallRecord(id=f"c{number}", name="bash", arguments=text) for number, text in enumerate(arguments)]
    return Received(reasoning=reasoning, content=content, tool_calls=calls, finish_reason=finish)


def echo(received: Received) -> Message:
    """The message that a client sends for it which changes nothing."""
    message: Message = {"role": "assistant", "content": received.content}
    if received.reasoning is not None:
        message |= {"reasoning_content": received.reasoning, "reasoning": received.reasoning}
    if received.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in received.tool_calls
        ]
    return message


def answers(received: Received, text: str = "exit code: 0\ndone") -> list[Message]:
    """The results of its calls."""
    return [{"role": "tool", "tool_call_id": call.id, "content": text} for call in received.tool_calls]


@dataclass
class Talk:
    """A conversation that grows by what is said in it; each turn is a request."""

    flags: Mapping[str, Any] = field(default_factory=lambda: dict(PRESERVE))
    tools: Sequence[Mapping[str, Any]] = field(default_factory=lambda: list(TOOLS))
    messages: list[Message] = field(default_factory=lambda: [dict(SYSTEM), dict(TASK)])
    exchanges: list[Exchange] = field(default_factory=list[Exchange])

    def ask(self, received: Received | None = None, *, tokens: int | None = None) -> None:
        """A request, without anything being appended."""
        step = len(self.exchanges) + 1
        exchange = Exchange(step, tuple(self.messages), list(self.tools), dict(self.flags), received, tokens)
        self.exchanges.append(exchange)

    def turn(self, received: Received, *, back: Message | None = None, question: str | None = None) -> None:
        """A request, and what follows: `back` in place of the echo, and a user message if there is a `question`."""
        self.ask(received)
        self.messages += [back or echo(received), *answers(received)]
        if question is not None:
            self.messages.append({"role": "user", "content": question})

    async def audit(self, renderer: Renderer | None = None) -> PrefixReport:
        """A last request, and then the audit."""
        self.ask()
        return await audit_exchanges(self.exchanges, renderer or LocalTemplate(TEMPLATE))


async def only(talk: Talk, renderer: Renderer | None = None) -> Divergence:
    """The one divergence of a conversation."""
    report = await talk.audit(renderer)
    assert len(report.divergences) == 1, report.divergences
    return report.divergences[0]


def call(**arguments: Any) -> str:
    """Arguments as a model writes them."""
    return json.dumps(arguments)
