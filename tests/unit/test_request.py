"""The fields beside messages and tools: every switch is said, and nothing that a server refuses."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.dialect import Dialect, Sampling, Thinking
from agent.dialects.registry import dialect_names, load_dialect
from agent.request import MAX_OUTPUT, merged, request_head, wire_fields
from results.records.events import BackendDescription

NAMES = [*dialect_names()]
SETTINGS = (
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "repetition_penalty", "seed", MAX_OUTPUT,
)  # fmt: skip

settings = st.dictionaries(st.sampled_from(SETTINGS), st.none() | st.integers(0, 9) | st.floats(0, 1), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), json_values, max_size=4)


def holds(fields: Any, part: Any) -> bool:
    """Whether all that `part` says is said by `fields`."""
    if not isinstance(part, dict):
        return fields == part
    below = cast("dict[str, Any]", part)
    return isinstance(fields, dict) and all(key in fields and holds(fields[key], below[key]) for key in below)


def at_their_place(dialect: Dialect, fields: dict[str, Any], thinking: bool, preserve: bool) -> bool:
    switches = dialect.thinking
    return holds(fields, switches.on if thinking else switches.off) and holds(
        fields, switches.preserve if preserve else switches.forget
    )


@given(st.sampled_from(NAMES), settings, st.booleans(), st.booleans())
def test_both_switches_are_always_said(name: str, sampling: dict[str, Any], thinking: bool, preserve: bool):
    dialect = load_dialect(name)
    fields, _ = wire_fields(dialect, sampling, thinking=thinking, preserve=preserve)
    assert at_their_place(dialect, fields, thinking, preserve)


@given(st.sampled_from(NAMES), settings, st.booleans())
def test_what_is_asked_for_is_sent_or_named_as_unsent(name: str, sampling: dict[str, Any], thinking: bool):
    dialect = load_dialect(name)
    fields, unsent = wire_fields(dialect, sampling, thinking=thinking)
    spelled = {MAX_OUTPUT: dialect.output.key} | dialect.sampling.names
    for setting, value in sampling.items():
        if value is None:
            assert setting not in unsent
        else:
            assert (setting in unsent) != (fields.get(spelled.get(setting, setting)) == value)
    assert not set(fields) & set(dialect.sampling.refused)
    if thinking:
        assert not set(fields) & set(dialect.sampling.refused_thinking)


@pytest.mark.parametrize("spelling", [MAX_OUTPUT, "max_tokens", "max_completion_tokens"])
def test_the_output_limit_gets_the_servers_own_name(spelling: str):
    assert wire_fields(load_dialect("openai"), {spelling: 5}, thinking=True)[0]["max_completion_tokens"] == 5
    assert wire_fields(load_dialect("vllm"), {spelling: 5}, thinking=True)[0]["max_tokens"] == 5


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vllm", {"chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True}}),
        ("llama.cpp", {"chat_template_kwargs": {"enable_thinking": True, "preserve_thinking": True}}),
        ("dashscope", {"enable_thinking": True, "preserve_thinking": True}),
        ("moonshot", {"thinking": {"type": "enabled", "keep": "all"}}),
        ("deepseek", {"thinking": {"type": "enabled"}}),
        ("openai", {"reasoning_effort": "medium"}),
        ("ollama", {"reasoning_effort": "medium"}),
    ],
)
def test_where_the_switches_go(name: str, fields: dict[str, Any]):
    assert wire_fields(load_dialect(name), {}, thinking=True) == (fields, [])


def test_how_much_it_thinks_is_up_to_a_person():
    fields, _ = wire_fields(load_dialect("openai"), {"reasoning_effort": "high"}, thinking=True)
    assert fields == {"reasoning_effort": "high"}


def test_no_thinking_is_no_thinking_whatever_else_is_said():
    fields, _ = wire_fields(load_dialect("openai"), {"reasoning_effort": "high"}, thinking=False)
    assert fields == {"reasoning_effort": "none"}


def test_what_has_no_effect_while_it_thinks_is_sent_when_it_does_not():
    dialect = load_dialect("deepseek")
    assert wire_fields(dialect, {"temperature": 1.0}, thinking=True)[1] == ["temperature"]
    assert wire_fields(dialect, {"temperature": 1.0}, thinking=False)[0]["temperature"] == 1.0


def test_a_switch_and_a_setting_in_one_object_both_stand():
    dialect = Dialect(
        name="d", title="d", thinking=Thinking(on={"a": {"b": {"on": True}}}), sampling=Sampling(names={"x": "y"})
    )
    assert wire_fields(dialect, {"a": {"b": {"c": 1}}, "x": 2}, thinking=True)[0] == {
        "a": {"b": {"on": True, "c": 1}}, "y": 2,
    }  # fmt: skip


@given(objects, objects)
def test_merging_keeps_all_that_lies_on_top_and_changes_neither(under: dict[str, Any], over: dict[str, Any]):
    before = repr((under, over))
    both = merged(under, over)
    assert holds(both, over)
    assert set(both) == set(under) | set(over)
    assert repr((under, over)) == before


@pytest.mark.parametrize("stream", [True, False])
def test_the_head_names_the_model_and_asks_for_usage_where_it_streams(stream: bool):
    description = BackendDescription(base_url="http://h/v1", model="m", dialect="vllm", sampling={"seed": 1})
    head = request_head(description, stream=stream)
    assert (head["model"], head["stream"], head["seed"]) == ("m", stream, 1)
    assert head.get("stream_options") == ({"include_usage": True} if stream else None)
