"""What a turn really is: cut, empty, with its thinking in its text; and that no text takes for ever to read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recovery_desk import LS, PWD, TOOLS, markup, prose, run_of

from agent.recovery import Recovery, is_empty, looks_cut, recover_calls, split_inline_thinking
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage


class TestLooksCut:
    @pytest.mark.parametrize(
        ("finish_reason", "written", "limit", "is_cut"),
        [
            ("length", None, None, True),
            ("tool_calls", 100, 100, True),
            ("tool_calls", 101, 100, True),
            ("tool_calls", 99, 100, False),
            ("stop", None, 100, False),
            ("stop", 100, None, False),
            (None, 0, None, False),
        ],
    )
    def test_a_turn_is_cut_if_it_says_so_or_is_as_long_as_it_may_be(
        self, finish_reason: str | None, written: int | None, limit: int | None, is_cut: bool
    ):
        assert (
            looks_cut(AssistantTurn(finish_reason=finish_reason, answer_usage=Usage(output_tokens=written)), limit)
            is is_cut
        )


class TestIsEmpty:
    @pytest.mark.parametrize("content", [None, "", " \n\n"])
    def test_a_turn_without_text_and_calls_is_empty(self, content: str | None):
        assert is_empty(AssistantTurn(reasoning="I thought.", content=content))
        assert not is_empty(AssistantTurn(content=content, tool_calls=(ToolCall("", "bash", "{}"),)))

    def test_a_turn_with_text_is_not(self):
        assert not is_empty(AssistantTurn(content="Done."))


class TestInlineThinking:
    @given(prose, prose, st.booleans(), st.sampled_from([None, ""]))
    def test_what_a_template_makes_of_it_is_what_was_generated(
        self, reasoning: str, content: str, is_open: bool, field: str | None
    ):
        generated = f"{reasoning}\n</think>\n\n{content}"
        if is_open:
            generated = f"<think>\n{generated}"
        else:
            field = None
        turn, is_split = split_inline_thinking(AssistantTurn(reasoning=field, content=generated))
        assert is_split
        assert (turn.reasoning, turn.reasoning_field, turn.content) == (reasoning, "content", content)

    @pytest.mark.parametrize(
        ("generated", "reasoning", "content"),
        [
            ("<think>a</think>b", "a", "b"),
            ("<think>\n\n</think>\n\nb", "", "b"),
            ("<think>\n</think>\n\nb", "", "b"),
            ("<think>\na\n\n</think>\n\n\nb", "a\n", "\nb"),
            ("\n<think>\na\n</think>\nb", "a", "b"),
            ("<think>\na\n</think>", "a", ""),
            ("a</think>\n\nb", "a", "b"),
            ("a\n</think>b", "a", "b"),
            ("</think>\n\nb", "", "b"),
            ("a `</think>`\n```\n</think>\n```\n</think>\n\nb", "a `</think>`\n```\n</think>\n```", "b"),
            ("<think>\na\n</think>\n\nb </think>\n", "a", "b </think>\n"),
        ],
    )
    def test_thinking_at_the_start_is_split_off(self, generated: str, reasoning: str, content: str):
        turn, is_split = split_inline_thinking(AssistantTurn(content=generated))
        assert is_split
        assert (turn.reasoning, turn.reasoning_field, turn.content) == (reasoning, "content", content)

    @pytest.mark.parametrize(
        "turn",
        [
            AssistantTurn(reasoning="Hm.", reasoning_field="reasoning", content="<think>a</think>b"),
            AssistantTurn(reasoning="Hm.", reasoning_field="reasoning", content="a\n</think>\n\nb"),
            AssistantTurn(reasoning="", reasoning_field="reasoning", content="a\n</think>\n\nb"),
            AssistantTurn(content="The tag </think> ends it."),
            AssistantTurn(content="The tag is\n`</think>`\nand\n```\n</think>\n```\n"),
            AssistantTurn(content="The tag <think>\nbegins it."),
            AssistantTurn(content="<think> begins it.", finish_reason="stop"),
            AssistantTurn(content="Done."),
            AssistantTurn(content=""),
            AssistantTurn(),
        ],
    )
    def test_what_is_no_thinking_stays(self, turn: AssistantTurn):
        assert split_inline_thinking(turn) == (turn, False)

    def test_what_was_cut_within_its_thinking_is_all_thinking(self):
        turn, is_split = split_inline_thinking(AssistantTurn(content="<think>\na\nb", finish_reason="length"))
        assert is_split
        assert (turn.reasoning, turn.content) == ("a\nb", "")

    def test_what_calls_out_of_its_thinking_is_all_thinking(self):
        calls = (ToolCall("1", "bash", "{}"),)
        turn, is_split = split_inline_thinking(AssistantTurn(content="<think>\na\n", tool_calls=calls))
        assert is_split
        assert (turn.reasoning, turn.content, turn.tool_calls) == ("a\n", "", calls)

    def test_a_call_behind_inline_thinking_is_recovered_and_a_draft_within_it_is_not(self):
        turn, _ = split_inline_thinking(AssistantTurn(content=f"<think>\nI could {PWD}\n</think>\n\n{LS}"))
        assert run_of(recover_calls(turn, TOOLS)) == [("bash", {"command": "ls"})]

    @given(markup | st.text(st.characters(), max_size=60), st.sampled_from([None, "", "a"]))
    def test_whatever_comes_nothing_but_its_frame_is_lost(self, content: str, reasoning: str | None):
        turn, is_split = split_inline_thinking(AssistantTurn(reasoning=reasoning, content=content))
        assert is_split or turn == AssistantTurn(reasoning=reasoning, content=content)
        if is_split:
            kept = re.sub(r"\s|</?think>", "", f"{turn.reasoning}{turn.content}")
            assert kept == re.sub(r"\s|</?think>", "", content)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<tool_call>",
        "<tool_call>\n",
        "<tool_call><function=bash>",
        "<tool_call><function=other><parameter=a>",
        "<function=other><parameter=a>",
        "<tool_call><function=other><parameter=a></parameter>",
        "<parameter=a>",
        "<function=other></function>",
        LS,
        LS.replace("bash", "other"),
        PWD,
        '<tool_call>{"',
        '<tool_call>{"a":["',
        '<tool_call>{"name":[1,2,3],"a":"',
        '<tool_call>{"a":",":",',
        '<tool_call>{"a":{',
        "`",
        "` ",
        "`\n",
        "`<tool_call>",
        "``` <tool_call> ",
        "```\n",
        "~~~~\n```\n",
        "\n~~~",
        " ",
        "> ",
        "\n ",
        "</think>",
        "a</think> ",
        "<think>",
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(unit: str):
    text = unit * (1_000_000 // len(unit))
    turn = AssistantTurn(content=text)
    recovery = recover_calls(turn, TOOLS)
    assert recovery.causes or recovery.turn == turn
    split, is_split = split_inline_thinking(turn)
    assert is_split or split == turn


@pytest.mark.timeout(30)
def test_backticks_of_ever_other_lengths_are_read_in_linear_time():
    text = "".join("`" * length + "\n a" for length in range(3, 1_400))
    turn = AssistantTurn(content=text)
    assert recover_calls(turn, TOOLS) == Recovery(turn, ())
