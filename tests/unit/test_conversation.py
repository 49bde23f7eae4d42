"""The append-only log: what was sent stays as it was sent, byte for byte, and whatever it holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.conversation import PIECE, Conversation, encode, sendable

HEAD = {"model": "m", "stream": True}
TOOLS = [{"type": "function", "function": {"name": "bash", "parameters": {"z": 1, "a": 2}}}]

any_text = st.text(st.characters(), max_size=60)  # characters() includes surrogates, controls and all planes
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
any_message = st.dictionaries(any_text, any_json, max_size=4)


async def pieces_of(conversation: Conversation) -> list[bytes]:
    return [piece async for piece in conversation.request_pieces()]


@pytest.mark.parametrize("length", [0, 10, PIECE - 20, PIECE, 3 * PIECE + 7])
async def test_pieces_are_the_body_as_often_as_they_are_asked_for(length: int) -> None:
    conversation = Conversation(HEAD, TOOLS)
    conversation.append({"role": "user", "content": "ü" * (length // 2)})
    pieces = await pieces_of(conversation)
    assert b"".join(pieces) == conversation.request_body()
    assert sum(map(len, pieces)) == conversation.request_bytes
    assert await pieces_of(conversation) == pieces


async def test_a_request_that_was_broken_off_does_not_hold_the_conversation() -> None:
    conversation = Conversation(HEAD, TOOLS)
    conversation.append({"role": "user", "content": "x" * 3 * PIECE})
    begun = conversation.request_pieces()
    first = await anext(begun)
    conversation.append({"role": "user", "content": "y"})
    await begun.aclose()
    assert conversation.request_body().startswith(first)


def read(conversation: Conversation) -> dict[str, Any]:
    return json.loads(conversation.request_body())


@given(st.lists(any_message, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_every_request_begins_with_the_one_before_it(messages: list[Any], with_tools: bool, with_head: bool) -> None:
    conversation = Conversation(HEAD if with_head else {}, TOOLS if with_tools else [])
    for count, message in enumerate(messages, 1):
        before = conversation.request_body()
        conversation.append(message)
        after = conversation.request_body()
        assert after.startswith(before.removesuffix(b"]}"))
        assert after.endswith(b"]}")
        assert len(conversation) == count
    assert read(conversation)["messages"] == _as_json_reads(messages)


def _as_json_reads(value: Any) -> Any:
    """Two halves of a character that stand side by side read back as the character."""
    return json.loads(json.dumps(value))


def test_what_was_appended_cannot_be_changed() -> None:
    tools: list[Any] = [{"function": {"name": "bash"}}]
    message: dict[str, Any] = {"role": "assistant", "tool_calls": [{"id": "a"}]}
    conversation = Conversation(HEAD, tools)
    conversation.append(message)
    before = conversation.request_body()
    tools[0]["function"]["name"] = "other"
    message["tool_calls"][0]["id"] = "b"
    message["content"] = "more"
    assert conversation.request_body() == before
    assert b'"a"' in before


def test_a_body_that_was_handed_out_does_not_grow() -> None:
    conversation = Conversation(HEAD, TOOLS)
    body = conversation.request_body()
    conversation.append({"role": "user", "content": "x"})
    assert json.loads(body)["messages"] == []


def test_a_message_that_is_no_json_leaves_the_conversation_as_it_was() -> None:
    conversation = Conversation(HEAD, TOOLS)
    conversation.append({"role": "user", "content": "x"})
    before = conversation.request_body()
    with pytest.raises(ValueError, match="not JSON compliant"):
        conversation.append({"number": float("nan")})
    with pytest.raises(TypeError):
        conversation.append({"thing": object()})
    assert conversation.request_body() == before
    conversation.append({"role": "user", "content": "y"})
    assert len(read(conversation)["messages"]) == 2


@pytest.mark.parametrize(("head", "streamed"), [({"stream": True}, True), ({"stream": False}, False), ({}, False)])
def test_it_knows_whether_it_asks_for_a_stream(head: dict[str, Any], streamed: bool) -> None:
    assert Conversation(head, TOOLS).streamed is streamed


def test_a_picture_is_the_same_bytes_in_every_request() -> None:
    url = "data:image/png;base64," + "iVBORw0KGgo/+=" * 1000
    parts: list[Any] = [{"type": "text", "text": "ü"}, {"type": "image_url", "image_url": {"url": url}}]
    conversation = Conversation(HEAD, TOOLS)
    conversation.append({"role": "user", "content": parts})
    before = conversation.request_body()
    parts[1]["image_url"]["url"] = "another"
    conversation.append({"role": "assistant", "content": "I see."})
    assert conversation.request_body().startswith(before.removesuffix(b"]}"))
    assert read(conversation)["messages"][0]["content"][1]["image_url"]["url"] == url
    assert b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo/+=' in before


def test_keys_keep_the_order_in_which_they_were_given() -> None:
    assert encode({"z": 1, "a": {"y": 1, "b": 2}}) == b'{"z":1,"a":{"y":1,"b":2}}'


def test_text_beyond_ascii_is_sent_as_it_is() -> None:
    assert encode({"content": "prüfen 🙂 \u2028"}).decode() == '{"content":"prüfen 🙂 \u2028"}'


def test_a_huge_message_is_sent_whole() -> None:
    conversation = Conversation(HEAD, TOOLS)
    huge = "ü\x00\n" * 2_000_000
    conversation.append({"role": "tool", "content": huge})
    assert read(conversation)["messages"][0]["content"] == huge


@given(any_text)
def test_what_is_sendable_has_no_half_characters_and_nothing_else_changed(text: str) -> None:
    result = sendable(text)
    result.encode()
    assert len(result) == len(text)
    assert all(
        new == old or (new == "\ufffd" and "\ud800" <= old <= "\udfff") for new, old in zip(result, text, strict=True)
    )
