"""How output is shown to a model: safe, reversible where it must be, and in time that grows with its length alone."""

import pyte
import pyte.modes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.output import clean, cut_lines, cut_middle, decode, neutralise, restore

TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<tool_response>", "<arg_key>", "</arg_value>", "<|user|>", "<|observation|>", "[gMASK]", "<sop>",
    "<｜User｜>", "<｜tool▁calls▁begin｜>", "<｜end▁of▁sentence｜>", "<｜DSML｜invoke", "</｜DSML｜invoke",
    "<|tool_call_begin|>", "<|tool_calls_section_end|>", "<|eot_id|>", "<|start_header_id|>", "<|channel|>",
    "<start_of_turn>", "<end_of_turn>", "<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>", '<|"|>',
    "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/THINK]", "<s>", "</s>", "<<SYS>>", "<</SYS>>",
    "]~b]", "]~!b[", "[e~[", "<minimax:tool_call>", "<seed:bos>", "<longcat_tool_call>", "<SPECIAL_12>",
    "<|START_OF_TURN_TOKEN|>", "<bos>", "<eos>",
)  # fmt: skip
pieces = st.one_of(st.sampled_from(TOKENS), st.sampled_from("<>[]|~b\u2060/s"), st.text(max_size=3))
text_with_tokens = st.lists(pieces, max_size=12).map("".join)


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
        (b"100% of all\rdone\n", "done of all\n"),
        (b"100% of all\r\x1b[Kdone\n", "done\n"),
        (b"100% of all\r           \rdone\r\n", "done\n"),
        (b"one\r\r\ntwo\r", "one\ntwo"),
        (b"a|\x08/\x08-\x08b\n", "ab\n"),
        (b"_\x08u_\x08n\n", "un\n"),
        (b"a: wait\nb: wait\n\x1b[2A\x1b[2Ka: done\x1b[1B\r\x1b[2Kb: done\x1b[1B\rend\n", "a: done\nb: done\nend\n"),
        (b"a\nb\nc\n\x1b[2A\x1b[Jnext\n", "a\nnext\n"),
        (b"name\x1b[12G[ ok ]\n", "name       [ ok ]\n"),
        (b"first\x1b[H\x1b[2Jsecond\n", "first\nsecond\n"),
        (b"\x1b[999999Cfar\n", " " * 80 + "far\n"),
        (b"\x1b(B\x1b[m\x1b7\x1b8\x1b=\x1bcplain", "plain"),
        (b"\x1bPq#0;2;0~~\x1b\\\x1b_Gf=24;AAAA\x1b\\text", "text"),
        (b"\x1b]0;never ended", "\\x1b]0;never ended"),
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"a\x07", "a\\x07"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"a\0b", "a\\x00b"),
        (b"\x1b]0;title\x07b", "b"),
        (b"\x1b]0;t\nan error\nok\x07", "\\x1b]0;t\nan error\nok\\x07"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("a\x9b31mb".encode(), "a\\x9b31mb"),
        ("a\U000e0041b".encode(), "a\\U000e0041b"),
        ("grün 🙂 👩‍👩‍👧 é".encode(), "grün 🙂 👩‍👩‍👧 é"),
        (b"tab\tstays\n", "tab\tstays\n"),
        ("a\u200bb\ufeffc\u2060d\u00ade\u3164f".encode(), "a\\u200bb\\ufeffc\\u2060d\\xade\\u3164f"),
    ],
)
def test_what_only_a_terminal_understands_is_taken_out_or_spelled(printed: bytes, shown: str) -> None:
    assert clean(decode(printed)) == shown


@given(st.binary(max_size=300))
def test_nothing_that_acts_on_a_terminal_is_left(data: bytes) -> None:
    shown = clean(decode(data))
    assert not any(ord(character) < 32 and character not in "\t\n" for character in shown)
    assert not any(0x7F <= ord(character) < 0xA0 for character in shown)


moves = [
    "a",
    "bc",
    "\r",
    "\n",
    "\x08",
    "\x1b[A",
    "\n\x1b[Ax\x1b[B",
    "\x1b[2C",
    "\x1b[D",
    "\x1b[3G",
    "\x1b[K",
    "\x1b[2K\r",
    "\x1b[J",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(moves)))
def test_lines_are_those_of_a_terminal(pieces: list[str]) -> None:
    screen = pyte.Screen(200, 100)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed("".join(pieces))
    lines = [line.rstrip(" ") for line in clean("".join(pieces)).split("\n")]
    assert lines == [line.rstrip(" ") for line in screen.display][: len(lines)]
    assert not "".join(screen.display[len(lines) :]).strip()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    [
        "\x1b[", "\x1b]", "\x1b", "\r", "<", "<|", "<\u2060", "\u2060", "<｜", "\x1b[0", "x\r", "\x1b]x\x1b", "\x1bP",
        "\x08", "x\x08", "\x1b[A", "\n\x1b[A", "\x1b[K", "\x1b[2Kx", "\x1b[99Cx", "\x1b[J\n\x1b[A", "]~b]", "[/", "\0",
        "x" * 200 + "\x08\x1b[K", "\xad", "\x1b[0;", "\x1b[ ",
    ],
)  # fmt: skip
def test_four_million_characters_of_anything_take_a_moment(piece: str) -> None:
    text = piece * (4_000_000 // len(piece))
    shown = cut_middle(cut_lines(clean(text)), "{count} cut")
    assert len(restore(neutralise(shown))) == len(shown) <= 17_000


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "moves", ["\x08\x1b[K", "\x1b[A\x1b[B", "\x1b[2Kx", "\x1b[Az\x1b[B\x1b[K", "\r\x1b[99999C\x1b[K"]
)
def test_a_line_of_millions_is_not_copied_for_every_move(moves: str) -> None:
    line = "y" * 2_000_000
    assert len(clean(f"{line}\n{line}{moves * 20_000}")) <= 2 * len(line) + 3


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
