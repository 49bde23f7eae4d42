"""What a server family does that no cell can say: taken from what comes, put into what goes back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.behaviours import BEHAVIOURS
from agent.dialects.behaviours.echo_reasoning_details import EchoReasoningDetails
from agent.dialects.behaviours.echo_thought_signatures import FOREIGN, EchoThoughtSignatures
from agent.dialects.registry import load_dialect
from agent.turn import AssistantTurn, ToolCall, sent_turn


def turn_of(dialect: str, parts: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """What goes back for a turn whose deltas were `parts`."""
    extras: dict[str, Any] = {}
    for name in load_dialect(dialect).behaviours:
        for part in parts:
            BEHAVIOURS[name]().collect(part, extras)
    return sent_turn(AssistantTurn(extras=extras, **fields), 1, load_dialect(dialect)).message


def detail(**fields: Any) -> dict[str, Any]:
    return {"reasoning_details": [{"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **fields}]}


def test_fragments_of_a_block_become_the_block():
    parts = [detail(text="Let"), {}, detail(text=" me think.", signature=None), detail(signature="Et8B")]
    message = turn_of("openrouter", parts, reasoning="Let me think.", content="Done.")
    assert message == {
        "role": "assistant",
        "content": "Done.",
        "reasoning_details": [
            {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "Let me think.",
             "signature": "Et8B"},
        ],
    }  # fmt: skip


def test_blocks_of_another_index_type_or_id_stay_apart():
    parts = [
        detail(text="a"), detail(index=1, text="b"), {"reasoning_details": [
            {"type": "reasoning.encrypted", "data": "x", "index": 0, "id": "call_1"},
            {"type": "reasoning.encrypted", "data": "y", "index": 0, "id": "call_2"},
            {"type": "reasoning.summary", "summary": "whole"}, {"type": "reasoning.summary", "summary": "whole"},
        ]}, detail(index=1, text="c"),
    ]  # fmt: skip
    details = turn_of("openrouter", parts, content="")["reasoning_details"]
    assert [block.get("text") or block.get("data") or block.get("summary") for block in details] == [
        "a", "bc", "x", "y", "whole", "whole",
    ]  # fmt: skip


def test_plain_text_goes_back_where_no_block_came():
    assert turn_of("openrouter", [{"reasoning": "hm"}], reasoning="hm", content="x")["reasoning"] == "hm"


@given(st.lists(st.sampled_from(["one", "two ", "\n", "drei 🙂", ""]), min_size=1, max_size=8))
def test_a_block_is_the_same_however_it_was_cut(pieces: list[str]):
    extras: dict[str, Any] = {}
    for piece in pieces:
        EchoReasoningDetails().collect(detail(text=piece), extras)
    assert [block["text"] for block in extras["reasoning_details"]] == ["".join(pieces)]


@pytest.mark.parametrize("strange", [None, "x", 3, [None], ["x"], {}, [[]]])
def test_what_has_another_form_is_passed_over(strange: Any):
    extras: dict[str, Any] = {}
    for behaviour in BEHAVIOURS.values():
        behaviour().collect({"reasoning_details": strange, "tool_calls": strange, "extra_content": strange}, extras)
        behaviour().usage({"usage": strange})
    assert not any(extras.values())


CALLS = (ToolCall("c1", "bash", "{}"), ToolCall("c2", "bash", "{}"))
SIGNED = {"google": {"thought_signature": "SIG"}}


def call_piece(call_id: str | None, index: int | None, content: Any = None) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": "bash", "arguments": "{}"}}
    piece |= {} if call_id is None else {"id": call_id}
    piece |= {} if index is None else {"index": index}
    return piece if content is None else {**piece, "extra_content": content}


@pytest.mark.parametrize(
    "parts",
    [
        [{"tool_calls": [call_piece("c1", 0, SIGNED)]}, {"tool_calls": [call_piece("c2", 1)]}],
        [{"tool_calls": [call_piece("c1", 0, SIGNED), call_piece("c2", 0)]}],  # every one streams in as the first
        [{"tool_calls": [call_piece("c1", None, SIGNED), call_piece("c2", None)]}],
        [{"tool_calls": [call_piece("c1", 0)]}, {"tool_calls": [call_piece(None, 0, SIGNED), call_piece("c2", 1)]}],
        [{"tool_calls": [call_piece("c2", 1), call_piece("c1", 0, SIGNED)]}],
    ],
)
def test_signature_goes_back_with_its_own_call(parts: list[dict[str, Any]]):
    message = turn_of("gemini-compat", parts, content="", tool_calls=CALLS)
    assert [call.get("extra_content") for call in message["tool_calls"]] == [SIGNED, None]


def test_signature_of_a_call_without_an_id_goes_back_by_its_place():
    parts = [{"tool_calls": [call_piece(None, None, SIGNED)]}]
    message = turn_of("gemini-compat", parts, content="", tool_calls=(ToolCall("", "bash", "{}"),))
    assert message["tool_calls"][0]["extra_content"] == SIGNED


def test_signature_of_the_text_goes_back_with_the_text():
    parts = [{"content": "Done."}, {"extra_content": SIGNED}, {"extra_content": {"google": {"thought": True}}}]
    assert turn_of("gemini-compat", parts, content="Done.")["extra_content"] == SIGNED


def test_calls_that_another_model_wrote_say_so():
    sent = sent_turn(AssistantTurn(content="", tool_calls=CALLS), 1, load_dialect("gemini-compat"))
    assert [call.get("extra_content") for call in sent.message["tool_calls"]] == [FOREIGN, None]
    assert sent.differences == ("foreign_signature_added",)


def test_extras_are_json_with_a_key_for_each_behaviour():
    one: dict[str, Any] = {}
    EchoReasoningDetails().collect(detail(text="x"), one)
    two: dict[str, Any] = {}
    EchoThoughtSignatures().collect({"tool_calls": [call_piece("c1", 0, SIGNED)]}, two)
    assert one
    assert two
    assert not set(one) & set(two)


def test_deepseek_gets_an_empty_field_on_turns_with_calls_alone():
    sent = sent_turn(AssistantTurn(content="", tool_calls=CALLS), 1, load_dialect("deepseek"))
    assert sent.message["reasoning_content"] == ""
    assert sent.differences == ("empty_reasoning_added",)
    assert "reasoning_content" not in sent_turn(AssistantTurn(content="x"), 1, load_dialect("deepseek")).message


@pytest.mark.parametrize("calls", [CALLS, ()])
def test_moonshot_gets_some_thinking_on_every_turn(calls: tuple[ToolCall, ...]):
    sent = sent_turn(AssistantTurn(content="x", tool_calls=calls), 1, load_dialect("moonshot"))
    assert sent.message["reasoning_content"] == " "
    assert sent.differences == ("placeholder_reasoning_added",)


def test_moonshot_gets_no_empty_content_beside_calls():
    sent = sent_turn(AssistantTurn(reasoning="r", content="", tool_calls=CALLS), 1, load_dialect("moonshot"))
    assert "content" not in sent.message
    assert sent.differences == ("empty_content_left_out",)
    assert turn_of("moonshot", [], reasoning="r", content="x", tool_calls=CALLS)["content"] == "x"


def test_moonshot_counts_in_the_choice():
    usage = {"prompt_tokens": 3}
    assert BEHAVIOURS["usage_in_choice"]().usage({"delta": {}, "usage": usage}) == usage
    assert BEHAVIOURS["usage_in_choice"]().usage({"delta": {}}) is None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vllm", {"reasoning", "reasoning_content"}), ("llama.cpp", {"reasoning", "reasoning_content"}),
        ("sglang", {"reasoning", "reasoning_content"}), ("ollama", {"reasoning"}), ("dashscope", {"reasoning_content"}),
        ("deepseek", {"reasoning_content"}), ("openai", set[str]()), ("transformers-serve", set[str]()),
    ],
)  # fmt: skip
def test_thinking_goes_back_under_the_names_that_are_read(name: str, fields: set[str]):
    message = turn_of(name, [], reasoning="hm", content="x")
    assert {key for key in message if key.startswith("reasoning")} == fields
    assert (message["content"] == "<think>\nhm\n</think>\n\nx") == (name == "transformers-serve")
