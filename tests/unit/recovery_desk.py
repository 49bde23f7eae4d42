"""Tools, calls in both written forms, and what the loop would make of a recovered turn."""

from typing import Any

from hypothesis import strategies as st

from agent.dialects.registry import load_dialect
from agent.recovery import Recovery, recover_calls
from agent.turn import AssistantTurn, sent_turn


def tool(name: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TEXT = {"type": "string"}
TOOLS = [
    tool("bash", command=TEXT, timeout={"type": "integer"}),
    tool("write", path=TEXT, text=TEXT),
    tool(
        "odd",
        number={"type": "number"},
        flag={"type": "boolean"},
        items={"type": "array", "items": {"type": "integer"}},
        table={"type": "object"},
        either={"anyOf": [{"type": "string"}, {"type": "integer"}]},
        maybe={"type": ["string", "null"]},
        anything={},
    ),
]

LS = "<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>"
PWD = '<tool_call>\n{"name": "bash", "arguments": {"command": "pwd"}}\n</tool_call>'

whole_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
prose = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<`~"), max_size=60)
tags = st.sampled_from(
    ["<tool_call>", "</tool_call>", "<function=bash>", "<function=other>", "</function>", "<parameter=command>",
     "<parameter=x>", "</parameter>", '{"name": "bash", "arguments": ', '{"command": "ls"}}', "`", "```", "\n~~~\n",
     "\n", " ", "<", '"', "</think>", "<think>", "\\", "word", "é"]
)  # fmt: skip
markup = st.lists(tags, max_size=30).map("".join)


def xml(name: str, **parameters: str) -> str:
    values = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{values}</function>\n</tool_call>"


def recover(reasoning: str | None = None, content: str | None = None, finish_reason: str = "stop") -> Recovery:
    return recover_calls(AssistantTurn(reasoning, "reasoning", content, finish_reason=finish_reason), TOOLS)


def run_of(recovery: Recovery) -> list[tuple[str, dict[str, Any]]]:
    """The calls that would be run, as the loop reads them."""
    sent = sent_turn(recovery.turn, 1, load_dialect("generic"))
    return [(call.written.name, call.arguments) for call in sent.calls if call.problem is None]


def refused(recovery: Recovery) -> list[tuple[str, str]]:
    sent = sent_turn(recovery.turn, 1, load_dialect("generic"))
    return [(call.written.name, call.written.arguments) for call in sent.calls if call.problem is not None]
