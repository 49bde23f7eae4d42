"""The secret stands nowhere but in thinking, and the pictures and the text of the doctor are what they should be."""

import json
import re
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.registry import dialect_names, load_dialect
from agent.doctor.canary import history, invented
from agent.doctor.checks.images import picture
from agent.doctor.filler import mark, words

QUESTIONS = ("tool_turns", "user_message")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", dialect_names())
def test_the_secret_is_in_no_prompt_but_for_the_thinking(name: str, question: str):
    dialect = load_dialect(name)
    canary = invented(dialect)
    assert canary.second
    assert canary.second not in json.dumps(history(question, canary.brief, dialect))
    sent = canary.second in json.dumps(history(question, canary.told, dialect))
    assert sent == (bool(dialect.reasoning.sent) or dialect.reasoning.sent_inline)


def test_two_canaries_have_nothing_in_common():
    dialect = load_dialect("generic")
    one, other = invented(dialect), invented(dialect)
    assert one.second != other.second
    assert not one.found_in(other.told.reasoning or "")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_history_alternates_as_templates_want_it(question: str):
    dialect = load_dialect("generic")
    messages = history(question, invented(dialect).told, dialect)
    roles = [message["role"] for message in messages]
    assert (
        roles
        == {
            "tool_turns": ["user", "assistant", "tool", "assistant", "tool"],
            "user_message": ["user", "assistant", "tool", "assistant", "user"],
        }[question]
    )
    called = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == called
    assert all(re.fullmatch("[a-z0-9]{9}", call_id) for call_id in called)


@given(st.sampled_from(["", " ", ",", "-", "**", "\n", "'"]), st.integers(1, 10))
def test_the_secret_is_found_however_it_is_grouped(separator: str, size: int):
    canary = invented(load_dialect("generic"))
    assert canary.second
    groups = [canary.second[start : start + size] for start in range(0, len(canary.second), size)]
    assert canary.found_in(f"It is {separator.join(groups)}.")


@given(st.text())
def test_a_guess_is_not_the_secret(text: str):
    assert not invented(load_dialect("generic")).found_in(text + "12345678901234567890")


def test_a_picture_is_a_png_of_one_colour():
    png = picture((255, 0, 0))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT") + 4
    rows = zlib.decompress(png[start : png.index(b"IEND") - 8])
    assert rows == (b"\0" + b"\xff\0\0" * width) * height


def test_filler_has_the_length_that_was_asked_for():
    assert len(words(1_000).split(" ")) == 1_000


def test_no_two_marks_are_the_same_and_all_are_of_one_length():
    marks = {mark() for _ in range(50)}
    assert len(marks) > 45
    assert {len(one) for one in marks} == {8}
