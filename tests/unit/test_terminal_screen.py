"""What a terminal's screen shows for what a program writes."""

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.scrollback import Scrollback, Scrolled
from tools.terminal_codes import TerminalCodes
from tools.terminal_screen import HISTORY, Screen

CSI = "\x1b["


def written(text: str | bytes, columns: int = 20, rows: int = 5) -> Screen:
    screen = Screen(columns, rows)
    TerminalCodes(screen).feed(text.encode() if isinstance(text, str) else text)
    return screen


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("one\ntwo", ["one", "   two"]),
        ("abc\rX", ["Xbc"]),
        ("a\tb\b\bX", ["a      Xb"]),
        ("x" * 25, ["x" * 20, "x" * 5]),
        ("x" * 20 + "\r\ny", ["x" * 20, "y"]),
        (f"{CSI}?7l" + "abcdefghij" * 3, ["abcdefghijabcdefghij"]),
        (f"{CSI}3;4Hx{CSI}Hy", ["y", "", "   x"]),
        (f"abcdef{CSI}3D{CSI}K", ["abc"]),
        (f"abcdef{CSI}3D{CSI}1K", ["    ef"]),
        (f"abcdef{CSI}1G{CSI}2Pxy", ["xyef"]),
        (f"abcdef{CSI}1G{CSI}2@xy", ["xyabcdef"]),
        (f"abcdef{CSI}2G{CSI}3Xz", ["az  ef"]),
        (f"abc{CSI}1G{CSI}4hxy{CSI}4lz", ["xyzbc"]),
        (f"a\r\nb\r\nc{CSI}2;1H{CSI}L", ["a", "", "b", "c"]),
        (f"a\r\nb\r\nc{CSI}1;1H{CSI}M", ["b", "c"]),
        (f"a{CSI}3bz", ["aaaaz"]),
        ("a\r\nb\x1bMc", ["ac", "b"]),
        (f"1\r\n2\r\n3\r\n4\r\n5{CSI}2;4r{CSI}2S", ["1", "4", "", "", "5"]),
        (f"1\r\n2\r\n3{CSI}1T", ["", "1", "2", "3"]),
        (f"{CSI}2;4r{CSI}4;1Ha\nb", ["", "", "a", " b"]),
        ("ab\x1b7cd\x1b8X", ["abXd"]),
        ("\x1b(0lqk\x1b(Bq", ["┌─┐q"]),
        ("\x1b)0\x0elqk\x0fq", ["┌─┐q"]),
        ("日本語x", ["日本語x"]),
        (f"日本{CSI}2Gx", [" x本"]),
        (f"日本{CSI}3Gx", ["日x"]),
        ("x" * 19 + "日", ["x" * 19, "日"]),
        ("e\u0301a", ["e\u0301a"]),
        ("a\u200bb\ufe0fc", ["abc"]),
        ("\x1b]0;title\x07a\x1b]2;title\x1b\\b", ["ab"]),
        ("a\x1bP+q544e\x1b\\b\x1b_x\x1b\\c\x1b^y\x1b\\d", ["abcd"]),
        ("a\x1b]0;no end\r\nb", ["a", "b"]),
        (f"a{CSI}>4;2mb{CSI}!pc{CSI}<ud{CSI}=1ue{CSI}0 qf{CSI}38;5;1mg{CSI}4:3mh", ["abcdefgh"]),
        (f"a{CSI}{'9' * 5000};1Hb{CSI}²c", ["a", "", "", "", "b²c"]),
        ("a\x1b[\x07b", ["ab"]),
        ("a\x18b\x9bc\x00d\x7fe", ["abcde"]),
        (b"a\xffb\xc3", ["a\ufffdb"]),
        ("a\x1bc b", [" b"]),
    ],
)
def test_it_shows_what_xterm_shows(text: str | bytes, lines: list[str]) -> None:
    assert written(text).lines() == lines


def test_a_full_screen_program_leaves_what_was_there() -> None:
    screen = Screen(20, 5)
    codes = TerminalCodes(screen)
    codes.feed(f"shell{CSI}?1049h{CSI}Heditor".encode())
    assert screen.lines() == ["editor"]
    codes.feed(f"{CSI}?1049l$".encode())
    assert screen.lines() == ["shell$"]


def test_what_has_scrolled_off_unseen_is_told_once() -> None:
    screen = Screen(20, 3)
    codes = TerminalCodes(screen)
    codes.feed(b"1\r\n2\r\n3\r\n4\r\n5")
    assert screen.take_scrolled() == Scrolled(newest=("1", "2"))
    codes.feed(b"\r\n6")
    assert screen.take_scrolled() == Scrolled()  # line 3 was on the screen at the last look
    codes.feed(b"\r\n7\r\n8\r\n9\r\n10")
    assert screen.take_scrolled() == Scrolled(newest=("7",))
    codes.feed("".join(f"\r\n{number}" for number in range(HISTORY + 100)).encode())
    lines = screen.take_scrolled().lines
    assert (len(lines), lines[-1]) == (HISTORY, str(HISTORY + 96))


def test_of_what_is_too_long_beginning_and_end_are_kept_and_the_rest_is_counted() -> None:
    screen = Screen(20, 3, Scrollback(first=2, newest=3))
    TerminalCodes(screen).feed("\r\n".join(["one", "two", "drei", "vier", "fünf", *"6789", "x"]).encode())
    screen.lose(100)
    lost = len(b"drei\nvier\n") + 100
    assert screen.take_scrolled() == Scrolled(("one", "two"), ("fünf", "6", "7"), lost)
    assert screen.take_scrolled() == Scrolled()


def test_what_a_full_screen_program_scrolls_is_not_told() -> None:
    screen = written(f"{CSI}?1049h" + "\r\n".join(map(str, range(50))))
    assert screen.take_scrolled() == Scrolled()


