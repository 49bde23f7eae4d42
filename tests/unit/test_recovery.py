"""Calls that a server left in thinking or text are recovered exactly, or refused; talk about calls is left alone."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recovery_desk import LS, PWD, TOOLS, markup, prose, recover, refused, run_of, whole_text, xml

from agent.dialects.registry import load_dialect
from agent.recovery import Recovery, recover_calls
from agent.turn import AssistantTurn, ToolCall, sent_turn


class TestWhatIsRecovered:
    @pytest.mark.parametrize("call", [xml("write", path="a", text="b"), PWD.replace("bash", "write")])
    def test_a_call_in_the_thinking_becomes_a_call_and_the_rest_stays_thinking(self, call: str):
        recovery = recover(f"I look.\n\n{call}\n", None)
        assert recovery.causes == ("call_in_reasoning",)
        assert recovery.turn.reasoning == "I look.\n\n\n"
        assert recovery.turn.content is None
        assert [call.name for call in recovery.turn.tool_calls] == ["write"]

    def test_a_call_in_the_text_becomes_a_call_and_the_thinking_is_not_touched(self):
        recovery = recover("Hm.", f"I look.\n\n{LS}")
        assert recovery.causes == ("call_in_content",)
        assert (recovery.turn.reasoning, recovery.turn.content) == ("Hm.", "I look.\n\n")
        assert run_of(recovery) == [("bash", {"command": "ls"})]

    def test_several_calls_in_both_forms_keep_their_order(self):
        recovery = recover(None, f"{LS}\n{PWD}\n{LS}")
        assert [arguments["command"] for _, arguments in run_of(recovery)] == ["ls", "pwd", "ls"]
        assert recovery.causes == ("call_in_content",) * 3
        assert recovery.turn.content == "\n\n"

    def test_several_functions_in_one_block_are_several_calls(self):
        inner = LS.removeprefix("<tool_call>").removesuffix("</tool_call>")
        assert len(run_of(recover(None, f"<tool_call>{inner}{inner}</tool_call>"))) == 2

    @pytest.mark.parametrize("ending", ["\n</tool_call>", ""])
    def test_the_opening_tag_may_be_missing(self, ending: str):
        call = LS.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>") + ending
        recovery = recover(None, f"I look.\n\n{call}\n")
        assert recovery.causes == ("call_in_content", "opening_tag_missing")
        assert recovery.turn.content == "I look.\n\n\n"
        assert run_of(recovery) == [("bash", {"command": "ls"})]

    def test_the_end_of_thinking_before_the_call_stays_where_it_is(self):
        recovery = recover("Hm.", f"More.\n</think>\n\n{LS}")
        assert recovery.turn.content == "More.\n</think>\n\n"
        assert run_of(recovery) == [("bash", {"command": "ls"})]

    def test_ids_are_left_to_be_made(self):
        recovery = recover(None, f"{LS}{PWD}")
        sent = sent_turn(recovery.turn, 7, load_dialect("generic"))
        assert [call.id for call in sent.calls] == ["call_7_1", "call_7_2"]

    def test_a_function_without_parameters_has_none(self):
        assert run_of(recover(None, xml("bash"))) == [("bash", {})]

    def test_arguments_in_json_stay_as_they_are_written(self):
        written = '{"timeout":5.0e1 , "command" : "\\u00e9"}'
        recovery = recover(None, f'<tool_call>{{"arguments": {written}, "name": "bash"}}</tool_call>')
        assert recovery.turn.tool_calls == (ToolCall("", "bash", written),)

    def test_arguments_in_json_may_be_a_string_of_json(self):
        arguments = json.dumps(json.dumps({"command": "ls"}))
        recovery = recover(None, f'<tool_call>{{"name": "bash", "arguments": {arguments}}}</tool_call>')
        assert run_of(recovery) == [("bash", {"command": "ls"})]

    @pytest.mark.parametrize("value", ["ls", "\nls", "ls\n", "\n", "", " \n x", "True", "5", '"', "a < b > c"])
    def test_of_a_string_only_the_newlines_of_the_format_are_taken_off(self, value: str):
        assert run_of(recover(None, xml("bash", command=value))) == [("bash", {"command": value})]

    def test_a_value_on_the_same_line_as_its_tags_is_whole(self):
        call = "<tool_call><function=bash><parameter=command>ls</parameter></function></tool_call>"
        assert run_of(recover(None, call)) == [("bash", {"command": "ls"})]

    @pytest.mark.parametrize(
        ("name", "written", "meant"),
        [
            ("number", "5", 5),
            ("number", "1.5", 1.5),
            ("number", "many", "many"),
            ("number", "NaN", "NaN"),
            ("number", "1e999", "1e999"),
            ("number", "9" * 5_000, "9" * 5_000),
            ("flag", "true", True),
            ("flag", "True", True),
            ("flag", "False", False),
            ("flag", "None", None),
            ("flag", "yes", "yes"),
            ("items", "[1,\n 2]", [1, 2]),
            ("items", "[1, 2", "[1, 2"),
            ("items", "[" * 100_000, "[" * 100_000),
            ("table", '{"a": {"b": null}}', {"a": {"b": None}}),
            ("either", "5", 5),
            ("either", "five", "five"),
            ("either", "true", "true"),
            ("maybe", "null", None),
            ("maybe", "nothing", "nothing"),
            ("maybe", "5", "5"),
            ("anything", "[1]", [1]),
            ("anything", "text", "text"),
            ("unknown", "5", "5"),
        ],
    )
    def test_values_have_the_type_that_the_schema_states(self, name: str, written: str, meant: object):
        assert run_of(recover(None, xml("odd", **{name: written}))) == [("odd", {name: meant})]

    @given(prose, prose, st.dictionaries(st.sampled_from(["path", "text"]), whole_text), st.booleans(), st.booleans())
    def test_a_call_comes_back_exactly_from_between_any_texts(
        self, before: str, after: str, arguments: dict[str, str], is_json: bool, in_thinking: bool
    ):
        in_json = json.dumps({"name": "write", "arguments": arguments}, ensure_ascii=False)
        call = f"<tool_call>\n{in_json}\n</tool_call>" if is_json else xml("write", **arguments)
        text = before + call + after
        recovery = recover(text, "\n\n") if in_thinking else recover("Hm.", text)
        assert run_of(recovery) == [("write", arguments)]
        assert (recovery.turn.reasoning if in_thinking else recovery.turn.content) == before + after
        assert (recovery.turn.content if in_thinking else recovery.turn.reasoning) == ("\n\n" if in_thinking else "Hm.")


class TestWhatIsNot:
    def test_a_turn_with_calls_of_its_own_is_left_alone(self):
        turn = AssistantTurn(content=LS, tool_calls=(ToolCall("1", "bash", "{}"),))
        assert recover_calls(turn, TOOLS) == Recovery(turn, ())

    @pytest.mark.parametrize(
        "text",
        [
            f"```\n{LS}\n```",
            f"```xml\n{LS}\n```\nThat is the form.",
            f"~~~~\n~~~\n{LS}\n~~~~",
            f"````\n```\n{LS}\n```\n````",
            f"1. So:\n\n   ```xml\n   {LS}\n   ```",
            f"- ```\n{LS}\n```",
            f"> ```\n> {PWD}\n> ```",
            f"The form: ```xml\n{LS}\n``` and so on",
            f"```\n{LS}",
            f"Write `{PWD.replace(chr(10), '')}` for it.",
            f"Write ``a ` {PWD.replace(chr(10), '')}`` for it.",
            f"Write `{LS}` for it.",
            "I write `<tool_call>` and `<function=bash>` now.",
            "I write <tool_call> and then <function=bash> and the command.",
            "<tool_call>\n<function=example_name>\n<parameter=example>\nvalue\n</parameter>\n</function>\n</tool_call>",
            "<function=example>\n<parameter=a>\n1\n</parameter>\n</function>",
            '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
            '<tool_call>{"name": "example", "arguments": {}}</tool_call>',
            "<tool_call>{}</tool_call>",
            "<tool_call></tool_call>",
            '<tool_call>{"name": ["bash"], "arguments": {}}</tool_call>',
            LS.replace("<", "<\u2060"),
        ],
    )
    def test_talk_about_calls_is_left_alone(self, text: str):
        for turn in (AssistantTurn(content=text), AssistantTurn(reasoning=text, content="")):
            assert recover_calls(turn, TOOLS) == Recovery(turn, ())

    @pytest.mark.parametrize(
        "before", ["```\ncode\n```\n", "It`s so.\n", "`code` and ``co`de`` ", "~~~\n```\n~~~\n", "a ``` b\n\n"]
    )
    def test_code_that_has_ended_hides_nothing(self, before: str):
        recovery = recover(None, before + xml("bash", command="echo `date` ``` ~~~"))
        assert run_of(recovery) == [("bash", {"command": "echo `date` ``` ~~~"})]
        assert recovery.turn.content == before

    def test_a_real_call_behind_a_quoted_one_is_the_only_one(self):
        assert run_of(recover(None, f"Not so:\n```\n{LS}\n```\nbut so:\n{PWD}")) == [("bash", {"command": "pwd"})]

    def test_a_draft_in_the_thinking_of_a_call_in_the_text_stays_thinking(self):
        recovery = recover(f"I could:\n{LS}", f"\n\n{LS}")
        assert recovery.causes == ("call_in_content",)
        assert recovery.turn.reasoning == f"I could:\n{LS}"

    def test_only_the_calls_that_the_thinking_waited_for_are_run(self):
        recovery = recover(f"{xml('bash', command='rm -r /')}\nNo, too dangerous. Rather:\n{LS}\n{PWD}", "")
        assert [arguments["command"] for _, arguments in run_of(recovery)] == ["ls", "pwd"]
        assert "rm -r /" in str(recovery.turn.reasoning)

    def test_a_call_that_was_thought_past_before_an_answer_is_no_call(self):
        assert run_of(recover(f"{LS}\nNo, I know it.", "It is 5.")) == []
        assert run_of(recover(f"I have to see.\n{LS}\n", "I look.")) == [("bash", {"command": "ls"})]

    def test_without_tools_nothing_is_recovered(self):
        turn = AssistantTurn(content=LS)
        assert recover_calls(turn, []) == Recovery(turn, ())

    @given(prose, prose)
    def test_text_without_markup_is_never_changed(self, reasoning: str, content: str):
        turn = AssistantTurn(reasoning=reasoning, content=content)
        assert recover_calls(turn, TOOLS) == Recovery(turn, ())


class TestWhatIsCut:
    @pytest.mark.parametrize("length", range(len("<tool_call>\n<function=bash>"), len(LS)))
    def test_a_cut_call_is_refused_wherever_it_was_cut(self, length: int):
        recovery = recover(None, f"I look.\n{LS[:length]}", "length")
        assert run_of(recovery) == []
        assert refused(recovery) == [("bash", LS[:length])]
        assert recovery.causes == ("cut_call",)
        assert recovery.turn.content == "I look.\n"

    @pytest.mark.parametrize("length", range(len('<tool_call>\n{"name": "bash"'), len(PWD)))
    def test_cut_json_is_refused_wherever_it_was_cut(self, length: int):
        recovery = recover(PWD[:length], None)
        assert run_of(recovery) == []
        assert refused(recovery) == [("bash", PWD[:length])]

    @pytest.mark.parametrize("text", [LS, PWD])
    def test_what_is_cut_before_its_name_calls_nothing(self, text: str):
        for length in range(len("<tool_call>\n<function=bash")):
            assert recover(None, text[:length]).turn.tool_calls == ()

    @pytest.mark.parametrize(
        "broken",
        [
            '<tool_call>{"name": "bash", "arguments": {"command": "echo "hi""}}</tool_call>',
            '<tool_call>{"name": "bash", "arguments": {...}}</tool_call>',
            '<tool_call>{"name": "bash", "arguments": {"command": "a\nb"}}</tool_call>',
            '<tool_call>{"name": "bash", "arguments": ' + '{"a":' * 5_000,
            LS.replace("</parameter>", "</parameter> and"),
            LS.replace("</function>", "</invoke>"),
            LS.replace("</parameter>\n", ""),
            LS.replace("</tool_call>", "</function>\n</tool_call>"),
        ],
    )
    def test_a_broken_call_is_refused_with_everything_behind_it(self, broken: str):
        recovery = recover(None, f"{PWD}{broken}\n{LS}")
        assert run_of(recovery) == [("bash", {"command": "pwd"})]
        assert refused(recovery) == [("bash", f"{broken}\n{LS}")]
        assert recovery.causes == ("call_in_content", "cut_call")

    @pytest.mark.parametrize("arguments", ["null", "[]", '"ls"', "5", '""'])
    def test_arguments_that_are_no_object_are_refused(self, arguments: str):
        assert run_of(recover(None, f'<tool_call>{{"name": "bash", "arguments": {arguments}}}</tool_call>')) == []

    def test_a_cut_call_that_was_thought_past_is_no_call(self):
        assert recover(LS[:60], "It is 5.").turn.tool_calls == ()

    def test_a_call_within_a_value_is_text(self):
        script = f"cat > a <<E\n{LS}\n{PWD}\nE"
        assert run_of(recover(None, xml("bash", command=script))) == [("bash", {"command": script})]

    @pytest.mark.parametrize("name", ["bash", "other"])
    def test_a_call_within_a_call_that_is_cut_is_not_run(self, name: str):
        recovery = recover(None, f"<tool_call>\n<function={name}>\n<parameter=command>\ncat > a <<E\n{LS}\nE")
        assert run_of(recovery) == []
        assert recovery.causes[0] == "cut_call"

    def test_a_value_that_ends_its_own_call_is_not_run_in_part(self):
        recovery = recover(None, xml("bash", command=f"{PWD}; echo '</parameter></function></tool_call>'; ls"))
        assert run_of(recovery) == []
        assert recovery.causes == ("cut_call",)

    @given(markup)
    def test_what_is_run_is_what_was_written_or_nothing(self, value: str):
        if re.search(r"</parameter>\s*(</function>|<parameter=)", value):
            value = value.replace("</parameter>", "")  # as written it reads as the end, for everyone
        written = xml("bash", command=value)
        assert run_of(recover(None, written)) in ([("bash", {"command": value})], [])

    @given(markup | whole_text, markup | st.none(), st.sampled_from(["stop", "length"]))
    def test_whatever_comes_no_text_is_lost(self, reasoning: str, content: str | None, finish_reason: str):
        recovery = recover(reasoning, content, finish_reason)
        turn = recovery.turn
        if not recovery.causes:
            assert turn == AssistantTurn(reasoning, "reasoning", content, finish_reason=finish_reason)
        for before, after in ((reasoning, turn.reasoning), (content, turn.content)):
            assert (before is None) == (after is None)
            assert is_subsequence(after or "", before or "")
        assert len([cause for cause in recovery.causes if cause != "opening_tag_missing"]) == len(turn.tool_calls)
        sent_turn(turn, 1, load_dialect("generic"))


def is_subsequence(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(character in rest for character in part)
