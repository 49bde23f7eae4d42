"""Recovers tool calls that stand in a turn's thinking or text instead of among its calls.

Servers leave them there when a model calls before it has ended its thinking (vllm-project/vllm#35687), when it
forgets a tag (ollama/ollama#16686), or when their own parser stumbles. Without recovery the agent stops silently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.recovery.arguments import Schema, json_arguments
from agent.recovery.markup import Block, find_blocks
from agent.turn import AssistantTurn, ToolCall


@dataclass(frozen=True)
class Recovery:
    """A turn with its stranded calls among its calls, cut out of where they stood."""

    turn: AssistantTurn
    causes: tuple[str, ...]
    """One for each thing done: `call_in_reasoning` or `call_in_content` for a call that was recovered, `cut_call` for
    one that is there to be refused, and `opening_tag_missing` besides where `<tool_call>` was."""


def recover_calls(turn: AssistantTurn, tools: Sequence[Mapping[str, Any]]) -> Recovery:
    """Recover the stranded calls of `turn`, if it has no others; `tools` are definitions of the OpenAI protocol.

    Only tools that exist are called, and only outside of Markdown's code. A call that is cut off, or of which it is
    not certain where it ends, takes all text behind it, and its arguments are that text: no JSON, so that nothing is
    run and the model is told. All other text stays as it is, byte for byte. Ids are empty, for `sent_turn` to make.

    Calls in the text go before calls in the thinking, which then were drafts. Of those in the thinking only the last
    ones in a row count, since a model that thinks on did not wait for a result; and if text that can be seen follows,
    only if they end the thinking.

    Thinking that is inline in the content has to be split off before: see `split_inline_thinking`.
    """
    if turn.tool_calls:
        return Recovery(turn, ())
    functions = [tool["function"] for tool in tools]
    schemas: dict[str, Schema] = {function["name"]: function.get("parameters", {}) for function in functions}
    content, reasoning = turn.content or "", turn.reasoning or ""
    if blocks := find_blocks(content, schemas):
        cleared = replace(turn, content=_without(content, blocks))
        return _recovered(cleared, blocks, "call_in_content", schemas)
    if blocks := _waited_for(find_blocks(reasoning, schemas), reasoning, content):
        cleared = replace(turn, reasoning=_without(reasoning, blocks))
        return _recovered(cleared, blocks, "call_in_reasoning", schemas)
    return Recovery(turn, ())


def _recovered(turn: AssistantTurn, blocks: list[Block], cause: str, schemas: Mapping[str, Schema]) -> Recovery:
    calls: list[ToolCall] = []
    causes: list[str] = []
    for block in blocks:
        for call in block.calls:
            written = call.arguments
            arguments = written if isinstance(written, str) else json_arguments(written, schemas[call.name])
            calls.append(ToolCall("", call.name, arguments))
            causes.append("cut_call" if block.is_cut else cause)
        causes += [] if block.is_wrapped else ["opening_tag_missing"]
    return Recovery(replace(turn, tool_calls=tuple(calls)), tuple(causes))


def _waited_for(blocks: list[Block], reasoning: str, content: str) -> list[Block]:
    """Of the calls in the thinking those that the model waited for, and did not think or speak past."""
    row: list[Block] = []
    for block in reversed(blocks):
        if row and reasoning[block.end : row[0].start].strip():
            break
        row.insert(0, block)
    if row and content.strip() and (row[-1].is_cut or reasoning[row[-1].end :].strip()):
        return []
    return row


def _without(text: str, blocks: list[Block]) -> str:
    starts = [0, *(block.end for block in blocks)]
    ends = [*(block.start for block in blocks), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))
