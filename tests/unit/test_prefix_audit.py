"""An append-only conversation never leaves its prefix, whatever is said in it; and what the audit says of a whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefix_desk import FORGET, PRESERVE, TEMPLATE, Talk, call, only, said

from agent.prefix.audit import audit_exchanges, common_length
from agent.prefix.parts import read_arguments
from agent.prefix.renderers import LocalTemplate, RendererError
from results.records.events import Received

SPECIAL = ("<think>", "</think>", "<tool_call>", "<tool_response>", "</parameter>", "qz")
clean = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30).map(str.strip)
clean = clean.filter(lambda text: not any(mark in text for mark in SPECIAL))
names = st.from_regex("[a-z_]{1,6}", fullmatch=True)
values = st.one_of(
    clean, st.integers(-(10**6), 10**6), st.booleans(), st.none(), st.lists(st.integers(0, 9), max_size=3)
)
arguments = st.dictionaries(names, values, max_size=3).map(lambda each: json.dumps(each, ensure_ascii=False))


@st.composite
def turns(draw: st.DrawFn) -> Received:
    """A turn as llama-server hands it on: white space between the parts kept, none other."""
    calls = draw(st.lists(arguments, max_size=2))
    content = draw(clean)
    reasoning = draw(clean.filter(bool))
    if not (content or calls):
        content = "Done."
    return said(f"{reasoning}\n", f"{content}\n\n" if content and calls else content, *calls)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(turns(), st.one_of(st.none(), clean.filter(bool))), min_size=1, max_size=5))
async def test_an_append_only_conversation_never_diverges_when_thinking_is_preserved(
    said_in_turn: list[tuple[Received, str | None]],
):
    talk = Talk(flags=PRESERVE)
    for received, question in said_in_turn:
        talk.turn(received, question=question if received.tool_calls else question or "And?")
    report = await talk.audit()
    assert report.divergences == []
    assert report.checked == len(said_in_turn)
    assert report.thinking_shown == report.thinking_turns == len(said_in_turn)


@given(
    st.dictionaries(
        st.text(max_size=5), st.recursive(values, lambda inner: st.lists(inner) | st.floats(allow_nan=False))
    )
)
@settings(deadline=None, max_examples=100)
def test_arguments_are_read_as_they_are_written(object_: dict[str, Any]):
    text = json.dumps(object_, indent=1)
    read = read_arguments(text)
    assert read is not None
    assert {each.key: each.value for each in read} == object_
    assert all(each.raw in text and json.loads(each.raw) == each.value for each in read)


@given(st.text())
def test_arguments_that_are_no_object_are_none_and_never_an_error(text: str):
    try:
        expected = isinstance(json.loads(text), dict)
    except ValueError:
        expected = False
    assert (read_arguments(text) is not None) == expected


@given(st.text("ab", max_size=40), st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_the_common_length_is_the_longest(shared: str, left: str, right: str):
    length = common_length(shared + left, shared + right)
    assert length >= len(shared)
    assert (shared + left)[:length] == (shared + right)[:length]
    assert (shared + left)[length : length + 1] != (shared + right)[length : length + 1] or (left == right)


async def test_within_one_question_nothing_is_lost_without_preserve_thinking_either():
    talk = Talk(flags=FORGET)
    for number in range(4):
        talk.turn(said(f"Thought {number}.\n", "", call(command=str(number))))
    report = await talk.audit()
    assert (report.checked, report.divergences, report.thinking_shown) == (4, [], 4)


async def test_a_server_that_takes_white_space_away_is_not_blamed_for_it():
    talk = Talk()
    talk.turn(said("Look first.", "Let me see.", call(command="ls")))
    talk.turn(said("So.", None, call(command="pwd"), call(command="id")))
    talk.turn(said("Done.", "All done."), question="And?")
    assert (await talk.audit()).divergences == []


async def test_leading_line_ends_of_a_stream_belong_to_the_template():
    # vLLM streams the two line ends behind </think> as part of the content.
    talk = Talk()
    talk.turn(said("Look.\n", "\n\nLet me see.\n\n", call(command="ls")))
    talk.turn(said("So.\n", "\n\n", call(command="pwd")))
    assert (await talk.audit()).divergences == []


async def test_a_turn_that_was_cut_within_its_thinking_is_no_loss():
    talk = Talk()
    talk.turn(said("Look first.\n", "", call(command="ls")))
    talk.turn(said("Then I shall", None, finish="length"), question="Go on.")
    assert (await talk.audit()).divergences == []


async def test_thinking_that_came_inline_and_goes_back_in_its_field_is_no_loss():
    talk = Talk()
    inline = Received(content="<think>\nHm.\n</think>\n\nLet me see.", finish_reason="stop")
    back = {"role": "assistant", "content": "Let me see.", "reasoning_content": "Hm.", "reasoning": "Hm."}
    talk.turn(inline, back=back, question="And?")
    assert (await talk.audit()).divergences == []


async def test_a_call_without_arguments_is_no_loss():
    talk = Talk()
    talk.turn(said("Hm.\n", "", "{}"))
    talk.turn(said("Hm.\n", "", "  "), back={**talk_back(), "content": ""})
    assert (await talk.audit()).divergences == []


def talk_back() -> dict[str, Any]:
    function = {"name": "bash", "arguments": "{}"}
    return {"role": "assistant", "reasoning_content": "Hm.\n", "tool_calls": [{"id": "c0", "function": function}]}


async def test_a_discarded_turn_is_not_expected_in_the_next_prompt():
    talk = Talk()
    talk.ask(None)
    talk.turn(said("Hm.\n", "", call(command="ls")))
    report = await talk.audit()
    assert (report.checked, report.divergences) == (2, [])


async def test_segments_are_not_compared_with_one_another():
    first, second = (
        Talk(),
        Talk(messages=[{"role": "system", "content": "New."}, {"role": "user", "content": "Go on."}]),
    )
    first.turn(said("Hm.\n", "", call(command="ls")))
    second.turn(said("Hm.\n", "", call(command="ls")))
    first.ask()
    second.ask()
    exchanges = [*first.exchanges, *(_in_segment_2(each) for each in second.exchanges)]
    report = await audit_exchanges(exchanges, LocalTemplate(TEMPLATE))
    assert (report.requests, report.segments, report.checked, report.divergences) == (4, 2, 2, [])


def _in_segment_2(exchange: Any) -> Any:
    from dataclasses import replace

    return replace(exchange, segment=2)


@pytest.mark.parametrize("spelling", ['{"range":[1,2]}', '{"a": 1,"b":{"c":[1,2]}}', '{"é":"\\u00e9","n":1.50}'])
async def test_calls_as_json_are_compared_as_the_model_wrote_them(spelling: str, tmp_path: Path):
    """A template that renders arguments as one JSON object (Hermes) respells it, or shows it as it came."""
    text = TEMPLATE.read_text("utf-8")
    begin = text.index('{{- "<tool_call>\\n<function=" ~ call.name')
    end = text.index('{{- "</function>\\n</tool_call>" -}}') + len('{{- "</function>\\n</tool_call>" -}}')
    form = """{{- '<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' ~ (call.arguments | tojson) -}}
            {{- '}\\n</tool_call>' -}}"""
    (tmp_path / "hermes.jinja").write_text(text[:begin] + form + text[end:], "utf-8")
    template = LocalTemplate(tmp_path / "hermes.jinja")
    clean_talk, talk = Talk(), Talk()
    clean_talk.turn(said("Hm.\n", "", call(command="ls", n=[1, 2])))
    assert (await clean_talk.audit(template)).divergences == []
    talk.turn(said("Hm.\n", "", spelling))
    divergence = await only(talk, template)
    assert divergence.cause in ("array_spacing", "number_rewritten")
    assert not divergence.avoidable


async def test_a_prompt_that_cannot_be_rendered_names_the_step():
    talk = Talk(messages=[{"role": "system", "content": "Nobody asks anything."}])
    with pytest.raises(RendererError, match=r"step 1: .*No user query"):
        await talk.audit()