def test_rows_that_were_there_before_are_known_though_they_moved() -> None:
    screen = Screen(20, 4)
    codes = TerminalCodes(screen)
    codes.feed(b"1\r\n2\r\n3\r\n4")
    screen.take_scrolled()
    codes.feed(b"\r\n5")
    assert (screen.lines(), screen.rows_as_before()) == (["2", "3", "4", "5"], 3)
    codes.feed(f"{CSI}1;1Hx".encode())
    assert screen.rows_as_before() == 0


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (f"{CSI}c", f"{CSI}?1;2c"),
        (f"{CSI}0c", f"{CSI}?1;2c"),
        (f"{CSI}>c", f"{CSI}>0;10;0c"),
        (f"{CSI}5n", f"{CSI}0n"),
        (f"ab\r\nc{CSI}6n", f"{CSI}2;2R"),
        (f"{CSI}18t", f"{CSI}8;5;20t"),
        (f"{CSI}?2026$p", f"{CSI}?2026;0$y"),
        (f"{CSI}7n{CSI}=c{CSI}2c", ""),
    ],
)
def test_questions_of_programs_are_answered(question: str, answer: str) -> None:
    assert TerminalCodes(Screen(20, 5)).feed(question.encode()) == answer.encode()


def test_a_flood_of_questions_is_no_flood_of_answers() -> None:
    assert len(TerminalCodes(Screen(20, 5)).feed(f"{CSI}6n".encode() * 100_000)) <= 4096


def _sequence(prefix: str, numbers: list[int], final: str) -> str:
    return f"{CSI}{prefix}{';'.join(map(str, numbers))}{final}"


_PIECES = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=10).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from(
        [b"\x1b", b"\x1b[", b"\x1b]0;", b"\x1bP", b"\r\n", b"\t", "日".encode(), b"\xe6", "\u0301".encode()]
    ),
    st.builds(
        _sequence,
        st.sampled_from(["", "?", ">", "<", "="]),
        st.lists(st.integers(0, 10**6), max_size=20),
        st.sampled_from("@ABCDEFGHIJKLMPSTXZ`abcdefghlmnrstuxy"),
    ).map(str.encode),
    st.sampled_from("78DEHMc=>N(0)").map(lambda final: f"\x1b{final}".encode()),
    st.sampled_from(["?1049h", "?1049l", "?6h", "?6l", "?7l", "?7h", "4h", "4l", "?47h", "20h"]).map(
        lambda mode: f"{CSI}{mode}".encode()
    ),
)


@given(st.lists(_PIECES, max_size=60), st.integers(1, 30), st.integers(1, 12))
def test_whatever_is_written_there_is_a_screen(pieces: list[bytes], columns: int, rows: int) -> None:
    screen = Screen(columns, rows)
    codes = TerminalCodes(screen)
    for piece in pieces:
        codes.feed(piece)
        row, column = screen.cursor
        assert 0 <= row < rows
        assert 0 <= column < columns
        assert len(screen.lines()) <= rows
        assert all(len(line) <= columns * 4 for line in screen.lines())
        assert all(line.replace("\ufffd", "").isprintable() or not line.isascii() for line in screen.lines())


@given(st.lists(_PIECES, max_size=30), st.integers(1, 200))
def test_it_does_not_matter_where_the_output_is_cut(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    screen = Screen(20, 5)
    codes = TerminalCodes(screen)
    for start in range(0, len(data), size):
        codes.feed(data[start : start + size])
    assert (screen.lines(), screen.cursor) == (written(data).lines(), written(data).cursor)


_PLAIN = st.one_of(
    st.text("abc xyz", min_size=1, max_size=12),
    st.sampled_from(["\r\n", "\r", "\n", "\b"]),
    st.builds(
        _sequence, st.just(""), st.lists(st.integers(1, 9), min_size=1, max_size=1), st.sampled_from("ABCDEFGdLPX@")
    ),
    st.builds(_sequence, st.just(""), st.lists(st.integers(0, 2), min_size=1, max_size=1), st.sampled_from("JK")),
    st.builds(_sequence, st.just(""), st.lists(st.integers(1, 22), min_size=2, max_size=2), st.just("H")),
)


@given(st.lists(_PLAIN, max_size=40))
def test_plain_sequences_do_what_they_do_in_another_emulator(pieces: list[str]) -> None:
    # pyte counts the column behind the last one as a place of its own, where only text may follow; and what it does
    # for `CSI M` on the last line with text is wrong.
    oracle = pyte.Screen(20, 6)
    stream = pyte.Stream(oracle)
    ours = Screen(20, 6)
    codes = TerminalCodes(ours)
    for piece in pieces:
        if oracle.cursor.x == 20 and piece[0] not in "abc xyz\r":
            continue
        stream.feed(piece)
        codes.feed(piece.encode())
    shown = [line.rstrip() for line in oracle.display]
    assert ours.lines() == shown[: len(ours.lines())]
    assert not any(shown[len(ours.lines()) :])
    assert ours.cursor == (oracle.cursor.y, min(oracle.cursor.x, 19))


@pytest.mark.parametrize(
    "piece", ["\u0301", f"{CSI}9999b", "\x1b7", f"{CSI}1", "\x1b]0;", f"{CSI}9999S", f"{CSI};", "日", "\x1b", "y\r\n"]
)
def test_what_comes_often_does_not_pile_up(piece: str) -> None:
    screen = Screen(120, 40)
    TerminalCodes(screen).feed(piece.encode() * 20_000)
    assert sum(map(len, screen.lines())) <= 4 * 120 * 40
    assert len(screen.take_scrolled().lines) <= HISTORY
