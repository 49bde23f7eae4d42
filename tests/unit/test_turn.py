"""What goes back for a turn: what came, byte for byte, and a cause counted for everything that could not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.registry import load_dialect
from agent.turn import AssistantTurn, SentTurn, ToolCall, sent_turn

FIELDS = ("reasoning_content", "reasoning")

any_text = st.text(st.characters(), max_size=60)
whole_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
call_ids = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
arguments = st.dictionaries(whole_text, whole_text | st.integers() | st.booleans(), max_size=3)


def sent(turn: AssistantTurn, step: int = 7) -> SentTurn:
    return sent_turn(turn, step, load_dialect("generic"))


def calling(*written: str, ids: tuple[str, ...] | None = None) -> AssistantTurn:
    given_ids = ids or tuple(f"c{number}" for number in range(len(written)))
    return AssistantTurn(
        content="",
        tool_calls=tuple(ToolCall(call_id, "bash", text) for call_id, text in zip(given_ids, written, strict=True)),
    )


def calls_of(result: SentTurn) -> list[dict[str, Any]]:
    return result.message.get("tool_calls", [])


@given(
    st.none() | whole_text,
    st.none() | whole_text,
    st.lists(
        st.tuples(call_ids, whole_text, arguments, st.sampled_from([None, 2])), max_size=3, unique_by=lambda c: c[0]
    ),
)
def test_a_turn_goes_back_as_it_came(reasoning: str | None, content: str | None, written: list[Any]) -> None:
    calls = tuple(ToolCall(i, name, json.dumps(value, indent=indent)) for i, name, value, indent in written)
    if not calls:
        content = content or ""
    result = sent(AssistantTurn(reasoning=reasoning, content=content, tool_calls=calls))
    assert result.differences == ()
    assert result.message["content"] == content
    assert [result.message.get(name) for name in FIELDS] == [reasoning, reasoning]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls_of(result)] == [
        (call.id, call.name, call.arguments) for call in calls
    ]
    assert [call.arguments for call in result.calls] == [value for _, _, value, _ in written]


@given(st.none() | any_text, st.none() | any_text, st.lists(st.tuples(any_text, any_text, any_text), max_size=4))
def test_whatever_comes_what_goes_back_is_what_servers_accept(
    reasoning: str | None, content: str | None, written: list[tuple[str, str, str]]
) -> None:
    turn = AssistantTurn(reasoning=reasoning, content=content, tool_calls=tuple(ToolCall(*call) for call in written))
    result = sent(turn)
    json.dumps(result.message, ensure_ascii=False).encode()
    ids = [call["id"] for call in calls_of(result)]
    assert ids == [call.id for call in result.calls]
    assert len(set(ids)) == len(written)
    assert all(ids)
    for call in calls_of(result):
        read = json.loads(call["function"]["arguments"])
        assert isinstance(read, dict)
        json.dumps(read, ensure_ascii=False).encode()
    if not result.differences:
        assert (result.message["content"], result.message.get("reasoning")) == (content, reasoning)
        functions = [(call["id"], *call["function"].values()) for call in calls_of(result)]
        assert functions == written


@pytest.mark.parametrize(
    "written",
    [
        '{"command": "ls"',
        "ls -la",
        "[1, 2]",
        '"{}"',
        "null",
        "7",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": "line\nbreak"}',
        '{"a": ' * 100_000,
        '{"a": 1' + "0" * 5000 + "}",
        "\ud83d",
    ],
)
def test_arguments_that_no_server_can_read_are_sent_as_none_and_never_run(written: str) -> None:
    result = sent(calling('{"command": "ls"}', written))
    assert [call["function"]["arguments"] for call in calls_of(result)] == ['{"command": "ls"}', "{}"]
    assert result.differences == ("arguments_not_an_object",)
    assert result.calls[0].problem is None
    assert result.calls[1].problem
    assert result.calls[1].written.arguments == written


@pytest.mark.parametrize("written", ["", " ", "\n"])
def test_empty_arguments_are_an_empty_object(written: str) -> None:
    result = sent(calling(written))
    assert calls_of(result)[0]["function"]["arguments"] == "{}"
    assert (result.calls[0].arguments, result.calls[0].problem) == ({}, None)
    assert result.differences == ("empty_arguments",)


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    result = sent(calling("{}", "{}", "{}", ids=("", "call_7_1", "")))
    assert [call["id"] for call in calls_of(result)] == ["call_7_1_", "call_7_1", "call_7_3"]
    assert [call.id for call in result.calls] == ["call_7_1_", "call_7_1", "call_7_3"]
    assert result.differences == ("missing_call_id", "missing_call_id")


def test_an_id_that_two_calls_share_is_kept_by_the_first() -> None:
    result = sent(calling("{}", "{}", "{}", ids=("call_0", "call_0", "call_0")))
    assert [call.id for call in result.calls] == ["call_0", "call_7_2", "call_7_3"]
    assert result.differences == ("repeated_call_id", "repeated_call_id")


def test_a_call_without_content_is_sent_without_content() -> None:
    turn = AssistantTurn(tool_calls=(ToolCall("a", "bash", "{}"),))
    assert sent(turn).message["content"] is None
    assert sent(turn).differences == ()


def test_an_empty_content_stays_empty() -> None:
    assert sent(calling("{}")).message["content"] == ""


def test_thinking_alone_goes_back_beside_an_empty_content() -> None:
    result = sent(AssistantTurn(reasoning="Hm.", reasoning_field="reasoning"))
    assert result.message == {"role": "assistant", "content": "", "reasoning_content": "Hm.", "reasoning": "Hm."}
    assert result.differences == ("no_content",)


def test_thinking_that_came_empty_goes_back_empty_and_thinking_that_did_not_come_does_not() -> None:
    assert sent(AssistantTurn(reasoning="", content="x")).message["reasoning"] == ""
    assert "reasoning" not in sent(AssistantTurn(content="x")).message


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("llama.cpp", {"content": None, "reasoning_content": "Hm.", "reasoning": "Hm."}),
        ("ollama", {"content": None, "reasoning": "Hm."}),
        ("deepseek", {"content": None, "reasoning_content": "Hm."}),
        ("openai", {"content": None}),
        ("transformers-serve", {"content": "<think>\nHm.\n</think>\n\n"}),
    ],
)
def test_thinking_goes_back_where_the_server_family_reads_it(dialect: str, expected: dict[str, Any]) -> None:
    turn = AssistantTurn(reasoning="Hm.", reasoning_field="other", tool_calls=(ToolCall("a", "bash", "{}"),))
    message = sent_turn(turn, 1, load_dialect(dialect)).message
    assert {name: value for name, value in message.items() if name not in ("role", "tool_calls")} == expected


def test_what_a_behaviour_collected_is_recorded_and_goes_back() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 0}]
    turn = AssistantTurn(reasoning="Hm.", content="y", extras={"reasoning_details": details})
    assert turn.received().extras == {"reasoning_details": details}
    assert sent_turn(turn, 1, load_dialect("openrouter")).message["reasoning_details"] == details


def test_half_a_character_is_replaced_and_counted() -> None:
    result = sent(AssistantTurn(reasoning="a\ud83d", content="\udc00b"))
    assert (result.message["reasoning"], result.message["content"]) == ("a\ufffd", "\ufffdb")
    assert result.differences == ("lone_surrogate", "lone_surrogate")


def test_the_record_of_what_came_is_what_came() -> None:
    turn = AssistantTurn(
        reasoning="r\ud83d",
        reasoning_field="reasoning",
        tool_calls=(ToolCall("", "bash", "{"),),
        finish_reason="length",
    )
    received = turn.received()
    assert (received.reasoning, received.content, received.finish_reason) == ("r\ud83d", None, "length")
    assert [(call.id, call.name, call.arguments) for call in received.tool_calls] == [("", "bash", "{")]
