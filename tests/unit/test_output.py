"""How output is shown to a model: safe, reversible where it must be, and in time that grows with its length alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.output import clean, cut_lines, cut_middle, decode, neutralise, restore

TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<tool_response>", "<｜User｜>", "<｜tool▁calls▁begin｜>", "<|tool_call_begin|>", "<|eot_id|>", "<|user|>",
    "<|channel|>", "<start_of_turn>", "<end_of_turn>",
)  # fmt: skip
text_with_tokens = st.lists(st.one_of(st.sampled_from(TOKENS), st.text(max_size=5)), max_size=12).map("".join)


@pytest.mark.parametrize("token", TOKENS)
def test_a_control_token_is_defused(token: str) -> None:
    shown = neutralise(f"before {token} after")
    assert token not in shown
    assert restore(shown) == f"before {token} after"


@given(text_with_tokens)
def test_what_was_defused_comes_back_exactly(text: str) -> None:
    assert restore(neutralise(text)) == text
    assert not any(token in neutralise(text) for token in TOKENS)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"10%\r20%\r30%\n", "30%\n"),
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"a\x08b\x07", "a\\x08b\\x07"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"a\0b", "a\\x00b"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("a\x9b31mb".encode(), "a\\x9b31mb"),
        ("a\U000e0041b".encode(), "a\\U000e0041b"),
        ("grün 🙂 👩‍👩‍👧 é".encode(), "grün 🙂 👩‍👩‍👧 é"),
        (b"tab\tstays\n", "tab\tstays\n"),
    ],
)
def test_what_only_a_terminal_understands_is_taken_out_or_spelled(printed: bytes, shown: str) -> None:
    assert clean(decode(printed)) == shown


@given(st.binary(max_size=300))
def test_nothing_that_acts_on_a_terminal_is_left(data: bytes) -> None:
    shown = clean(decode(data))
    assert not any(ord(character) < 32 and character not in "\t\n" for character in shown)
    assert not any(0x7F <= ord(character) < 0xA0 for character in shown)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece", ["\x1b[", "\x1b]", "\x1b", "\r", "<", "<|", "<\u2060", "<｜", "\x1b[0", "x\r", "\x1b]x\x1b"]
)
def test_four_million_characters_of_anything_take_a_moment(piece: str) -> None:
    text = piece * (4_000_000 // len(piece))
    shown = cut_middle(cut_lines(clean(text)), "{count} cut")
    assert len(restore(neutralise(shown))) == len(shown) <= 17_000


def test_head_and_tail_are_kept_at_line_ends() -> None:
    text = "\n".join(f"line {number}" for number in range(10_000))
    shown = cut_middle(text, "[{count} cut]", 1000)
    head, gap, tail = shown.partition("\n[")
    assert text.startswith(head)
    assert text.endswith(tail.partition("cut]\n")[2])
    assert gap
    assert len(shown) < 1100


def test_a_long_line_says_how_much_of_it_is_missing() -> None:
    assert cut_lines("x" * 30, 10) == "xxxxxxxxxx [20 characters of this line cut]"
