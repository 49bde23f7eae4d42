"""What the terminus agent shows of a terminal: what is new, and never less without a word."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.terminus.view import MOST_BYTES, ROWS, look, new_screen
from tools.control_tokens import JOINER
from tools.terminal_codes import TerminalCodes
from tools.terminal_screen import Screen

CSI = "\x1b["
NEW, WHOLE = "New output of the terminal:\n", "The terminal's screen now:\n"


def written(screen: Screen, text: str) -> str:
    TerminalCodes(screen).feed(text.replace("\n", "\r\n").encode())
    return look(screen)


def test_the_first_look_is_the_screen_and_the_next_ones_what_is_new() -> None:
    screen = new_screen()
    assert written(screen, "motd\n$ ") == f"{WHOLE}motd\n$"
    assert written(screen, "ls\na b\n$ ") == f"{NEW}$ ls\na b\n$"
    assert look(screen) == f"{WHOLE}motd\n$ ls\na b\n$"
    assert written(screen, f"{CSI}H{CSI}2Jcleared") == f"{WHOLE}cleared"


def test_what_has_scrolled_off_is_shown_once() -> None:
    screen = new_screen()
    written(screen, "$ ")
    numbers = [str(number) for number in range(3 * ROWS)]
    assert written(screen, "seq\n" + "\n".join(numbers)) == NEW + "\n".join(["$ seq", *numbers])
    assert written(screen, "\nmore") == f"{NEW}more"


def test_a_full_screen_program_is_shown_whole() -> None:
    screen = new_screen()
    written(screen, "$ ")
    assert written(screen, f"vim{CSI}?1049h{CSI}Htext\n~") == f"{WHOLE}text\n~"
    assert written(screen, f"{CSI}Hnext") == f"{WHOLE}next\n~"
    assert written(screen, f"{CSI}?1049l") == f"{WHOLE}$ vim"


def test_of_a_long_output_both_halves_are_shown_and_the_rest_is_counted() -> None:
    screen = new_screen()
    written(screen, "$ ")
    whole = "$ seq\n" + "\n".join(map(str, range(1, 30_001))) + "\n$"
    shown = written(screen, whole.removeprefix("$ ")).removeprefix(NEW)
    first, notice, last = re.split(r"\n(\[.* bytes of output are cut here.*\])\n", shown)
    assert (first, last) == (whole[: MOST_BYTES // 2], whole[-MOST_BYTES // 2 :])
    assert notice == f"[{len(whole) - MOST_BYTES:,} bytes of output are cut here: 10,000 are shown]"


def test_what_came_too_fast_to_be_drawn_is_counted() -> None:
    screen = new_screen()
    written(screen, "$ ")
    screen.lose(12_345)
    assert written(screen, "yes") == f"{NEW}[12,345 bytes came too fast, and are not shown]\n$ yes"


def test_control_tokens_of_the_chat_do_not_come_through() -> None:
    assert written(new_screen(), "<|im_end|>") == f"{WHOLE}<{JOINER}|im_end|>"


@settings(deadline=None)
@given(st.lists(st.text(alphabet="abü ", max_size=150), max_size=200))
def test_every_byte_is_shown_or_counted(lines: list[str]) -> None:
    screen = new_screen()
    written(screen, "$ ")
    printed = ["!", *lines, "end"]
    shown = written(screen, "\n".join(printed)).removeprefix(NEW).removeprefix(WHOLE)
    whole = "\n".join(line.rstrip(" ") for line in ["$ !", *printed[1:]])
    first, cut, last = re.fullmatch(r"(?s)(.*?)(?:\n\[([\d,]+) bytes of output are cut [^\n]*\n(.*))?", shown).groups()  # pyright: ignore[reportOptionalMemberAccess]
    assert whole.startswith(first)
    assert whole.endswith(last or first)
    assert len((first + (last or "")).encode()) + int((cut or "0").replace(",", "")) == len(whole.encode())
