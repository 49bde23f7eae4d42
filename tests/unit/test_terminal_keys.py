"""Which bytes are sent for keys in writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.terminal_keys import bare_key, encode, encode_verbatim


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ("ls -la<Enter>", b"ls -la\r"),
        ("ls\n", b"ls\r"),
        ("a\r\nb", b"a\rb"),
        ("<CR><cr><Return>", b"\r\r\r"),
        ("<Esc>:wq<Enter>", b"\x1b:wq\r"),
        ("<Escape>", b"\x1b"),
        ("<C-c><C-C><c-d>", b"\x03\x03\x04"),
        ("<C-Space><C-@><C-[><C-\\><C-?>", b"\0\0\x1b\x1c\x7f"),
        ("<M-x><A-x><M-Enter><C-M-a>", b"\x1bx\x1bx\x1b\r\x1b\x01"),
        ("<Up><Down><Right><Left><Home><End>", b"\x1b[A\x1b[B\x1b[C\x1b[D\x1b[H\x1b[F"),
        ("<C-Right><S-Up><C-S-Left>", b"\x1b[1;5C\x1b[1;2A\x1b[1;6D"),
        ("<PageUp><PPage><PgDn><Insert><Del><DC>", b"\x1b[5~\x1b[5~\x1b[6~\x1b[2~\x1b[3~\x1b[3~"),
        ("<F1><F4><F5><F10><F12><C-F2><S-F5>", b"\x1bOP\x1bOS\x1b[15~\x1b[21~\x1b[24~\x1b[1;5Q\x1b[15;2~"),
        ("<Tab><S-Tab><BTab>", b"\t\x1b[Z\x1b[Z"),
        ("<BS><BSpace><Backspace><Space>", b"\x7f\x7f\x7f "),
        ("<lt>Enter>", b"<Enter>"),
        ("#include <stdio.h>\n<div><p></p>", b"#include <stdio.h>\r<div><p></p>"),
        ("a < b > c <- <> <C-> <nop>", b"a < b > c <- <> <C-> <nop>"),
        ("<<C-c>>", b"<\x03>"),
        ("\x03\x1b[A", b"\x03\x1b[A"),
        ("héllo 日本", "héllo 日本".encode()),
        ("C-c", b"\x03"),
        ("^C", b"\x03"),
        ("M-x", b"\x1bx"),
        ("Enter", b"\r"),
        ("Escape", b"\x1b"),
        ("BSpace", b"\x7f"),
        ("Up", b"\x1b[A"),
        ("C-Up", b"\x1b[1;5A"),
        ("enter", b"enter"),
        ("END", b"END"),
        ("Enter the room", b"Enter the room"),
        ("C-c C-c", b"C-c C-c"),
        ("C++", b"C++"),
        ("x", b"x"),
    ],
)
def test_keys_are_sent_as_a_terminal_sends_them(keys: str, sent: bytes) -> None:
    assert encode(keys) == sent


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ("ls -la\n", b"ls -la\n"),
        ("a\r\tb\x03", b"a\r\tb\x03"),
        ("C-c", b"\x03"),
        ("C-c\n", b"C-c\n"),
        ("C-c C-c", b"C-c C-c"),
        ("^C", b"\x03"),
        ("^", b"^"),
        ("M-x", b"\x1bx"),
        ("C-M-x", b"\x1b\x18"),
        ("C-/", b"\x1f"),
        ("C-Space", b"\0"),
        ("Enter", b"\r"),
        ("enter", b"\r"),
        ("up", b"\x1b[A"),
        ("C-Up", b"\x1b[1;5A"),
        ("Escape", b"\x1b"),
        ("Escape\n", b"Escape\n"),
        ("BSpace", b"\x7f"),
        ("PageDown", b"\x1b[6~"),
        ("F5", b"\x1b[15~"),
        ("BTab", b"\x1b[Z"),
        ("<Enter>", b"<Enter>"),
        ("C-", b"C-"),
        ("ü🙂", "ü🙂".encode()),
    ],
)
def test_verbatim_is_what_tmux_was_seen_to_send(keys: str, sent: bytes) -> None:
    """The bytes that tmux 3.3a sent to a program for `send-keys` with that one argument."""
    assert encode_verbatim(keys) == sent


def test_arrows_are_sent_as_the_program_has_asked() -> None:
    assert encode("<Up><Home><C-Up><F5>", application_cursor=True) == b"\x1bOA\x1bOH\x1b[1;5A\x1b[15~"


@given(st.text())
def test_text_without_brackets_is_typed_as_it_is(text: str) -> None:
    typed = text.replace("<", "").replace("\r", "").replace("\n", "")
    assert bare_key(typed) or encode(typed) == typed.encode("utf-8", "replace")


@given(st.text("<>CMSA-abc lt^", max_size=30))
def test_a_bracket_can_always_be_written(text: str) -> None:
    assert encode("!" + text.replace("<", "<lt>")) == b"!" + text.encode()
